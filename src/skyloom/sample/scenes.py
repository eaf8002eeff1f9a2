"""Tiles of scenes: which there are, what part of the sky each owns, and in which shard it lies; known from the config alone.

A part is a box of the sky. Its tiles stand on a lattice of square cells of `side - overlap` px about the box's middle, columns
to the west, rows to the north, and each reaches half the overlap beyond its cell. On an archive's pixels the lattice is laid by
`snapped`: cells that come from one grid (one tract) tile it to the pixel.
"""

from __future__ import annotations

import math

from skyloom.errors import InputError, ReplyError
from skyloom.sample import regions

PARTS = ("training", "validation", "testing")
TURN = 2.0  # deg between an image's axes and north beyond which upright cells would leave gaps


def shards(settings: dict, pixel_scale: float) -> list[str]:
    """Names of the shards, `{part}_{k:03d}`, of the block `scenes` at `pixel_scale` (arcsec); InputError as for `check`."""
    return [f"{part}_{k:03d}" for part, box in _parts(settings)
            for k in range(-(-math.prod(_lattice(settings, part, box, pixel_scale)) // settings["tiles_per_shard"]))]


def check(settings: dict, pixel_scale: float) -> None:
    """InputError for parts that are none, share sky or hold no tile, or an overlap that leaves a tile nothing of its own."""
    if settings["side"] <= settings["overlap"]:
        raise InputError(f"`scenes.overlap` is {settings['overlap']} px, no less than `scenes.side` {settings['side']}; lower it")
    if not settings["parts"]:
        raise InputError("`scenes.parts` is empty; give boxes for training, validation and testing")
    boxes = {part: regions.of(box, f"`scenes.parts.{part}`") for part, box in settings["parts"].items()}
    for part, one in boxes.items():
        _lattice(settings, part, settings["parts"][part], pixel_scale)
        for other, two in boxes.items():
            apart = (one.dec_min >= two.dec_max or two.dec_min >= one.dec_max or
                     (two.west - one.west) % 360 >= one.width and (one.west - two.west) % 360 >= two.width)
            if other != part and not apart:
                raise InputError(f"`scenes.parts.{part}` and `scenes.parts.{other}` share sky; a tile belongs to one: part them")


def tiles(settings: dict, pixel_scale: float) -> dict:
    """Columns of all tiles in the order of their shards: `tile_id` (int64), `part`, `shard`, `ra`, `dec` (deg, of the centre on
    the lattice), `row`, `column`, `rows`, `columns` (of the part), `middle_ra`, `middle_dec` (the lattice's), `core` (x0, x1, y0,
    y1 px, half-open)."""
    import numpy as np

    from skyloom import wcs  # not at the top: the Snakefile names the shards without numpy

    low, step = settings["overlap"] // 2, settings["side"] - settings["overlap"]
    out = []
    for part, box in _parts(settings):
        rows, columns = _lattice(settings, part, box, pixel_scale)
        row, column = _order(rows, columns, settings["tiles_per_shard"])
        middle = middle_of(box)
        east, north = (-(column - (columns - 1) / 2) * step, (row - (rows - 1) / 2) * step)
        ra, dec = wcs.from_plane(middle, east * pixel_scale / 3600, north * pixel_scale / 3600)
        same = np.ones(len(row), np.int64)
        out.append({"tile_id": ((PARTS.index(part) + 1) << 40) + (row << 20) + column, "part": np.full(len(row), part, object),
                    "shard": np.array([f"{part}_{k // settings['tiles_per_shard']:03d}" for k in range(len(row))], object),
                    "ra": ra, "dec": dec, "row": row, "column": column, "rows": rows * same, "columns": columns * same,
                    "middle_ra": middle[0] * same, "middle_dec": middle[1] * same,
                    "core": np.tile([low, low + step, low, low + step], (len(row), 1))})
    return {name: np.concatenate([one[name] for one in out]) for name in out[0]}


def of_shard(settings: dict, pixel_scale: float, shard: str) -> dict:
    """The columns of one shard's tiles; InputError for a name that is none."""
    whole = tiles(settings, pixel_scale)
    if shard not in whole["shard"]:
        raise InputError(f"the scenes have no shard {shard}; theirs go from {whole['shard'][0]} to {whole['shard'][-1]}")
    return {name: column[whole["shard"] == shard] for name, column in whole.items()}


def snapped(tile: dict, k: int, settings: dict, grid) -> tuple[int, int]:
    """The first pixel (x, y, 0-based) of tile `k` on an archive's grid (crval, crpix, cd): the lattice stands about the whole
    pixel next to its middle, so that cells of one grid tile it. ReplyError `turned` where the grid doesn't stand upright."""
    from skyloom import wcs

    crval, crpix, cd = grid
    turn = max(math.degrees(math.atan2(abs(cd[0][1]), abs(cd[1][1]))), math.degrees(math.atan2(abs(cd[1][0]), abs(cd[0][0]))))
    if turn > TURN:
        raise ReplyError("turned", f"the image's axes stand {turn:.1f} deg off north; resample it to north up")
    x, y = wcs.tan_pixel(crval, crpix, cd, float(tile["middle_ra"][k]), float(tile["middle_dec"][k]))
    step, out = settings["side"] - settings["overlap"], []
    for middle, at, count, along in ((x, "column", "columns", cd[0][0] < 0), (y, "row", "rows", cd[1][1] > 0)):
        number = int(tile[at][k]) if along else int(tile[count][k]) - 1 - int(tile[at][k])
        out.append(math.floor(middle + 0.5) + number * step - (int(tile[count][k]) * step + settings["overlap"]) // 2)
    return out[0], out[1]


def placed(tile: dict, settings: dict, frames: list) -> tuple:
    """(ra, dec) in deg of the tiles' centres on the archive's grids: a list of (crval, crpix, cd), None where the archive has
    none: there the tile keeps its place on the lattice."""
    from skyloom import wcs

    ra, dec = tile["ra"].copy(), tile["dec"].copy()
    for k, grid in enumerate(frames):
        if grid is not None:
            x, y = (first + (settings["side"] - 1) / 2 for first in snapped(tile, k, settings, grid))
            ra[k], dec[k] = wcs.tan_position(*grid, x, y)
    return ra, dec


def _parts(settings: dict) -> list[tuple[str, list]]:
    """(part, box) in the order of `PARTS`, however the config puts them."""
    return [(part, settings["parts"][part]) for part in PARTS if part in settings["parts"]]


def wider(box, rim: float) -> list[float]:
    """A part's box with a rim of so many deg about it, as `query.region` takes it."""
    region = regions.of(box)
    low, high = max(region.dec_min - rim, -90.0), min(region.dec_max + rim, 90.0)
    side = rim / max(math.cos(math.radians(max(abs(low), abs(high)))), 0.01)
    return [region.west - side, region.west + region.width + side, low, high]


def middle_of(box) -> tuple[float, float]:
    """(ra, dec) in deg of a box's middle."""
    region = regions.of(box)
    return (region.west + region.width / 2) % 360, (region.dec_min + region.dec_max) / 2


def _lattice(settings: dict, part: str, box, pixel_scale: float) -> tuple[int, int]:
    """(rows, columns) of whole tiles that a part's box holds; InputError without any."""
    region = regions.of(box, f"`scenes.parts.{part}`")
    narrow = math.cos(math.radians(max(abs(region.dec_min), abs(region.dec_max))))
    step = settings["side"] - settings["overlap"]
    found = [int((extent * 3600 / pixel_scale - settings["overlap"]) // step)
             for extent in (region.dec_max - region.dec_min, region.width * narrow)]
    if min(found) < 1:
        wide = settings["side"] * pixel_scale / 3600
        raise InputError(f"`scenes.parts.{part}` holds no tile: one of {settings['side']} px is {wide:.4f} deg wide; widen the "
                         "box or lower `scenes.side`")
    return found[0], found[1]


def _order(rows: int, columns: int, per_shard: int):
    """(row, column) of a lattice's cells: strips of rows as high as a shard is wide, to and fro, so that shards are compact."""
    import numpy as np

    high = max(1, math.isqrt(per_shard))
    row, column = (grid.ravel() for grid in np.mgrid[:rows, :columns])
    strip = row // high
    order = np.lexsort((row, np.where(strip % 2, columns - 1 - column, column), strip))
    return row[order].astype(np.int64), column[order].astype(np.int64)
