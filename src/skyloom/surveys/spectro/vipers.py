"""VIPERS PDR-2: one text file a field."""

from skyloom.surveys.service import Service
from skyloom.surveys.spectro import SpectroSurvey, rated

ERROR = 4.7e-4  # of 1 + z, quoted for the survey as a whole


def normalise(f) -> dict:
    """zflg is confidence.decimal: the decimal tells of the photo-z's agreement and is no part of the quality."""
    return {"survey_id": f["num"], "ra": f["alpha"], "dec": f["delta"], "z": f["zspec"], "z_err": ERROR * (1 + f["zspec"]),
            "quality": f["zflg"], "class": f["classFlag"]}


SURVEY = SpectroSurvey(
    name="vipers", release="PDR-2", access="text", where="zflg",
    columns=("num", "alpha", "delta", "zspec", "zflg", "classFlag"), normalise=normalise,
    cuts=(("classflag", lambda quality, kind: (kind == "0") | (kind == "1")),
          ("zflg", lambda quality, kind: (quality >= 2) & (quality < 5))),
    confidence=rated((4, 0.99), (3, 0.96), (2, 0.85)), order=5,
    service=Service("vipers", {"url": " ".join(f"http://vipers.inaf.it/data/pdr2/catalogs/VIPERS_{field}_SPECTRO_PDR2.txt.gz"
                                               for field in ("W1", "W4"))}),
    licence="public, cite", citation="Scodeggio et al. 2018, A&A 609, A84")
