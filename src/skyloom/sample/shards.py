"""The shard plan: adaptive HEALPix cells (or hash buckets without positions), frozen once made.

A shard is named `s<order>_<pixel>` (nested) or `h<count>_<bucket>`; the name tells what it holds, so that an
extended plan never renames one.
"""

from __future__ import annotations

import hashlib
import re

import numpy as np

from skyloom.errors import InputError
from skyloom.sample import regions

DEEPEST = 11
_NAME = re.compile(r"(s)(\d+)_(\d+)|(h)(\d+)_(\d+)")


def pixels(order: int, ra, dec) -> np.ndarray:
    """Nested HEALPix pixel of positions in deg at an order."""
    import astropy.units as u
    from astropy_healpix import HEALPix

    ra, dec = np.asarray(ra, float), np.asarray(dec, float)
    return HEALPix(2**order, order="nested").lonlat_to_healpix(ra * u.deg, dec * u.deg)


def plan_sky(ra, dec, most: int, first_order: int = 4, least: int = 1, weight=None) -> list[str]:
    """Names of the cells that hold every position, split until each holds at most `most` and there are `least`.

    hats-import's adaptive tiling: a cell above the threshold is replaced by its four children. `weight` (n,) is how many
    objects a position stands for, one where it isn't given.
    """
    deep = pixels(DEEPEST, ra, dec)
    place = np.argsort(deep, kind="stable")
    deep = deep[place]
    total = np.concatenate([[0.0], np.cumsum(np.ones(len(deep)) if weight is None else np.asarray(weight, float)[place])])
    threshold = most
    while True:
        done, queue = [], sorted({(first_order, int(p)) for p in deep >> 2 * (DEEPEST - first_order)})
        while queue:
            order, pixel = queue.pop()
            ends = np.searchsorted(deep, np.array([pixel, pixel + 1]) << 2 * (DEEPEST - order))
            if total[ends[1]] - total[ends[0]] > threshold and order < DEEPEST:
                queue += [(order + 1, 4 * pixel + k) for k in range(4)]
            elif ends[1] > ends[0]:
                done.append((order, pixel))
        if len(done) >= least or threshold <= 1:
            return [f"s{order}_{pixel}" for order, pixel in sorted(done)]
        threshold = int(0.8 * threshold)


def plan_region(region, density: float, most: int, least: int) -> list[str]:
    """Names of the cells that cover a region (a `regions.Region` or what `regions.of` takes), from the config alone:
    `density` objects per deg^2 stand in."""
    region = regions.of(region)
    # a quarter of a cell's width: no cell is missed
    ra, dec, area = region.grid(widest=np.sqrt(min(most / density, region.area_deg2() / least)) / 4)
    return plan_sky(ra, dec, most, least=least, weight=density * area)


def assign(names: list[str], object_id, ra=None, dec=None) -> np.ndarray:
    """Shard name of every object; InputError if some position lies in no shard of the plan."""
    object_id = np.asarray(object_id)
    out = np.full(len(object_id), "", object)
    hashed: dict[int, np.ndarray] = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if not match:
            raise InputError(f"shard name {name!r} in the plan is not s<order>_<pixel> or h<count>_<bucket>; mend the plan")
        if match[1]:
            out[pixels(int(match[2]), ra, dec) == int(match[3])] = name
        else:
            count = int(match[5])
            if count not in hashed:
                hashed[count] = bucket(object_id, count)
            out[hashed[count] == int(match[6])] = name
    missing = np.flatnonzero(out == "")
    if len(missing):
        raise InputError(f"{len(missing)} objects lie in no shard of the plan (first: {object_id[missing[0]]}); "
                         "extend it with `python -m skyloom plan --extend`")
    return out


def bucket(object_id, count: int) -> np.ndarray:
    """Bucket 0 ... count - 1 of each id, by its sha256."""
    return np.array([hash_fraction(str(int(i))) * count for i in object_id], float).astype(int)


def hash_fraction(text: str) -> float:
    """A number in [0, 1) from the sha256 of a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2.0**48
