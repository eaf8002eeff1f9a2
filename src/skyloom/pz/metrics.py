"""Point-estimate metrics of photometric redshifts, each under the name and convention of its source.

dz = z_phot - z_spec, e = dz / (1 + z_spec). Equations (1) to (6): Do et al. 2024 (GalaxiesML).
"""

from __future__ import annotations

import numpy as np


def _mad(x):
    return np.median(np.abs(x - np.median(x, axis=-1, keepdims=True)), axis=-1)


def _loss(zp, zs):
    """Eq. (1), gamma 0.15, with the printed denominator 1 + z_phot (kept above 0.1 as in training)."""
    x = (zp - zs) / (0.15 * np.maximum(1 + zp, 0.1))
    return np.mean(1 - 1 / (1 + x * x), axis=-1)


# (metric, convention) -> function of z_phot and z_spec along the last axis
POINT = {
    ("bias", "mean(1+z)"): lambda zp, zs: np.mean((zp - zs) / (1 + zs), axis=-1),  # eq. (2), averaged
    ("bias", "median(1+z)"): lambda zp, zs: np.median((zp - zs) / (1 + zs), axis=-1),
    ("rms", "(1+z)"): lambda zp, zs: np.sqrt(np.mean(((zp - zs) / (1 + zs)) ** 2, axis=-1)),  # eq. (3)
    ("scatter", "1.48mad_unscaled"): lambda zp, zs: 1.48 * _mad(zp - zs),  # eq. (4) as printed
    ("scatter", "1.48mad(1+z)"): lambda zp, zs: 1.48 * _mad((zp - zs) / (1 + zs)),
    ("nmad", "1.4826mad(1+z)"): lambda zp, zs: 1.4826 * _mad((zp - zs) / (1 + zs)),
    ("sigma_iqr", "iqr/1.349"): lambda zp, zs: np.subtract(*np.percentile((zp - zs) / (1 + zs), (75, 25), axis=-1)) / 1.349,
    ("sigma_68", "(p84-p16)/2"): lambda zp, zs: np.subtract(*np.percentile((zp - zs) / (1 + zs), (84, 16), axis=-1)) / 2,
    ("outlier_fraction", "0.15"): lambda zp, zs: np.mean(np.abs(zp - zs) / (1 + zs) > 0.15, axis=-1),  # eqs. (5), (6)
    ("outlier_fraction", "0.05"): lambda zp, zs: np.mean(np.abs(zp - zs) / (1 + zs) > 0.05, axis=-1),
    ("mse", "unscaled"): lambda zp, zs: np.mean((zp - zs) ** 2, axis=-1),
    ("loss", "eq1,gamma=0.15"): _loss,
}


def point_metrics(z_phot, z_spec, bootstrap: int = 1000, seed: int = 0) -> list[tuple]:
    """(metric, convention, value, lo68, hi68, n) of every point metric.

    z_phot, z_spec (n,); rows where either is not finite don't count. Intervals: 16th and 84th percentile of
    `bootstrap` resamples of the objects (Efron 1979), NaN without objects or resamples.
    """
    zp, zs = np.asarray(z_phot, float), np.asarray(z_spec, float)
    good = np.isfinite(zp) & np.isfinite(zs)
    zp, zs = zp[good], zs[good]
    n = len(zp)
    draws = _bootstrap(zp, zs, bootstrap, seed) if n and bootstrap else None
    out = []
    for name, function in POINT.items():
        value = float(function(zp, zs)) if n else np.nan
        lo, hi = np.percentile(draws[name], (16, 84)) if draws else (np.nan, np.nan)
        out.append((*name, value, float(lo), float(hi), n))
    return out


def mean_of(terms, bootstrap: int = 1000, seed: int = 0) -> tuple[float, float, float, int]:
    """(mean, lo68, hi68, n) of per-object terms (n,), intervals as in `point_metrics`; terms that aren't finite don't count."""
    terms = np.asarray(terms, float)
    terms = terms[np.isfinite(terms)]
    n = len(terms)
    if not n:
        return np.nan, np.nan, np.nan, 0
    rng, means = np.random.default_rng(seed), []
    block = max(1, 4_000_000 // n)
    for first in range(0, bootstrap, block):
        means.append(terms[rng.integers(0, n, (min(block, bootstrap - first), n))].mean(axis=1))
    lo, hi = np.percentile(np.concatenate(means), (16, 84)) if bootstrap else (np.nan, np.nan)
    return float(terms.mean()), float(lo), float(hi), n


def _bootstrap(zp, zs, resamples, seed) -> dict:
    """Every metric of every resample, in blocks that bound the memory."""
    rng, n = np.random.default_rng(seed), len(zp)
    draws: dict = {name: [] for name in POINT}
    block = max(1, 4_000_000 // n)
    for first in range(0, resamples, block):
        rows = rng.integers(0, n, (min(block, resamples - first), n))
        for name, function in POINT.items():
            draws[name].append(function(zp[rows], zs[rows]))
    return {name: np.concatenate(values) for name, values in draws.items()}


def binned(z_phot, z_spec, width: float, z_max: float, bootstrap: int, seed: int = 0) -> list[tuple]:
    """(z_min, z_max, metric, convention, value, lo68, hi68, n) in bins of z_spec of `width` from 0 to `z_max`."""
    zp, zs = np.asarray(z_phot, float), np.asarray(z_spec, float)
    out = []
    edges = np.arange(0, z_max + width / 2, width)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (zs >= low) & (zs < high)
        out += [(round(low, 6), round(high, 6), *row) for row in point_metrics(zp[inside], zs[inside], bootstrap, seed)]
    return out
