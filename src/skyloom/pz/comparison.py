"""Differences between models on the same objects, with intervals over objects and seeds."""

from __future__ import annotations

import itertools

import numpy as np

from skyloom.pz.metrics import POINT, drawn, resamples, several

METRICS = (("nmad", "1.4826mad(1+z)"), ("sigma_iqr", "iqr/1.349"), ("bias", "mean(1+z)"), ("outlier_fraction", "0.05"),
           ("outlier_fraction", "0.15"))
CDE = ("cde_loss", "histogram")


def paired(models: dict[str, list[np.ndarray]], z_spec, terms: dict[str, list[np.ndarray]], asked: int, seed: int = 0):
    """Rows (model_a, model_b, metric, convention, difference a - b, lo68, hi68, lo95, hi95, n, seeds) of every pair.

    `models` {name: [z_phot (n,) a seed]}, `terms` the same of CDE terms for models with p(z). A resample draws objects, the
    same for both models, and, independently for each, as many seeds as there are (Efron 1979): an interval holds the scatter
    of samples and of trainings. Objects without a finite z_phot of every model don't count.
    """
    zs = np.asarray(z_spec, float)
    good = np.isfinite(zs) & np.all([np.isfinite(z) for seeds in models.values() for z in seeds], axis=0)
    if good.sum() < 2:
        return []
    rng = np.random.default_rng(seed)
    draws = {name: _draws([z[good] for z in seeds], zs[good], [t[good] for t in terms.get(name, [])], asked, seed, rng)
             for name, seeds in models.items()}
    out = []
    for a, b in itertools.combinations(sorted(models), 2):
        for key in draws[a].keys() & draws[b].keys():
            whole = draws[a][key][0] - draws[b][key][0]
            spread = draws[a][key][1] - draws[b][key][1]
            limits = np.percentile(spread, (16, 84, 2.5, 97.5)) if asked else [np.nan] * 4
            out.append((a, b, *key, float(whole), *map(float, limits), int(good.sum()), len(models[a])))
    return sorted(out)


def _draws(points, zs, terms, asked, seed, rng) -> dict:
    """{metric: (mean over seeds, (resamples,) means over resampled seeds of resampled objects)}."""
    values = {key: np.array([POINT[key](z, zs) for z in points]) for key in METRICS}
    if terms:
        values[CDE] = np.array([t.mean() for t in terms])
    count, first = resamples(len(zs), asked), 0
    found = {key: np.empty((len(points), count)) for key in values}
    for rows in drawn(len(zs), asked, np.random.default_rng(seed)):
        part = slice(first, first + len(rows))
        first += len(rows)
        for s, z in enumerate(points):
            for key, drawn_values in several(METRICS, z[rows], zs[rows]).items():
                found[key][s, part] = drawn_values
            if terms:
                found[CDE][s, part] = terms[s][rows].mean(axis=1)
    seeds = rng.integers(0, len(points), (len(points), count))
    return {key: (values[key].mean(), np.take_along_axis(found[key], seeds, axis=0).mean(axis=0)) for key in values}
