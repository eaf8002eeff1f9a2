"""Eight surveys' rows in common columns, and the quality cuts of Mantis Shrimp (Engel et al. 2025, table 1).

Common columns: survey, survey_id, ra, dec (deg), z, z_err, quality, class, repeat_key, release.
"""

from __future__ import annotations

import numpy as np

LIGHT = 299792.458  # km/s
FAILED = 9.9  # VVDS and VIPERS write 9.9999 where there is no redshift
VVDS_ERROR, WIGGLEZ_ERROR = 9e-4, 3e-4  # quoted for the surveys as a whole; no row has its own


def _sdss(f):
    """z_person where a person looked, else the pipeline without quasar templates, else the pipeline's own."""
    person = f["z_person"] > 0
    noqso = (f["z_noqso"] > 0) & ~person
    return {"survey_id": f["specObjID"], "ra": f["ra"], "dec": f["dec"],
            "z": np.where(person, f["z_person"], np.where(noqso, f["z_noqso"], f["z"])),
            "z_err": np.where(noqso, f["zErr_noqso"], f["zErr"]),
            "quality": f["zWarning"], "class": f["class"], "repeat_key": f["bestObjID"]}


def _desi(f):
    return {"survey_id": f["TARGETID"], "ra": f["TARGET_RA"], "dec": f["TARGET_DEC"], "z": f["Z"], "z_err": f["ZERR"],
            "quality": f["ZWARN"], "class": f["SPECTYPE"], "repeat_key": f["TARGETID"]}


def _deep2(f):
    """ZBEST is heliocentric; a negative error says that the fit was bad."""
    return {"survey_id": f["OBJNO"], "ra": f["RA"], "dec": f["DEC"], "z": f["ZBEST"],
            "z_err": np.where(f["ZERR"] > 0, f["ZERR"], np.nan), "quality": f["ZQUALITY"], "class": f["CLASS"]}


def _gama(f):
    """GAMA publishes a probability, no error."""
    return {"survey_id": f["SPECID"], "ra": f["RA"], "dec": f["DEC"], "z": f["Z"], "z_err": np.nan, "quality": f["NQ"],
            "class": "", "repeat_key": f["CATAID"]}


def _vvds(f):
    return {"survey_id": f["NUM"], "ra": f["ALPHA"], "dec": f["DELTA"], "z": f["Z"],
            "z_err": VVDS_ERROR * (1 + np.asarray(f["Z"], float)), "quality": f["ZFLAGS"], "class": ""}


def _vipers(f):
    """zflg is confidence.decimal: the decimal tells of the photo-z's agreement and is no part of the quality."""
    return {"survey_id": f["num"], "ra": f["alpha"], "dec": f["delta"], "z": f["zspec"],
            "z_err": 4.7e-4 * (1 + np.asarray(f["zspec"], float)), "quality": f["zflg"], "class": f["classFlag"]}


def _sixdf(f):
    """Sexagesimal positions and cz in km/s; the sign of -0 degrees stands in the text."""
    sign = np.where(np.char.startswith(np.asarray(f["decd"], str), "-"), -1.0, 1.0)
    degrees = np.abs(np.asarray(f["decd"], float)) + np.asarray(f["decm"]) / 60 + np.asarray(f["decs"]) / 3600
    return {"survey_id": f["targetid"], "ra": 15 * (f["rah"] + f["ram"] / 60 + f["ras"] / 3600), "dec": sign * degrees,
            "z": f["cz"] / LIGHT, "z_err": f["czerr"] / LIGHT, "quality": f["quality"], "class": "", "repeat_key": f["targetid"]}


def _wigglez(f):
    return {"survey_id": f["Name"], "ra": f["RAJ2000"], "dec": f["DEJ2000"], "z": f["z"],
            "z_err": WIGGLEZ_ERROR * (1 + np.asarray(f["z"], float)), "quality": f["q_z"], "class": ""}


NORMALISERS = {"sdss": _sdss, "desi": _desi, "deep2": _deep2, "gama": _gama, "vvds": _vvds, "vipers": _vipers, "6df": _sixdf,
               "wigglez": _wigglez}
# Table 1 of the paper: (name of the cut, rows to keep by quality and class)
CUTS = {
    "sdss": [("zwarning", lambda q, c: q == 0), ("class", lambda q, c: c == "GALAXY")],
    "desi": [("zwarn", lambda q, c: q == 0), ("spectype", lambda q, c: c == "GALAXY")],
    "deep2": [("zquality", lambda q, c: q > 2), ("class", lambda q, c: np.char.startswith(c, "G"))],
    "gama": [("nq", lambda q, c: q >= 3)],
    "vvds": [("zflags", lambda q, c: (q == 3) | (q == 4))],
    "vipers": [("classflag", lambda q, c: np.isin(c, ("0", "1"))), ("zflg", lambda q, c: (q >= 2) & (q < 5))],
    "6df": [("quality", lambda q, c: (q == 3) | (q == 4))],
    "wigglez": [("q", lambda q, c: q >= 4)]}
REPEATS = ("desi", "gama")  # the surveys whose repeated photo objects the paper drops


def normalise(survey: str, frame, release: str):
    """A DataFrame in common columns of a survey's own (see `NORMALISERS`); one row in, one row out.

    A redshift that stands for none (9.9999, -9) becomes NaN. KeyError names a missing column.
    """
    import pandas

    out = pandas.DataFrame(NORMALISERS[survey](frame), index=frame.index)
    for name in ("ra", "dec", "z", "z_err", "quality"):
        out[name] = pandas.to_numeric(out[name], errors="coerce").astype(float)
    out["z"] = out["z"].where((out["z"] < FAILED) & (out["z"] > -9))
    for name in ("survey_id", "class"):
        out[name] = out[name].astype(str)
    keys = out["repeat_key"] if "repeat_key" in out else out["survey_id"]
    out["repeat_key"] = keys.astype(str)
    out.insert(0, "survey", survey)
    out["release"] = release
    return out[["survey", "survey_id", "ra", "dec", "z", "z_err", "quality", "class", "repeat_key", "release"]]


def quality_cuts(surveys, dec_min: float, z_min: float, z_max: float):
    """(name, columns needed, function(frame) -> rows to keep) of every cut of a compilation but the last two: finite
    redshift and position, each survey's own (a row of another survey passes), declination, redshift range, repeats."""
    out = [("redshift_finite", ("z",), lambda f: np.isfinite(f["z"])),
           ("position_finite", ("ra", "dec"), lambda f: np.isfinite(f["ra"]) & np.isfinite(f["dec"]))]
    for survey in surveys:
        for name, keep in CUTS[survey]:
            def mask(f, survey=survey, keep=keep):
                quality, klass = f["quality"].to_numpy(float), f["class"].to_numpy(str)
                return (f["survey"] != survey).to_numpy() | keep(quality, klass)

            out.append((f"{survey}_{name}", ("survey", "quality", "class"), mask))
    out.append(("declination", ("dec",), lambda f: f["dec"] > dec_min))
    out.append(("redshift_range", ("z",), lambda f: (f["z"] > z_min) & (f["z"] < z_max)))
    out.append(("repeated_in_survey", ("survey", "repeat_key"), lambda f: ~f["survey"].isin(REPEATS)
                | ~f.duplicated(["survey", "repeat_key"])))
    return out
