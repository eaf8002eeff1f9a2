"""One p(z), three forms: histogram (`pz`, `edges`), Gaussian mixture (`weights, means, stds`), quantiles (`levels, locs`).

A form is a mapping of those arrays. Conversions go to histograms, which all metrics read: a bin gets exactly the probability
that the form gives its interval, so that the cdf at the edges is exact and errs between them by at most one bin's mass.
What lies outside the edges is missing from the row and never moved inside.
"""

from __future__ import annotations

import numpy as np

from skyloom.errors import InputError
from skyloom.pz import histogram, mixture, quantiles

FORMS = {"histogram": ("pz", "edges"), "mixture": ("weights", "means", "stds"), "quantiles": ("levels", "locs")}
SHARED = ("edges", "levels")  # arrays that all rows have together
ROUNDING = 1e-9  # what differences of a cdf may lie below 0
NAMES = tuple(name for names in FORMS.values() for name in names)


def form(arrays: dict) -> str:
    """Which form a mapping holds; empty without p(z)."""
    return next((kind for kind, names in FORMS.items() if all(name in arrays for name in names)), "")


def check(arrays: dict) -> None:
    """Nothing for a mapping without p(z); InputError if an array holds negative probabilities, rows that add up to more than 1,
    or unsorted edges or quantiles. Rows of NaN stand for objects without p(z)."""
    kind = form(arrays)
    if kind in ("histogram", "mixture"):
        mass = np.asarray(arrays["pz" if kind == "histogram" else "weights"], float)
        total = np.nansum(mass, axis=1)
        if (mass < -ROUNDING).any() or (total > 1 + 1e-3).any():
            raise InputError(f"the {kind} has negative probabilities or rows that add up to more than 1; normalise it first")
    if not kind:
        return
    order = arrays["edges"][None] if kind == "histogram" else arrays["locs"] if kind == "quantiles" else np.zeros((1, 1))
    if (np.diff(order, axis=1) < 0).any():
        raise InputError(f"the {kind} is not sorted in z; sort it first")
    if kind == "mixture" and (np.asarray(arrays["stds"]) <= 0).any():
        raise InputError("the mixture has standard deviations that are not above 0; mend them first")


def probabilities(arrays: dict, edges) -> np.ndarray:
    """(n, bins) probabilities of the bins of `edges` for any form; histograms are cut at the edges, flat inside a bin."""
    edges, kind = np.asarray(edges, float), form(arrays)
    if kind == "histogram":
        own = np.asarray(arrays["edges"], float)
        if len(own) == len(edges) and np.allclose(own, edges):
            return np.asarray(arrays["pz"], float)
        below = np.concatenate([np.zeros((len(arrays["pz"]), 1)), np.cumsum(np.asarray(arrays["pz"], float), axis=1)], axis=1)
        at = np.clip(np.searchsorted(own, edges, side="right") - 1, 0, len(own) - 2)
        share = np.clip((edges - own[at]) / np.diff(own)[at], 0, 1)
        return np.diff(below[:, at] + share * (below[:, at + 1] - below[:, at]), axis=1)
    if kind == "mixture":
        return np.diff(mixture.cdf(arrays["weights"], arrays["means"], arrays["stds"], edges), axis=1)
    return np.diff(quantiles.cdf(arrays["levels"], arrays["locs"], edges), axis=1)


def mean(arrays: dict) -> np.ndarray:
    """(n,) expectation, of what lies outside a histogram's edges nothing."""
    kind = form(arrays)
    if kind == "histogram":
        return histogram.mean(arrays["pz"], arrays["edges"])
    if kind == "mixture":
        return mixture.mean(arrays["weights"], arrays["means"])
    return quantiles.mean(arrays["levels"], arrays["locs"])


def variance(arrays: dict) -> np.ndarray:
    """(n,) variance about the mean, of what lies outside a histogram's edges nothing; flat inside bins and between quantiles."""
    kind, middle = form(arrays), mean(arrays)
    if kind == "mixture":
        weights, means, stds = (np.asarray(arrays[name], float) for name in FORMS[kind])
        return (weights * (stds**2 + (means - middle[:, None]) ** 2)).sum(axis=1)
    if kind == "histogram":
        mass, edges = np.asarray(arrays["pz"], float), np.asarray(arrays["edges"], float)
        low, high = edges[:-1], edges[1:]
    else:
        levels, locs = quantiles.ends(arrays["levels"], arrays["locs"])
        mass, low, high = np.diff(levels), locs[:, :-1], locs[:, 1:]
    return (mass * (((low + high) / 2 - middle[:, None]) ** 2 + (high - low) ** 2 / 12)).sum(axis=1)


