"""What is to be learned of a crop: sources with their light on the cells, centre maps; turned as the image is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from skyloom.models.scene.inputs import CELL
from skyloom.models.scene.peaks import COARSE

FAINT = 3.0  # S/N: between this and the least one to be found a source is neither right nor wrong
KAPPA = 0.5  # sigma a pixel and band: light that counts as sky's
WIDE = 700  # px above KAPPA: a source of at least so many belongs to the coarse scale, too
COLUMNS = ("x", "y", "snr", "is_star", "flux", "half_light_radius", "redshift")


@dataclass
class Sources:
    """n sources that have light in a crop: x, y px of the crop, snr (n, band), is_star (n,) 1, 0 or -1, flux (n, band)
    nJy, half_light_radius arcsec, redshift (NaN = none), wide (n,) bool; `light`: [(first column, first row, (rows,
    columns) float32 in sigma)] of each on the cells; `crowd` (rows, columns) the light of all."""

    x: np.ndarray
    y: np.ndarray
    snr: np.ndarray
    is_star: np.ndarray
    flux: np.ndarray
    half_light_radius: np.ndarray
    redshift: np.ndarray
    wide: np.ndarray
    light: list = field(default_factory=list)
    crowd: np.ndarray | None = None


def kappa(bands: int) -> float:
    """Light of a cell that counts as sky's, in sigma of the sum over `bands`."""
    return KAPPA * np.sqrt(bands) * CELL**2


