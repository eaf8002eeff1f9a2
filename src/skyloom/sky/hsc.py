"""The embedded HSC-SSP Wide survey: depth, seeing, coverage, masks, noise (depths of Aihara et al. 2019, PDR2 Wide)."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from skyloom.sky import geometry, hashing, population, render, seds

BANDS = seds.BANDS
SCALE = 0.168  # arcsec per px
ZERO_POINT = 27.0
DEPTH = {"g": 26.6, "r": 26.2, "i": 26.2, "z": 25.3, "y": 24.5}  # 5 sigma, point source
SEEING = {"g": 0.77, "r": 0.76, "i": 0.60, "z": 0.68, "y": 0.68}  # FWHM in arcsec
SKY = {"g": 21.6, "r": 20.7, "i": 19.7, "z": 18.8, "y": 17.9}  # AB mag per arcsec^2: sets the gain noise
MASK_BITS = {"BAD": 0, "SAT": 1, "INTRP": 2, "CR": 3, "EDGE": 4, "DETECTED": 5, "DETECTED_NEGATIVE": 6,
             "SUSPECT": 7, "NO_DATA": 8, "BRIGHT_OBJECT": 9}
SATURATED = 18.0  # stars brighter than this in i have a saturated core
TAPS = np.array([0.12, 0.76, 0.12], np.float32) / np.float32(np.sqrt(0.12**2 + 0.76**2 + 0.12**2))


@dataclass(frozen=True)
class Sky:
    """What makes one embedded sky: seed, covered box (deg), rate of holes and of lost patch images; how deep Rubin has looked."""

    seed: int = 1
    footprint: tuple[float, float, float, float] = (149.0, 151.0, 1.0, 3.0)
    hole_rate: float = 0.3  # holes per patch
    gap_rate: float = 0.004  # chance that the archive has lost a patch's image in one band
    reddening: float = 0.0  # mean E(B-V) of the Galaxy's dust in front of everything
    rubin_depth: str = "dp1"  # or y1, y5: see `sky.rubin`
    deep: bool = False  # galaxies of i 25.3 to 26.5 too

    def __post_init__(self):
        object.__setattr__(self, "footprint", geometry.rising(self.footprint))


def seeing(sky: Sky, tract: int, band: str) -> float:
    """PSF FWHM in arcsec of a tract and band: the band's mean times 0.95 to 1.05."""
    return SEEING[band] * (0.95 + 0.1 * hashing.uniform(sky.seed, "seeing", tract, band))


@functools.cache
def sky_sigma(band: str) -> float:
    """Sky noise per pixel in nJy from the 5-sigma depth of a point source: sigma sqrt(4 pi) s_psf = f5 / 5."""
    f5 = 10 ** (-0.4 * (DEPTH[band] - 31.4))
    return f5 / 5 / (np.sqrt(4 * np.pi) * SEEING[band] / 2.355 / SCALE)


@functools.cache
def sky_level(band: str) -> float:
    """Sky brightness per pixel in nJy; source light adds variance as sigma^2 f / level (Poisson)."""
    return 10 ** (-0.4 * (SKY[band] - 31.4)) * SCALE**2


@functools.lru_cache(4096)
def holes(sky: Sky, tract: int, column: int, row: int) -> list[tuple[float, float, float]]:
    """Uncovered discs (x, y, radius in px) of a patch."""
    rng = hashing.generator(sky.seed, "holes", tract, column, row)
    x, y = (np.array([column, row]) - 5) * geometry.PATCH
    return [(x + geometry.PATCH * (rng.random() - 0.5), y + geometry.PATCH * (rng.random() - 0.5), 60 + 240 * rng.random())
            for _ in range(rng.poisson(sky.hole_rate))]


def lost(sky: Sky, tract: int, x: float, y: float, band: str) -> bool:
    """True where the archive has no image of this patch and band although the catalog measured it."""
    return hashing.uniform(sky.seed, "gap", tract, *geometry.patch_of(x, y), band) < sky.gap_rate


