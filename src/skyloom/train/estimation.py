"""Streaming inference: z or p(z) of every row, in float32, whatever the size of the file."""

from __future__ import annotations

import numpy as np
import torch

from skyloom.dataset.augment import symmetry
from skyloom.models.card import Card
from skyloom.models.family import Arrays, Family
from skyloom.pz import distribution

ROWS = 32_768  # of a block: a multiple of every family's batch, so that blocks change no batch


def predicted(family: Family, model, card: Card, split, device, hidden=()) -> dict[str, np.ndarray]:
    """`z` (n,) of a split's rows and, where the model gives it, p(z) in one of `distribution.FORMS`; z is its mean. Surveys of
    `hidden` are shown as zero. NaN for objects of which the network sees nothing.

    Always the same for the same input: no augmentation, or the mean over all of the square's eight symmetries.
    """
    return _of_rows(family, model, card, split, device, np.arange(split.n), family.seen(card, split, hidden), hidden)


def in_blocks(family: Family, model, card: Card, split, device, size: int = ROWS):
    """The same of at most `size` rows after the other, so that no more p(z) is held at once; at least one block, of no rows where
    there are none."""
    seen = family.seen(card, split, ())
    for first in range(0, max(split.n, 1), size):
        rows = np.arange(first, min(first + size, split.n))
        yield rows, _of_rows(family, model, card, split, device, rows, seen[rows])


def _of_rows(family: Family, model, card: Card, split, device, rows, seen, hidden=()) -> dict[str, np.ndarray]:
    arrays = family.arrays(card, split, rows)
    if hidden:
        shown = arrays.images
        arrays.images = lambda rows: {name: pixels * (name not in hidden) for name, pixels in shown(rows).items()}
    head = family.head(card)
    empty = torch.zeros((0, head.outputs) if head else 0)
    parts = [family.outcome(card, numbers(model, arrays, device, family.at_once(card.options), turn) if len(rows) else empty)
             for turn in range(getattr(card.options, "symmetries", 1))]
    found = parts[0]
    if len(parts) > 1:
        found = {name: values.astype(parts[0][name].dtype) for name, values in distribution.combined(parts).items()}
    for name, values in found.items():
        if name not in distribution.SHARED:
            values[~seen] = np.nan
    return {"z": distribution.mean(found), **found} if distribution.form(found) else found


@torch.no_grad()
def numbers(model, arrays: Arrays, device, batch_size: int, turn: int = 0) -> torch.Tensor:
    """The raw numbers (n, outputs) of a network for all rows of arrays, on the CPU; images under one of the eight symmetries."""
    model.to(device, memory_format=torch.channels_last).eval()
    n, out = len(arrays.table), []
    for rows in np.array_split(np.arange(n), max(1, -(-n // batch_size))):
        images = arrays.images(rows) if arrays.images else None
        if isinstance(images, dict):
            images = {name: symmetry(torch.from_numpy(pixels).to(device), turn) for name, pixels in images.items()}
        elif images is not None:
            images = symmetry(torch.from_numpy(images).to(device, memory_format=torch.channels_last), turn)
        out.append(model(images, arrays.table[rows].to(device)).float().cpu())
    return torch.cat(out)
