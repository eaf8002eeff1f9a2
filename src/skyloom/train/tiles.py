"""Tiles and their labels, read as they are needed: crops to learn from, whole tiles to judge by."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np

from skyloom import store
from skyloom.errors import InputError
from skyloom.models.scene import inputs, targets

STAMPS = ("stamp_x0", "stamp_y0", "stamp_w", "stamp_h", "stamp_offset")
EDGE = 16  # px: a source may lie so far outside its tile, whose light it sheds into


@dataclass
class Shard:
    """One file of tiles and that of its labels, open: `light` (flat) of labels, `rest` (tile, y, x) of what has none, or None;
    `labels` {column: (n,)} sorted by tile, `first` (tiles + 1,) where each tile's rows begin."""

    path: str
    handle: object
    light: object
    rest: object
    labels: dict
    first: np.ndarray

    @property
    def n(self) -> int:
        """Number of tiles."""
        return len(self.first) - 1


@dataclass
class Sky:
    """Tiles of all shards, in order: bands, arcsec a pixel, unit, number of tiles, their shard and row."""

    shards: list[Shard]
    bands: tuple[str, ...]
    pixel_scale: float
    unit: str
    shard: np.ndarray
    row: np.ndarray

    @property
    def n(self) -> int:
        """Number of tiles."""
        return len(self.row)

    def tile(self, k: int) -> inputs.Tile:
        """Tile k, whatever is not finite as not observed."""
        handle, row = self.shards[self.shard[k]].handle, self.row[k]
        image, ivar = inputs.cleaned(handle["image"][row], handle["ivar"][row])
        return inputs.Tile(image, ivar, handle["psf_fwhm"][row], self.bands, self.pixel_scale, self.unit)

    def rows(self, k: int) -> slice:
        """Rows of tile k in its shard's labels."""
        first = self.shards[self.shard[k]].first
        return slice(first[self.row[k]], first[self.row[k] + 1])

    def labels(self, k: int) -> dict[str, np.ndarray]:
        """Labels of tile k."""
        return {name: values[self.rows(k)] for name, values in self.shards[self.shard[k]].labels.items()}

    def stamps(self, k: int) -> list:
        """[(first column, first row, (rows, columns) light)] of the labels of tile k, read in one go where they lie together."""
        shard, rows = self.shards[self.shard[k]], self.rows(k)
        x0, y0, w, h, offset = (shard.labels[name][rows].astype(int) for name in STAMPS)
        size = w * h
        if not len(size):
            return []
        low, high = offset.min(), (offset + size).max()
        if high - low <= 2 * size.sum():
            values = shard.light[low:high]
            flat = [values[at - low:at - low + n] for at, n in zip(offset, size, strict=True)]
        else:
            flat = [shard.light[at:at + n] for at, n in zip(offset, size, strict=True)]
        return [(a, b, v.reshape(d, c)) for a, b, c, d, v in zip(x0, y0, w, h, flat, strict=True)]


@contextlib.contextmanager
def opened(scenes, labels):
    """A `Sky` of files of tiles and those of their labels, in the same order; InputError where they don't fit together."""
    if len(scenes) != len(labels) or not scenes:
        raise InputError(f"{len(scenes)} files of tiles and {len(labels)} of labels are given; give one of each a shard")
    with contextlib.ExitStack() as stack:
        shards = [_shard(stack, *paths) for paths in zip(scenes, labels, strict=True)]
        facts = [_facts(shard) for shard in shards]
        for shard, found in zip(shards, facts, strict=True):
            if found != facts[0]:
                raise InputError(f"{shard.path} has bands, pixels or unit {found}, {shards[0].path} has {facts[0]}; learn from "
                                 "tiles of one survey")
        number = np.concatenate([np.full(shard.n, k) for k, shard in enumerate(shards)])
        row = np.concatenate([np.arange(shard.n) for shard in shards])
        yield Sky(shards, *facts[0], number, row)


def _facts(shard: Shard) -> tuple:
    """(bands, pixel scale, unit)."""
    attributes = shard.handle.attrs
    return tuple(str(attributes["bands"]).split(",")), float(attributes["pixel_scale"]), str(attributes.get("unit", "nJy"))


