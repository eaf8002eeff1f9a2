"""What a model family is: its options, what it reads, and the steps from a packed file to p(z).

A family's module imports torch, numpy and pandas inside methods only: the Snakefile lists the families without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from skyloom import typed
from skyloom.errors import InputError
from skyloom.typed import option

if TYPE_CHECKING:
    import numpy as np
    import torch

    from skyloom.models.card import Card
    from skyloom.models.heads import Head


@dataclass(frozen=True)
class Training:
    """Options that every family has: what the training loop reads. A family's own class adds fields or changes defaults.

    Some of the loop's options are fields only of families that they suit, the loop finds the value here for others: `augment`
    (`rotations` by any angle, other true values: a batch under one of the eight symmetries), `batches` (an epoch of so many,
    classes drawn evenly), `survey_dropout` (chance that a survey is hidden), `tune`, `refit` (learn from `select`, too,
    unless `objects` says from how many) and `reweight` (the split toward whose magnitudes and colours objects are drawn).
    """

    lr: float = option(1e-3, "learning rate, the highest of a schedule", type="number", exclusiveMinimum=0)
    batch_size: int = option(128, "objects a step", type="integer", minimum=1)
    max_epochs: int = option(100, "epochs at most", type="integer", minimum=1)
    patience: int = option(10, "epochs without gain before training stops", type="integer", minimum=1)
    optimiser: str = option("adam", "adam takes a fifth of nadam's time on a CPU", enum=["adam", "nadam", "adamw"])
    schedule: str = option("constant", "onecycle: the rate rises over a tenth of the epochs, then falls to nothing",
                           enum=["onecycle", "constant"])
    weight_decay: float = option(0.0, "of the optimiser", type="number", minimum=0)
    plateau: int | None = option(None, "epochs without gain before the rate is halved", type="integer", minimum=1)
    objects: int | None = option(None, "of the training split, drawn by their ids, more of them holding fewer; else all learn",
                                 type="integer", minimum=1)
    augment: ClassVar[bool | str] = False
    batches: ClassVar[int | None] = None
    survey_dropout: ClassVar[float] = 0.0
    tune: ClassVar[bool] = False
    refit: ClassVar[bool] = False
    reweight: ClassVar[str | None] = None


@dataclass(frozen=True)
class Packed:
    """What a packed file holds: names of its datasets, the magnitudes that it declares."""

    path: str
    names: tuple[str, ...]
    magnitudes: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What a network reads of a packed file: columns, stamps of its one survey, stamps of several."""

    columns: tuple[str, ...] = ()
    images: bool = False
    surveys: tuple[str, ...] = ()


@dataclass
class Arrays:
    """Inputs of some rows: `images(rows) -> (m, band, y, x) float32` (or a mapping of such by survey), or None; table (n, k);
    z (n,), redshifts, or classes as integers, None where nothing is learned; `sizes` {survey: px} to which images are cropped
    once rotated; `jitter(table, generator)` -> the table of a batch as this step shows it; `weight` (n,): how often a row is
    drawn, relative to others; `classes` (n,) by which `batches` draws rows evenly, where z isn't them; `counts` (n,) bool:
    rows that the loss counts, None for all."""

    images: object
    table: torch.Tensor
    z: torch.Tensor | None = None
    sizes: dict | None = None
    jitter: object = None
    weight: torch.Tensor | None = None
    classes: torch.Tensor | None = None
    counts: torch.Tensor | None = None


