"""Centres from the maps, on both scales, and their match with labels."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from skyloom.models.scene.inputs import CELL
from skyloom.models.scene.network import Centres

COARSE = 4  # cells across a coarse cell
KNOWN = 0.3  # of the coarse map: a source is a wide one
APART = 8.0  # px: a coarse peak nearer to a fine one is the same source


def found(maps: dict, least: float, most: int | None = None) -> Centres:
    """Local maxima (of 3 x 3) above `least` on the fine map, and those of the coarse one that no fine peak is near; of each tile
    the `most` likely ones."""
    with torch.no_grad():
        heat, coarse = torch.sigmoid(maps["centre"][:, 0]), torch.sigmoid(maps["coarse"][:, 0])
        fine = _peaks(heat, maps["offset"], least, 1)
        tile, x, y, value = (torch.cat(pair) for pair in zip(fine, _alone(fine, _peaks(
            coarse, maps["coarse_offset"], max(least, KNOWN), COARSE)), strict=True))
        out = Centres(tile, x, y, value, known(coarse, tile, x, y))
        if most is not None and len(tile) > most:
            out = out.of(torch.argsort(value, descending=True, stable=True)[:most])
        return out


def known(coarse: torch.Tensor, tile, x, y) -> torch.Tensor:
    """(n,) bool: whether the coarse map (m, rows, columns) has a centre in the coarse cell of each position, px."""
    row, column = ((torch.floor((p + 0.5) / CELL / COARSE).long()) for p in (y, x))
    return coarse[tile, row.clamp(0, coarse.shape[1] - 1), column.clamp(0, coarse.shape[2] - 1)] > KNOWN


def _peaks(heat, offset, least: float, stride: int):
    """(tile, x, y, value) of a map's maxima, px."""
    top = functional.max_pool2d(heat[:, None], 3, 1, 1)[:, 0]
    tile, row, column = torch.nonzero((heat == top) & (heat > least), as_tuple=True)
    moved = offset[tile, :, row, column].clamp(-1, 1)
    size = CELL * stride
    x, y = ((at + moved[:, k] + 0.5) * size - 0.5 for k, at in enumerate((column, row)))
    return tile, x, y, heat[tile, row, column]


def _alone(fine, coarse):
    """The coarse peaks without a fine one within APART of them."""
    if not len(coarse[0]) or not len(fine[0]):
        return coarse
    d2 = (coarse[1][:, None] - fine[1]) ** 2 + (coarse[2][:, None] - fine[2]) ** 2
    near = (d2 < APART**2) & (coarse[0][:, None] == fine[0])
    return tuple(values[~near.any(dim=1)] for values in coarse)


def matched(tile, x, y, to_tile, to_x, to_y, reach: float) -> np.ndarray:
    """(n,) index of the position that belongs to each of n, -1 without: pairs within `reach` px of one tile, nearest first, each
    once."""
    out = np.full(len(x), -1)
    if not len(x) or not len(to_x):
        return out
    pairs = []
    for one in np.unique(tile):
        mine, theirs = np.flatnonzero(tile == one), np.flatnonzero(to_tile == one)
        d = np.hypot(x[mine, None] - to_x[theirs], y[mine, None] - to_y[theirs])
        a, b = np.nonzero(d < reach)
        pairs.append(np.stack([d[a, b], mine[a], theirs[b]]))
    pairs = np.concatenate(pairs, axis=1)
    taken: set[int] = set()
    for k in np.argsort(pairs[0], kind="stable"):
        a, b = int(pairs[1, k]), int(pairs[2, k])
        if out[a] < 0 and b not in taken:
            out[a] = b
            taken.add(b)
    return out
