"""Coadds that come in overlapping patches of overlapping tracts: which of them a stamp needs, and their pixels as one plane."""

from __future__ import annotations

import numpy as np

from skyloom import wcs
from skyloom.archives.plane import Plane
from skyloom.errors import ReplyError

GRID = 9  # points a side that stand for a stamp


def chosen(coadds, ra: float, dec: float, side: float) -> dict[str, list]:
    """{band: the coadds that together hold a stamp of `side` arcsec around (ra, dec) in deg, the one with most of it first}.

    All bands come from one tract, the one that shows most of the stamp (of equals the one in whose patch the position lies
    deepest), so that they share a pixel grid: tracts differ in theirs. One patch suffices where it holds the stamp. A band
    none of whose patches shows the position is missing. `coadds` have `band, tract, patch, corners`.
    """
    shown = {(c.tract, c.patch): _shown(c.corners, ra, dec, side) for c in coadds}
    tracts: dict[int, list] = {}
    for coadd in coadds:
        tracts.setdefault(coadd.tract, []).append(coadd)
    found = {tract: _of_tract(own, shown) for tract, own in tracts.items()}

    def worth(tract):
        lists = found[tract].values()
        return (sum(int(np.logical_or.reduce([shown[tract, c.patch][0] for c in own]).sum()) for own in lists),
                max((shown[tract, own[0].patch][1] for own in lists), default=0.0), -tract)

    return found[max(found, key=worth)] if found else {}


def _of_tract(coadds, shown) -> dict[str, list]:
    out = {}
    for band in dict.fromkeys(c.band for c in coadds):
        left = [c for c in coadds if c.band == band]
        seen, taken = np.zeros(GRID * GRID, bool), []
        while left:
            best = max(left, key=lambda c: ((shown[c.tract, c.patch][0] & ~seen).sum(), shown[c.tract, c.patch][1], -c.patch))
            if not (shown[best.tract, best.patch][0] & ~seen).any():
                break
            seen |= shown[best.tract, best.patch][0]
            taken.append(best)
            left.remove(best)
        if seen[GRID * GRID // 2]:
            out[band] = taken
    return out


def _shown(corners, ra: float, dec: float, side: float) -> tuple[np.ndarray, float]:
    """(which of the stamp's points (GRID^2,) lie in the convex polygon of `corners`, how deep in deg the position does)."""
    steps = np.linspace(-0.5, 0.5, GRID) * side / 3600
    x, y = (axis.ravel() for axis in np.meshgrid(steps, steps))
    px, py, near = wcs.gnomonic((ra, dec), *np.array(corners, float).T)
    if not (near > 0).all():
        return np.zeros(GRID * GRID, bool), -1.0
    ex, ey = np.roll(px, -1) - px, np.roll(py, -1) - py
    turn = np.sign(np.sum(px * np.roll(py, -1) - py * np.roll(px, -1)))
    length = np.hypot(ex, ey)
    edges = length > 0
    inward = turn * (ex * (y[:, None] - py) - ey * (x[:, None] - px))[:, edges] / length[edges]
    depth = inward.min(axis=1)
    return depth >= 0, float(depth[GRID * GRID // 2])


def joined(planes: list[Plane]) -> Plane:
    """One plane of several on one pixel grid: a pixel is the first plane's that has it and can use it; where there is none it
    is bad, NaN. ReplyError `wrong_grid` for planes whose grids aren't shifted by whole pixels."""
    first = planes[0]
    if len(planes) == 1:
        return first
    corners = [_shift(first, plane) for plane in planes]
    x0, y0 = (min(corner[axis] for corner in corners) for axis in (0, 1))
    width = max(x + plane.image.shape[1] for (x, _), plane in zip(corners, planes, strict=True)) - x0
    height = max(y + plane.image.shape[0] for (_, y), plane in zip(corners, planes, strict=True)) - y0
    image, variance = (np.full((height, width), np.nan, np.float32) for _ in range(2))
    mask, bad, empty = np.zeros((height, width), np.int32), np.ones((height, width), bool), np.ones((height, width), bool)
    for (x, y), plane in zip(corners, planes, strict=True):
        here = slice(y - y0, y - y0 + plane.image.shape[0]), slice(x - x0, x - x0 + plane.image.shape[1])
        take = empty[here] | (bad[here] & ~plane.bad)
        for whole, part in ((image, plane.image), (variance, plane.variance), (mask, plane.mask), (bad, plane.bad)):
            whole[here][take] = part[take]
        empty[here] = False
    return Plane(image, mask, bad, variance, first.zero_point, first.crval, (first.crpix[0] - x0, first.crpix[1] - y0), first.cd)


def _shift(first: Plane, other: Plane) -> tuple[int, int]:
    """Pixel of `first` on which the first pixel of `other` lies."""
    shift = np.array(first.crpix) - np.array(other.crpix)
    whole = np.rint(shift).astype(int)
    same = np.allclose(first.crval, other.crval, rtol=0, atol=1e-9) and np.allclose(first.cd, other.cd, rtol=1e-9, atol=0)
    if not same or np.abs(shift - whole).max() > 0.01 or first.zero_point != other.zero_point:
        raise ReplyError("wrong_grid", f"patches of one tract whose pixels are shifted by {shift.tolist()}")
    return int(whole[0]), int(whole[1])
