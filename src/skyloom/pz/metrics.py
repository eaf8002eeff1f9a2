"""Point-estimate metrics of photometric redshifts, each under the name and convention of its source.

dz = z_phot - z_spec, e = dz / (1 + z_spec). Equations (1) to (6): Do et al. 2024 (GalaxiesML).
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

DRAWS = 50_000_000  # objects that the resamples of one interval may hold together
LEAST = 50  # resamples whatever the number of objects


def resamples(n: int, asked: int) -> int:
    """How many resamples of n objects an interval is made from: `asked`, of large samples as many as hold DRAWS objects together,
    at least LEAST. With 50 the width of an interval is known to 10 %."""
    return min(asked, max(DRAWS // max(n, 1), LEAST))


def _median(x):
    return np.median(x, axis=-1, keepdims=True)


class _Errors:
    """dz and e of z_phot and z_spec along the last axis, with what several metrics share, worked out once."""

    def __init__(self, zp, zs):
        self.zp, self.zs = zp, zs

    dz = cached_property(lambda self: self.zp - self.zs)
    e = cached_property(lambda self: self.dz / (1 + self.zs))
    size = cached_property(lambda self: np.abs(self.dz) / (1 + self.zs))
    median = cached_property(lambda self: _median(self.e))
    mad = cached_property(lambda self: np.median(np.abs(self.e - self.median), axis=-1))
    mad_unscaled = cached_property(lambda self: np.median(np.abs(self.dz - _median(self.dz)), axis=-1))
    percentiles = cached_property(lambda self: np.percentile(self.e, (16, 25, 75, 84), axis=-1))
    sigma_iqr = cached_property(lambda self: (self.percentiles[2] - self.percentiles[1]) / 1.349)


def _loss(x):
    """Eq. (1), gamma 0.15, with the printed denominator 1 + z_phot (kept above 0.1 as in training)."""
    miss = x.dz / (0.15 * np.maximum(1 + x.zp, 0.1))
    return np.mean(1 - 1 / (1 + miss * miss), axis=-1)


def _schmidt(x):
    """DeepDISC's outliers (Merz et al. 2025, eq. 5, as Schmidt et al. 2020 defined them): e beyond three of the sample's own
    sigma_iqr, and beyond 0.06 in any case."""
    limit = np.maximum(0.06, 3 * x.sigma_iqr)
    return np.mean(np.abs(x.e) > np.expand_dims(limit, -1), axis=-1)


_FORMULAS = {
    ("bias", "mean(1+z)"): lambda x: np.mean(x.e, axis=-1),  # eq. (2), averaged
    ("bias", "median(1+z)"): lambda x: x.median[..., 0],
    ("rms", "(1+z)"): lambda x: np.sqrt(np.mean(x.e**2, axis=-1)),  # eq. (3)
    ("scatter", "1.48mad_unscaled"): lambda x: 1.48 * x.mad_unscaled,  # eq. (4) as printed
    ("scatter", "1.48mad(1+z)"): lambda x: 1.48 * x.mad,
    ("nmad", "1.4826mad(1+z)"): lambda x: 1.4826 * x.mad,
    ("sigma_iqr", "iqr/1.349"): lambda x: x.sigma_iqr,
    ("sigma_68", "(p84-p16)/2"): lambda x: (x.percentiles[3] - x.percentiles[0]) / 2,
    ("outlier_fraction", "0.15"): lambda x: np.mean(x.size > 0.15, axis=-1),  # eqs. (5), (6)
    ("outlier_fraction", "0.05"): lambda x: np.mean(x.size > 0.05, axis=-1),
    ("mse", "unscaled"): lambda x: np.mean(x.dz**2, axis=-1),
    ("loss", "eq1,gamma=0.15"): _loss,
    ("outlier_fraction", "max(0.06,3sigma)"): _schmidt,
}
# (metric, convention) -> function of z_phot and z_spec along the last axis
POINT = {name: lambda zp, zs, formula=formula: formula(_Errors(zp, zs)) for name, formula in _FORMULAS.items()}


def several(keys, z_phot, z_spec) -> dict:
    """{key: value} of some of POINT along the last axis; what they share is worked out once."""
    errors = _Errors(z_phot, z_spec)
    return {key: _FORMULAS[key](errors) for key in keys}


def point_metrics(z_phot, z_spec, bootstrap: int = 1000, seed: int = 0) -> list[tuple]:
    """(metric, convention, value, lo68, hi68, n) of every point metric.

    z_phot, z_spec (n,); rows where either is not finite don't count. Intervals: 16th and 84th percentile of
    `bootstrap` resamples of the objects (Efron 1979), fewer of large samples (`resamples`), NaN without objects or resamples.
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
    means = [terms[rows].mean(axis=1) for rows in drawn(n, bootstrap, np.random.default_rng(seed))]
    lo, hi = np.percentile(np.concatenate(means), (16, 84)) if bootstrap else (np.nan, np.nan)
    return float(terms.mean()), float(lo), float(hi), n


def drawn(n: int, asked: int, rng, most: int = 4_000_000):
    """Row numbers (r, n) of the resamples of n objects, `resamples(n, asked)` of them, a block of at most `most` numbers (or one
    resample) at a time: whatever is computed of them, not all are held at once."""
    count, block = resamples(n, asked), max(1, most // n)
    for first in range(0, count, block):
        yield rng.integers(0, n, (min(block, count - first), n))


def _bootstrap(zp, zs, asked, seed) -> dict:
    """Every metric of every resample."""
    draws: dict = {name: [] for name in _FORMULAS}
    for rows in drawn(len(zp), asked, np.random.default_rng(seed)):
        for name, values in several(_FORMULAS, zp[rows], zs[rows]).items():
            draws[name].append(values)
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
