"""How well p(z) histograms fit the truth: probability integral transform, proper scores, coverage.

pz (n, bins), edges (bins + 1,), z (n,) true redshifts, as in `histogram`. Mass that a row lacks to 1 lies above the last edge;
a truth outside the edges counts as what it is: PIT 0 or the row's mass, density 0.
"""

from __future__ import annotations

import numpy as np

from skyloom.pz import histogram, metrics

FLOOR = 1e-3  # least density in the logarithmic score: a single impossible truth doesn't decide a table
FEWER = 200  # resamples at most of the PIT statistics: each sorts all values
TAIL = 1e-4  # PIT beyond which an object is an outlier of its own p(z) (Schmidt et al. 2020)


def pit(pz, edges, z) -> np.ndarray:
    """(n,) probability below the truth (Dawid 1984), linear inside a bin."""
    edges, z = np.asarray(edges, float), np.asarray(z, float)
    below = np.concatenate([np.zeros((len(z), 1)), np.cumsum(np.asarray(pz, float), axis=1)], axis=1)
    k = np.clip(np.searchsorted(edges, z, side="right") - 1, 0, len(edges) - 2)
    rows, share = np.arange(len(z)), np.clip((z - edges[k]) / np.diff(edges)[k], 0, 1)
    return np.clip(below[rows, k] + share * (below[rows, k + 1] - below[rows, k]), 0, 1)


def known_pit(pz, edges, z) -> np.ndarray:
    """`pit`, NaN where a row of p(z) or its z holds one."""
    return np.where(np.isfinite(pz).all(axis=1) & np.isfinite(z), pit(pz, edges, z), np.nan)


def ks(u) -> np.ndarray:
    """Kolmogorov-Smirnov distance of PIT values (..., n) from the uniform distribution."""
    u, n = np.sort(u, axis=-1), np.shape(u)[-1]
    ranks = np.arange(1, n + 1) / n
    return np.maximum((ranks - u).max(axis=-1), (u - ranks + 1 / n).max(axis=-1))


def cvm(u) -> np.ndarray:
    """Cramer-von Mises statistic W^2 of PIT values (..., n)."""
    u, n = np.sort(u, axis=-1), np.shape(u)[-1]
    return 1 / (12 * n) + (((2 * np.arange(1, n + 1) - 1) / (2 * n) - u) ** 2).sum(axis=-1)


def ad(u) -> np.ndarray:
    """Anderson-Darling statistic A^2 (1952) of PIT values (..., n), which are kept inside (TAIL, 1 - TAIL): at 0 or 1 it is
    infinite."""
    u, n = np.clip(np.sort(u, axis=-1), TAIL, 1 - TAIL), np.shape(u)[-1]
    return -n - ((2 * np.arange(1, n + 1) - 1) / n * (np.log(u) + np.log1p(-u[..., ::-1]))).sum(axis=-1)


def crps_terms(pz, edges, z) -> np.ndarray:
    """(n,) continuous ranked probability scores in z (Gneiting & Raftery 2007): integral over the bins of (F - [z_true < z])^2,
    exact for histograms; a truth outside adds its distance to the bins."""
    edges, z = np.asarray(edges, float), np.asarray(z, float)
    low, high = edges[:-1], edges[1:]
    below = np.concatenate([np.zeros((len(z), 1)), np.cumsum(np.asarray(pz, float), axis=1)], axis=1)
    slope = (below[:, 1:] - below[:, :-1]) / (high - low)
    cut = np.clip(z[:, None], low, high)  # F counts below the truth, 1 - F above it
    at = below[:, :-1] + slope * (cut - low)
    left = (cut - low) * (below[:, :-1] ** 2 + below[:, :-1] * at + at**2) / 3
    p, q = 1 - at, 1 - below[:, 1:]
    right = (high - cut) * (p**2 + p * q + q**2) / 3
    far = np.clip(z - edges[-1], 0, None) + np.clip(edges[0] - z, 0, None)
    return (left + right).sum(axis=1) + far


