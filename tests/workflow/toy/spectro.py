"""A redshift survey: one text file."""

from skyloom.surveys.service import Service
from skyloom.surveys.spectro import SpectroSurvey


def normalise(f):
    """{common column: values}."""
    return {"survey_id": f["name"], "ra": f["ra"], "dec": f["dec"], "z": f["zz"], "z_err": 1e-4 + 0 * f["zz"],
            "quality": f["zflag"], "class": f["kind"]}


def confidence(quality):
    """Probability that a redshift is right."""
    return 0.5 + 0.1 * quality


SURVEY = SpectroSurvey(
    name="toyspec", release="1", access="text", where="zflag", columns=("name", "ra", "dec", "zz", "zflag", "kind"),
    position=(), normalise=normalise, cuts=(("zflag", lambda quality, kind: quality >= 3),), confidence=confidence, order=99,
    service=Service("toyspec", {"url": ""}, timeout_s=20), licence="do what you like", citation="this test")
