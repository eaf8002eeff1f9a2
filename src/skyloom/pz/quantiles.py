"""p(z) as quantiles: levels (k,) ascending in (0, 1), locs (n, k) ascending; the cdf is linear between them.

Below the first and above the last level the cdf goes on at the slope of the neighbouring pair until it reaches 0 and 1.
"""

from __future__ import annotations

import numpy as np

from skyloom.pz import histogram


def ends(levels, locs) -> tuple[np.ndarray, np.ndarray]:
    """(levels with 0 and 1 at the ends, locs (n, k + 2)): the whole cdf as straight lines."""
    levels, locs = np.asarray(levels, float), np.asarray(locs, float)
    low = locs[:, 0] - levels[0] * (locs[:, 1] - locs[:, 0]) / (levels[1] - levels[0])
    high = locs[:, -1] + (1 - levels[-1]) * (locs[:, -1] - locs[:, -2]) / (levels[-1] - levels[-2])
    return np.concatenate([[0.0], levels, [1.0]]), np.column_stack([low, locs, high])


def cdf(levels, locs, z) -> np.ndarray:
    """(n, len(z)) probability below each of z (k,)."""
    whole, at = ends(levels, locs)
    return np.stack([np.interp(z, row, whole) if np.isfinite(row).all() else np.full(len(z), np.nan) for row in at])


def mean(levels, locs) -> np.ndarray:
    """(n,) expectation: the mean of straight pieces."""
    whole, at = ends(levels, locs)
    return ((at[:, 1:] + at[:, :-1]) / 2) @ np.diff(whole)


def pooled(levels, members: list) -> np.ndarray:
    """(n, k) locations at `levels` (k,) of the mean cdf of members' locs (n, k): the mean of straight pieces is straight between
    all members' locations, so the inversion is exact."""
    if len(members) == 1:
        return np.asarray(members[0], float)
    whole, at = ends(levels, members[0])[0], np.stack([ends(levels, locs)[1] for locs in members], axis=1)
    out = np.full(np.shape(members[0]), np.nan)
    for k in np.flatnonzero(np.isfinite(at).all(axis=(1, 2))):
        knots = np.sort(at[k], axis=None)
        below = np.mean([np.interp(knots, row, whole) for row in at[k]], axis=0)
        out[k] = np.interp(levels, below, knots)
    return out


def levels(count: int) -> np.ndarray:
    """(count,) levels that lie closer towards 0 and 1, where straight lines fit a tail worst."""
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)


def fitted(pz, edges, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(locs (n, count), error (n,)) of histograms: their quantiles at `levels`, the largest change of a row's cdf at the inner
    edges; what lies beyond the last edge is put onto it."""
    edges, total = np.asarray(edges, float), np.cumsum(np.asarray(pz, float), axis=1)
    locs = np.column_stack(histogram.quantiles(pz, edges, levels(count)))
    return locs, np.abs(cdf(levels(count), locs, edges[1:-1]) - total[:, :-1]).max(axis=1)
