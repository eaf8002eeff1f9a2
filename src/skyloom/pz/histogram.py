"""p(z) as a histogram: probabilities of bins with explicit edges, flat inside a bin.

Everywhere: pz (n, bins) probabilities, edges (bins + 1,). A row with a NaN gives NaN. Rows are taken as they are: what they
lack to 1 is mass outside the edges, which no estimate moves inside.
"""

from __future__ import annotations

import numpy as np

LEVELS = {"l68": 0.16, "u68": 0.84, "l95": 0.025, "u95": 0.975}  # central intervals


def centres(edges) -> np.ndarray:
    """(bins,) centres of the bins."""
    edges = np.asarray(edges, float)
    return (edges[1:] + edges[:-1]) / 2


def mean(pz, edges) -> np.ndarray:
    """(n,) expectation at the bins' centres."""
    return np.asarray(pz, float) @ centres(edges)


def mode(pz, edges) -> np.ndarray:
    """(n,) centre of the bin of highest density, the first of equals."""
    density = np.asarray(pz, float) / np.diff(edges)
    known = np.isfinite(density).all(axis=1)
    return np.where(known, centres(edges)[np.argmax(np.where(known[:, None], density, 0), axis=1)], np.nan)


def quantile(pz, edges, level: float) -> np.ndarray:
    """(n,) redshift below which `level` of the probability lies, linear inside a bin; the last edge where the rows' mass
    inside the edges doesn't reach the level."""
    return quantiles(pz, edges, [level])[0]


def quantiles(pz, edges, levels) -> list[np.ndarray]:
    """`quantile` at several levels."""
    edges = np.asarray(edges, float)
    total = np.cumsum(np.asarray(pz, float), axis=1)
    known = np.isfinite(total).all(axis=1)
    below = np.concatenate([np.zeros((len(total), 1)), total], axis=1)
    rows, reached, out = np.arange(len(total)), np.where(known[:, None], total, 0), []
    for level in levels:
        k = np.minimum((reached < level).sum(axis=1), total.shape[1] - 1)
        inside = below[rows, k + 1] - below[rows, k]
        share = np.clip(np.divide(level - below[rows, k], inside, out=np.ones_like(inside), where=inside > 0), 0, 1)
        out.append(np.where(known, edges[k] + share * (edges[k + 1] - edges[k]), np.nan))
    return out


def summaries(pz, edges) -> dict[str, np.ndarray]:
    """mean, mode, median and the central 68 and 95 % intervals (l68, u68, l95, u95), each (n,)."""
    levels = {"median": 0.5} | LEVELS
    return {"mean": mean(pz, edges), "mode": mode(pz, edges)} | dict(
        zip(levels, quantiles(pz, edges, levels.values()), strict=True))


def density_at(pz, edges, z) -> np.ndarray:
    """(n,) density of each row at its z (n,); 0 outside the edges."""
    edges, z = np.asarray(edges, float), np.asarray(z, float)
    k = np.searchsorted(edges, z, side="right") - 1
    inside = (z >= edges[0]) & (z < edges[-1])
    k = np.clip(k, 0, len(edges) - 2)
    value = np.asarray(pz, float)[np.arange(len(z)), k] / np.diff(edges)[k]
    return np.where(inside | ~np.isfinite(value), value, 0.0)


def cde_terms(pz, edges, z) -> np.ndarray:
    """(n,) terms whose mean is the CDE loss (Izbicki & Lee 2016): integral of p^2 over z, minus 2 p(z_true), exact for a
    histogram. A truth outside the edges counts with p = 0."""
    return (np.asarray(pz, float) ** 2 / np.diff(edges)).sum(axis=1) - 2 * density_at(pz, edges, z)
