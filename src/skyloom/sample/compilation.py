"""One compilation of many surveys: overrides, positional groups, the best redshift of each, every conflict recorded."""

from __future__ import annotations

import numpy as np

from skyloom.errors import InputError
from skyloom.sample.splits import groups

ACTIONS = ("drop", "prefer", "set_z")
# Surveys in order of preference where quality and error tell nothing: errors and failure rates as published
ORDER = ("desi", "sdss", "gama", "6df", "vipers", "deep2", "wigglez", "vvds")


def confidence(survey, quality) -> np.ndarray:
    """Rough probability (n,) that a redshift is right, from each survey's own statement on its flags."""
    survey, quality = np.asarray(survey, str), np.asarray(quality, float)
    whole = np.floor(quality) % 10
    out = np.where(np.isin(survey, ("sdss", "desi")), np.where(quality == 0, 0.995, 0.5), 0.5)
    out = np.where((survey == "deep2") | (survey == "6df") | (survey == "gama"),
                   np.where(whole >= 4, 0.995, np.where(whole == 3, 0.95, 0.5)), out)
    vimos = np.select([whole == 4, whole == 3, whole == 2], [0.99, 0.96, 0.85], 0.5)
    out = np.where(np.isin(survey, ("vvds", "vipers")), vimos, out)
    return np.where(survey == "wigglez", np.select([whole == 5, whole == 4], [0.99, 0.96], 0.5), out)


def override(frame, table):
    """Apply an override table (columns survey, survey_id, action, z) to a normalised frame.

    Returns (frame with column `override`: empty or the action, which `prefer` and `drop` leave to the later steps).
    InputError for an unknown action, a row that matches nothing, or `set_z` without a redshift.
    """
    frame = frame.assign(override="")
    if table is None:
        return frame
    place = {key: i for i, key in enumerate(zip(frame["survey"], frame["survey_id"], strict=True))}
    for number, row in enumerate(table.itertuples(), start=2):
        key = (str(row.survey), str(row.survey_id))
        if row.action not in ACTIONS:
            raise InputError(f"line {number} of the override table has the action {row.action!r}; "
                             f"use one of {', '.join(ACTIONS)}")
        if key not in place:
            raise InputError(f"line {number} of the override table names {key[0]} {key[1]}, which no survey has; mend the id")
        at = frame.index[place[key]]
        if row.action == "set_z":
            if not np.isfinite(float(row.z)):
                raise InputError(f"line {number} of the override table sets no redshift; give a number in column z")
            frame.loc[at, "z"] = float(row.z)
        frame.loc[at, "override"] = row.action
    return frame


def best(frame, radius: float):
    """Mask (n,) of the best row of each positional group, and the conflicts.

    Rows within `radius` arcsec (friends of friends) are one object. Preferred: an overriding `prefer`, then confidence,
    then the smaller error, then the surveys' `ORDER`, then the id. Conflicts: a DataFrame with one row per rejected row
    whose redshift differs from the kept one by more than 0.005 (1 + z) or 5 sigma, whichever is larger.
    """
    import pandas

    n = len(frame)
    columns = ["kept_survey", "kept_id", "kept_z", "survey", "survey_id", "z", "dz", "arcsec"]
    if n == 0:
        return np.zeros(0, bool), pandas.DataFrame(columns=columns)
    leader = groups(np.arange(n), frame["ra"], frame["dec"], radius)
    error = np.nan_to_num(frame["z_err"].to_numpy(float), nan=1.0)
    rank = np.array([ORDER.index(s) for s in frame["survey"]])
    order = np.lexsort((frame["survey_id"].to_numpy(str), rank, error, -confidence(frame["survey"], frame["quality"]),
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
    apart = np.hypot((ra[lost] - ra[kept]) * np.cos(np.radians(dec[kept])), dec[lost] - dec[kept]) * 3600
    names = {key: frame[key].to_numpy() for key in ("survey", "survey_id")}
    values = (names["survey"][kept], names["survey_id"][kept], z[kept], names["survey"][lost], names["survey_id"][lost],
              z[lost], dz, apart)
    return keep, pandas.DataFrame(dict(zip(columns, values, strict=True)))
