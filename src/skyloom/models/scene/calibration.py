"""Corrections of a trained network from tiles that it didn't learn from: the threshold, and fluxes without bias by magnitude.

A regression draws noisy fluxes toward the usual ones. The median of the found fluxes of sources of one true flux, h(true), rises
with it, and medians pass through a rising function: h^-1(found) has the median `true` at every flux.
"""

from __future__ import annotations

import numpy as np

BINS, LEAST = 12, 20  # of true flux; sources of a bin
STEEPEST = 2.0  # of h^-1, where h is flat for noise
LAPLACE = np.log(2)  # median of |x| / scale


def curves(found: np.ndarray, scale: np.ndarray, true: np.ndarray, known: np.ndarray) -> dict:
    """{found: knots (band, k), true: (band, k), error: (band,)} of asinh fluxes (n, band), their log scales and the true ones;
    `known` (n, band) of which one may be learned. `error` multiplies the scales, so that half of the misses lie within the
    median of Laplace's law."""
    out: dict = {"found": [], "true": [], "error": []}
    for b in range(found.shape[1]):
        rows = known[:, b] & np.isfinite(found[:, b]) & np.isfinite(true[:, b])
        x, y = _medians(found[rows, b], true[rows, b])
        out["found"].append(x)
        out["true"].append(y)
        miss = np.abs(_through(found[rows, b], x, y) - true[rows, b]) / np.exp(scale[rows, b])
        out["error"].append(float(np.median(miss) / LAPLACE) if len(miss) >= LEAST else 1.0)
    return out


def _medians(found, true) -> tuple[list, list]:
    """Knots of h^-1: medians of both in bins of the true one, made to rise no faster than STEEPEST."""
    n = min(BINS, len(true) // LEAST)
    if not n:
        return [], []
    edges = np.quantile(true, np.linspace(0, 1, n + 1))
    which = np.clip(np.searchsorted(edges, true, side="right") - 1, 0, n - 1)
    parts = [(np.median(found[which == k]), np.median(true[which == k])) for k in range(n) if (which == k).any()]
    x, y = [float(parts[-1][0])], [float(parts[-1][1])]
    for a, b in parts[-2::-1]:  # from the bright end, where h is steep
        if x[0] - a > 1e-3:
            x.insert(0, float(a))
            y.insert(0, float(max(b, y[0] - STEEPEST * (x[1] - a))))
    return x, y


def _through(values, x, y):
    """Piecewise linear, shifted as its ends beyond them."""
    if not len(x):
        return values
    return values + np.interp(values, x, np.subtract(y, x))


def corrected(found: np.ndarray, scale: np.ndarray, facts: dict | None) -> tuple[np.ndarray, np.ndarray]:
    """(asinh fluxes, log scales) (n, band) by the curves of `facts`; as they are without."""
    if not facts:
        return found, scale
    flux = np.stack([_through(found[:, b], facts["found"][b], facts["true"][b]) for b in range(found.shape[1])], axis=1)
    return flux, scale + np.log(np.asarray(facts["error"], float))


def threshold(score: np.ndarray, right: np.ndarray, purity: float) -> float:
    """The lowest score above which at least `purity` of the sources are right (n,) bool; the highest score where none is."""
    if not len(score):
        return 0.5
    order = np.argsort(-score, kind="stable")
    pure = np.cumsum(right[order]) / np.arange(1, len(score) + 1)
    good = np.flatnonzero(pure >= purity)
    return float(score[order][good[-1] if len(good) else 0])
