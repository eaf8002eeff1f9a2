"""DESI Early Data Release: one FITS file of all healpix coadds."""

from skyloom.surveys.service import Service
from skyloom.surveys.spectro import SpectroSurvey, unwarned


def normalise(f) -> dict:
    """A target observed in several programs stands several times under one TARGETID."""
    return {"survey_id": f["TARGETID"], "ra": f["TARGET_RA"], "dec": f["TARGET_DEC"], "z": f["Z"], "z_err": f["ZERR"],
            "quality": f["ZWARN"], "class": f["SPECTYPE"], "repeat_key": f["TARGETID"]}


SURVEY = SpectroSurvey(
    name="desi", release="EDR", access="fits", where="ZCATALOG",
    columns=("TARGETID", "Z", "ZERR", "ZWARN", "SPECTYPE", "TARGET_RA", "TARGET_DEC"), normalise=normalise,
    cuts=(("zwarn", lambda quality, kind: quality == 0), ("spectype", lambda quality, kind: kind == "GALAXY")),
    confidence=unwarned, order=1, repeats=True,
    service=Service("desi", {"url": "https://data.desi.lbl.gov/public/edr/spectro/redux/fuji/zcatalog/zall-pix-fuji.fits"}),
    licence="CC BY 4.0", citation="DESI Collaboration 2024, AJ 168, 58")
