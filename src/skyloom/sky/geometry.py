"""Positions on the sky: gnomonic projection, HEALPix cells, and the survey's tracts."""

from __future__ import annotations

import functools

import numpy as np


def project(ra0, dec0, ra, dec):
    """Gnomonic (TAN) plane coordinates (xi east, eta north) in arcsec (Calabretta & Greisen 2002)."""
    a, d, d0 = np.radians(np.asarray(ra) - ra0), np.radians(dec), np.radians(dec0)
    c = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(a)
    xi = np.cos(d) * np.sin(a) / c
    eta = (np.cos(d0) * np.sin(d) - np.sin(d0) * np.cos(d) * np.cos(a)) / c
    return np.degrees(xi) * 3600, np.degrees(eta) * 3600


def deproject(ra0, dec0, xi, eta):
    """Inverse of `project`: (ra, dec) in deg of plane coordinates in arcsec."""
    x, y, d0 = np.radians(np.asarray(xi) / 3600), np.radians(np.asarray(eta) / 3600), np.radians(dec0)
    r = np.hypot(x, y) + 1e-30
    c = np.arctan(r)
    ra = ra0 + np.degrees(np.arctan2(x * np.sin(c), r * np.cos(d0) * np.cos(c) - y * np.sin(d0) * np.sin(c)))
    dec = np.degrees(np.arcsin(np.cos(c) * np.sin(d0) + y * np.sin(c) * np.cos(d0) / r))
    return ra % 360, dec


@functools.cache
def healpix(nside: int):
    """The nested HEALPix grid of `nside`."""
    from astropy_healpix import HEALPix

    return HEALPix(nside, order="nested")


def cells_near(nside: int, ra: float, dec: float, radius: float) -> list[int]:
    """Sorted nested HEALPix cells that touch a circle of `radius` arcsec."""
    import astropy.units as u

    found = healpix(nside).cone_search_lonlat(ra * u.deg, dec * u.deg, radius * u.arcsec)
    return sorted(int(cell) for cell in found)


def cells_in_box(nside: int, box) -> list[int]:
    """Sorted nested cells that may hold points of the box (ra_min, ra_max, dec_min, dec_max) in deg."""
    import astropy.units as u

    ra_min, ra_max, dec_min, dec_max = box
    step = 0.4 * np.degrees(np.sqrt(4 * np.pi / (12 * nside**2)))  # denser than the cells are wide
    decs = np.arange(dec_min - step, dec_max + 2 * step, step)
    found: set[int] = set()
    for dec in decs[np.abs(decs) <= 90]:
        width = step / max(np.cos(np.radians(dec)), 0.01)
        ras = np.arange(ra_min - width, ra_max + 2 * width, width)
        found.update(healpix(nside).lonlat_to_healpix(ras * u.deg, np.full(len(ras), dec) * u.deg).tolist())
    return sorted(found)


def in_box(box, ra, dec):
    """Mask of the positions inside (ra_min, ra_max, dec_min, dec_max); ra_max may exceed 360."""
    ra_min, ra_max, dec_min, dec_max = box
    return ((np.asarray(ra) - ra_min) % 360 <= ra_max - ra_min) & (dec_min <= np.asarray(dec)) & (np.asarray(dec) <= dec_max)


def rising(box) -> tuple[float, float, float, float]:
    """The box with ra_max above ra_min: (359, 1, ...) becomes (359, 361, ...)."""
    ra_min, ra_max, dec_min, dec_max = box
    return (ra_min, ra_max, dec_min, dec_max) if ra_max > ra_min else (ra_min, ra_max + 360, dec_min, dec_max)


RING = 1.5  # height of a ring of tracts and width of a tract in deg
PATCH = 4200  # pixels across a patch, as HSC's


def tract_of(ra: float, dec: float) -> int:
    """Number of the tract whose centre is nearest in its ring."""
    ring = min(int(np.floor((dec + 90) / RING)), int(180 / RING) - 1)  # the pole belongs to the last ring
    count = _tracts_in_ring(ring)
    return 1000 * ring + int(np.floor((ra % 360) / 360 * count))


def tract_centre(tract: int) -> tuple[float, float]:
    """(ra, dec) in deg of the tangent point of a tract."""
    ring, number = divmod(tract, 1000)
    return (number + 0.5) * 360 / _tracts_in_ring(ring), -90 + (ring + 0.5) * RING


def _tracts_in_ring(ring: int) -> int:
    dec = -90 + (ring + 0.5) * RING
    return max(1, min(999, round(360 * np.cos(np.radians(dec)) / RING)))


def patch_of(x, y):
    """Patch (column, row) of tract pixels; (5, 5) holds the tangent point, columns 0 to 10. Integers or arrays."""
    column, row = (np.minimum(np.maximum(np.floor(np.asarray(v) / PATCH + 5.5), 0), 10).astype(int) for v in (x, y))
    return (int(column), int(row)) if column.ndim == 0 else (column, row)
