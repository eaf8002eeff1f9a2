"""Statistics of sources of scenes with intervals by bootstrap over tiles: sources of one tile share its noise, seeing and
crowding, so whole tiles are drawn, the same ones for all that is compared (Efron 1979; blocks as in Norberg et al. 2009)."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

FEWER = 200  # resamples of bins


@dataclass
class Estimate:
    """A value, what it is in every resample (draws,), and the number of objects behind it."""

    value: float
    draws: np.ndarray
    n: int

    def limits(self) -> tuple[float, float]:
        """The central 95 % of the resamples that have a value, NaN without any."""
        return limits(self.draws)


def limits(draws) -> tuple[float, float]:
    """The central 95 % of resamples (draws,), those without a value left out; NaN without any."""
    draws = draws[np.isfinite(draws)]
    low, high = np.percentile(draws, (2.5, 97.5)) if len(draws) else (np.nan, np.nan)
    return float(low), float(high)


class Tiles:
    """The tiles of a sample and how often each occurs in every resample."""

    def __init__(self, ids, asked: int, seed: int = 0):
        self.ids = np.unique(np.asarray(ids))
        n = len(self.ids)
        self.times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), asked) if n else np.zeros((asked, 0), int)

    def place(self, tile_id) -> np.ndarray:
        """(n,) place among the tiles of each of `tile_id`."""
        return np.searchsorted(self.ids, tile_id)

    def ratio(self, hits, of) -> Estimate:
        """Number of hits over number of `of`, given as the tile_id of each object."""
        counts = [np.bincount(self.place(some), minlength=len(self.ids)) for some in (hits, of)]
        with np.errstate(invalid="ignore", divide="ignore"):
            value = counts[0].sum() / np.float64(counts[1].sum())
            return Estimate(float(value), (self.times @ counts[0]) / (self.times @ counts[1]).astype(float), len(of))

    def share(self, hit, tile_id) -> Estimate:
        """Share of objects (n,) that are hit (n,) bool."""
        return self.ratio(np.asarray(tile_id)[np.asarray(hit, bool)], tile_id)

    def mean(self, values, tile_id) -> Estimate:
        """Mean of values (n,); those that aren't finite don't count."""
        good = np.isfinite(values)
        at, values = self.place(np.asarray(tile_id)[good]), np.asarray(values, float)[good]
        sums, counts = (np.bincount(at, weights, minlength=len(self.ids)) for weights in (values, None))
        with np.errstate(invalid="ignore", divide="ignore"):
            return Estimate(float(sums.sum() / np.float64(counts.sum())), (self.times @ sums) / (self.times @ counts), len(at))

    def few(self, most: int = FEWER) -> Tiles:
        """The same tiles with the first of the resamples: enough for what isn't the headline."""
        out = copy.copy(self)
        out.times = self.times[:most]
        return out

    def statistic(self, function, arrays, tile_id) -> Estimate:
        """function(*arrays) of arrays (n,), NaN without objects; in a resample an object comes as often as its tile."""
        return self.statistics(lambda *some: {"": function(*some)}, arrays, tile_id).get("", Estimate(
            np.nan, np.full(len(self.times), np.nan), 0))

    def statistics(self, function, arrays, tile_id) -> dict:
        """`statistic` of each of the values {name: value} that a function gives; none without objects."""
        at, n = self.place(tile_id), len(tile_id)
        if not n:
            return {}
        whole = function(*arrays)
        draws = {name: np.full(len(self.times), np.nan) for name in whole}
        for k, times in enumerate(self.times):
            rows = np.repeat(np.arange(n), times[at])
            if len(rows):
                for name, value in function(*(values[rows] for values in arrays)).items():
                    draws[name][k] = value
        return {name: Estimate(float(value), draws[name], n) for name, value in whole.items()}


def nmad(values) -> float:
    """1.4826 times the median distance from the median."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def difference(a: Estimate, b: Estimate) -> tuple:
    """(a - b, lo95, hi95, a / b, lo95, hi95, n), paired by resample; NaN for a ratio to 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio, spread = np.float64(a.value) / b.value, a.draws / b.draws
    ratio, spread = (ratio, spread) if np.isfinite(ratio) else (np.nan, np.full(1, np.nan))
    return a.value - b.value, *limits(a.draws - b.draws), float(ratio), *limits(spread), min(a.n, b.n)
