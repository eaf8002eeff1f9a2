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
    the HDU, or a word of a text file's header line; `columns` the survey's own names that are asked for and must come back,
    `texts` those of them that stay the text they are (numbers that a reader would spoil); `position` the columns of RA and Dec
    in deg by which a service bounds a region, empty where positions are no plain degrees or a whole file comes.

    `normalise(frame)` gives {common column: values}, see `skyloom.sample.redshifts`; nulls come in as NaN, or as None where a
    column holds no numbers. `cuts`: (name, function(quality, class) -> rows to keep), the paper's; quality is (n,) float, NaN
    where there is none, class (n,) text. `confidence(quality)` -> rough probability that a redshift is right; `order` of
    preference where that and the error tell nothing, the least first; `repeats`: repeated photo objects are dropped.
    `ask(client, urls, options, folder, region)`, where given, replaces `access`: it gives (frame in `columns`, source as text).
    """

    name: str
    release: str
    access: str
    where: str
    columns: tuple[str, ...]
    normalise: Callable
    cuts: tuple[tuple[str, Callable], ...]
    confidence: Callable
    order: int
    service: Service
    licence: str
    citation: str
    position: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    repeats: bool = False
    ask: Callable | None = None


REGISTRY = Registry("skyloom.surveys.spectro", "SURVEY", "skyloom.spectro", SpectroSurvey, "spectroscopic survey")


def ours() -> list[str]:
    """Names of the surveys that come with skyloom, in order of preference: what a compilation takes by default."""
    mine = [survey for survey in REGISTRY.values() if REGISTRY.modules[survey.name].rpartition(".")[0] == REGISTRY.package]
    return [survey.name for survey in sorted(mine, key=lambda survey: survey.order)]


def rated(*chances: tuple[int, float]) -> Callable:
    """A `confidence` by the whole part of a flag's last digit (13.2 counts as 3): (flag, probability), others 0.5."""
    def confidence(quality):
        import numpy as np

        whole = np.floor(quality) % 10
        return np.select([whole == flag for flag, _ in chances], [chance for _, chance in chances], 0.5)

    return confidence


def unwarned(quality):
    """The `confidence` of a pipeline that warns by bits: none is good."""
    import numpy as np

    return np.where(quality == 0, 0.995, 0.5)
