"""An evaluation put together: what every model says of the same objects, scored overall, in bins and subsets, and in pairs.

Histograms are held of one block of objects at a time; of each object only its terms are kept. Rows of metrics: subset, z_min,
z_max, metric, convention, value, lo68, hi68, n, resamples.
"""

from __future__ import annotations

import numpy as np

from skyloom.pz import comparison, distribution, histogram, metrics, scores, tomography

FEWER = 200  # resamples of what isn't the headline: single seeds, bins of z
REGION = {"low": 0.05, "median": 0.5, "high": 0.95}  # of the cdf: the 90 % regions of the figures and the median


def one_grid(stored: list, grid) -> np.ndarray:
    """Edges to which every p(z) is brought: those of the models where all have the same, else those of `evaluation.grid`."""
    own = [one.shared.get("edges") for one in stored]
    alike = own and all(edges is not None and np.array_equal(edges, own[0]) for edges in own)
    return np.asarray(own[0], float) if alike else distribution.grid(*grid)


def scored(whole, ids, zs, edges, parts: dict, settings: dict) -> tuple[list, dict]:
    """([(seed, rows of metrics)], what pairs and figures need): of every seed, of the ensemble, of the mean over seeds. A
    calibrated version is an ensemble alone.

    `whole`: an ensemble (`members`, `z`, `pz`, `rows_of(ids)`), each member with `about`, `z`, `pz`; ids, zs (n,) of the objects.
    """
    few, blocks, kept = min(settings["bootstrap"], FEWER), {}, []
    at, members = whole.rows_of(ids), sorted(whole.members, key=lambda one: one.about.get("seed", 0))
    calibrated = "calibration" in members[0].about
    for one in members if len(members) > 1 else []:
        block = objects(one.z, one.pz, at, zs, edges)
        blocks[int(one.about["seed"])] = rows(block, zs, parts, settings, few)
        kept.append(digest(block, False))
    block = objects(whole.z, whole.pz, at, zs, edges)
    together = rows(block, zs, parts, settings, settings["bootstrap"])
    if len(members) == 1 and not calibrated:  # one seed is its own ensemble
        blocks[int(members[0].about["seed"])] = together
    named = [*blocks.items(), ("ensemble", together), *([("all", mean(list(blocks.values())))] if blocks else [])]
    ensemble = digest(block, True)
    return named, {"seeds": kept or [ensemble], "ensemble": ensemble, "calibrated": calibrated}


def objects(z, stored, at, zs, edges) -> dict:
    """What a model says of the objects in rows `at` of its predictions: `points` {mean, mode, median} and, with p(z), the
    `terms` of `scores`, whether a `second` peak recovers an outlier, `own`, the mean of the histogram, and the limits of a 90 %
    region, `low` and `high`; each (n,).

    z (rows,) points, `stored` p(z) of the same rows or None, zs (n,) truths.
    """
    if stored is None:
        return {"points": {"mean": z[at]}}
    found = []
    for part in distribution.blocks(len(at)):
        pz = distribution.probabilities(stored.read(at[part]), edges)
        at_levels = dict(zip(REGION, histogram.quantiles(pz, edges, REGION.values()), strict=True))
        found.append(at_levels | {"mode": histogram.mode(pz, edges), "second": tomography.recovery(pz, edges, zs[part]),
                                  "own": histogram.mean(pz, edges)} | scores.terms(pz, edges, zs[part]))
    whole = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    points = {"mean": z[at]} | {name: whole.pop(name) for name in ("mode", "median")}
    return {"points": points, "terms": {name: whole.pop(name) for name in ("pit", *scores.TERMS)}, **whole}


def rows(block: dict, zs, parts: dict, settings: dict, asked: int) -> list[tuple]:
    """Metrics of a block of `objects`: overall, in subsets {name: (n,) bool}, in bins of z; conventions carry the point estimate.
    `settings`: seed, bin_width, z_max; `asked` resamples."""
    seed, out = settings["seed"], []
    for subset, chosen in {"": np.ones(len(zs), bool), **parts}.items():
        for name, zp in block["points"].items():
            found = metrics.point_metrics(zp[chosen], zs[chosen], asked, seed)
            out += [(subset, "", "", metric, f"{convention}|{name}", *_told(rest, asked)) for metric, convention, *rest in found]
        if "terms" in block:
            found = scores.of_terms({name: values[chosen] for name, values in block["terms"].items()}, asked, seed)
            out += [(subset, "", "", *name, *_told(rest, asked if tuple(name) in scores.TERMS else min(asked, scores.FEWER)))
                    for *name, value, lo, hi, n in found for rest in [(value, lo, hi, n)]]
            second = metrics.mean_of(block["second"][chosen], asked, seed)
            out.append((subset, "", "", "second_peak_recovery", "0.15|mode", *_told(second, asked)))
    few = min(asked, FEWER)
    inside = metrics.binned(block["points"]["mean"], zs, settings["bin_width"], settings["z_max"], few, seed)
    return out + [("", low, high, name, f"{convention}|mean", *_told(rest, few)) for low, high, name, convention, *rest in inside]


def _told(rest, asked) -> tuple:
    """value, lo68, hi68, n with the number of resamples behind the interval."""
    return (*rest, metrics.resamples(rest[-1], asked) if rest[-1] else 0)


def mean(blocks: list[list[tuple]]) -> list[tuple]:
    """Mean value and mean interval over seeds, row by row."""
    out = []
    for same in zip(*blocks, strict=True):
        values = np.mean([row[5:8] for row in same], axis=0)
        out.append((*same[0][:5], *values, *same[0][8:]))
    return out


def paired(kept: dict, zs, asked: int, seed: int) -> list[tuple]:
    """Differences of all pairs of models {name: {"seeds": [`digest`], "ensemble": `digest`}}: of single seeds' means, with the
    scatter of trainings; of the ensembles' modes."""
    out = []
    for of, point in (("seeds", "mean"), ("ensemble", "mode")):
        models = {name: blocks["seeds"] if of == "seeds" else [blocks["ensemble"]] for name, blocks in kept.items()}
        points = {name: [block.get(point, block["mean"]) for block in blocks] for name, blocks in models.items()}
        terms = {name: [block["cde"] for block in blocks] for name, blocks in models.items() if "cde" in blocks[0]}
        found = comparison.paired(points, zs, terms, asked, seed)
        out += [(of, a, b, metric, convention if metric == "cde_loss" else f"{convention}|{point}", *rest,
                 metrics.resamples(rest[-2], asked)) for a, b, metric, convention, *rest in found]
    return out


def digest(block: dict, whole: bool) -> dict[str, np.ndarray]:
    """What pairs ask of a block of `objects`, of the `whole` ensemble also what tomography and figures do."""
    out = {"mean": block["points"]["mean"]}
    if "terms" in block:
        out["cde"] = block["terms"]["cde_loss", "histogram"]
    if whole and "terms" in block:
        out |= {"mode": block["points"]["mode"], "pit": block["terms"]["pit"]}
        out |= {name: block[name] for name in ("own", "low", "high")}
    return out


def stacks(kept: dict, zs, bins: int, asked: int, seed: int) -> list[tuple]:
    """Tomographic bins of every ensemble with p(z), as `tomography.of_means` gives them, with the number of resamples."""
    return [(name, *row, metrics.resamples(row[3], asked)) for name, blocks in kept.items() if "own" in blocks["ensemble"]
            for row in tomography.of_means(blocks["ensemble"]["own"], blocks["ensemble"]["mean"], zs, bins, asked, seed)]
