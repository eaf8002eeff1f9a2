"""DEEP2 DR4: one FITS file without repeats."""

from skyloom.surveys.service import Service
from skyloom.surveys.spectro import SpectroSurvey, rated


def normalise(f) -> dict:
    """ZBEST is heliocentric; a negative error says that the fit was bad."""
    return {"survey_id": f["OBJNO"], "ra": f["RA"], "dec": f["DEC"], "z": f["ZBEST"], "z_err": f["ZERR"].where(f["ZERR"] > 0),
            "quality": f["ZQUALITY"], "class": f["CLASS"]}


SURVEY = SpectroSurvey(
    name="deep2", release="DR4", access="fits", where="1",
    columns=("OBJNO", "RA", "DEC", "ZBEST", "ZERR", "ZQUALITY", "CLASS"), normalise=normalise,
    cuts=(("zquality", lambda quality, kind: quality > 2), ("class", lambda quality, kind: kind.astype("U1") == "G")),
    confidence=rated((3, 0.95), *((flag, 0.995) for flag in range(4, 10))), order=6,
    service=Service("deep2", {"url": "https://deep.ps.uci.edu/DR4/data/zcat.deep2.dr4.uniq.fits.gz"}),
    licence="public, cite", citation="Newman et al. 2013, ApJS 208, 5")