def log_terms(pz, edges, z) -> np.ndarray:
    """(n,) minus the logarithm of the density at the truth, densities below FLOOR taken as FLOOR."""
    return -np.log(np.maximum(histogram.density_at(pz, edges, z), FLOOR))


def brier_terms(pz, edges, z) -> np.ndarray:
    """(n,) Brier scores over the bins (1950), between 0 and 2: sum of (p_k - [k is the truth's])^2; a truth
    outside is in a bin of its own, to which nothing was given."""
    at = histogram.density_at(np.asarray(pz, float) * np.diff(edges), edges, z)
    return (np.asarray(pz, float) ** 2).sum(axis=1) - 2 * at + 1


def covered(level: float):
    """Function of PIT values (n,): 1 where the central interval of `level` holds the truth."""
    return lambda u: np.where(np.isfinite(u), np.abs(u - 0.5) <= level / 2, np.nan).astype(float)


def beyond(u) -> np.ndarray:
    """(n,) 1 where PIT values are below TAIL or above 1 - TAIL."""
    return np.where(np.isfinite(u), (u < TAIL) | (u > 1 - TAIL), np.nan).astype(float)


# (metric, convention): means of terms an object, of p(z) or of PIT values; statistics of all PIT values together
OF_PZ = {("cde_loss", "histogram"): histogram.cde_terms, ("crps", "z"): crps_terms, ("log_score", f"floor={FLOOR}"): log_terms,
         ("brier", "bins"): brier_terms}
OF_PIT = {("coverage", "0.68"): covered(0.68), ("coverage", "0.90"): covered(0.90), ("coverage", "0.95"): covered(0.95),
          ("pit_outlier_rate", str(TAIL)): beyond}
TERMS = (*OF_PZ, *OF_PIT)
SHAPES = {("pit_ks", "D"): ks, ("pit_cvm", "W2"): cvm, ("pit_ad", f"A2,clip={TAIL}"): ad}


def terms(pz, edges, z) -> dict[str | tuple[str, str], np.ndarray]:
    """What every score needs of an object: `pit` and the terms of TERMS, each (n,); NaN in all of them where p(z) or z has one,
    so that they can be worked out a block of objects at a time."""
    pz, z = np.asarray(pz, float), np.asarray(z, float)
    u = known_pit(pz, edges, z)
    found = {name: np.where(np.isfinite(u), function(pz, edges, z), np.nan) for name, function in OF_PZ.items()}
    return {"pit": u} | found | {name: function(u) for name, function in OF_PIT.items()}


def pz_metrics(pz, edges, z, bootstrap: int = 1000, seed: int = 0) -> list[tuple]:
    """`of_terms` of whole histograms."""
    return of_terms(terms(pz, edges, z), bootstrap, seed)


def of_terms(found: dict, bootstrap: int = 1000, seed: int = 0) -> list[tuple]:
    """(metric, convention, value, lo68, hi68, n) of every score of the objects' `terms`; those of NaN don't count. Intervals as
    in `metrics.point_metrics`, of the PIT statistics from at most FEWER resamples."""
    good = np.isfinite(found["pit"])
    n, rng = int(good.sum()), np.random.default_rng(seed)
    out = []
    for name in TERMS:
        out.append((*name, *_interval(found[name][good], lambda x: x.mean(axis=-1), n, bootstrap, rng), n))
    for name, function in SHAPES.items():
        out.append((*name, *_interval(found["pit"][good], function, n, min(bootstrap, FEWER), rng), n))
    return out


def _interval(values, function, n, bootstrap, rng) -> tuple[float, float, float]:
    if not n:
        return np.nan, np.nan, np.nan
    draws = [function(values[rows]) for rows in metrics.drawn(n, bootstrap, rng, 2_000_000)]
    lo, hi = np.percentile(np.concatenate(draws), (16, 84)) if bootstrap else (np.nan, np.nan)
    return float(function(values)), float(lo), float(hi)
