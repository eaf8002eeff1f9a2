"""How well a detector finds, separates, classifies and measures the sources of scenes: by magnitude, S/N, crowding, size.

Truth is every source with S/N above REAL in some band of a noise-free matched filter (a fainter one explains no detection);
`findable` ones have S/N above the run's limit. Tables are columns (n,): of the truth `tile_id, ra, dec, is_star,
half_light_radius, blendedness, {b}_flux, {b}_snr`, of detections `tile_id, ra, dec, score, p_star, snr, half_light_radius,
{b}_flux, {b}_flux_err`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom import flux
from skyloom.measure import matching, overlap
from skyloom.pz.tiles import Estimate, Tiles, nmad

REAL = 3.0
PURE = 0.96  # share of detections that are real at the threshold where detectors are compared
REACH = 2.0  # half-light radii of a source within which a detection is a piece of it
NEAR = (2.0, 1.2)  # arcsec: neighbours whose sources are a blend
INFINITE = 1e9
MAGNITUDES = (16, 18, 20, 21, 22, 23, 24, 25, 25.5, 26.5)
BINS = {"snr": (5, 7, 10, 20, 50, 100, INFINITE), "neighbour_arcsec": (0, 1.2, 2, 3, 5, INFINITE),
        "size": (0, 0.15, 0.3, 0.5, 1, INFINITE)}
ALL = ("", "", "")
STAR = 0.5  # p_star above which a detection is called a star


def known(truth: dict, bands, gold: dict, least_snr: float) -> dict:
    """The columns of the truth that are real, with `mag` (AB, the gold band's), `snr` (the best band's), `findable`, `gold` (by
    magnitude alone), `star`, `galaxy` (bool) and `neighbour_arcsec`, the distance to the next findable source."""
    snr = np.max([np.nan_to_num(truth[f"{band}_snr"]) for band in bands], axis=0, initial=0)
    real = snr > REAL
    out = {name: np.asarray(values)[real] for name, values in truth.items()} | {"snr": snr[real]}
    out["mag"] = _magnitude(out[f"{gold['band']}_flux"])
    out |= {"findable": out["snr"] > least_snr, "gold": out["mag"] < gold["mag"], "size": out["half_light_radius"],
            "star": out["is_star"] == 1, "galaxy": out["is_star"] == 0}
    places = matching.on_sphere(out["ra"], out["dec"])
    out["neighbour_arcsec"] = _to_next(places, out["findable"])
    return out


def _to_next(places, among) -> np.ndarray:
    """(n,) distance to the nearest other of those places that are `among`."""
    from scipy.spatial import cKDTree

    if among.sum() < 2:
        return np.full(len(places), np.inf)
    distance = cKDTree(places[among]).query(places, 2)[0]
    return np.where(among, distance[:, 1], distance[:, 0])


def _magnitude(njy) -> np.ndarray:
    njy = np.asarray(njy, float)
    return np.where(njy > 0, flux.magnitude(np.where(njy > 0, njy, 1.0)), np.nan)


@dataclass
class Sample:
    """One detector's sources beside the truth, matched."""

    truth: dict
    found: dict
    groups: matching.Groups

    def measured(self, name: str) -> np.ndarray:
        """(n,) a column of the detections at the sources, NaN where a source has none."""
        partner, values = self.groups.partner, np.asarray(self.found[name], float)
        return np.where(partner >= 0, values[partner], np.nan) if len(values) else np.full(len(partner), np.nan)


def matched(truth: dict, found: dict, band: str, least: float = 0.0) -> Sample:
    """Detections with a score of `least` or more matched with `known` sources."""
    keep = np.asarray(found["score"]) >= least
    found = {name: np.asarray(values)[keep] for name, values in found.items()}
    places = matching.on_sphere(found["ra"], found["dec"])
    found |= {"mag": _magnitude(found[f"{band}_flux"]), "size": found["half_light_radius"],
              "neighbour_arcsec": matching.neighbour(places)}
    groups = matching.friends(matching.on_sphere(truth["ra"], truth["dec"]), places, reach=REACH * truth["half_light_radius"])
    return Sample(truth, found, groups)


