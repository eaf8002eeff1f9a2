"""unWISE coadds of WISE's W1 and W2 from the Legacy Survey viewer."""

from __future__ import annotations

from skyloom.surveys import viewer
from skyloom.surveys.imaging import ImagingSurvey

# The server's pixels are Vega nanomaggies, AB offsets as the Legacy Surveys document them. Widths: Wright et al. (2010).
# Extinction: the law of Schlafly & Finkbeiner (2011) at WISE's filters.
SURVEY = ImagingSurvey(
    name="unwise", title="unWISE",
    bands={"w1": 3368.2, "w2": 4617.9}, scale=2.75, size=32, sizes=(8, 3000), fwhm={"w1": 6.1, "w2": 6.4},
    zero_point={"w1": 22.5 + 2.699, "w2": 22.5 + 3.339}, extinction={"w1": 0.184, "w2": 0.113}, aperture=2.0,
    service=viewer.SERVICE, client=viewer.Layer("unwise-neo7", "unWISE", "12", ("", "vega nanomaggy", "nanomaggy")), flag_bit=19,
    licence="public domain (NASA)",
    citation="Lang 2014; Meisner et al. 2017; acknowledge the Legacy Surveys")
