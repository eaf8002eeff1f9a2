"""Learning curves: metrics of models that learned from more and more objects, with intervals, in pairs, inside cells of colour.

Intervals are the 2.5th and 97.5th percentile over resamples of the objects (Efron 1979). The objects of a resample are the same
for all models that have the same objects, so that differences and ratios are paired.
"""

from __future__ import annotations

import numpy as np

from skyloom.pz import comparison, metrics, scores

POINT = (("nmad", "1.4826mad(1+z)"), ("outlier_fraction", "0.05"), ("outlier_fraction", "0.15"), ("bias", "mean(1+z)"))
CDE, KS = comparison.CDE, ("pit_ks", "D")
RATIOS = ("nmad", "outlier_fraction", "pit_ks")  # metrics above 0, of which a ratio says something
CELL = 64  # training objects of a cell of colour, at least
FEW = 5  # testing objects of a cell below which it has no mean
FAR = 3  # robust standard deviations from the middle of its cell beyond which a spec-z, perhaps a wrong one, doesn't count


def said(block: dict) -> dict:
    """What curves need of a block of `evaluation.objects`: `point`, which estimate `z` (n,) is, and with p(z) `cde`, the terms of
    its loss, and `pit` (n,)."""
    if "terms" not in block:
        return {"point": "mean", "z": block["points"]["mean"]}
    return {"point": "median", "z": block["points"]["median"], "cde": block["terms"][CDE], "pit": block["terms"]["pit"]}


def rows(one: dict, zs, parts: dict, asked: int, seed: int = 0) -> list[tuple]:
    """(subset, metric, convention, value, lo95, hi95, n) of what a model said of objects with truths zs (n,): of all, then of
    subsets {name: (n,) bool}. Objects without a point don't count."""
    out = []
    for subset, chosen in {"": np.ones(len(zs), bool), **parts}.items():
        good = chosen & _known(one, zs)
        for key, (value, draws) in _drawn(one, zs, good, asked, seed).items():
            out.append((subset, *_named(key, one["point"]), value, *_limits(draws), int(good.sum())))
    return out


def compared(a: dict, b: dict, zs, parts: dict, asked: int, seed: int = 0) -> list[tuple]:
    """(subset, metric, convention, difference a - b, lo95, hi95, ratio a / b, lo95, hi95, n) of what two models said of the same
    objects. NaN for the ratio of metrics that may be negative, and for limits where b has 0 in some resample."""
    return over_seeds([a], [b], zs, parts, asked, seed)


def over_seeds(a: list[dict], b: list[dict], zs, parts: dict, asked: int, seed: int = 0) -> list[tuple]:
    """`compared` of two models' means over their seeds: a resample draws objects, the same for both, and, independently for each,
    as many seeds as there are, so that an interval holds the scatter of samples and of trainings (as in `comparison.paired`)."""
    (one, other), out = (a[0]["point"], b[0]["point"]), []
    point = one if one == other else f"{one}-{other}"
    for subset, chosen in {"": np.ones(len(zs), bool), **parts}.items():
        good = chosen & np.all([_known(said, zs) for said in (*a, *b)], axis=0)
        rng = np.random.default_rng(seed + 1)  # of the objects' own numbers seeds know nothing
        ours, theirs = (_mean(some, zs, good, asked, seed, rng) for some in (a, b))
        for key in (key for key in ours if key in theirs):
            (value, draws), (other, of_other) = ours[key], theirs[key]
            ratio, spread = np.nan, np.full(1, np.nan)
            if key[0] in RATIOS and other > 0:
                ratio, spread = value / other, draws / of_other if (of_other > 0).all() else spread
            out.append((subset, *_named(key, point), value - other, *_limits(draws - of_other), ratio, *_limits(spread),
                        int(good.sum())))
    return out


def _mean(seeds: list[dict], zs, good, asked: int, seed: int, rng) -> dict:
    """`_drawn` of the mean over seeds, in every resample over as many that are drawn."""
    found = [_drawn(one, zs, good, asked, seed) for one in seeds]
    if len(found) == 1:
        return found[0]
    draws = {key: np.array([one[key][1] for one in found]) for key in found[0]}
    which = rng.integers(0, len(found), next(iter(draws.values())).shape)
    return {key: (float(np.mean([one[key][0] for one in found])), np.take_along_axis(values, which, axis=0).mean(axis=0))
            for key, values in draws.items()}


def _named(key, point: str) -> tuple[str, str]:
    """A metric and its convention, with the point estimate of those that have one."""
    return (key[0], f"{key[1]}|{point}") if key in POINT else key


def _known(one: dict, zs) -> np.ndarray:
    """(n,) bool: objects with a truth of which a model said something."""
    return np.isfinite(zs) & np.all([np.isfinite(values) for name, values in one.items() if name != "point"], axis=0)


