"""attribute: exact Shapley values of every band for some testing objects of one trained fusion model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from skyloom import store, typed
from skyloom.cutouts.stamps import UNUSABLE
from skyloom.errors import InputError
from skyloom.models import artefact, attribution, families, fusion
from skyloom.progress import Progress
from skyloom.surveys import imaging
from skyloom.train import data, loop
from skyloom.verbs import common

CHUNK = 8  # objects whose coalitions are held at once

ORDER = ("galex", "ps1", "unwise")  # surveys whose noise has these places in its seed; others follow


@dataclass(frozen=True)
class Settings:
    """What the rule gives: how many objects."""

    objects: int
    device: str = "auto"


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--model", required=True, help="folder with model.safetensors and model.json")
    parser.add_argument("--data", required=True, help="packed testing split")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write object_id, z_spec, z_phot, survey, band, shapley, mm_shap: a row an object and band."""
    import pandas

    settings = typed.read(Settings, args.settings, "--settings", strict=False)
    model, card = artefact.load(args.model)
    family = families.of(card.model)
    if family.reads != "surveys":
        raise InputError(f"{args.model} holds {card.model}, which doesn't see several surveys; attribute a model that does")
    loop.prepare(card.seed, card.threads)
    device = loop.choose_device(settings.device)
    model.to(device).eval()
    split = data.of_card(args.data, card, [data.REDSHIFT])
    rows = chosen(family, card, split, settings.objects)
    bands, parts = attribution.band_names({name: card.bands[name] for name in card.surveys}), []
    progress = Progress(total=len(rows), label=f"attribute {card.model}")
    for part in np.array_split(rows, max(1, -(-len(rows) // CHUNK))):
        values = coalition_values(family, model, card, split, part, device)
        shapley = attribution.shapley(values)
        parts += [pandas.DataFrame({
            "object_id": split.columns["object_id"][row], "z_spec": split.columns[data.REDSHIFT][row], "z_phot": whole,
            "survey": [name for name, _ in bands], "band": [card.bands[name][b] for name, b in bands],
            "shapley": value, "mm_shap": attribution.mm_shap(value[None])[0]})
            for row, value, whole in zip(part, shapley, values[-1], strict=True)]
        progress.step(len(part))
    meta = common.provenance(args.settings) | {"model": card.model, "seed": card.seed, "data_hash": card.data_hash}
    store.write_parquet(args.out, pandas.concat(parts, ignore_index=True), meta)


def chosen(family, card, split, most: int) -> np.ndarray:
    """Up to `most` rows spread evenly over the redshifts of the objects that the model sees."""
    z = split.columns[data.REDSHIFT]
    good = np.flatnonzero(np.isfinite(z) & family.seen(card, split))
    if not len(good):
        raise InputError(f"{split.path} has no object with a redshift of which {card.model} sees anything; widen the sample")
    order = good[np.argsort(z[good], kind="stable")]
    return order[np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).astype(int))]


def coalition_values(family, model, card, split, rows, device) -> np.ndarray:
    """Point estimates (2^bands, m) of rows with every coalition of bands kept and the others' targets removed."""
    parts = []
    for source in (split, Removed(split)):
        arrays = family.arrays(card, source, rows)
        parts.append({name: torch.from_numpy(pixels).to(device) for name, pixels in arrays.images(np.arange(len(rows))).items()})
    values = attribution.values_late if card.fusion == "late" else attribution.values_early
    return values(model, *parts, arrays.table.to(device), family.point(card))


class Removed:
    """A split with the target taken out of every stamp that holds something; the noise depends on object and band alone."""

    def __init__(self, split):
        self.split = split

    def __getattr__(self, name: str):
        return getattr(self.split, name)

    def read(self, name: str, rows: np.ndarray, what: str = "image") -> np.ndarray:
        """Pixels (m, band, y, x) of one survey without targets, or its `ivar` or `mask`."""
        from skyloom.measure import ablation  # sep, which a GPU box may lack

        found = self.split.read(name, rows, what)
        if what != "image":
            return found
        ivar, mask = self.split.read(name, rows, "ivar"), self.split.read(name, rows, "mask")
        bad, out = (ivar == 0) | ((mask & UNUSABLE) != 0), found.copy()
        place = sorted({*ORDER, *self.split.surveys}, key=lambda other: (other not in ORDER, other)).index(name)
        for m, b in np.argwhere(fusion.usable(self.split.status[name][rows], self.split.names, "default")):
            rng = np.random.default_rng([int(self.split.columns["object_id"][rows[m]]) % 2**63, place, int(b)])
            out[m, b] = ablation.remove(found[m, b], bad[m, b], imaging.REGISTRY[name].aperture, rng)
        return out
