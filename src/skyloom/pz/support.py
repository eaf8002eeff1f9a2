"""Where an estimator extrapolates: how unlike its training an object is, as a conformal p-value.

Features (n, k) are magnitudes and colours, NaN where a band has nothing. Objects are compared with training objects that have
the same bands; the distance to the NEIGHBOURS-th nearest is ranked among those of held-out objects (Laxhammar & Falkman 2011).
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

NEIGHBOURS = 5


def features(magnitudes: np.ndarray) -> np.ndarray:
    """(n, 2 bands - 1): magnitudes (n, band) from blue to red, and their differences; NaN where one is missing."""
    return np.column_stack([magnitudes, np.diff(magnitudes, axis=1)])


def judged(magnitudes, training, held, block: int = 100_000) -> dict[str, np.ndarray]:
    """`p_value`, `pattern_seen`, `in_range` (n,) of magnitudes (n, band); training and held (n,) say which objects are. Distances
    are looked up a block of objects at a time."""
    n = len(magnitudes)
    out = {"p_value": np.full(n, np.nan), "pattern_seen": np.ones(n, bool), "in_range": np.ones(n, bool)}
    if not magnitudes.shape[1]:
        return out
    known, others = features(magnitudes[training]), features(magnitudes[held])
    for first in range(0, n, block):
        rows = slice(first, first + block)
        out["p_value"][rows], out["pattern_seen"][rows] = p_values(known, others, features(magnitudes[rows]))
    if training.any():
        with np.errstate(invalid="ignore"):
            low, high = np.nanmin(magnitudes[training], axis=0), np.nanmax(magnitudes[training], axis=0)
            out["in_range"] = ~((magnitudes < low) | (magnitudes > high)).any(axis=1)
    return out


def p_values(training: np.ndarray, held: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(p (n,), pattern_seen (n,) bool) of objects x (n, k) against training (t, k) with held-out objects (h, k).

    p is the share of held-out objects, the object itself counted, at least as far from training: an object drawn as they were
    has p <= a with probability of at most a, for every a. Distances are in units of training's robust spread. A pattern of
    missing bands that training doesn't hold NEIGHBOURS times has distance infinity.
    """
    with np.errstate(invalid="ignore"):
        middle = np.nanmedian(training, axis=0) if len(training) else np.zeros(x.shape[1])
        spread = 1.4826 * np.nanmedian(np.abs(training - middle), axis=0) if len(training) else np.ones(x.shape[1])
    scale = np.where(spread > 0, spread, 1.0)
    reference, _ = _distances(training / scale, held / scale)
    distance, seen = _distances(training / scale, x / scale)
    order = np.sort(reference)
    further = len(order) - np.searchsorted(order, distance, side="left")
    return (further + 1) / (len(order) + 1), seen


def _distances(training, x):
    """Distance to the NEIGHBOURS-th nearest training object of the same pattern, and whether the pattern has that many."""
    out, seen = np.full(len(x), np.inf), np.zeros(len(x), bool)
    patterns, kind = np.unique(np.isfinite(np.concatenate([training, x])), axis=0, return_inverse=True)
    own, asked = np.split(kind.ravel(), [len(training)])
    for k, present in enumerate(patterns):
        rows, members = np.flatnonzero(asked == k), np.flatnonzero(own == k)
        if len(rows) and len(members) >= NEIGHBOURS and present.any():
            tree = cKDTree(training[members][:, present])
            out[rows] = tree.query(x[rows][:, present], k=NEIGHBOURS)[0][:, -1]
            seen[rows] = True
    return out, seen
