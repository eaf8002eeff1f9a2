"""How spectroscopic surveys are asked: each in its own way for the columns that its module in `skyloom.surveys` names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from skyloom.archives import flatfiles, skyserver, tap, wholefile
from skyloom.errors import InputError, ServiceError
from skyloom.provenance.canonical import digest


def ask(survey, client, urls: dict, options: dict, folder: Path, region=None):
    """(DataFrame in the survey's own columns, where it came from).

    `region` bounds what is asked for where the service can; what comes beyond it is cut, and counted, by the compilation.
    Files are kept in `folder`. Errors as the modules raise them; InputError for a way of asking that nobody knows.
    """
    if survey.ask is None and survey.access not in WAYS:
        raise InputError(f"the survey {survey.name} has the access {survey.access!r}; known: {', '.join(WAYS)}, "
                         "or a function `ask` of its own")
    if survey.ask is not None:
        frame, source = survey.ask(client, urls, options, folder, region)
    else:
        frame, source = WAYS[survey.access](survey, client, urls, options, folder, region)
    missing = [column for column in survey.columns if column not in frame]
    if missing:
        raise ServiceError(f"the {survey.name} table lacks the column {missing[0]}; it has {', '.join(frame.columns)[:200]}; "
                           "see docs/surveys.md")
    return frame[list(survey.columns)].reset_index(drop=True), source


def files(survey, client, urls: dict, folder: Path):
    """The rows of a survey's files (several addresses: blanks between), each kept in `folder` under a name of its own.

    A file that isn't the catalog is deleted, so that a rerun asks again: ServiceError.
    """
    import pandas

    frames = []
    for url in urls["url"].split():
        path = flatfiles.download(client, url, Path(folder) / _name(url))
        try:
            frames.append(flatfiles.read(path, survey.access, survey.where, survey.columns, survey.texts))
        except flatfiles.NoCatalog as error:
            path.unlink(missing_ok=True)
            raise ServiceError(f"{url} sent no catalog of {survey.name}: {str(error).removesuffix('; delete it and rerun')}; it "
                               f"is deleted: check `services.{survey.service.name}.url`, or run again") from None
    return pandas.concat(frames, ignore_index=True), urls["url"]


def _name(url: str) -> str:
    """The name under which a file is kept: the address's last part, told apart from another address's (but for the port)."""
    parts = urlsplit(url)
    return f"{digest([parts.hostname, parts.path, parts.query])[:8]}-{wholefile.name_of(url)}"


def _skyserver(survey, client, urls, options, _, region):
    page, wait = options.get("page") or skyserver.PAGE, options.get("over_rate_wait_s", 61.0)
    return skyserver.rows(client, urls["url"], survey.columns, region, page, wait, options["attempts"], survey.where), urls["url"]


def _tap(survey, client, urls, options, _, region):
    adql = tap.query(survey.where, survey.columns, region, survey.position)
    return tap.rows(client, urls["url"], adql, columns=survey.columns), urls["url"]


def _files(survey, client, urls, options, folder, region):
    return files(survey, client, urls, folder)


WAYS = {"skyserver": _skyserver, "tap": _tap, "fits": _files, "text": _files}