def uncertainty(parts: list[dict]) -> dict[str, np.ndarray]:
    """`aleatoric`, `epistemic` (n,): standard deviations of the two parts of an ensemble's variance, the mean of its members'
    variances and the variance of their means (Depeweg et al. 2018); NaN where one member can't tell the second."""
    means = np.stack([mean(part) for part in parts])
    return {"aleatoric": np.sqrt(np.mean([variance(part) for part in parts], axis=0)),
            "epistemic": means.std(axis=0) if len(parts) > 1 else np.full(means.shape[1], np.nan)}


def outside(arrays: dict, edges) -> np.ndarray:
    """(n,) probability outside the edges."""
    return np.clip(1 - probabilities(arrays, edges).sum(axis=1), 0, 1)


def combined(parts: list[dict]) -> dict:
    """The mean of several p(z) of the same objects in the same form: components and histograms exactly; quantiles by the mean
    of the locations at each level (Vincent averaging). InputError for forms or shared arrays that differ."""
    kind = form(parts[0])
    if any(form(part) != kind for part in parts) or any(
            not np.array_equal(part[name], parts[0][name]) for part in parts for name in SHARED if name in parts[0]):
        raise InputError("p(z) of different forms or edges can't be averaged; bring them to one grid first")
    if kind == "mixture":
        weights = np.concatenate([np.asarray(part["weights"]) / len(parts) for part in parts], axis=1)
        return {"weights": weights} | {name: np.concatenate([part[name] for part in parts], axis=1) for name in ("means", "stds")}
    name, shared = ("pz", "edges") if kind == "histogram" else ("locs", "levels")
    return {name: np.mean([np.asarray(part[name], float) for part in parts], axis=0), shared: parts[0][shared]}


def take(arrays: dict, rows) -> dict:
    """The same p(z) of some rows."""
    return {name: values if name in SHARED else np.asarray(values)[rows] for name, values in arrays.items()}


def summaries(arrays: dict, edges) -> dict[str, np.ndarray]:
    """mean, mode, median, l68, u68, l95, u95 and `outside`, the probability beyond the edges, each (n,); the mean is the
    form's own, the others are read from the bins of `edges`, or of a histogram's own."""
    def block(some, pz, bins):
        return {**histogram.summaries(pz, bins), "mean": mean(some), "outside": np.clip(1 - pz.sum(axis=1), 0, 1)}

    return _in_blocks(arrays, edges, block)


def central(arrays: dict, half_widths: dict, edges) -> dict[str, np.ndarray]:
    """`c{level}_low`, `c{level}_high` in percent, each (n,): the central intervals of {level: half-width in PIT}
    (`calibration.conformal`)."""
    def block(some, pz, bins):
        return {f"c{round(100 * float(level))}_{side}": histogram.quantile(pz, bins, 0.5 + sign * half)
                for level, half in half_widths.items() for side, sign in (("low", -1), ("high", 1))}

    return _in_blocks(arrays, edges, block)


def compressed(arrays: dict, edges, bound: float = 0.005) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(levels (k,), locs (n, k), error (n,)): the fewest of 8, 16 or 32 quantiles with which the cdf at the bins of `edges`, or
    of a histogram's own, changes by at most `bound` in all rows, or 32 where that doesn't do; error = the largest change of a
    row. Where a row is empty between two modes, its error may reach half the distance of two levels and a little more, 0.03.
    """
    for count in (8, 16, 32):
        found = _in_blocks(arrays, edges, lambda some, pz, bins, count=count: dict(
            zip(("locs", "error"), quantiles.fitted(pz, bins, count), strict=True)))
        if np.nanmax(found["error"], initial=0.0) <= bound:
            break
    return quantiles.levels(count), found["locs"], found["error"]


def _in_blocks(arrays: dict, edges, function, size: int = 20_000) -> dict[str, np.ndarray]:
    """function(p(z) of some rows, their probabilities, edges) of all rows, so that not all histograms are held at once."""
    edges = np.asarray(arrays.get("edges", edges), float)
    n = len(next(values for name, values in arrays.items() if name not in SHARED))
    parts = []
    for first in range(0, max(n, 1), size):
        some = take(arrays, slice(first, first + size))
        parts.append(function(some, probabilities(some, edges), edges))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def grid(low: float, high: float, step: float) -> np.ndarray:
    """Edges from `low` to `high` or a little beyond, `step` apart."""
    return low + step * np.arange(int(np.ceil((high - low) / step - 1e-9)) + 1)