def _shard(stack, scenes, labels) -> Shard:
    """A shard whose labels are checked and sorted by tile."""
    handle, known = (stack.enter_context(store.reading(path)) for path in (scenes, labels))
    for path, file, names in ((scenes, handle, ("image", "ivar", "psf_fwhm")),
                              (labels, known, ("tile", "stamp_values", *targets.COLUMNS, *STAMPS))):
        missing = [name for name in names if name not in file]
        if missing:
            raise InputError(f"{path} has no dataset `{missing[0]}`; make it again with this version's fetch-scenes and "
                             "label-scenes")
    tiles = known["tile"][:]
    n, bands = handle["image"].shape[:2]
    order = np.argsort(tiles, kind="stable")
    columns = {name: known[name][:][order] for name in (*targets.COLUMNS, *STAMPS)}
    _check(labels, tiles[order], columns, n, bands, handle["image"].shape[2:])
    light, rest = known["stamp_values"], known.get("rest")
    return Shard(str(scenes), handle, light, rest, columns, np.searchsorted(tiles[order], np.arange(n + 1)))


def _check(path, tiles, columns: dict, n: int, bands: int, shape) -> None:
    """InputError for labels of tiles that aren't there, far outside their tile, of other bands, or of no known class."""
    remedy = "label these tiles again"
    if len(tiles) and not 0 <= tiles[0] <= tiles[-1] < n:
        raise InputError(f"{path} has labels of tile {tiles[-1] if tiles[-1] >= n else tiles[0]}, the tiles are 0 to {n - 1}; "
                         f"{remedy}")
    if columns["flux"].ndim != 2 or columns["flux"].shape[1] != bands:
        raise InputError(f"{path} has fluxes of shape {columns['flux'].shape}, the tiles have {bands} bands; {remedy}")
    w, h = columns["stamp_w"], columns["stamp_h"]
    outside = (columns["stamp_x0"] < 0) | (columns["stamp_y0"] < 0) | (columns["stamp_x0"] + w > shape[1]) | (
        columns["stamp_y0"] + h > shape[0]) | ~np.isfinite(columns["x"]) | ~np.isfinite(columns["y"])
    if outside.any():
        k = int(np.flatnonzero(outside)[0])
        raise InputError(f"{path} has a label at ({columns['x'][k]:.1f}, {columns['y'][k]:.1f}) px whose light lies outside its "
                         f"tile of {shape[1]} x {shape[0]} px; {remedy}")
    if not np.isin(columns["is_star"], (-1, 0, 1)).all():
        raise InputError(f"{path} has classes besides 0 (galaxy), 1 (star) and -1 (unknown) in `is_star`; {remedy}")


def constants(sky: Sky, most: int = 200) -> dict:
    """`inputs.fit` on `most` tiles spread evenly over all."""
    chosen = np.unique(np.linspace(0, sky.n - 1, min(most, sky.n)).astype(int))
    read = [sky.shards[sky.shard[k]].handle for k in chosen]
    sigma = [inputs.noise(handle["ivar"][sky.row[k], :, ::4, ::4]) for k, handle in zip(chosen, read, strict=True)]
    width = np.array([handle["psf_fwhm"][sky.row[k]] for k, handle in zip(chosen, read, strict=True)], float)
    return inputs.fit(np.array(sigma), np.where(width > 0, width, np.nan))


def crop(sky: Sky, k: int, corners, side: int) -> list[tuple[list[np.ndarray], targets.Sources, np.ndarray]]:
    """[([image, ivar], sources, psf_fwhm)] of the crops of `side` px of tile k whose lower left pixels `corners` are."""
    tile, labels, stamps = sky.tile(k), sky.labels(k), sky.stamps(k)
    shard, out = sky.shards[sky.shard[k]], []
    rest = None if shard.rest is None else shard.rest[sky.row[k]]
    for x0, y0 in corners:
        window = (slice(None), slice(y0, y0 + side), slice(x0, x0 + side))
        out.append(([tile.image[window], tile.ivar[window]], targets.of_crop(labels, stamps, x0, y0, side, rest), tile.psf_fwhm))
    return out
