"""Noise-free pixels in k space: each source's stamp is fixed by the source and the global pixel grid alone.

Three rules make overlapping windows bit-equal: a stamp never depends on the window; a source is kept by its
stamp's footprint, which its tier's search margin covers; sources are added in a fixed order.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import scipy.fft

from skyloom import profiles
from skyloom.sky import geometry, population

SIZES = np.array([16, 24, 32, 48, 64, 96, 128, 192, 256, 384])
POINT = 0.15  # px: galaxies smaller than this are drawn as points (in HSC's fine pixels there are none)
ISOPHOTE = 0.05  # stamps reach the isophote of this many sigma of the sky


@functools.cache
def _profile_table(n: float):
    """(first ln kappa, samples per ln kappa, values, steps) of a Sérsic transform, float32."""
    ln_kappa, value = profiles.hankel(n)
    value = value.astype(np.float32)
    return ln_kappa[0], (len(value) - 1) / (ln_kappa[-1] - ln_kappa[0]), value, np.diff(value, append=value[-1])


@functools.lru_cache(64)
def _k_grid(n: int):
    kx = (2 * np.pi * scipy.fft.rfftfreq(n)).astype(np.float32)
    ky = (2 * np.pi * scipy.fft.fftfreq(n)).astype(np.float32)
    return kx, ky, (kx * kx)[None, :], (ky * ky)[:, None], ky[:, None] * kx[None, :]


@functools.cache
def _moffat_table(beta: float) -> tuple[np.ndarray, np.ndarray]:
    from scipy.special import gamma, kv

    x = np.concatenate([[1e-6], np.linspace(0, 40, 8001)[1:]])
    return x, kv(beta - 1, x) * x ** (beta - 1) * 2 ** (2 - beta) / gamma(beta - 1)


@functools.lru_cache(512)
def moffat_k(fwhm: float, n: int, beta: float = 3.0) -> np.ndarray:
    """Moffat (1969) PSF of beta 3 and `fwhm` px times the pixel, on the rfft grid of n: its transform is
    (x^(b-1) K_(b-1)(x)) 2^(2-b) / Gamma(b-1) with x = k alpha."""
    kx, ky, *_ = _k_grid(n)
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    value = np.interp(np.hypot(kx[None, :], ky[:, None]) * alpha, *_moffat_table(beta))
    pixel = np.sinc(kx / (2 * np.pi))[None, :] * np.sinc(ky / (2 * np.pi))[:, None]
    return (value * pixel).astype(np.float32)


def _component(n_sersic, re, q, angle, grid):
    """Transform of an elliptical Sérsic profile of half-light radius sqrt(q) a = re px on the k grid."""
    first, density, value, step = _profile_table(n_sersic)
    _, _, kx2, ky2, kxy = grid
    c, s, a2, b2 = np.cos(angle), np.sin(angle), re * re / q, re * re * q
    k2 = (np.float32(a2 * c * c + b2 * s * s) * kx2 + np.float32(a2 * s * s + b2 * c * c) * ky2
          + np.float32(2 * (a2 - b2) * c * s) * kxy)
    k2[0, 0] = 1e-9
    at = np.clip((np.float32(0.5) * np.log(k2) - np.float32(first)) * np.float32(density), 0, len(value) - 1.001)
    low = at.astype(np.int32)
    return value[low] + (at - low) * step[low]


def stamp(n: int, source: dict, k: int, dx: float, dy: float, fwhms, scale: float) -> np.ndarray:
    """(band, n, n) float32 pixels of source `k`, offset (dx, dy) px from the centre of pixel n // 2."""
    grid = _k_grid(n)
    kx, ky = grid[0], grid[1]
    angle = np.pi - source["pa"][k]  # x runs west in the survey's pixels
    psf = np.stack([moffat_k(fwhm, n) for fwhm in fwhms])
    if source["kind"][k] == 1 or max(source["re_disc"][k], source["re_bulge"][k]) < POINT * scale:
        light = (source["disc"][k] + source["bulge"][k])[:, None, None] * psf
    else:
        disc = _component(source["n_disc"][k], source["re_disc"][k] / scale, source["q_disc"][k], angle, grid)
        light = (source["disc"][k] - source["knot"][k])[:, None, None] * disc
        if source["knot"][k].any():
            light = light + source["knot"][k][:, None, None] * _knots(source, k, angle, scale, grid)
        if source["bulge"][k].sum() > 0.01 * source["disc"][k].sum():
            bulge = _component(source["n_bulge"][k], source["re_bulge"][k] / scale, source["q_bulge"][k], angle, grid)
            light = light + source["bulge"][k][:, None, None] * bulge
        else:  # the tiny bulge's light isn't lost, it joins the disc
            light = light + source["bulge"][k][:, None, None] * disc
        light = light * psf
    phase = (np.exp(-1j * ky * (dy + n // 2)).astype(np.complex64)[:, None]
             * np.exp(-1j * kx * (dx + n // 2)).astype(np.complex64)[None, :])
    return scipy.fft.irfft2(light * phase, s=(n, n), workers=1)


def _knots(source: dict, k: int, angle: float, scale: float, grid) -> np.ndarray:
    """Transform of source `k`'s knots: points at their places along the disc's axes, of sum 1."""
    kx, ky = grid[0], grid[1]
    re, root = source["re_disc"][k] / scale, np.sqrt(source["q_disc"][k])
    along, across = source["knot_at"][k, :, 0] * re / root, source["knot_at"][k, :, 1] * re * root
    x, y = along * np.cos(angle) - across * np.sin(angle), along * np.sin(angle) + across * np.cos(angle)
    lit = source["knot_share"][k] > 0
    columns = np.exp(-1j * np.outer(x[lit], kx)).astype(np.complex64)
    rows = (source["knot_share"][k][lit, None] * np.exp(-1j * np.outer(y[lit], ky))).astype(np.complex64)
    return rows.T @ columns


def _radius_moffat(signal, fwhm, beta=3.0):
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    centre = signal * (beta - 1) / (np.pi * alpha**2)
    return alpha * np.sqrt(np.maximum((centre / ISOPHOTE) ** (1 / beta) - 1, 0.5))


def _radius_sersic(signal, re, q, n):
    """Semi-major radius in px where profiles of indices n (n,) fall to the isophote (Graham & Driver 2005, eqs. 1 and 4)."""
    out = np.zeros(len(re))
    for index in np.unique(n):
        own, b = n == index, profiles.b_n(float(index))
        norm = 2 * np.pi * index * np.exp(b) * b ** (-2 * index) * math.gamma(2 * index)
        surface = np.maximum(signal[own] / (norm * re[own] ** 2) / ISOPHOTE, 1e-12)  # intensity at re over the isophote
        out[own] = re[own] * np.clip(1 + np.log(surface) / b, 0, None) ** index / np.sqrt(q[own])
    return out


def stamp_sizes(source: dict, sigma, fwhms, scale: float) -> np.ndarray:
    """Stamp size in px of each source, from its own light alone, capped by its tier's search margin."""
    re_disc, re_bulge = np.maximum(source["re_disc"] / scale, 0.05), np.maximum(source["re_bulge"] / scale, 0.05)
    disc, bulge = (source["disc"] / sigma).max(1), (source["bulge"] / sigma).max(1)
    radius = _radius_moffat(disc + bulge, max(fwhms))
    extended = source["kind"] == 0
    for flux, re, part in ((disc, re_disc, "disc"), (bulge, re_bulge, "bulge")):
        reach = _radius_sersic(flux, re, source[f"q_{part}"], source[f"n_{part}"])
        radius = np.where(extended & (flux > 0), np.maximum(radius, reach), radius)
    wanted = np.searchsorted(SIZES, 2 * (radius + 2))
    cap = np.searchsorted(SIZES, np.minimum(2 * (source["margin"] - 1) / scale, SIZES[-1]), side="right") - 1
    return SIZES[np.minimum(wanted, cap)]


def placed(seed: int, centre, x0: int, y0: int, width: int, height: int, sigma, fwhms, scale: float,
           survey: str = "hsc", reddening: float = 0.0, deep: bool = False) -> dict[str, np.ndarray]:
    """Sources whose stamps touch a window, arguments as for `render`: columns of `population` and, in px of the tract, `x`, `y`
    (float), `gx`, `gy` (the pixel that holds them), the stamp's `size`, `left` and `low`."""
    mid = geometry.deproject(*centre, -(x0 + (width - 1) / 2) * scale, (y0 + (height - 1) / 2) * scale)
    source = population.near(seed, float(mid[0]), float(mid[1]), max(width, height) / 2 * scale * 1.42, population.tiers(deep),
                             survey=survey, least_margin=(SIZES[0] / 2 + 2) * scale, reddening=reddening)
    xi, eta = geometry.project(*centre, source["ra"], source["dec"])
    x, y = -xi / scale, eta / scale
    sizes = stamp_sizes(source, sigma, fwhms, scale)
    gx, gy = np.floor(x + 0.5).astype(int), np.floor(y + 0.5).astype(int)
    left, low = gx - sizes // 2, gy - sizes // 2
    touches = (left < x0 + width) & (left + sizes > x0) & (low < y0 + height) & (low + sizes > y0)
    total = ((source["disc"] + source["bulge"]) / sigma).max(1)
    visible = total / (np.sqrt(4 * np.pi) * max(fwhms) / 2.355) > ISOPHOTE
    source |= {"x": x, "y": y, "gx": gx, "gy": gy, "size": sizes, "left": left, "low": low}
    return {name: column[touches & visible] for name, column in source.items()}


def render(seed: int, centre, x0: int, y0: int, width: int, height: int, sigma, fwhms, scale: float,
           survey: str = "hsc", reddening: float = 0.0, deep: bool = False) -> np.ndarray:
    """Noise-free (band, height, width) float32 nJy of a window of a tract in the survey's bands.

    `centre` is the tract's tangent point (ra, dec); pixel (x, y) lies at xi = -x scale, eta = y scale.
    `sigma` (band,) is the sky noise in nJy that decides how far stamps reach, `fwhms` (band,) in px.
    """
    source = placed(seed, centre, x0, y0, width, height, sigma, fwhms, scale, survey, reddening, deep)
    out = np.zeros((len(fwhms), height, width), np.float32)
    for k in range(len(source["x"])):
        drawn = own_stamp(source, k, fwhms, scale)
        inside, part = overlap(source["left"][k] - x0, source["low"][k] - y0, len(drawn[0]), width, height)
        out[:, *inside] += drawn[:, *part]
    return out


def own_stamp(source: dict, k: int, fwhms, scale: float) -> np.ndarray:
    """(band, n, n) float32 pixels of source `k` of `placed`, whose first one is (left, low)."""
    dx, dy = (source[axis][k] - source[f"g{axis}"][k] for axis in "xy")
    return stamp(int(source["size"][k]), source, k, dx, dy, fwhms, scale)


def overlap(left: int, low: int, n: int, width: int, height: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices (y, x) of a window of width x height px, and of an n x n stamp that begins at its pixel (left, low), where they
    share pixels."""
    y, x = ((max(start, 0), min(start + n, end)) for start, end in ((low, height), (left, width)))
    return (slice(*y), slice(*x)), (slice(y[0] - low, y[1] - low), slice(x[0] - left, x[1] - left))
