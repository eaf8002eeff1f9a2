"""One p(z), three forms: histogram (`pz`, `edges`), Gaussian mixture (`weights, means, stds`), quantiles (`levels, locs`).

A form is a mapping of those arrays. Conversions go to histograms, which all metrics read: a bin gets exactly the probability
that the form gives its interval, so that the cdf at the edges is exact and errs between them by at most one bin's mass.
What lies outside the edges is missing from the row and never moved inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skyloom.errors import InputError
from skyloom.pz import histogram, mixture, quantiles

FORMS = {"histogram": ("pz", "edges"), "mixture": ("weights", "means", "stds"), "quantiles": ("levels", "locs")}
SHARED = ("edges", "levels")  # arrays that all rows have together
ROUNDING = 1e-9  # what differences of a cdf may lie below 0
NAMES = tuple(name for names in FORMS.values() for name in names)
ROWS = 500  # of a block: histograms of more are not held at once, and of so many stay near the processor


@dataclass(frozen=True)
class Stored:
    """p(z) of n objects that is read when it is needed: `read(rows)` gives the form's arrays of a slice or of row numbers,
    `shared` holds those that all rows have together."""

    n: int
    kind: str
    shared: dict
    read: Callable[[slice | np.ndarray], dict]


def blocks(n: int, size: int = ROWS):
    """Slices of at most `size` rows that cover n rows, one of none where there are none."""
    return (slice(first, min(first + size, n)) for first in range(0, max(n, 1), size))


def form(arrays: dict | Stored) -> str:
    """Which form a mapping holds; empty without p(z)."""
    if isinstance(arrays, Stored):
        return arrays.kind
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


def uncertainty(parts: list) -> dict[str, np.ndarray]:
    """`aleatoric`, `epistemic` (n,): standard deviations of the two parts of an ensemble's variance, the mean of its members'
    variances and the variance of their means (Depeweg et al. 2018); NaN where one member can't tell the second."""
    if isinstance(parts[0], Stored):
        return _joined(uncertainty([part.read(rows) for part in parts]) for rows in blocks(parts[0].n))
    means = np.stack([mean(part) for part in parts])
    return {"aleatoric": np.sqrt(np.mean([variance(part) for part in parts], axis=0)),
            "epistemic": means.std(axis=0) if len(parts) > 1 else np.full(means.shape[1], np.nan)}


def outside(arrays: dict, edges) -> np.ndarray:
    """(n,) probability outside the edges."""
    return np.clip(1 - probabilities(arrays, edges).sum(axis=1), 0, 1)


def combined(parts: list) -> dict | Stored:
    """The p(z) of an ensemble: the mean of its members' p(z) of the same objects in the same form (linear pool, Stone 1961).

    Exact for histograms and, components side by side, for mixtures. Quantiles are those of the mean cdf at the members' levels:
    exact at the levels, straight lines between. This is the only definition: evaluation, calibration and catalog all ask here.
    InputError for forms or shared arrays that differ.
    """
    kind = form(parts[0])
    shared = [part.shared if isinstance(part, Stored) else part for part in parts]
    if any(form(part) != kind for part in parts) or any(
            not np.array_equal(one[name], shared[0][name]) for one in shared for name in SHARED if name in shared[0]):
        raise InputError("p(z) of different forms or edges can't be averaged; bring them to one grid first")
    if isinstance(parts[0], Stored):
        return Stored(parts[0].n, kind, parts[0].shared, lambda rows: combined([part.read(rows) for part in parts]))
    if kind == "mixture":
        weights = np.concatenate([np.asarray(part["weights"]) / len(parts) for part in parts], axis=1)
        return {"weights": weights} | {name: np.concatenate([part[name] for part in parts], axis=1) for name in ("means", "stds")}
    if kind == "histogram":
        return {"pz": np.mean([np.asarray(part["pz"], float) for part in parts], axis=0), "edges": parts[0]["edges"]}
    return {"locs": quantiles.pooled(parts[0]["levels"], [part["locs"] for part in parts]), "levels": parts[0]["levels"]}


def take(arrays: dict | Stored, rows) -> dict:
    """The same p(z) of some rows, a slice or row numbers."""
    if isinstance(arrays, Stored):
        return arrays.read(rows)
    return {name: values if name in SHARED else np.asarray(values)[rows] for name, values in arrays.items()}


def own_edges(arrays: dict | Stored, edges) -> np.ndarray:
    """The edges of a histogram's own bins, for another form `edges`."""
    return np.asarray((arrays.shared if isinstance(arrays, Stored) else arrays).get("edges", edges), float)


def length(arrays: dict | Stored) -> int:
    """Number of objects."""
    return arrays.n if isinstance(arrays, Stored) else len(next(v for name, v in arrays.items() if name not in SHARED))


def summaries(arrays: dict | Stored, edges) -> dict[str, np.ndarray]:
    """mean, mode, median, l68, u68, l95, u95 and `outside`, the probability beyond the edges, each (n,); the mean is the
    form's own, the others are read from the bins of `edges`, or of a histogram's own."""
    def block(some, pz, bins):
        return {**histogram.summaries(pz, bins), "mean": mean(some), "outside": np.clip(1 - pz.sum(axis=1), 0, 1)}

    return _in_blocks(arrays, edges, block)


def central(arrays: dict | Stored, half_widths: dict, edges) -> dict[str, np.ndarray]:
    """`c{level}_low`, `c{level}_high` in percent, each (n,): the central intervals of {level: half-width in PIT}
    (`calibration.conformal`)."""
    def block(some, pz, bins):
        levels = {f"c{round(100 * float(level))}_{side}": 0.5 + sign * half
                  for level, half in half_widths.items() for side, sign in (("low", -1), ("high", 1))}
        return dict(zip(levels, histogram.quantiles(pz, bins, levels.values()), strict=True))

    return _in_blocks(arrays, edges, block)


def compressed(arrays: dict | Stored, edges, bound: float = 0.005) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def _in_blocks(arrays: dict | Stored, edges, function) -> dict[str, np.ndarray]:
    """function(p(z) of some rows, their probabilities, edges) of all rows, so that not all histograms are held at once."""
    edges = own_edges(arrays, edges)
    some = (take(arrays, rows) for rows in blocks(length(arrays)))
    return _joined(function(part, probabilities(part, edges), edges) for part in some)


def _joined(parts) -> dict[str, np.ndarray]:
    parts = list(parts)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def grid(low: float, high: float, step: float) -> np.ndarray:
    """Edges from `low` to `high` or a little beyond, `step` apart."""
    return low + step * np.arange(int(np.ceil((high - low) / step - 1e-9)) + 1)
