"""The spec-z surveys of resources/surveys.tsv: each asked in its own way for the columns that the file pins."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from skyloom.archives import flatfiles, skyserver, tap, wholefile
from skyloom.errors import InputError, Refused

GAMA_TABLE, GAMA_COLUMNS = "J/MNRAS/513/439/gamadr4", ("CATAID", "RAJ2000", "DEJ2000", "z", "q_z")
# Positions that files can be cut by before anything else; 6dF's are sexagesimal
POSITIONS = {"desi": ("TARGET_RA", "TARGET_DEC"), "deep2": ("RA", "DEC"), "gama": ("RA", "DEC"), "vvds": ("ALPHA", "DELTA"),
             "vipers": ("alpha", "delta")}


@dataclass(frozen=True)
class Survey:
    """One line of resources/surveys.tsv."""

    survey: str
    release: str
    access: str
    where: str
    columns: tuple[str, ...]
    licence: str
    citation: str


def read_surveys(text: str) -> dict[str, Survey]:
    """{name: Survey} of the file's text."""
    rows = csv.DictReader(text.splitlines(), delimiter="\t")
    return {row["survey"]: Survey(**{**row, "columns": tuple(row["columns"].split(","))}) for row in rows}


def ask(survey: Survey, client, urls: dict, options: dict, folder: Path, box=None):
    """(DataFrame in the survey's own columns, where it came from).

    `box` (deg) bounds what is asked for where the service can; files are kept in `folder`. Errors as the modules raise
    them; a GAMA server that refuses our agent is told apart and VizieR's copy taken, with its column names put back.
    """
    if survey.access == "skyserver":
        page, wait = options.get("page") or skyserver.PAGE, options.get("over_rate_wait_s", 61.0)
        frame = skyserver.rows(client, urls["url"], survey.columns, box, page, wait, options["attempts"])
        return _checked(frame, survey), urls["url"]
    if survey.access == "tap":
        return _checked(tap.rows(client, urls["url"], tap.query(survey.where, survey.columns, box)), survey), urls["url"]
    try:
        paths = [flatfiles.download(client, url, Path(folder) / wholefile.name_of(url)) for url in urls["url"].split()]
    except Refused as error:
        if survey.survey != "gama" or getattr(error, "status", 0) != 403 or not urls.get("tap_url"):
            raise
        return _gama_at_vizier(client, urls["tap_url"], box)
    import pandas

    frame = pandas.concat([flatfiles.read(path, survey.access, survey.where, survey.columns) for path in paths])
    if box is not None and survey.survey in POSITIONS:
        ra, dec = (frame[name].astype(float) for name in POSITIONS[survey.survey])
        frame = frame[((ra - box[0]) % 360 <= box[1] - box[0]) & (dec >= box[2]) & (dec <= box[3])]
    return frame.reset_index(drop=True), urls["url"]


def _gama_at_vizier(client, url, box):
    """VizieR's copy in GAMA's own column names; it has no SPECID, so CATAID stands in."""
    frame = tap.rows(client, url, tap.query(GAMA_TABLE, GAMA_COLUMNS, box))
    frame = frame.rename(columns=dict(zip(GAMA_COLUMNS, ("CATAID", "RA", "DEC", "Z", "NQ"), strict=True)))
    return frame.assign(SPECID=frame["CATAID"].astype(str)), f"{url} ({GAMA_TABLE}; GAMA's own server refused our agent)"


def _checked(frame, survey: Survey):
    missing = [column for column in survey.columns if column not in frame]
    if missing and len(frame):
        raise InputError(f"the {survey.survey} table lacks the column {missing[0]}; it has {', '.join(frame.columns)[:200]}; "
                         "see resources/surveys.tsv")
    return frame.reindex(columns=list(survey.columns))
