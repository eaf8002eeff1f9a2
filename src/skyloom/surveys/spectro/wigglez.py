"""WiggleZ, final release: VizieR's table by TAP."""

from skyloom.surveys.service import Service
from skyloom.surveys.spectro import SpectroSurvey, rated

ERROR = 3e-4  # of 1 + z, quoted for the survey as a whole


def normalise(f) -> dict:
    """Columns as they are, the survey's error."""
    return {"survey_id": f["Name"], "ra": f["RAJ2000"], "dec": f["DEJ2000"], "z": f["z"], "z_err": ERROR * (1 + f["z"]),
            "quality": f["q_z"], "class": ""}


SURVEY = SpectroSurvey(
    name="wigglez", release="final", access="tap", where="J/MNRAS/474/4151/wigglez",
    columns=("Name", "RAJ2000", "DEJ2000", "z", "q_z"), position=("RAJ2000", "DEJ2000"), normalise=normalise,
    cuts=(("q", lambda quality, kind: quality >= 4),), confidence=rated((5, 0.99), (4, 0.96)), order=7,
    service=Service("wigglez", {"url": "https://tapvizier.cds.unistra.fr/TAPVizieR/tap"}),
    licence="VizieR, cite", citation="Drinkwater et al. 2018, MNRAS 474, 4151")