def of_crop(labels: dict, stamps: list, x0: int, y0: int, side: int, rest: np.ndarray | None = None) -> Sources:
    """Sources of the crop of `side` px at pixel (x0, y0) of a tile. labels: COLUMNS of the tile's rows; stamps: [(first column,
first row, (rows, columns) light)] of each on the tile's pixels; rest (y, x): light of what has no label."""
    bands = labels["flux"].shape[1]
    crowd = np.zeros((side // CELL, side // CELL), np.float32)
    if rest is not None:
        crowd += rest[y0:y0 + side, x0:x0 + side].reshape(side // CELL, CELL, side // CELL, CELL).sum(axis=(1, 3))
    rows, lights, wide = [], [], []
    for k, (left, low, stamp) in enumerate(stamps):
        found = _on_cells(left - x0, low - y0, stamp, side)
        if found is None:
            continue
        column, row, light = found
        crowd[row:row + light.shape[0], column:column + light.shape[1]] += light
        rows.append(k)
        lights.append(found)
        wide.append((stamp > KAPPA * np.sqrt(bands)).sum() >= WIDE)
    own = {name: labels[name][rows] for name in COLUMNS}
    snr = np.nan_to_num(own.pop("snr"))
    x, y = own.pop("x") - x0, own.pop("y") - y0
    return Sources(x, y, snr, wide=np.array(wide, bool), light=lights, crowd=crowd, **own)


def _on_cells(left: int, low: int, stamp: np.ndarray, side: int):
    """(first column, first row, light) of a stamp at a pixel of the crop, summed over cells; None where it lies outside."""
    x1, y1 = max(left, 0), max(low, 0)
    x2, y2 = min(left + stamp.shape[1], side), min(low + stamp.shape[0], side)
    if x2 <= x1 or y2 <= y1:
        return None
    column, row = x1 // CELL, y1 // CELL
    columns, rows = -(-x2 // CELL) - column, -(-y2 // CELL) - row
    canvas = np.zeros((rows * CELL, columns * CELL), np.float32)
    canvas[y1 - row * CELL:y2 - row * CELL, x1 - column * CELL:x2 - column * CELL] = stamp[y1 - low:y2 - low, x1 - left:x2 - left]
    return column, row, canvas.reshape(rows, CELL, columns, CELL).sum(axis=(1, 3))


def turned(planes: list[np.ndarray], sources: Sources, which: int) -> tuple[list[np.ndarray], Sources]:
    """A square crop (planes (..., y, x)) under one of the eight symmetries: `which` % 4 quarter turns, mirrored from 4 on."""
    side = planes[0].shape[-1]
    for _ in range(which % 4):
        planes, sources = [np.rot90(p, axes=(-2, -1)) for p in planes], _quarter(sources, side)
    if which >= 4:
        planes, sources = [p[..., ::-1] for p in planes], _mirrored(sources, side)
    return [np.ascontiguousarray(p) for p in planes], sources


def _quarter(s: Sources, side: int) -> Sources:
    cells = side // CELL
    light = [(row, cells - column - a.shape[1], np.rot90(a)) for column, row, a in s.light]
    return replace(s, x=s.y, y=side - 1 - s.x, light=light, crowd=np.rot90(s.crowd))


def _mirrored(s: Sources, side: int) -> Sources:
    cells = side // CELL
    light = [(cells - column - a.shape[1], row, a[:, ::-1]) for column, row, a in s.light]
    return replace(s, x=side - 1 - s.x, light=light, crowd=s.crowd[:, ::-1])


def centred(s: Sources, least: float) -> tuple[np.ndarray, np.ndarray]:
    """(rows to be found, rows that are neither right nor wrong) among the sources whose centre lies in the crop."""
    side = CELL * len(s.crowd)
    inside = (s.x >= -0.5) & (s.x < side - 0.5) & (s.y >= -0.5) & (s.y < side - 0.5)
    snr = s.snr.max(axis=1)
    return np.flatnonzero(inside & (snr >= least)), np.flatnonzero(inside & (snr >= FAINT) & (snr < least))


def centre_maps(s: Sources, least: float) -> dict[str, np.ndarray]:
    """Targets of both scales' centre maps: `centre` and `coarse` (rows, columns): 1 at a centre, a Gaussian of one cell around
    it, NaN where a source is neither right nor wrong; `offset` and `coarse_offset` (2, rows, columns) in cells at centres."""
    right, neither = centred(s, least)
    fine, offset = _map(s, right, neither, CELL)
    coarse, coarse_offset = _map(s, right[s.wide[right]], neither[:0], CELL * COARSE)
    return {"centre": fine, "offset": offset, "coarse": coarse, "coarse_offset": coarse_offset}


def _map(s: Sources, right, neither, stride: int):
    """(map, offset) on cells of `stride` px."""
    cells = CELL * len(s.crowd) // stride
    out, offset = np.zeros((cells, cells), np.float32), np.zeros((2, cells, cells), np.float32)
    reach = np.arange(-3, 4)
    for rows, value in ((neither, np.nan), (right, 1.0)):
        x, y = (s.x[rows] + 0.5) / stride - 0.5, (s.y[rows] + 0.5) / stride - 0.5
        for cx, cy in zip(x, y, strict=True):
            column, row = int(np.clip(np.floor(cx + 0.5), 0, cells - 1)), int(np.clip(np.floor(cy + 0.5), 0, cells - 1))
            across, along = column + reach, row + reach
            across, along = across[(across >= 0) & (across < cells)], along[(along >= 0) & (along < cells)]
            d2 = (across[None, :] - cx) ** 2 + (along[:, None] - cy) ** 2
            part = out[along[0]:along[-1] + 1, across[0]:across[-1] + 1]
            if np.isnan(value):
                part[d2 < 4] = np.nan
                continue
            np.fmax(part, np.exp(-d2 / 2).astype(np.float32), out=part, where=~np.isnan(part) | (d2 < 2))
            out[row, column] = 1.0
            offset[:, row, column] = cx - column, cy - row
    return out, offset


def light_window(light, column: int, row: int, side: int) -> np.ndarray:
    """(side, side) light of a source on the window of cells centred at (column, row)."""
    out = np.zeros((side, side), np.float32)
    first_column, first_row, values = light
    dx, dy = first_column - (column - side // 2), first_row - (row - side // 2)
    x1, y1, x2, y2 = max(dx, 0), max(dy, 0), min(dx + values.shape[1], side), min(dy + values.shape[0], side)
    if x2 > x1 and y2 > y1:
        out[y1:y2, x1:x2] = values[y1 - dy:y2 - dy, x1 - dx:x2 - dx]
    return out
