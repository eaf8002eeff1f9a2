"""p(z) as a Gaussian mixture: weights, means, stds, each (n, components); mass may lie at any z."""

from __future__ import annotations

import numpy as np

BLOCK = 65_536  # values at a time: they stay in the processor's cache
FAR = 6.5  # standard deviations beyond which a Gaussian's cdf is 0 or 1 to 5e-11


def cdf(weights, means, stds, z) -> np.ndarray:
    """(n, k) probability below each of z (k,), the same for all rows, or (n, k)."""
    from scipy.special import ndtr  # a GPU box that trains and predicts may lack scipy

    weights, means, stds = (np.asarray(a, float) for a in (weights, means, stds))
    z = np.broadcast_to(np.asarray(z, float), (len(weights), np.shape(z)[-1]))
    out = np.zeros(z.shape)
    step = max(1, BLOCK // max(1, z.shape[1]))
    for first in range(0, len(weights), step):
        rows = slice(first, first + step)
        for c in range(weights.shape[1]):
            scaled = (z[rows] - means[rows, [c]]) / stds[rows, [c]]
            near = ~(np.abs(scaled) > FAR)  # NaN stays NaN
            below = (scaled > 0).astype(float)
            below[near] = ndtr(scaled[near])
            out[rows] += weights[rows, [c]] * below
    return out


def density(weights, means, stds, z) -> np.ndarray:
    """(n,) density of each row at its z (n,)."""
    scaled = (np.asarray(z, float)[:, None] - means) / stds
    return (np.asarray(weights, float) * np.exp(-0.5 * scaled**2) / (np.asarray(stds, float) * np.sqrt(2 * np.pi))).sum(axis=1)


def mean(weights, means) -> np.ndarray:
    """(n,) expectation."""
    return (np.asarray(weights, float) * means).sum(axis=1)


def cde_terms(weights, means, stds, z) -> np.ndarray:
    """(n,) terms of the CDE loss (Izbicki & Lee 2016) in closed form: the integral of p^2 is a sum over pairs of Gaussians."""
    w, m, s = (np.asarray(a, float) for a in (weights, means, stds))
    squared = np.zeros(len(w))
    for a in range(w.shape[1]):
        wide = np.hypot(s[:, [a]], s)
        squared += (w[:, [a]] * w * np.exp(-0.5 * ((m[:, [a]] - m) / wide) ** 2) / (wide * np.sqrt(2 * np.pi))).sum(axis=1)
    return squared - 2 * density(w, m, s, z)
