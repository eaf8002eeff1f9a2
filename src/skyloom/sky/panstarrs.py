"""The embedded Pan-STARRS1 3pi stacks: skycells, depth, seeing, exposure times, gaps (Chambers et al. 2016)."""

from __future__ import annotations

import functools

import numpy as np

from skyloom.sky import geometry, hashing, hsc, render

BANDS = ("g", "r", "i", "z", "y")
SCALE = 0.25  # arcsec per px
DEPTH = {"g": 23.3, "r": 23.2, "i": 23.1, "z": 22.3, "y": 21.3}  # 5 sigma, point source
SEEING = {"g": 1.31, "r": 1.19, "i": 1.11, "z": 1.07, "y": 1.02}  # FWHM in arcsec
SKY = {"g": 21.9, "r": 20.9, "i": 19.8, "z": 19.1, "y": 18.1}  # AB mag per arcsec^2
EXPOSURE = {"g": 43.0, "r": 40.0, "i": 45.0, "z": 30.0, "y": 30.0}  # s a visit, about twelve visits
SOUTH = -30.0  # deg: the survey's limit
CELL, OVERLAP = 6240, 480  # px across a skycell, shared with its neighbour
GAPS = 0.02  # chance that a stack lacks one band
RING = 4.0  # deg of declination a zone of projection cells


def zone(dec: float) -> tuple[float, int, int]:
    """(central dec, number of projection cells, number of its first one) of the zone that holds a declination.

    Numbered so that the zone from 0 to 4 deg, number 23, begins at cell 1322, as the survey's own does.
    """
    number = int(np.floor((dec + 90) / RING + 0.5))
    between = sum(_cells(n) for n in range(min(number, 23), max(number, 23)))
    return -90 + number * RING, _cells(number), 1322 + (between if number > 23 else -between)


@functools.cache
def _cells(number: int) -> int:
    return max(1, round(360 * np.cos(np.radians(-90 + number * RING)) / RING))


def cell_of(ra: float, dec: float) -> tuple[int, int]:
    """(projection cell, skycell 0 to 99) whose unique area holds a position."""
    _, count, first = zone(dec)
    cell = first + round(ra % 360 / 360 * count) % count
    x, y = pixel_of(cell, dec, ra, dec)
    step = CELL - OVERLAP
    column, row = (int(np.clip(np.floor(v / step + 5), 0, 9)) for v in (x, y))
    return cell, 10 * row + column


def centre(cell: int, dec: float) -> tuple[float, float]:
    """(ra, dec) of the tangent point of a projection cell of the zone that holds `dec`."""
    middle, count, first = zone(dec)
    return 360 * (cell - first) / count, middle


def pixel_of(cell: int, zone_dec: float, ra, dec):
    """Pixel (x, y) of positions on a projection cell's plane, the tangent point at (0, 0)."""
    xi, eta = geometry.project(*centre(cell, zone_dec), ra, dec)
    return -xi / SCALE, eta / SCALE


def corner(skycell: int) -> tuple[int, int]:
    """Plane pixel (x, y) of a skycell's first pixel."""
    step = CELL - OVERLAP
    row, column = divmod(skycell, 10)
    return (column - 5) * step - OVERLAP // 2, (row - 5) * step - OVERLAP // 2


def stacked(sky: hsc.Sky, cell: int, skycell: int, band: str) -> bool:
    """Whether the survey has a stack of this skycell in this band."""
    return hashing.uniform(sky.seed, "ps1 stack", cell, skycell, band) >= GAPS


def exposure_time(sky: hsc.Sky, cell: int, skycell: int, band: str) -> float:
    """Total exposure of a stack in s: six to eighteen visits."""
    visits = 6 + int(13 * hashing.uniform(sky.seed, "ps1 visits", cell, skycell, band))
    return EXPOSURE[band] * visits


def sky_sigma(sky: hsc.Sky, cell: int, skycell: int, band: str) -> float:
    """Sky noise per pixel in nJy: the depth holds for twelve visits and goes with the root of their number."""
    f5 = 10 ** (-0.4 * (DEPTH[band] - 31.4))
    deep = f5 / 5 / (np.sqrt(4 * np.pi) * SEEING[band] / 2.355 / SCALE)
    return deep * np.sqrt(12 * EXPOSURE[band] / exposure_time(sky, cell, skycell, band))


@functools.lru_cache(128)
def model(sky: hsc.Sky, cell: int, zone_dec: float, x0: int, y0: int, size: int) -> np.ndarray:
    """Noise-free (band, size, size) nJy of a window of the plane; stamps reach as far for every skycell."""
    sigma = np.array([10 ** (-0.4 * (DEPTH[b] - 31.4)) / 5 / (np.sqrt(4 * np.pi) * SEEING[b] / 2.355 / SCALE)
                      for b in BANDS], np.float32)
    fwhms = [round(SEEING[b] / SCALE, 4) for b in BANDS]
    return render.render(sky.seed, centre(cell, zone_dec), x0, y0, size, size, sigma, fwhms, SCALE, "ps1", sky.reddening,
                         sky.deep)


@functools.lru_cache(64)
def gaps(sky: hsc.Sky, cell: int, skycell: int, band: str) -> list[tuple[float, float, float, float]]:
    """Strips (x, y, width, height in px of the skycell) without data: detector gaps and masked trails."""
    rng = hashing.generator(sky.seed, "ps1 gaps", cell, skycell, band)
    return [(CELL * rng.random(), CELL * rng.random(), 8 + 30 * rng.random(), 200 + 1500 * rng.random())
            for _ in range(rng.poisson(25))]


def stack(sky: hsc.Sky, cell: int, zone_dec: float, skycell: int, band: str, x0: int, y0: int, size: int):
    """(counts float32, variance float32 counts^2) of a window of a skycell in its pixels; NaN beyond edge and in gaps."""
    left, low = corner(skycell)
    light = model(sky, cell, zone_dec, left + x0, low + y0, size)[BANDS.index(band)]
    sigma = sky_sigma(sky, cell, skycell, band)
    level = 10 ** (-0.4 * (SKY[band] - 31.4)) * SCALE**2
    variance = np.float32(sigma**2) * (1 + np.maximum(light, 0) / np.float32(level))
    key = hashing.key(sky.seed, "ps1", cell, skycell, band)
    image = light + hashing.pixel_normals(key, y0, x0, size, size) * np.sqrt(variance)
    y, x = np.mgrid[y0:y0 + size, x0:x0 + size]
    lost = (x < 0) | (y < 0) | (x >= CELL) | (y >= CELL)
    for gx, gy, width, height in gaps(sky, cell, skycell, band):
        lost |= (np.abs(x - gx) < width / 2) & (np.abs(y - gy) < height / 2)
    image[lost], variance[lost] = np.nan, np.nan
    count = np.float32(exposure_time(sky, cell, skycell, band) * 10 ** (-0.4 * (31.4 - 25.0)))
    return image * count, variance * count * count
