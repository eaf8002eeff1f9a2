"""6dF Galaxy Survey DR3: one text file with sexagesimal positions."""

from skyloom.surveys.service import Service
from skyloom.surveys.spectro import SpectroSurvey, rated

LIGHT = 299792.458  # km/s


def normalise(f) -> dict:
    """cz in km/s; the sign of -0 degrees stands in the text alone."""
    import numpy as np
    import pandas

    whole = pandas.to_numeric(f["decd"], errors="coerce").abs()
    degrees = whole + f["decm"] / 60 + f["decs"] / 3600
    sign = np.where(f["decd"].astype(str).str.strip().str.startswith("-"), -1.0, 1.0)
    return {"survey_id": f["targetid"], "ra": 15 * (f["rah"] + f["ram"] / 60 + f["ras"] / 3600), "dec": sign * degrees,
            "z": f["cz"] / LIGHT, "z_err": f["czerr"] / LIGHT, "quality": f["quality"], "class": "",
            "repeat_key": f["targetid"]}


SURVEY = SpectroSurvey(
    name="6df", release="DR3", access="text", where="quality",
    columns=("targetid", "rah", "ram", "ras", "decd", "decm", "decs", "cz", "czerr", "quality"), texts=("decd",),
    normalise=normalise, cuts=(("quality", lambda quality, kind: (quality == 3) | (quality == 4)),),
    confidence=rated((3, 0.95), *((flag, 0.995) for flag in range(4, 10))), order=4,
    service=Service("6df", {"url": "http://www-wfau.roe.ac.uk/6dFGS/6dFGSzDR3.txt.gz"}),
    licence="public, cite", citation="Jones et al. 2009, MNRAS 399, 683")
