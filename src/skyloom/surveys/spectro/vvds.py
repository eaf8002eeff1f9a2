"""VVDS, final release: one text file a field."""

from skyloom.surveys.service import Service
from skyloom.surveys.spectro import SpectroSurvey, rated

ERROR = 9e-4  # of 1 + z, quoted for the survey as a whole; no row has its own
FIELDS = ("CDFS_DEEP", "F02_DEEP", "F02_UDEEP", "F10_WIDE", "F14_WIDE", "F22_WIDE")


def normalise(f) -> dict:
    """Columns as they are, the survey's error."""
    return {"survey_id": f["NUM"], "ra": f["ALPHA"], "dec": f["DELTA"], "z": f["Z"], "z_err": ERROR * (1 + f["Z"]),
            "quality": f["ZFLAGS"], "class": ""}


SURVEY = SpectroSurvey(
    name="vvds", release="final", access="text", where="ZFLAGS", columns=("NUM", "ALPHA", "DELTA", "Z", "ZFLAGS"),
    normalise=normalise, cuts=(("zflags", lambda quality, kind: (quality == 3) | (quality == 4)),),
    confidence=rated((4, 0.99), (3, 0.96), (2, 0.85)), order=8,
    service=Service("vvds", {"url": " ".join(f"https://cesam.lam.fr/vvds/cesam_vvds_sp{field}_Full.txt" for field in FIELDS)}),
    licence="public, cite", citation="Le Fevre et al. 2013, A&A 559, A14")
