"""The Legacy Survey viewer as a source of imaging surveys: its service, and the client of a survey that is one of its layers."""

from __future__ import annotations

from dataclasses import dataclass

from skyloom.surveys.clients import Cubes
from skyloom.surveys.service import Service

SERVICE = Service("viewer", {"url": "https://www.legacysurvey.org/viewer/fits-cutout"}, rpm=240, streams=4, most_streams=4,
                  timeout_s=60)


@dataclass(frozen=True)
class Layer:
    """A `client`: the viewer's name of the layer, its SURVEY card, a letter a band in the survey's order, units it may have.
    The survey's `zero_point` holds numbers."""

    name: str
    title: str
    letters: str
    units: tuple[str, ...] = ("",)

    def of(self, survey):
        """The same as `skyloom.archives.viewer` takes it, with scale, bands and zero points of the survey."""
        from skyloom.archives import viewer

        zero_points = tuple(survey.zero_point[band] for band in survey.bands)
        return viewer.Layer(self.name, self.title, survey.scale, self.letters, tuple(survey.bands), zero_points, self.units)

    def __call__(self, survey, settings: dict, ra, dec) -> Cubes:
        from functools import partial

        from skyloom.archives import viewer

        layer = self.of(survey)
        request = f"layer {self.name} at {survey.scale} arcsec/px"
        return Cubes(survey, settings, ra, dec, request, partial(viewer.params, layer), partial(viewer.parse, layer))