def threshold(score, true, least: float = PURE) -> float:
    """The lowest score at and above which a share `least` of detections is true (n,) bool: 0 where all together are so pure,
    infinite where none is."""
    order = np.argsort(-np.asarray(score), kind="stable")
    score, good = np.asarray(score)[order], np.cumsum(np.asarray(true, bool)[order])
    last = np.append(score[1:] < score[:-1], True) if len(score) else np.zeros(0, bool)  # of those with one score
    pure = np.flatnonzero(last & (good >= least * np.arange(1, len(score) + 1)))
    if not len(score) or len(pure) and pure[-1] == len(score) - 1:
        return 0.0
    return float(score[pure[-1]]) if len(pure) else np.inf


def tuned(truth: dict, settings: list[dict], tables: list[dict], band: str) -> tuple[int, list[dict]]:
    """(the best, rows) of detections (tables of columns) by several settings on the same tiles: the best has the highest
    completeness of gold where purity is PURE or, where none is so pure, the highest purity."""
    rows = []
    for one, found in zip(settings, tables, strict=True):
        least = threshold(found["score"], matched(truth, found, band).groups.match >= 0)
        sample = matched(truth, found, band, least)
        hit = sample.groups.partner[truth["gold"]] >= 0
        pure = sample.groups.match >= 0
        rows.append(one | {"score": least, "completeness": float(hit.mean()) if len(hit) else 0.0,
                           "purity": float(pure.mean()) if len(pure) else 0.0, "n": len(found["score"])})
    return max(range(len(rows)), key=lambda k: (rows[k]["completeness"], rows[k]["purity"])), rows


def judged(sample: Sample, tiles: Tiles, bands, common) -> dict[tuple, Estimate]:
    """{(subset, bin, low, high, metric, band): estimate} of everything but masks. Fluxes are judged of gold sources that are
    `common` (n,) bool, found by all who are compared."""
    return (_found(sample, tiles) | _purity(sample, tiles) | _failures(sample, tiles) | _stars(sample, tiles)
            | _fluxes(sample, tiles, bands, common))


def _inside(columns: dict, near: bool = True):
    """((bin, low, high), (n,) bool) of all, of every bin, and of sources with a neighbour nearer than NEAR."""
    yield ALL, np.ones(len(columns["mag"]), bool)
    for name, edges in {"mag": MAGNITUDES, **BINS}.items():
        values = np.asarray(columns[name], float)
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            yield (name, float(low), float(high)), (values >= low) & (values < high)
    for reach in NEAR if near else ():
        yield ("within_arcsec", 0.0, reach), np.asarray(columns["neighbour_arcsec"]) < reach


def _found(sample, tiles) -> dict:
    """Completeness of subsets of the truth."""
    truth, hit, out = sample.truth, sample.groups.partner >= 0, {}
    parts = {"findable": truth["findable"], "gold": truth["gold"], "galaxies": truth["gold"] & truth["galaxy"],
             "stars": truth["gold"] & truth["star"]}
    for subset, chosen in parts.items():
        for where, inside in _inside(truth):
            rows = chosen & inside
            if rows.any():
                out[subset, *where, "completeness", ""] = tiles.share(hit[rows], truth["tile_id"][rows])
    return out


def _purity(sample, tiles) -> dict:
    """Purity of detections, by what they measure: against real and against findable sources."""
    found, match, out = sample.found, sample.groups.match, {}
    findable = (match >= 0) & (sample.truth["findable"][match] if len(sample.truth["findable"]) else False)
    for where, inside in _inside(found):
        for metric, true in (("purity", match >= 0), ("purity_findable", findable)):
            if inside.any():
                out["detections", *where, metric, ""] = tiles.share(true[inside], found["tile_id"][inside])
    return out


