"""What a scene teaches: boxes, masks, classes and redshifts of the sources to be found, of the rows of its labels.

Masks are flat: `bits` of one after another, row by row inside their boxes, so that memory grows with the sources' own pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from skyloom.errors import InputError
from skyloom.models.mvit.heads import GALAXY, STAR, UNKNOWN

COLUMNS = ("x", "y", "is_star", "redshift", "snr", "flux")


@dataclass
class Targets:
    """Sources of one scene: boxes (n, 4) float32 on whole pixels, kinds (n,) int64, z (n,) float32, NaN where the redshift
    teaches nothing; offset (n,) int64 into bits (sum of w h,) bool."""

    boxes: torch.Tensor
    kinds: torch.Tensor
    z: torch.Tensor
    offset: torch.Tensor
    bits: torch.Tensor

    def to(self, device) -> Targets:
        """The same elsewhere."""
        return Targets(*(value.to(device) for value in vars(self).values()))


def footprint(light: np.ndarray, level: float) -> np.ndarray:
    """(y, x) bool of a stamp of noise-free light: brighter than `level`, or than half its peak where that is fainter."""
    peak = float(light.max()) if light.size else 0.0
    return (light > min(level, peak / 2)) & (light > 0)


@dataclass(frozen=True)
class Lessons:
    """What teaches: least S/N in any band of a source to be found; number and least flux (nJy) of the band by which redshifts
    teach, whether those of stars (0) do; light a pixel that a mask holds, in sigma of the summed bands."""

    least_snr: float = 5.0
    gold_band: int = 0
    gold_flux: float = 0.0
    star_redshifts: bool = False
    mask_level: float = 1.0


def of(labels: Mapping[str, np.ndarray], stamps: list, x0: int, y0: int, shape: tuple[int, int], lessons: Lessons) -> Targets:
    """Targets of the crop of `shape` (y, x) px at pixel (x0, y0) of a tile, in pixels of the crop.

    `labels`: `COLUMNS` of the tile's label rows, `stamps`: [(first column, first row, (rows, columns) light)] of each in the
    noise of one band. A source is taught if its S/N is enough, its centre lies in the crop, and any of its light. InputError for
    labels that lack a column.
    """
    if missing := [name for name in COLUMNS if name not in labels]:
        raise InputError(f"the labels lack `{missing[0]}`, from which boxes and masks are made; rerun label-scenes")
    x, y = np.asarray(labels["x"]) - x0, np.asarray(labels["y"]) - y0
    inside = (x >= -0.5) & (x < shape[1] - 0.5) & (y >= -0.5) & (y < shape[0] - 0.5)
    best = np.nan_to_num(labels["snr"]).max(axis=1, initial=0.0)
    level = lessons.mask_level * np.sqrt(np.shape(labels["flux"])[1])
    found, rows = [], []
    for row in np.flatnonzero(inside & (best >= lessons.least_snr)):
        left, low, light = stamps[row]
        if (one := _cut(left - x0, low - y0, light, shape, level)) is not None:
            found.append(one)
            rows.append(row)
    rows = np.array(rows, int)
    star, z = np.asarray(labels["is_star"])[rows], _taught({name: np.asarray(labels[name])[rows] for name in COLUMNS}, lessons)
    sizes = np.array([bits.size for _, bits in found], int)
    bits = np.concatenate([bits.ravel() for _, bits in found]) if found else np.zeros(0, bool)
    kinds = np.where(star > 0, STAR, np.where(star == 0, GALAXY, UNKNOWN))
    boxes = np.array([box for box, _ in found], np.float32).reshape(-1, 4)
    return Targets(torch.from_numpy(boxes), torch.from_numpy(kinds).long(), torch.from_numpy(z),
                   torch.from_numpy(np.cumsum(sizes) - sizes).long(), torch.from_numpy(bits))


def _taught(labels, lessons) -> np.ndarray:
    """(n,) float32 redshifts, NaN where they don't teach."""
    star = labels["is_star"] == 1
    z = np.where(star, 0.0 if lessons.star_redshifts else np.nan, labels["redshift"].astype(float))
    return np.where(labels["flux"][:, lessons.gold_band] >= lessons.gold_flux, z, np.nan).astype(np.float32)


def _cut(x0: int, y0: int, light: np.ndarray, shape, level):
    """(box, bits inside it) of one source, None if no pixel of its footprint lies in the crop."""
    bits = footprint(np.nan_to_num(light), level)
    bits = bits[max(-y0, 0):max(shape[0] - y0, 0), max(-x0, 0):max(shape[1] - x0, 0)]
    at_y, at_x = np.flatnonzero(bits.any(axis=1)), np.flatnonzero(bits.any(axis=0))
    if not len(at_y):
        return None
    y, x = max(y0, 0) + at_y[[0, -1]], max(x0, 0) + at_x[[0, -1]]
    return (x[0], y[0], x[1] + 1, y[1] + 1), bits[at_y[0]:at_y[-1] + 1, at_x[0]:at_x[-1] + 1]


def turned(targets: Targets, which: int, side: int) -> Targets:
    """Targets of a square scene of `side` px under one of the eight symmetries, as `dataset.augment.symmetry` turns images:
    quarter turns `which % 4` against the clock, then a flip of x if `which >= 4`."""
    boxes, shapes = targets.boxes, (targets.boxes[:, 2:] - targets.boxes[:, :2]).long().tolist()
    for _ in range(which % 4):  # x, y -> y, side - x
        boxes = torch.stack([boxes[:, 1], side - boxes[:, 2], boxes[:, 3], side - boxes[:, 0]], dim=1)
    if which >= 4:
        boxes = torch.stack([side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3]], dim=1)
    parts = []
    for (w, h), offset in zip(shapes, targets.offset.tolist(), strict=True):
        bits = torch.rot90(targets.bits[offset:offset + w * h].reshape(h, w), which % 4, (0, 1))
        parts.append((bits.flip(1) if which >= 4 else bits).reshape(-1))
    return replace(targets, boxes=boxes, bits=torch.cat(parts) if parts else targets.bits)


def pixels(targets: Targets, rows: torch.Tensor, boxes: torch.Tensor, cells: int) -> torch.Tensor:
    """(m, cells, cells) float32: whether the pixel in which each cell's centre of boxes (m, 4) lies is part of the mask of the
    targets' `rows` (m,)."""
    step = (torch.arange(cells, device=boxes.device) + 0.5) / cells
    own, offset = targets.boxes[rows].long(), targets.offset[rows]
    x = torch.floor(boxes[:, :1] + (boxes[:, 2:3] - boxes[:, :1]) * step).long() - own[:, :1]
    y = torch.floor(boxes[:, 1:2] + (boxes[:, 3:4] - boxes[:, 1:2]) * step).long() - own[:, 1:2]
    w, h = (own[:, 2] - own[:, 0])[:, None, None], (own[:, 3] - own[:, 1])[:, None, None]
    x, y = x[:, None].expand(-1, cells, -1), y[:, :, None].expand(-1, -1, cells)
    within = (x >= 0) & (y >= 0) & (x < w) & (y < h)
    at = torch.where(within, offset[:, None, None] + y * w + x, 0)
    if not len(targets.bits):
        return within.float()
    return (targets.bits[at] & within).float()