def pixel_of(tract: int, ra, dec):
    """Tract pixel (x, y) of sky positions, the tangent point at (0, 0)."""
    xi, eta = geometry.project(*geometry.tract_centre(tract), ra, dec)
    return -xi / SCALE, eta / SCALE


def covered(sky: Sky, tract: int, x, y) -> np.ndarray:
    """Mask of the tract pixels that the survey observed (inside the footprint, outside holes)."""
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    ra, dec = geometry.deproject(*geometry.tract_centre(tract), -x * SCALE, y * SCALE)
    good = geometry.in_box(sky.footprint, ra, dec)
    for column, row in _patches(x, y):
        for hx, hy, radius in holes(sky, tract, column, row):
            good &= np.hypot(x - hx, y - hy) > radius
    return good


def _patches(x, y):
    """Patches that the positions touch, with neighbours, whose holes may reach in."""
    low, high = geometry.patch_of(np.min(x) - 300, np.min(y) - 300), geometry.patch_of(np.max(x) + 300, np.max(y) + 300)
    return [(c, r) for c in range(low[0], high[0] + 1) for r in range(low[1], high[1] + 1)]


def window(sky: Sky, tract: int, x0: int, y0: int, size: int) -> tuple[int, int, int, int]:
    """The part (x0, y0, width, height) of a square window that lies inside the footprint's box."""
    ra_min, ra_max, dec_min, dec_max = sky.footprint
    mid = x0 + size / 2, y0 + size / 2
    ra, dec = geometry.deproject(*geometry.tract_centre(tract), -mid[0] * SCALE, mid[1] * SCALE)
    _, low = pixel_of(tract, ra, dec_min)
    _, high = pixel_of(tract, ra, dec_max)
    right, _ = pixel_of(tract, ra_min, dec)  # x grows to the west
    left, _ = pixel_of(tract, ra_max, dec)
    x1, y1 = min(x0 + size, int(np.floor(right)) + 1), min(y0 + size, int(np.floor(high)) + 1)
    x0, y0 = max(x0, int(np.ceil(left))), max(y0, int(np.ceil(low)))
    return x0, y0, max(x1 - x0, 0), max(y1 - y0, 0)


def bright_stars(sky: Sky, tract: int, x0, y0, width, height) -> list[tuple[float, float, float]]:
    """(x, y, i magnitude) of the stars whose masks may touch a window, saturated ones only."""
    ra, dec = geometry.deproject(*geometry.tract_centre(tract), -(x0 + width / 2) * SCALE, (y0 + height / 2) * SCALE)
    source = population.near(sky.seed, float(ra), float(dec), max(width, height) * SCALE, (population.STARS,))
    keep = source["i"] < SATURATED
    x, y = pixel_of(tract, source["ra"][keep], source["dec"][keep])
    return list(zip(x, y, source["i"][keep], strict=True))


def saturation_radius(i_mag):
    """Radius in px of the saturated core of a star."""
    return 5.0 * 10 ** (0.12 * (SATURATED - i_mag))


@functools.lru_cache(512)
def mask(sky: Sky, tract: int, x0: int, y0: int, width: int, height: int) -> np.ndarray:
    """Read-only (height, width) int32 mask planes that don't depend on the noise: SAT, BRIGHT_OBJECT, NO_DATA, EDGE."""
    out = np.zeros((height, width), np.int32)
    y, x = np.mgrid[y0:y0 + height, x0:x0 + width]
    for sx, sy, i_mag in bright_stars(sky, tract, x0, y0, width, height):
        r = saturation_radius(i_mag)
        distance2 = (x - sx) ** 2 + (y - sy) ** 2
        bleed = (abs(x - sx) < 1 + 0.15 * r) & (abs(y - sy) < 6 * r)
        out[(distance2 < r * r) | bleed] |= 1 << MASK_BITS["SAT"]
        out[bleed] |= 1 << MASK_BITS["INTRP"]
        out[distance2 < (5 * r) ** 2] |= 1 << MASK_BITS["BRIGHT_OBJECT"]
    corners = covered(sky, tract, np.array([x0 - 3, x0 - 3, x0 + width + 3, x0 + width + 3]),
                      np.array([y0 - 3, y0 + height + 3, y0 - 3, y0 + height + 3]))
    near_hole = any(np.hypot(max(x0 - hx, 0, hx - x0 - width), max(y0 - hy, 0, hy - y0 - height)) < radius + 3
                    for c, r in _patches(x, y) for hx, hy, radius in holes(sky, tract, c, r))
    if near_hole or not corners.all():
        out[~covered(sky, tract, x, y)] |= (1 << MASK_BITS["NO_DATA"]) | (1 << MASK_BITS["EDGE"])
    return out


