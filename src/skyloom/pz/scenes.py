"""p(z) of the gold sources of scenes: the questions of Merz et al. 2025 (tables 2, 3 and 5, figure 7), by bootstrap over tiles.

All models are asked about the same sources, those that every detector found; the point estimate is the mode, as there.
"""

from __future__ import annotations

import numpy as np

from skyloom.pz import distribution, histogram, metrics, scores, tomography
from skyloom.pz.tiles import Estimate, Tiles, difference

POINT = (("nmad", "1.4826mad(1+z)"), ("sigma_iqr", "iqr/1.349"), ("bias", "median(1+z)"), ("bias", "mean(1+z)"),
         ("outlier_fraction", "0.15"), ("outlier_fraction", "max(0.06,3sigma)"))
TERMS = {("cde_loss", "histogram"): "cde", ("log_score", f"floor={scores.FLOOR}"): "nll"}
KS = ("pit_ks", "D")
Z = (0, 0.3, 0.6, 0.9, 1.2, 1.5, 2.0, 2.5, 6.0)
MAGNITUDES = (16, 21, 22, 23, 24, 25.3)
BLENDEDNESS = (0, 0.01, 0.05, 0.2, 1.01)
SHARES = (0, 0.1, 0.2, 0.3, 0.4, 0.51)  # probability of the second peak
OUTLIER, SIGMAS = 0.06, 3.0  # beyond both the mode is an outlier (Schmidt et al. 2020)


def said(stored, at, zs, edges) -> dict[str, np.ndarray]:
    """What p(z) (`distribution.Stored`) says in rows `at` of objects with truths zs (n,): `z` (the mode), the terms `cde` and
    `nll` of the scores, `pit`, `second` (its second peak) and `share` (the probability there)."""
    found = []
    for part in distribution.blocks(len(at)):
        pz, z = distribution.probabilities(stored.read(at[part]), edges), zs[part]
        found.append({"z": histogram.mode(pz, edges), "cde": histogram.cde_terms(pz, edges, z),
                      "nll": scores.log_terms(pz, edges, z), "pit": scores.known_pit(pz, edges, z),
                      "second": tomography.second_mode(pz, edges), "share": tomography.second_share(pz, edges)})
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def subsets(truth: dict, mag_limit: float = 23.0) -> dict[tuple, np.ndarray]:
    """{(bin, low, high): (n,) bool} of columns `redshift, mag, blendedness, neighbour_arcsec` and, where there is one, others in
    quartiles of their own (`psf_fwhm`, `ebv`)."""
    out = {("", "", ""): np.ones(len(truth["redshift"]), bool), ("mag", -np.inf, mag_limit): truth["mag"] < mag_limit}
    out |= {("within_arcsec", 0.0, reach): truth["neighbour_arcsec"] < reach for reach in (2.0, 1.2)}
    edges = {"redshift": Z, "mag": MAGNITUDES, "blendedness": BLENDEDNESS}
    for name in ("psf_fwhm", "ebv"):
        if name in truth and len(np.unique(truth[name])) > 1:
            quartiles = np.percentile(truth[name], (0, 25, 50, 75, 100))
            edges[name] = (*quartiles[:-1], np.nextafter(quartiles[-1], np.inf))
    for name, some in edges.items():
        for low, high in zip(some[:-1], some[1:], strict=True):
            out[name, float(low), float(high)] = (truth[name] >= low) & (truth[name] < high)
    return {where: rows for where, rows in out.items() if rows.any()}


def judged(one: dict, zs, parts: dict, tile_id, tiles: Tiles) -> dict[tuple, Estimate]:
    """{(bin, low, high, metric, convention): estimate} of what a model `said`; objects without p(z) don't count."""
    known, out = np.isfinite(one["pit"]) & np.isfinite(one["z"]), {}
    for where, inside in parts.items():
        rows, some = np.flatnonzero(known & inside), tiles.few() if where[0] else tiles
        at = tile_id[rows]
        found = some.statistics(lambda z, true: metrics.several(POINT, z, true), [one["z"][rows], zs[rows]], at)
        out |= {(*where, key[0], f"{key[1]}|mode"): estimate for key, estimate in found.items()}
        out |= {(*where, *key): some.mean(one[name][rows], at) for key, name in TERMS.items()}
        out[*where, *KS] = some.statistic(scores.ks, [one["pit"][rows]], at)
    return out


def compared(a: dict, b: dict) -> list[tuple]:
    """(bin, low, high, metric, convention, difference a - b, lo95, hi95, ratio, lo95, hi95, n) of two models' `judged`."""
    return [(*key, *difference(a[key], b[key])) for key in a if key in b]


def outlier_limit(z, zs) -> float:
    """How far in (z - zs) / (1 + zs) an outlier lies: SIGMAS of the sample's own sigma_iqr, and at least OUTLIER."""
    e = (z - zs) / (1 + zs)
    return max(OUTLIER, SIGMAS * float(np.subtract(*np.percentile(e, (75, 25)))) / 1.349) if len(e) else OUTLIER


def recovery(one: dict, zs, tile_id, tiles: Tiles) -> list[tuple]:
    """(low, high, value, lo95, hi95, n): the share of outliers that are none by their second peak, of all and in bins of that
    peak's probability (figure 7). The limit is that of the modes. Outliers without a second peak are not recovered."""
    known = np.isfinite(one["z"])
    limit = outlier_limit(one["z"][known], zs[known])
    lost = known & (np.abs(one["z"] - zs) > limit * (1 + zs))
    again = np.abs(one["second"] - zs) <= limit * (1 + zs)
    out = []
    for low, high in (("", ""), *zip(SHARES[:-1], SHARES[1:], strict=True)):
        rows = lost if low == "" else lost & (one["share"] >= low) & (one["share"] < high)
        if rows.any():
            found = tiles.share(again[rows], tile_id[rows])
            out.append((low, high, found.value, *found.limits(), found.n))
    return out