def _drawn(one: dict, zs, good, asked: int, seed: int) -> dict:
    """{metric: (value, (resamples,) of resampled objects)} of the objects that are `good` (n,); NaN where there are none."""
    arrays, zs, n = {name: values[good] for name, values in one.items() if name != "point"}, zs[good], int(good.sum())
    if not n:
        return {key: (np.nan, np.zeros(0)) for key in (*POINT, *((CDE, KS) if "cde" in arrays else ()))}
    whole = _values(arrays, zs)
    found = [_values({name: values[which] for name, values in arrays.items()}, zs[which])
             for which in (metrics.drawn(n, asked, np.random.default_rng(seed)) if asked else ())]
    return {key: (float(value), np.concatenate([part[key] for part in found] or [np.zeros(0)])) for key, value in whole.items()}


def _values(arrays: dict, zs) -> dict:
    """{metric: value} along the last axis."""
    out = metrics.several(POINT, arrays["z"], zs)
    if "cde" in arrays:
        out |= {CDE: arrays["cde"].mean(axis=-1), KS: scores.ks(arrays["pit"])}
    return out


def _limits(draws) -> tuple[float, float]:
    """The central 95 % of resamples, NaN without any."""
    low, high = np.percentile(draws, (2.5, 97.5)) if len(draws) else (np.nan, np.nan)
    return float(low), float(high)


def cells(training: np.ndarray, colours: np.ndarray, least: int = CELL) -> np.ndarray:
    """(n,) the cell of colours (n, k), -1 where one of them isn't finite; cells are fitted on training objects (t, k).

    A k-d tree: a cell is halved at the median of the colour that is spread widest in it (16th to 84th percentile), as long as
    both halves hold `least` training objects, so that cells are small where objects are many. (The source of the idea,
    arXiv:2507.06299, has a self-organising map there.)
    """
    training = training[np.isfinite(training).all(axis=1)]
    out, count = np.full(len(colours), -1), 0
    waiting = [(training, np.flatnonzero(np.isfinite(colours).all(axis=1)))]
    while waiting:
        inside, at = waiting.pop()
        halves = _halves(inside, least)
        if halves is None:
            out[at], count = count, count + 1
            continue
        k, middle = halves
        below, left = inside[:, k] < middle, colours[at, k] < middle
        waiting += [(inside[~below], at[~left]), (inside[below], at[left])]
    return out


def _halves(inside: np.ndarray, least: int) -> tuple[int, float] | None:
    """(colour, where it is cut) of a cell with these training objects (t, k); None for one that stays whole."""
    if len(inside) < 2 * least or not inside.shape[1]:
        return None
    k = int(np.argmax(np.subtract(*np.percentile(inside, (84, 16), axis=0))))
    middle = float(np.median(inside[:, k]))
    below = int((inside[:, k] < middle).sum())
    return (k, middle) if min(below, len(inside) - below) >= least else None


def _near(rows: np.ndarray, zs, cell) -> np.ndarray:
    """Those of some rows whose z_spec is within FAR of the median of their cell; sigma is 1.4826 MAD of all."""
    if not len(rows):
        return rows
    order = rows[np.argsort(cell[rows], kind="stable")]
    groups = np.split(zs[order], np.flatnonzero(np.diff(cell[order])) + 1)
    away = np.concatenate([np.abs(group - np.median(group)) for group in groups])
    return np.sort(order[away <= FAR * 1.4826 * np.median(away)])


def attenuation(z, zs, cell, asked: int, seed: int = 0) -> tuple[float, float, float, int, int]:
    """(slope, lo95, hi95, n, cells): slope of z_phot on z_spec, of each less its mean in an object's cell (n,), over all cells of
    FEW objects or more (arXiv:2507.06299). 1: nothing is pulled toward the mean of its colours; 0: z tells no more than they do.
    Cells hold their means in every resample.

    One wrong spec-z in a hundred would pull the slope of perfect redshifts to .93, hence FAR. A choice by z_spec alone, on which
    z_phot is regressed, moves no slope.
    """
    good = np.flatnonzero((cell >= 0) & np.isfinite(z) & np.isfinite(zs))
    _, at, counts = np.unique(cell[good], return_inverse=True, return_counts=True)
    good = good[counts[at] >= FEW]
    if not len(good):
        return np.nan, np.nan, np.nan, 0, 0
    good = _near(good, zs, cell)
    at = np.unique(cell[good], return_inverse=True)[1]
    x, y = (values[good] - (np.bincount(at, values[good]) / np.bincount(at))[at] for values in (zs, z))
    if not (x**2).sum() > 0:
        return np.nan, np.nan, np.nan, len(good), int((counts >= FEW).sum())
    draws = [(x * y)[which].sum(axis=1) / (x**2)[which].sum(axis=1)
             for which in (metrics.drawn(len(good), asked, np.random.default_rng(seed)) if asked else ())]
    limits = _limits(np.concatenate(draws or [np.zeros(0)]))
    return float((x * y).sum() / (x**2).sum()), *limits, len(good), int((counts >= FEW).sum())
