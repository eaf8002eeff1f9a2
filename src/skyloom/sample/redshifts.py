"""Spectroscopic surveys' rows in common columns, and the cuts of a compilation (Mantis Shrimp: Engel et al. 2025, table 1).

Common columns: survey, survey_id, ra, dec (deg), z, z_err, quality, class, repeat_key, release. What is a survey's own comes
as an argument: an object with `name`, `normalise`, `cuts`, `repeats` (see `skyloom.surveys.spectro`).
"""

from __future__ import annotations

import numpy as np

from skyloom.errors import InputError

FAILED = 9.9  # VVDS and VIPERS write 9.9999 where there is no redshift
EXACT = 2.0**53  # whole numbers above it are no longer told apart as doubles
NUMBERS, TEXTS = ("ra", "dec", "z", "z_err", "quality"), ("survey_id", "class", "repeat_key")
COMMON = ["survey", "survey_id", "ra", "dec", "z", "z_err", "quality", "class", "repeat_key", "release"]


def normalise(survey, frame, release: str):
    """The common columns of a survey's own frame; RA in 0 ... 360. A null is NaN, or an empty text.

    A row without a key of its photo object repeats no other. InputError where an id came as a double that can't hold it.
    """
    import pandas

    frame = pandas.DataFrame({name: _plain(frame[name]) for name in frame}, index=frame.index)
    out = pandas.DataFrame(survey.normalise(frame), index=frame.index)
    for name in NUMBERS:
        out[name] = pandas.to_numeric(out[name], errors="coerce").astype(float)
    out["z"] = out["z"].where((out["z"] < FAILED) & (out["z"] > -9))
    out["ra"] = out["ra"].where(out["ra"].between(0, 360, inclusive="left"), out["ra"] % 360)
    out["repeat_key"] = out["repeat_key"] if "repeat_key" in out else out["survey_id"]
    for name in TEXTS:
        out[name] = _words(out[name], f"{survey.name}'s {name}")
    out["repeat_key"] = out["repeat_key"].where(out["repeat_key"] != "", out["survey_id"])
    return out.assign(survey=survey.name, release=release)[COMMON]


def _plain(column):
    """A column without pandas' own nulls: integers with nulls as doubles where these hold them, else as objects."""
    import pandas

    if not isinstance(column.dtype, pandas.api.extensions.ExtensionDtype) or column.dtype.kind not in "iufb":
        return column
    if not column.isna().any():
        return column.astype(column.dtype.numpy_dtype)
    if column.dtype.kind in "iu" and column.dropna().abs().max() >= EXACT:
        return column.astype(object).where(column.notna(), None)
    return pandas.Series(column.to_numpy(float, na_value=np.nan), column.index)


def _words(column, what: str):
    """Ids and classes as text: whole numbers without a point, nulls empty."""
    import pandas

    if column.dtype.kind in "iu":
        return column.astype(str)
    if column.dtype.kind == "f":
        whole = column.notna() & (column % 1 == 0)
        most = column[whole].abs().max()
        if most >= EXACT:
            raise InputError(f"{what} came as doubles, which can't hold {most:.0f}; ask for integers or text")
        return pandas.Series(np.where(whole, column.where(whole, 0).astype(np.int64).astype(str), column.astype(str)),
                             column.index).where(column.notna(), "").astype(str)
    return column.astype(object).where(column.notna(), "").astype(str).str.strip()


def first_cuts(region=None):
    """The first two cuts of a compilation, as in `skyloom.sample.cuts`: rows outside the region of the run (one without a
    position falls to a later cut), and rows to which their survey gave no id."""
    def inside(f):
        return region.contains(f["ra"], f["dec"]) | ~np.isfinite(f["ra"]) | ~np.isfinite(f["dec"])

    known = ("id_given", ("survey_id",), lambda f: f["survey_id"] != "")
    return [known] if region is None else [("region", ("ra", "dec"), inside), known]


def quality_cuts(surveys, dec_min: float, z_min: float, z_max: float):
    """(name, columns needed, function(frame) -> rows to keep) of every cut of a compilation but the first and the last two:
    finite redshift and position, each survey's own (a row of another survey passes), declination, redshift range, repeats."""
    out = [("redshift_finite", ("z",), lambda f: np.isfinite(f["z"])),
           ("position_finite", ("ra", "dec"), lambda f: np.isfinite(f["ra"]) & np.isfinite(f["dec"]))]
    for survey in surveys:
        for name, keep in survey.cuts:
            def mask(f, survey=survey.name, keep=keep):
                quality, kind = f["quality"].to_numpy(float), f["class"].to_numpy(str)
                return (f["survey"] != survey).to_numpy() | keep(quality, kind)

            out.append((f"{survey.name}_{name}", ("survey", "quality", "class"), mask))
    out.append(("declination", ("dec",), lambda f: f["dec"] > dec_min))
    out.append(("redshift_range", ("z",), lambda f: (f["z"] > z_min) & (f["z"] < z_max)))
    repeating = [survey.name for survey in surveys if survey.repeats]
    out.append(("repeated_in_survey", ("survey", "repeat_key"), lambda f: ~f["survey"].isin(repeating)
                | ~f.duplicated(["survey", "repeat_key"])))
    return out
