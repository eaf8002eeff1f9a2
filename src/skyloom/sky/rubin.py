"""Rubin's deep coadds on the embedded sky: tracts, overlapping patches, depth and seeing of Data Preview 1 and of years 1 and 5.

Depths: DP1's in the Extended Chandra Deep Field South; ten years after Ivezic et al. (2019), less 1.25 log10(10 / years). Widths:
medians of DP1's visits there; Ivezic et al.'s effective ones at zenith. Made up like all of this sky; nothing here is
Rubin's.
"""

from __future__ import annotations

import functools

import numpy as np

from skyloom.sky import geometry, hashing, hsc, population, render

BANDS = ("u", "g", "r", "i", "z", "y")
SCALE = 0.2  # arcsec per px
_TEN_YEARS = (26.1, 27.4, 27.5, 26.8, 26.1, 24.9)
DEPTH = {"dp1": (24.55, 26.18, 25.96, 25.71, 25.07, 23.1),  # 5 sigma, point source, in the order of BANDS
         "y1": tuple(depth - 1.25 for depth in _TEN_YEARS),
         "y5": tuple(depth - 1.25 * np.log10(2) for depth in _TEN_YEARS)}
SEEING = {"dp1": (1.43, 1.17, 1.09, 1.01, 1.00, 1.07), "y1": (0.92, 0.87, 0.83, 0.80, 0.78, 0.76),
          "y5": (0.92, 0.87, 0.83, 0.80, 0.78, 0.76)}  # FWHM in arcsec
SKY = (22.9, 22.3, 21.2, 20.5, 19.6, 18.6)  # AB mag per arcsec^2: sets the gain noise
MASK_BITS = {"BAD": 0, "SAT": 1, "INTRP": 2, "CR": 3, "EDGE": 4, "DETECTED": 5, "DETECTED_NEGATIVE": 6, "SUSPECT": 7,
             "NO_DATA": 8, "CLIPPED": 9, "INEXACT_PSF": 10, "REJECTED": 11, "SENSOR_EDGE": 12}
PATCH, BORDER, ACROSS = 2670, 100, 10  # px across a patch, px that it reaches beyond on each side; patches across a tract
SIDE = PATCH * ACROSS
MIDDLE = SIDE // 2  # px of the tangent point in a tract
RING = 1.45  # deg between rings of tracts, which are wider
SATURATED = 18.0  # stars brighter than this in i have a saturated core
RARE = {"u": 10, "y": 10}  # patches lack these bands so many times as often: not all fields were seen in them


