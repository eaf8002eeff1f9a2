"""GAMA DR4: its own FITS file, or VizieR's copy where GAMA's server turns our agent away (403)."""

from skyloom.surveys.service import Service
from skyloom.surveys.spectro import SpectroSurvey, rated

TABLE = "J/MNRAS/513/439/gamadr4"
# VizieR's names of what we read; ids are taken where its table has them
NEEDED = {"RAJ2000": "RA", "DEJ2000": "DEC", "z": "Z", "q_z": "NQ"}
ALSO = {"specid": "SPECID", "cataid": "CATAID"}


def normalise(f) -> dict:
    """GAMA publishes a probability, no error."""
    import numpy as np

    return {"survey_id": f["SPECID"], "ra": f["RA"], "dec": f["DEC"], "z": f["Z"], "z_err": np.nan, "quality": f["NQ"],
            "class": "", "repeat_key": f["CATAID"]}


def ask(client, urls, options, folder, region):
    """GAMA's file; refused with 403, VizieR's copy under GAMA's names."""
    from skyloom.archives import surveys
    from skyloom.errors import Refused

    try:
        return surveys.files(SURVEY, client, urls, folder)
    except Refused as error:
        if getattr(error, "status", 0) != 403 or not urls.get("tap_url"):
            raise
    return at_vizier(client, urls["tap_url"], region), f"{urls['tap_url']} ({TABLE}; GAMA's own server refused our agent)"


def at_vizier(client, url, region):
    """VizieR's rows in GAMA's names.

    Whether VizieR has SPECID and CATAID its table tells; CATAID stands in for SPECID, and for both the position, which
    repeated spectra of an object share.
    """
    from skyloom.archives import tap

    names = NEEDED | {name: ALSO[name.lower()] for name in tap.columns(client, url, TABLE) if name.lower() in ALSO}
    frame = tap.rows(client, url, tap.query(TABLE, names, region, ("RAJ2000", "DEJ2000")), columns=names).rename(columns=names)
    if "CATAID" not in frame:
        frame["CATAID"] = [f"J{ra:.5f}{dec:+.5f}" for ra, dec in zip(frame["RA"], frame["DEC"], strict=True)]
    if "SPECID" not in frame:
        frame["SPECID"] = frame["CATAID"]
    return frame


SURVEY = SpectroSurvey(
    name="gama", release="DR4", access="fits", where="1", columns=("SPECID", "RA", "DEC", "Z", "NQ", "CATAID"),
    normalise=normalise, cuts=(("nq", lambda quality, kind: quality >= 3),),
    confidence=rated((3, 0.95), *((flag, 0.995) for flag in range(4, 10))), order=3, repeats=True, ask=ask,
    service=Service("gama", {"url": "https://www.gama-survey.org/dr4/data/cat/SpecCat/v27/SpecObjv27.fits",
                             "tap_url": "https://tapvizier.cds.unistra.fr/TAPVizieR/tap"}),
    licence="public, acknowledge GAMA", citation="Driver et al. 2022, MNRAS 513, 439")
