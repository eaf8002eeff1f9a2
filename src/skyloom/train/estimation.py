"""Streaming inference: z of every row, in float32, whatever the size of the file."""

from __future__ import annotations

import numpy as np
import torch

from skyloom.dataset.augment import symmetry
from skyloom.models import registry


@torch.no_grad()
def predict_pz(model, inputs, ebv: np.ndarray, device, batch_size: int = 64, symmetries: int = 1,
               bins=lambda out: torch.softmax(out.float(), dim=1)) -> np.ndarray:
    """p(z) (n, bins) float32 of rows with `inputs(rows) -> {survey: (m, band, y, x)}` and ebv (n, k); `bins` turns the
    network's numbers into probabilities.

    Always the same for the same input: no augmentation, or the mean over all of the square's eight symmetries.
    """
    model.to(device, memory_format=torch.channels_last).eval()
    out = []
    for rows in np.array_split(np.arange(len(ebv)), max(1, -(-len(ebv) // batch_size))):
        if not len(rows):
            continue
        images = {name: torch.from_numpy(pixels).to(device) for name, pixels in inputs(rows).items()}
        total = sum(bins(model({name: symmetry(image, k) for name, image in images.items()},
                               torch.from_numpy(ebv[rows]).to(device))) for k in range(symmetries))
        out.append((total / symmetries).float().cpu().numpy())
    return np.concatenate(out) if out else np.zeros((0, 0), np.float32)


def pz_of_split(model, card: dict, split, device, hidden=()) -> np.ndarray:
    """p(z) (n, bins) float32 of a split's rows, surveys of `hidden` at zero; NaN where nothing is left to see."""
    frames = split.frames(card["options"], card["fusion"] == "early")

    def inputs(rows):
        found = split.inputs(rows, card["image"], frames)
        return {name: pixels * (name not in hidden) for name, pixels in found.items()}

    head, more = registry.fusion_head(card["options"]), {}
    if head.kind != "binned":
        more["bins"] = lambda out: head.bins(out, np.array(card["bin_edges"]))
    pz = predict_pz(model, inputs, split.ebv(), device, symmetries=card["options"]["symmetries"], **more)
    pz = pz.reshape(-1, len(card["bin_edges"]) - 1)
    seen = split.seen(np.arange(split.n), card["image"]["kind"])
    blind = ~np.any([seen[name].any(axis=1) for name in card["surveys"] if name not in hidden], axis=0)
    pz[np.broadcast_to(blind, split.n)] = np.nan
    return pz


@torch.no_grad()
def predict_table(model, raw: np.ndarray, device, batch_size: int = 4096) -> torch.Tensor:
    """The raw numbers (n, outputs) of a tabular network for inputs raw (n, k), on the CPU."""
    model.to(device).eval()
    parts = [model(None, rows.to(device)).float().cpu() for rows in torch.from_numpy(raw).split(batch_size)]
    return torch.cat(parts)


@torch.no_grad()
def predict(model, images, table: np.ndarray, device, batch_size: int = 256) -> np.ndarray:
    """z (n,), or the numbers of a head (n, outputs), float64, of rows with inputs table (n, k) and `images(rows)` (None for
    networks without)."""
    model.to(device, memory_format=torch.channels_last).eval()
    out = []
    for rows in np.array_split(np.arange(len(table)), max(1, -(-len(table) // batch_size))):
        if not len(rows):
            continue
        image = None
        if images is not None:
            image = torch.from_numpy(images(rows)).to(device, memory_format=torch.channels_last)
        out.append(model(image, torch.from_numpy(table[rows]).to(device)).double().cpu().numpy())
    return np.concatenate(out) if out else np.zeros(0)