class Family:
    """One kind of network. A module of `models/families`, or an entry point `skyloom.models` of another package, holds an
    instance as `FAMILY`; what differs from these methods is the family.

    `name` may go on in a config (`tabular_b`); `reads`: `columns` of any run's table, `stamps` of its one survey besides,
    stamps of several `surveys`, or whole `scenes`, which the module `trainer` learns from and applies it to; `everywhere`: the
    columns may be those of several surveys; `Options` a frozen dataclass below `Training`; `least` objects from which anything
    is learned; `batch` objects at a time in a prediction; `variants` {option: value} that describe-model may change, `described`
    {option: value} beside them where the published size is not the default one; `ablations` {name in the config: (model
    that it makes, empty for `{model}_{name}`; what that sees)}; `fusion` `early`, or `late` for networks with
    `features(survey, image)` and `join(features, table)`.
    A split, as the methods get it, has `path, n, columns`; with stamps `images(rows)`, `ivar(rows)`, `ivar_sample()`; with
    surveys `surveys, bands, scale, stamp, status, names, read(survey, rows, what)`, `ebv()`.
    """

    name = ""
    title = ""
    citation = ""
    reads = "columns"
    trainer = ""
    everywhere = False
    Options: type[Training] = Training
    least = 1
    batch = 256
    fusion = ""
    variants: Mapping[str, object] = {}
    described: Mapping[str, object] = {}
    ablations: Mapping[str, tuple[str, tuple[str, ...]]] = {}

    # facts, known without torch

    def options(self, given: Mapping, strict: bool = True) -> Training:
        """Published settings with `given` over them; InputError that names this family's options for another one."""
        return typed.read(self.Options, dict(given), f"the model family {self.name}", strict)

    def gives_pz(self, options: Training) -> bool:
        """Whether a network of these options gives p(z), not a point alone."""
        return getattr(options, "head", "") != "point"

    def sees_stamps(self, options: Training) -> bool:
        """Whether a network of these options reads the stamps of the run's one survey."""
        return self.reads == "stamps"

    def at_once(self, options: Training) -> int:
        """Objects at a time in a prediction."""
        return self.batch

    def memory_mb(self, options: Training) -> int:
        """MB of memory that a training takes."""
        return 4000

    def surveys(self, options: Training) -> tuple[str, ...]:
        """Imaging surveys that a network of several sees."""
        return tuple(getattr(options, "surveys", ()))

    def size(self, options: Training) -> int | None:
        """Stamp size in px whose file a network reads, None for any."""
        return None

    def files(self, options: Training) -> dict[str, str]:
        """{option: file} whose content decides the weights."""
        return {}

    def moves(self, packed: Packed, options: Training) -> tuple[Training, tuple]:
        """(start, paths of settings) that the verb tune tries, see `train.tuning`; no path: nothing to tune."""
        return options, ()

    # from a packed file to a network

    def wanted(self, packed: Packed, options: Training) -> Wanted:
        """What is read of a packed file."""
        return Wanted(magnitudes(packed, self.name))

    def fit(self, options: Training, split, rows: np.ndarray, packed: Packed) -> dict:
        """The part of model.json that describes inputs and outputs, fitted on the training rows: fields of `Card`."""
        raise NotImplementedError(f"the model family {self.name} lacks `fit`")

    def example(self, options: Training) -> dict:
        """Such a part without data, for describe-model."""
        raise NotImplementedError(f"the model family {self.name} lacks `example`")

    def parts(self, model: torch.nn.Module) -> dict[str, torch.nn.Module]:
        """Parts whose sizes describe-model tells beside the whole's."""
        return {}

    def detected(self, model: torch.nn.Module, card: Card, tile, **how):
        """The sources of a tile (`models.scene.inputs.Tile`) as `models.scene.detect.Found`; `how`: positions, threshold,
        precision, device of `models.scene.detect.detected`."""
        raise NotImplementedError(f"the model family {self.name} lacks `detected`")

    def build(self, card: Card) -> torch.nn.Module:
        """The untrained network of a card, called as model(images, table); parameters come from torch's global generator."""
        raise NotImplementedError(f"the model family {self.name} lacks `build`")

    def start(self, model, card: Card, learn: Arrays) -> dict:
        """Bring a fresh network to where training starts; fields of `Card` to add."""
        return {}

    def arrays(self, card: Card, split, rows: np.ndarray, z: np.ndarray | None = None, training: bool = False) -> Arrays:
        """Inputs of some rows, with their redshifts z (m,) where something is learned; `training`: as a training step wants
        them, with room to turn, with noise."""
        raise NotImplementedError(f"the model family {self.name} lacks `arrays`")

    # from the network's numbers to p(z)

    def head(self, card: Card) -> Head | None:
        """What the network's numbers mean; None for a point."""
        from skyloom.models.heads import Head

        return Head(**card.head) if card.head else None

    def loss(self, card: Card) -> Callable:
        """(numbers (m, outputs), z (m,)) -> mean loss."""
        return self.head(card).loss

    def point(self, card: Card) -> Callable:
        """numbers (m, outputs) -> redshifts (m,), on the network's device."""
        return self.head(card).mean

    def outcome(self, card: Card, out: torch.Tensor) -> dict[str, np.ndarray]:
        """A form of p(z) (`pz.distribution.FORMS`) of the network's numbers (n, outputs), or `z` (n,)."""
        head = self.head(card)
        return head.pz(out) if head else {"z": out.double().numpy()}

    def seen(self, card: Card, split, hidden=()) -> np.ndarray:
        """(n,) bool: objects of which the network sees anything, with some surveys hidden; the others get NaN."""
        import numpy as np

        return np.ones(split.n, bool)


def magnitudes(packed: Packed, name: str) -> tuple[str, ...]:
    """The magnitudes of a packed file; InputError without any."""
    if not packed.magnitudes:
        raise InputError(f"{packed.path} holds no magnitudes, which {name} reads; drop the model or add photometry")
    return packed.magnitudes
