"""model.json: all that rebuilds and explains a network besides its weights."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from skyloom import typed
from skyloom.models import families
from skyloom.models.family import Training

ALWAYS = ("table", "image", "head")  # null says that there is none


@dataclass(frozen=True)
class Card:
    """What model.json holds. Inputs: `inputs` columns, `table` their scaling, `image` that of pixels, `bands` (of several
    surveys {survey: bands}), `zero_point` and `pixel_scale` of stamps, `surveys`, `ebv` columns, `frames` {survey: (px,
    arcsec/px)}, `unit` of pixels, `acquisition`: how stamps are made. Outputs: `head` of p(z), None for a point, `bin_edges`,
    `own_head`: not the published classes. `facts`: what else a family keeps. `pretrained` {file: sha256}. Then the training,
    of `n_train` objects.
    """

    model: str
    options: Training
    inputs: tuple[str, ...] = ()
    table: dict | None = None
    image: dict | None = None
    bands: list | dict = field(default_factory=list)
    head: dict | None = None
    zero_point: float | None = None
    pixel_scale: float | dict | None = None
    surveys: tuple[str, ...] | None = None
    ebv: list | None = None
    unit: str | None = None
    frames: dict | None = None
    bin_edges: list | None = None
    fusion: str | None = None
    own_head: bool | None = None
    acquisition: dict | None = None
    facts: dict | None = None
    pretrained: dict | None = None
    seed: int = 0
    n_train: int | None = None
    parameters: int | None = None
    best_epoch: int | None = None
    epochs: int | None = None
    data_hash: str | None = None
    device: str | None = None
    precision: str | None = None
    threads: int = 1
    torch: str | None = None
    skyloom_version: str | None = None
    config_hash: str | None = None
    code_hash: str | None = None
    run: str | None = None
    release: str | None = None

    @classmethod
    def read(cls, given: dict) -> Card:
        """From model.json's content; keys of other versions are passed over. InputError for a missing one or a family that
        nobody knows."""
        known = {one.name for one in fields(cls)}
        own = families.of(given["model"]).options(given["options"], strict=False)
        return typed.read(cls, {key: given[key] for key in given if key in known} | {"options": own}, "model.json")

    def plain(self) -> dict:
        """As JSON holds it, without what a network of its kind doesn't have."""
        return {key: value for key, value in typed.plain(self).items() if value is not None or key in ALWAYS}