def _failures(sample, tiles) -> dict:
    """How many shreds, false detections, unrecognised blends and missed sources there are for every findable source."""
    truth, groups = sample.truth, sample.groups
    of = truth["tile_id"][truth["findable"]]
    if not len(of):
        return {}
    at, ours = sample.found["tile_id"], truth["findable"]
    states = {"shred_rate": at[groups.detection == 1], "false_rate": at[groups.detection == 2],
              "unrecognised_blend_rate": truth["tile_id"][ours & (groups.source == 1)],
              "missed_rate": truth["tile_id"][ours & (groups.source == 2)]}
    return {("findable", *ALL, metric, ""): tiles.ratio(hits, of) for metric, hits in states.items()}


def _stars(sample, tiles) -> dict:
    """Classes of gold sources that were found, as Merz et al. 2025 (table 4): completeness and purity of stars and galaxies."""
    truth, p = sample.truth, sample.measured("p_star")
    judged, out = truth["gold"] & np.isfinite(p) & (truth["star"] | truth["galaxy"]), {}
    for where, inside in _inside(truth):
        rows = judged & inside
        for name, true, said in (("star", truth["star"], p > STAR), ("galaxy", truth["galaxy"], p <= STAR)):
            for metric, right, of in (("completeness", said, true), ("purity", true, said)):
                some = rows & of
                if some.any():
                    out["gold", *where, f"{name}_{metric}", ""] = tiles.share(right[some], truth["tile_id"][some])
    return out


def _fluxes(sample, tiles, bands, common) -> dict:
    """Scatter and bias of the relative error of gold sources' fluxes, of their errors, and of the colour between the first
    band and the middle one."""
    truth, out = sample.truth, {}
    gold = common & truth["gold"] & (sample.groups.partner >= 0)
    for where, inside in (pair for pair in _inside(truth) if pair[0][0] in ("", "mag", "within_arcsec")):
        magnitudes, few = {}, tiles.few() if where[0] else tiles
        for band in bands:
            got, true = sample.measured(f"{band}_flux"), truth[f"{band}_flux"]
            relative, pull = got / np.where(true > 0, true, 1) - 1, (got - true) / sample.measured(f"{band}_flux_err")
            rows = gold & inside & np.isfinite(got) & (true > 0)
            magnitudes[band] = _magnitude(got) - _magnitude(true)
            for metric, function, values in (("flux_nmad", nmad, relative), ("flux_bias", _median, relative),
                                             ("flux_pull_nmad", nmad, pull)):
                some = rows & np.isfinite(values)
                if some.any():
                    out["gold", *where, metric, band] = few.statistic(function, [values[some]], truth["tile_id"][some])
        first, middle = bands[0], bands[len(bands) // 2]
        colour = magnitudes[first] - magnitudes[middle]
        some = gold & inside & np.isfinite(colour)
        if some.any() and first != middle:
            key = ("gold", *where, "colour_nmad", f"{first}-{middle}")
            out[key] = few.statistic(nmad, [colour[some]], truth["tile_id"][some])
    return out


def _median(values) -> float:
    return float(np.median(values))


def masked(values: dict, sample: Sample, tiles: Tiles) -> dict[tuple, Estimate]:
    """{key: estimate} as `judged` of {isophote: (n,) IoU of gold sources' masks, NaN of others}: of all, and of those with a
    neighbour."""
    near = sample.truth["neighbour_arcsec"] < NEAR[0]
    parts = {ALL: np.ones(len(near), bool), ("within_arcsec", 0.0, NEAR[0]): near}
    names = {floor: "mask_iou" if floor == overlap.COUNTS else f"mask_iou_{floor:g}" for floor in values}
    return {("gold", *where, names[floor], ""): tiles.mean(found[some], sample.truth["tile_id"][some])
            for floor, found in values.items() for where, some in parts.items()}


def classes(sample: Sample) -> list[tuple]:
    """(class, groups, sources, detections) of the groups of friends."""
    n, label, kind = len(sample.groups.partner), sample.groups.label, sample.groups.kind
    out = []
    for k, name in enumerate(matching.CLASSES):
        of = kind == k
        out.append((name, int(of.sum()), int(of[label[:n]].sum()), int(of[label[n:]].sum())))
    return out