def tract_of(ra: float, dec: float) -> int:
    """Number of the tract that a position belongs to."""
    ring = min(int((dec + 90) // RING), int(180 / RING))
    return 1000 * ring + int(ra % 360 / 360 * _count(ring))


def _count(ring: int) -> int:
    low, high = -90 + ring * RING, min(-90 + (ring + 1) * RING, 90)
    widest = 0.0 if low < 0 < high else min(abs(low), abs(high))
    return max(1, int(np.ceil(360 * np.cos(np.radians(widest)) / RING)))


def centre(tract: int) -> tuple[float, float]:
    """(ra, dec) in deg of a tract's tangent point."""
    ring, number = divmod(tract, 1000)
    return (number + 0.5) * 360 / _count(ring), -90 + (ring + 0.5) * RING


def pixel_of(tract: int, ra, dec):
    """0-based pixel (x, y) of positions in a tract."""
    xi, eta = geometry.project(*centre(tract), ra, dec)
    return MIDDLE - xi / SCALE, MIDDLE + eta / SCALE


def position_of(tract: int, x, y):
    """(ra, dec) in deg of a tract's pixels."""
    return geometry.deproject(*centre(tract), -(np.asarray(x) - MIDDLE) * SCALE, (np.asarray(y) - MIDDLE) * SCALE)


def box(patch: int) -> tuple[int, int, int, int]:
    """(x0, y0, width, height) in px of a patch with its border, within the tract; patches count by rows."""
    row, column = divmod(patch, ACROSS)
    x0, y0 = (max(0, n * PATCH - BORDER) for n in (column, row))
    x1, y1 = (min(SIDE, (n + 1) * PATCH + BORDER) for n in (column, row))
    return x0, y0, x1 - x0, y1 - y0


def corners(tract: int, patch: int) -> list[tuple[float, float]]:
    """(ra, dec) in deg of the four corners of a patch, counterclockwise on the sky."""
    x0, y0, width, height = box(patch)
    x = np.array([x0, x0, x0 + width, x0 + width]) - 0.5
    y = np.array([y0, y0 + height, y0 + height, y0]) - 0.5
    return [(float(a), float(d)) for a, d in zip(*position_of(tract, x[::-1], y[::-1]), strict=True)]


def patches_near(sky: hsc.Sky, ra: float, dec: float, radius: float) -> list[tuple[int, int]]:
    """(tract, patch) of all that the survey has within `radius` deg of a position."""
    found, ring = [], int((dec + 90) // RING)
    for near in range(max(ring - 1, 0), min(ring + 2, int(180 / RING) + 1)):
        home = int(ra % 360 / 360 * _count(near))
        for number in sorted({(home + k) % _count(near) for k in (-1, 0, 1)}):
            tract, reach = 1000 * near + number, radius * 3600 / SCALE
            a, d = np.radians(ra - centre(tract)[0]), np.radians((dec, centre(tract)[1]))
            if np.sin(d).prod() + np.cos(d).prod() * np.cos(a) < 0.9:
                continue
            x, y = pixel_of(tract, ra, dec)
            for patch in range(ACROSS**2):
                x0, y0, width, height = box(patch)
                beyond = max(x0 - x, x - x0 - width, 0), max(y0 - y, y - y0 - height, 0)
                if np.hypot(*beyond) <= reach and _observed(sky, tract, patch):
                    found.append((tract, patch))
    return found


@functools.lru_cache(4096)
def _observed(sky: hsc.Sky, tract: int, patch: int) -> bool:
    x0, y0, width, height = box(patch)
    x, y = np.meshgrid(np.linspace(x0, x0 + width - 1, 25), np.linspace(y0, y0 + height - 1, 25))
    return bool(geometry.in_box(sky.footprint, *position_of(tract, x, y)).any())


def coadded(sky: hsc.Sky, tract: int, patch: int, band: str) -> bool:
    """Whether the survey has a coadd of a patch in a band."""
    lost = sky.gap_rate * RARE.get(band, 1)
    return _observed(sky, tract, patch) and hashing.uniform(sky.seed, "rubin coadd", tract, patch, band) >= lost


def seeing(sky: hsc.Sky, tract: int, band: str) -> float:
    """PSF FWHM in arcsec of a tract and band: the band's mean times 0.95 to 1.05."""
    return SEEING[sky.rubin_depth][BANDS.index(band)] * (0.95 + 0.1 * hashing.uniform(sky.seed, "rubin seeing", tract, band))


@functools.lru_cache(64)
def sky_sigma(sky: hsc.Sky, band: str) -> float:
    """Sky noise per pixel in nJy from the 5-sigma depth of a point source: sigma sqrt(4 pi) s_psf = f5 / 5."""
    b = BANDS.index(band)
    f5 = 10 ** (-0.4 * (DEPTH[sky.rubin_depth][b] - 31.4))
    return f5 / 5 / (np.sqrt(4 * np.pi) * SEEING[sky.rubin_depth][b] / 2.355 / SCALE)


def level(band: str) -> float:
    """Sky brightness per pixel in nJy; source light adds variance as sigma^2 f / level (Poisson)."""
    return 10 ** (-0.4 * (SKY[BANDS.index(band)] - 31.4)) * SCALE**2


@functools.lru_cache(1024)
def holes(sky: hsc.Sky, tract: int, patch: int) -> list[tuple[float, float, float]]:
    """Uncovered discs (x, y, radius in px) of a patch: what bright stars and few visits leave out."""
    rng = hashing.generator(sky.seed, "rubin holes", tract, patch)
    row, column = divmod(patch, ACROSS)
    return [((column + rng.random()) * PATCH, (row + rng.random()) * PATCH, 40 + 160 * rng.random())
            for _ in range(rng.poisson(sky.hole_rate))]


def covered(sky: hsc.Sky, tract: int, x, y) -> np.ndarray:
    """Which pixels of a tract were observed: inside the footprint, outside holes."""
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    good = geometry.in_box(sky.footprint, *position_of(tract, x, y))
    columns, rows = ([n for n in range(ACROSS) if v.min() - 300 < (n + 1) * PATCH and v.max() + 300 > n * PATCH] for v in (x, y))
    for patch in [ACROSS * row + column for row in rows for column in columns]:
        for hx, hy, radius in holes(sky, tract, patch):
            good = good & (np.hypot(x - hx, y - hy) > radius)
    return good


@functools.lru_cache(64)
def model(sky: hsc.Sky, tract: int, x0: int, y0: int, width: int, height: int) -> np.ndarray:
    """Noise-free (band, height, width) nJy of a tract's window; kept, because bands are asked for one after another."""
    sigma = np.array([sky_sigma(sky, band) for band in BANDS], np.float32)
    fwhms = [round(seeing(sky, tract, band) / SCALE, 4) for band in BANDS]
    return render.render(sky.seed, centre(tract), x0 - MIDDLE, y0 - MIDDLE, width, height, sigma, fwhms, SCALE, "rubin",
                         sky.reddening, sky.deep)


@functools.lru_cache(64)
def mask(sky: hsc.Sky, tract: int, x0: int, y0: int, width: int, height: int) -> np.ndarray:
    """Read-only (height, width) int32 mask planes that don't depend on the noise: SAT, INTRP, NO_DATA."""
    out = np.zeros((height, width), np.int32)
    y, x = np.mgrid[y0:y0 + height, x0:x0 + width]
    ra, dec = position_of(tract, x0 + width / 2, y0 + height / 2)
    star = population.near(sky.seed, float(ra), float(dec), max(width, height) * SCALE, (population.STARS,))
    for k in np.flatnonzero(star["i"] < SATURATED):
        sx, sy = pixel_of(tract, star["ra"][k], star["dec"][k])
        core = np.hypot(x - sx, y - sy) < 4.0 * 10 ** (0.12 * (SATURATED - star["i"][k]))
        out[core] |= (1 << MASK_BITS["SAT"]) | (1 << MASK_BITS["INTRP"])
    out[~covered(sky, tract, x, y)] |= 1 << MASK_BITS["NO_DATA"]
    return out


def coadd(sky: hsc.Sky, tract: int, band: str, x0: int, y0: int, width: int, height: int):
    """One band of a tract's window: (image float32 nJy, mask int32, variance float32 nJy^2), NaN where NO_DATA.

    Noise: as HSC's, hash noise on the tract's pixels with a 3-tap correlation, so that patches agree where they overlap.
    """
    light = model(sky, tract, x0, y0, width, height)[BANDS.index(band)]
    variance = np.float32(sky_sigma(sky, band) ** 2) * (1 + np.maximum(light, 0) / np.float32(level(band)))
    key = hashing.key(sky.seed, "rubin", sky.rubin_depth, tract, band)
    white = hashing.pixel_normals(key, y0 - 1, x0 - 1, height + 2, width + 2)
    rows = hsc.TAPS[0] * white[:-2] + hsc.TAPS[1] * white[1:-1] + hsc.TAPS[2] * white[2:]
    noise = hsc.TAPS[0] * rows[:, :-2] + hsc.TAPS[1] * rows[:, 1:-1] + hsc.TAPS[2] * rows[:, 2:]
    image = light + noise * np.sqrt(variance)
    variance = hsc.counted(sky_sigma(sky, band), image, level(band))
    planes = mask(sky, tract, x0, y0, width, height).copy()
    saturated = planes & (1 << MASK_BITS["SAT"]) > 0
    image[saturated] = np.float32(10 ** (-0.4 * (SATURATED - 31.4)) * 0.05)
    planes[image > 5 * sky_sigma(sky, band)] |= 1 << MASK_BITS["DETECTED"]
    empty = planes & (1 << MASK_BITS["NO_DATA"]) > 0
    image[empty], variance[empty] = np.nan, np.nan
    return image, planes, variance
