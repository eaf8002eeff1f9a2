"""What p(z) says of whole samples: redshift distributions of tomographic bins, and second peaks that hold the truth."""

from __future__ import annotations

import numpy as np

from skyloom.pz import histogram, metrics, scores

FAINTEST = 0.01  # of the mode's height: a second peak below it is no peak


def second_mode(pz, edges, apart: float = 0.1) -> np.ndarray:
    """(n,) centre of the highest local maximum at least `apart` (1 + z) from the mode; NaN where there is none of at least
    FAINTEST of the mode's height."""
    density, z = np.asarray(pz, float) / np.diff(edges), histogram.centres(edges)
    padded = np.pad(density, ((0, 0), (1, 1)), constant_values=-1.0)
    peak = (density >= padded[:, :-2]) & (density > padded[:, 2:]) & (density > FAINTEST * density.max(axis=1, keepdims=True))
    first = histogram.mode(pz, edges)
    far = np.abs(z - first[:, None]) >= apart * (1 + first[:, None])
    height = np.where(peak & far, density, 0.0)
    return np.where(height.max(axis=1, initial=0.0) > 0, z[height.argmax(axis=1)], np.nan)


def second_share(pz, edges, apart: float = 0.1) -> np.ndarray:
    """(n,) probability within half of `apart` (1 + z) of the second peak of `second_mode`, 0 without one."""
    second = second_mode(pz, edges, apart)
    there = np.isfinite(second)
    reach, rows = apart / 2 * (1 + second[there]), np.asarray(pz, float)[there]
    out = np.zeros(len(second))
    out[there] = scores.pit(rows, edges, second[there] + reach) - scores.pit(rows, edges, second[there] - reach)
    return out


def recovered(pz, edges, z, limit: float = 0.15) -> np.ndarray:
    """1 or 0 for every object whose mode misses the truth z (n,) by more than `limit` (1 + z): whether its second peak doesn't
    (the question of Merz et al. 2025, figure 7)."""
    found = recovery(pz, edges, z, limit)
    return found[np.isfinite(found)]


def recovery(pz, edges, z, limit: float = 0.15) -> np.ndarray:
    """(n,) the same beside every object, NaN for those that the mode doesn't miss."""
    z = np.asarray(z, float)
    out = np.full(len(z), np.nan)
    lost = np.abs(histogram.mode(pz, edges) - z) > limit * (1 + z)
    out[lost] = np.abs(second_mode(np.asarray(pz)[lost], edges) - z[lost]) <= limit * (1 + z[lost])
    return out


def stacks(pz, edges, point, z, bins: int, asked: int, seed: int = 0) -> list[tuple]:
    """`of_means` of whole histograms."""
    return of_means(histogram.mean(pz, edges), point, z, bins, asked, seed)


def of_means(own, point, z, bins: int, asked: int, seed: int = 0) -> list[tuple]:
    """(bin, low, high, n, mean of the stack, true mean, difference, lo68, hi68) of tomographic bins.

    Objects are put into `bins` equally full bins of their `point` estimate (n,); a bin's n(z) is the sum of its p(z), of which
    `own` (n,) are the means. The interval of the difference of mean redshifts is the bootstrap's over objects, of
    `metrics.resamples(n, asked)`.
    """
    own, point, z = (np.asarray(values, float) for values in (own, point, z))
    good = np.isfinite(point) & np.isfinite(z)
    limits = np.quantile(point[good], np.linspace(0, 1, bins + 1)) if good.any() else np.zeros(bins + 1)
    rng, out = np.random.default_rng(seed), []
    for k in range(bins):
        rows = np.flatnonzero(good & (point >= limits[k]) & ((point < limits[k + 1]) | (k == bins - 1)))
        if not len(rows):
            continue
        miss = own[rows] - z[rows]
        draws = [miss[drawn].mean(axis=1) for drawn in metrics.drawn(len(rows), max(asked, 1), rng)]
        low, high = np.percentile(np.concatenate(draws), (16, 84)) if asked else (np.nan, np.nan)
        out.append((k + 1, float(limits[k]), float(limits[k + 1]), len(rows), float(own[rows].mean()), float(z[rows].mean()),
                    float(miss.mean()), float(low), float(high)))
    return out
