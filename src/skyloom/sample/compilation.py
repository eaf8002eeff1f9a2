"""One compilation of many surveys: overrides, positional groups, the best redshift of each, every conflict recorded."""

from __future__ import annotations

import numpy as np

from skyloom.errors import InputError
from skyloom.sample.regions import separation
from skyloom.sample.splits import groups

ACTIONS = ("drop", "prefer", "set_z")


def override(frame, table):
    """Apply an override table (columns survey, survey_id, action, z) to a normalised frame.

    Returns (frame with column `override`: empty or the action, which `prefer` and `drop` leave to the later steps); a source
    that stands in several rows is overridden in all.
    InputError for an unknown action, a row that matches nothing, or `set_z` without a redshift.
    """
    frame = frame.assign(override="")
    if table is None:
        return frame
    absent = [name for name in ("survey", "survey_id", "action") if name not in table]
    if absent:
        raise InputError(f"the override table lacks the column {absent[0]}; it needs survey,survey_id,action and, for set_z, z")
    keys = frame["survey"] + ":" + frame["survey_id"]
    named = keys[keys.isin(table["survey"].astype(str) + ":" + table["survey_id"].astype(str))]
    place = named.groupby(named).groups
    for number, row in enumerate(table.itertuples(), start=2):
        if row.action not in ACTIONS:
            raise InputError(f"line {number} of the override table has the action {row.action!r}; "
                             f"use one of {', '.join(ACTIONS)}")
        at = place.get(f"{row.survey}:{row.survey_id}")
        if at is None:
            raise InputError(f"line {number} of the override table names {row.survey} {row.survey_id}, which no survey has; "
                             "mend the id")
        if row.action == "set_z":
            frame.loc[at, "z"] = _redshift(getattr(row, "z", None), number)
        frame.loc[at, "override"] = row.action
    return frame


def _redshift(value, number: int) -> float:
    try:
        z = float(value)
    except (TypeError, ValueError):
        z = np.nan
    if not np.isfinite(z):
        raise InputError(f"line {number} of the override table sets no redshift; give a number in column z")
    return z


def best(frame, radius: float, surveys):
    """Mask (n,) of the best row of each positional group, and the conflicts. `surveys`: those of the frame, objects with
    `name`, `confidence` and `order` (see `skyloom.surveys.spectro`).

    Rows within `radius` arcsec (friends of friends) are one object. Preferred: an overriding `prefer`, then confidence,
    then the smaller error, then the surveys' `order`, then the id. Conflicts: a DataFrame with one row per rejected row
    whose redshift differs from the kept one by more than 0.005 (1 + z) or 5 sigma, whichever is larger.
    """
    import pandas

    n = len(frame)
    columns = ["kept_survey", "kept_id", "kept_z", "survey", "survey_id", "z", "dz", "arcsec"]
    if n == 0:
        return np.zeros(0, bool), pandas.DataFrame(columns=columns)
    leader = groups(np.arange(n), frame["ra"], frame["dec"], radius)
    error = np.nan_to_num(frame["z_err"].to_numpy(float), nan=1.0)
    chance, rank = _standing(frame, surveys)
    order = np.lexsort((frame["survey_id"].to_numpy(str), rank, error, -chance,
                        frame["override"].to_numpy(str) != "prefer", leader))
    first = np.concatenate([[True], np.diff(leader[order]) != 0])
    keep = np.zeros(n, bool)
    keep[order[first]] = True
    winner = np.zeros(n, int)
    winner[order] = order[first][np.cumsum(first) - 1]
    lost = np.flatnonzero(~keep)
    kept = winner[lost]
    z = frame["z"].to_numpy(float)
    dz = z[lost] - z[kept]
    known = np.where(error < 1, error, 0)
    limit = np.maximum(0.005 * (1 + z[kept]), 5 * np.hypot(known[lost], known[kept]))
    bad = np.abs(dz) > limit
    lost, kept, dz = lost[bad], kept[bad], dz[bad]
    ra, dec = frame["ra"].to_numpy(float), frame["dec"].to_numpy(float)
    apart = separation(ra[lost], dec[lost], ra[kept], dec[kept]) * 3600
    names = {key: frame[key].to_numpy() for key in ("survey", "survey_id")}
    values = (names["survey"][kept], names["survey_id"][kept], z[kept], names["survey"][lost], names["survey_id"][lost],
              z[lost], dz, apart)
    return keep, pandas.DataFrame(dict(zip(columns, values, strict=True)))


def _standing(frame, surveys) -> tuple[np.ndarray, np.ndarray]:
    """Each row's (probability that its redshift is right, place of its survey)."""
    chance, rank = np.full(len(frame), 0.5), np.zeros(len(frame), int)
    for survey in surveys:
        here = (frame["survey"] == survey.name).to_numpy()
        chance[here] = survey.confidence(frame["quality"].to_numpy(float)[here])
        rank[here] = survey.order
    return chance, rank
