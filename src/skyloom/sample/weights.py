"""Importance weights: training objects weighted so that their magnitudes and colours are distributed like other objects'."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

NEIGHBOURS = 20  # training objects within the ball in which the others are counted


def toward(training: np.ndarray, others: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """(t,) weights of mean 1 of training features (t, k) toward others' (o, k): the ratio of the densities, estimated as the
    others within the distance of a training object's nearest training `neighbours` (Lima et al. 2008).

    Features are NaN where a band has nothing; objects are compared with those that lack the same bands, and a pattern of bands
    with too few training objects, or without any band, gets the ratio of its shares. Distances are in units of training's robust
    spread. All ones without others.
    """
    if not len(training) or not len(others):
        return np.ones(len(training))
    with np.errstate(invalid="ignore"):
        spread = 1.4826 * np.nanmedian(np.abs(training - np.nanmedian(training, axis=0)), axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    both = np.concatenate([training, others]) / scale
    patterns, kind = np.unique(np.isfinite(both), axis=0, return_inverse=True)
    own, asked = np.split(kind.ravel(), [len(training)])
    out = np.zeros(len(training))
    for k, present in enumerate(patterns):
        rows, there = np.flatnonzero(own == k), np.flatnonzero(asked == k)
        if len(rows) <= neighbours or not present.any():
            out[rows] = len(there) / max(len(rows), 1)
            continue
        mine, theirs = both[rows][:, present], both[len(training) + there][:, present]
        radius = cKDTree(mine).query(mine, k=neighbours + 1)[0][:, -1]  # the first neighbour is the object itself
        counts = cKDTree(theirs).query_ball_point(mine, radius, return_length=True) if len(there) else np.zeros(len(rows))
        out[rows] = counts / (neighbours + 1)
    return out / out.mean() if out.any() else np.ones(len(training))


def effective(weights: np.ndarray) -> float:
    """How many equally weighted objects would be as informative (Kish 1965)."""
    return float(weights.sum() ** 2 / (weights**2).sum())
