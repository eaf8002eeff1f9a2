"""SDSS: SpecObj by SQL from SkyServer."""

from skyloom.surveys.service import Service
from skyloom.surveys.spectro import SpectroSurvey, unwarned


def normalise(f) -> dict:
    """z_person where a person looked, else the pipeline without quasar templates, else the pipeline's own."""
    import numpy as np

    person = f["z_person"] > 0
    noqso = (f["z_noqso"] > 0) & ~person
    return {"survey_id": f["specObjID"], "ra": f["ra"], "dec": f["dec"],
            "z": np.where(person, f["z_person"], np.where(noqso, f["z_noqso"], f["z"])),
            "z_err": np.where(noqso, f["zErr_noqso"], f["zErr"]),
            "quality": f["zWarning"], "class": f["class"], "repeat_key": f["bestObjID"]}


SURVEY = SpectroSurvey(
    name="sdss", release="DR17", access="skyserver", where="SpecObj",
    columns=("specObjID", "bestObjID", "ra", "dec", "z", "zErr", "zWarning", "class", "z_noqso", "zErr_noqso", "z_person"),
    position=("ra", "dec"), normalise=normalise,
    cuts=(("zwarning", lambda quality, kind: quality == 0), ("class", lambda quality, kind: kind == "GALAXY")),
    confidence=unwarned, order=2,
    service=Service("sdss", {"url": "https://skyserver.sdss.org"}, rpm=50, most_streams=1, options={
        "page": {"type": "integer", "minimum": 1, "default": 500000, "description": "rows a query"},
        "over_rate_wait_s": {"type": "number", "minimum": 0, "default": 61}}),
    licence="public domain, acknowledge SDSS", citation="Abdurro'uf et al. 2022, ApJS 259, 35")