@functools.lru_cache(256)
def model(sky: Sky, tract: int, x0: int, y0: int, width: int, height: int) -> np.ndarray:
    """Noise-free (band, height, width) nJy of a window; kept, because a list asks for its bands one after another."""
    sigma = np.array([sky_sigma(b) for b in BANDS], np.float32)
    fwhms = [round(seeing(sky, tract, b) / SCALE, 4) for b in BANDS]
    return render.render(sky.seed, geometry.tract_centre(tract), x0, y0, width, height, sigma, fwhms, SCALE,
                         reddening=sky.reddening, deep=sky.deep)


def counted(sigma: float, image: np.ndarray, level: float) -> np.ndarray:
    """The variance plane of an image (nJy): the sky's and what was counted over it, as pipelines have it. One of the noise-free
    light would tell that light to whoever reads it."""
    return np.float32(sigma**2) * np.maximum(1 + image / np.float32(level), np.float32(0.5))


def exposure(sky: Sky, tract: int, x0: int, y0: int, width: int, height: int, band: str):
    """One band of a window as the archive holds it: (counts float32, mask int32, variance float32 counts^2).

    Noise: separable 3-tap correlation of hash noise on the tract's absolute pixels, scaled by the square root of
    sky plus source variance. Saturated pixels are flat, uncovered ones NaN. The variance is that of the noise-free light; of a
    deep sky, whose faintest sources it would tell, that of what was counted.
    """
    light = model(sky, tract, x0, y0, width, height)[BANDS.index(band)]
    variance = np.float32(sky_sigma(band) ** 2) * (1 + np.maximum(light, 0) / np.float32(sky_level(band)))
    white = hashing.pixel_normals(hashing.key(sky.seed, "hsc", tract, band), y0 - 1, x0 - 1, height + 2, width + 2)
    rows = TAPS[0] * white[:-2] + TAPS[1] * white[1:-1] + TAPS[2] * white[2:]
    noise = TAPS[0] * rows[:, :-2] + TAPS[1] * rows[:, 1:-1] + TAPS[2] * rows[:, 2:]
    image = light + noise * np.sqrt(variance)
    variance = counted(sky_sigma(band), image, sky_level(band)) if sky.deep else variance
    planes = mask(sky, tract, x0, y0, width, height).copy()
    saturated = planes & (1 << MASK_BITS["SAT"]) > 0
    image[saturated] = np.float32(10 ** (-0.4 * (SATURATED - 31.4)) * 0.05)
    planes[image > 5 * sky_sigma(band)] |= 1 << MASK_BITS["DETECTED"]
    empty = planes & (1 << MASK_BITS["NO_DATA"]) > 0
    image[empty], variance[empty] = np.nan, np.nan
    count = np.float32(10 ** (-0.4 * (31.4 - ZERO_POINT)))
    return image * count, planes, variance * count * count


@functools.lru_cache(256)
def psf_image(sky: Sky, tract: int, band: str, size: int = 43) -> np.ndarray:
    """(size, size) float64 PSF kernel with the pixel in it, centred, of sum 1."""
    import scipy.fft

    n = 96
    kernel = scipy.fft.irfft2(render.moffat_k(round(seeing(sky, tract, band) / SCALE, 4), n), s=(n, n))
    kernel = np.fft.fftshift(kernel)[n // 2 - size // 2:n // 2 + size // 2 + 1, n // 2 - size // 2:n // 2 + size // 2 + 1]
    return np.asarray(kernel, float) / kernel.sum()
