"""attribute: exact Shapley values of every band for some testing objects of one trained fusion model."""

from __future__ import annotations

import numpy as np
import torch

from skyloom import store
from skyloom.cutouts.stamps import UNUSABLE
from skyloom.dataset import multi
from skyloom.measure import ablation
from skyloom.models import artefact, attribution, fusion, mantis, registry
from skyloom.progress import Progress
from skyloom.surveys import imaging
from skyloom.train import loop
from skyloom.verbs import common

CHUNK = 8  # objects whose coalitions are held at once


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--model", required=True, help="folder with model.safetensors and model.json")
    parser.add_argument("--data", required=True, help="packed testing split")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write object_id, z_spec, z_phot, survey, band, shapley, mm_shap: a row an object and band."""
    import pandas

    model, card = artefact.load(args.model)
    loop.prepare(card["seed"], card["threads"])
    device = loop.choose_device(args.settings["device"])
    model.to(device).eval()
    split = multi.opened(args.data, card, ["specz_redshift"])
    rows = chosen(split, card, args.settings["objects"])
    bands, parts = attribution.band_names(model.surveys), []
    progress = Progress(total=len(rows), label=f"attribute {card['model']}")
    for part in np.array_split(rows, max(1, -(-len(rows) // CHUNK))):
        values = coalition_values(model, card, split, part, device)
        shapley = attribution.shapley(values)
        parts += [pandas.DataFrame({
            "object_id": split.columns["object_id"][row], "z_spec": split.columns["specz_redshift"][row], "z_phot": whole,
            "survey": [name for name, _ in bands], "band": [card["bands"][name][b] for name, b in bands],
            "shapley": value, "mm_shap": attribution.mm_shap(value[None])[0]})
            for row, value, whole in zip(part, shapley, values[-1], strict=True)]
        progress.step(len(part))
    meta = common.provenance(args.settings) | {"model": card["model"], "seed": card["seed"], "data_hash": card["data_hash"]}
    store.write_parquet(args.out, pandas.concat(parts, ignore_index=True), meta)


def chosen(split, card, most: int) -> np.ndarray:
    """Up to `most` rows spread evenly over the redshifts of the objects that the model sees."""
    z = split.columns["specz_redshift"]
    seen = np.any([bands.any(axis=1) for bands in split.seen(np.arange(split.n), card["image"]["kind"]).values()], axis=0)
    good = np.flatnonzero(np.isfinite(z) & seen)
    order = good[np.argsort(z[good], kind="stable")]
    return order[np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).astype(int))]


def coalition_values(model, card, split, rows, device) -> np.ndarray:
    """Point estimates (2^bands, m) of rows with every coalition of bands kept and the others' targets removed."""
    frames = split.frames(card["options"], card["fusion"] == "early")
    seen = split.seen(rows, card["image"]["kind"])
    whole, without = {}, {}
    for name in model.surveys:
        pixels = split.read(name, rows)
        for out, source in ((whole, pixels), (without, removed(split, name, rows, pixels, seen[name]))):
            found = fusion.inputs(name, source, seen[name], split.scale[name], card["image"], frames[name])
            out[name] = torch.from_numpy(found).to(device)
    ebv = torch.from_numpy(split.ebv()[rows]).to(device)
    values = attribution.values_late if card["fusion"] == "late" else attribution.values_early
    return values(model, whole, without, ebv, registry.fusion_head(card["options"]).mean)


def removed(split, name: str, rows, pixels, seen) -> np.ndarray:
    """Pixels (m, band, y, x) with the target taken out of every band that holds something; the noise depends on the
    object and band alone."""
    ivar, mask = split.read(name, rows, "ivar"), split.read(name, rows, "mask")
    bad, out = (ivar == 0) | ((mask & UNUSABLE) != 0), pixels.copy()
    for m, b in np.argwhere(seen):
        rng = np.random.default_rng([int(split.columns["object_id"][rows[m]]) % 2**63, list(mantis.SURVEYS).index(name), int(b)])
        out[m, b] = ablation.remove(pixels[m, b], bad[m, b], imaging.REGISTRY[name].aperture, rng)
    return out
