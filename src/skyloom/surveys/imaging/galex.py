"""GALEX, near and far ultraviolet, from the Legacy Survey viewer."""

from __future__ import annotations

from skyloom.surveys import viewer
from skyloom.surveys.imaging import ImagingSurvey

# Zero points (of counts/s) and widths: Morrissey et al. (2007). Extinction: Yuan, Liu & Xiang (2013). The order of the planes
# is the server's.
SURVEY = ImagingSurvey(
    name="galex", title="GALEX",
    bands={"nuv": 229.9, "fuv": 153.6}, scale=1.5, size=32, sizes=(8, 3000), fwhm={"nuv": 5.3, "fuv": 4.2},
    zero_point={"nuv": 20.08, "fuv": 18.82}, extinction={"nuv": 7.24, "fuv": 4.89}, aperture=2.0,
    service=viewer.SERVICE, client=viewer.Layer("galex", "GALEX", "nf", ("", "counts/s", "cps", "ct/s")), flag_bit=18,
    licence="public domain (NASA)",
    citation="Martin et al. 2005; Morrissey et al. 2007; acknowledge the Legacy Surveys")
