"""REGISTRY of spectroscopic surveys: every module here holds a `SURVEY`; other packages add theirs by the entry point
`skyloom.spectro`. A module imports numpy and its archive inside functions only: the Snakefile lists them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from skyloom.registry import Registry
from skyloom.surveys.service import Service


@dataclass(frozen=True)
class SpectroSurvey:
    """Everything that the house knows of a spectroscopic survey.

    `access` names how it is asked (`skyserver`, `tap`, `fits`, `text`; see `skyloom.archives.surveys`), `where` the table,
    HDU or header word; `columns` the survey's own names that are asked for and must come back; `position` the columns of RA
    and Dec in deg by which a region is asked for, empty where positions are no plain degrees. `normalise(frame)` gives
    {common column: values} (see `skyloom.sample.redshifts`); `cuts` (name, function(quality, class) -> rows to keep) are the
    paper's; `confidence(quality)` -> rough probability that a redshift is right; `order` of preference where that and the
    error tell nothing; `repeats`: repeated photo objects are dropped. `ask(client, urls, options, folder, region)`, where
    given, replaces `access`.
    """

    name: str
    release: str
    access: str
    where: str
    columns: tuple[str, ...]
    position: tuple[str, ...]
    normalise: Callable
    cuts: tuple[tuple[str, Callable], ...]
    confidence: Callable
    order: int
    service: Service
    licence: str
    citation: str
    repeats: bool = False
    ask: Callable | None = None


REGISTRY = Registry("skyloom.surveys.spectro", "SURVEY", "skyloom.spectro", SpectroSurvey, "spectroscopic survey")
