"""What a detector of scenes is held against, as a table: a bar, what was reached, the limit and the aim, whether they are met."""

from __future__ import annotations

import numpy as np

from skyloom.measure.judging import ALL, NEAR
from skyloom.pz.tiles import Estimate, difference, limits

COMPLETE = {"": (0.955, 0.97), NEAR[0]: (0.84, 0.88), NEAR[1]: (0.67, 0.74)}  # gold: at least, aim
STARS = {"star_completeness": 0.95, "star_purity": 0.97}
FLUX = {"g": (0.75, 0.65), "i": (0.80, 0.70), "y": (0.60, 0.45)}  # NMAD over the classical chain's
BIAS = 0.02
KS = 0.015
KOLMOGOROV = 1.358  # over sqrt(n): the distance that a uniform sample of n exceeds in one of twenty (Smirnov 1948)
# of p(z), with whether the interval must exclude 0 (else 0 may not lie below it)
SCORES = {("cde_loss", "histogram"): ("CDE loss", True), ("log_score", "floor=0.001"): ("NLL", True),
          ("nmad", "1.4826mad(1+z)|mode"): ("NMAD", False), ("outlier_fraction", "0.15|mode"): ("outliers", False)}
PARTS = {ALL: "", ("mag", -np.inf, 23.0): " of i < 23", ("within_arcsec", 0.0, 2.0): " with a neighbour within 2 arcsec"}
COLUMNS = ("bar", "value", "lo95", "hi95", "limit", "aim", "met", "aim_met")


def of_detection(ours: dict, theirs: dict) -> list[tuple]:
    """Rows COLUMNS of two detectors' `judging.judged` on the same tiles, masks among them; what can't be told is none."""
    return [*_completeness(ours), *_below(ours, theirs, "completeness", "completeness", "findable"), *_shreds(ours, theirs),
            *_stars(ours, theirs), *_flux(ours, theirs), *_masks(ours, theirs)]


def _row(name, estimate, limit, aim, at_least: bool) -> tuple:
    value, spread = estimate
    right = [bool(value >= to) if at_least else bool(value <= to) for to in (limit, aim)]
    return (name, value, *spread, limit, aim, right[0], right[1] if np.isfinite(aim) else "")


def _of(estimate: Estimate) -> tuple:
    return estimate.value, estimate.limits()


def _completeness(ours) -> list[tuple]:
    out = []
    for reach, (least, aim) in COMPLETE.items():
        key = ("gold", *(("within_arcsec", 0.0, reach) if reach else ALL), "completeness", "")
        if key in ours:
            name = f"gold completeness with a neighbour within {reach:g} arcsec" if reach else "gold completeness"
            out.append(_row(name, _of(ours[key]), least, aim, True))
    return out


def _below(ours, theirs, metric: str, name: str, subset: str = "gold") -> list[tuple]:
    """The worst bin of magnitude against the other detector."""
    bins = [(difference(ours[key], theirs[key]), key) for key in ours
            if key in theirs and (key[0], key[1], key[4]) == (subset, "mag", metric)]
    if not bins:
        return []
    one, (_, _, low, high, *_) = min(bins, key=lambda pair: pair[0][0])
    return [_row(f"{name} minus the classical chain's in its worst bin of magnitude ({low:g} to {high:g})", (one[0], one[1:3]),
                 0.0, np.nan, True)]


def _shreds(ours, theirs) -> list[tuple]:
    key = ("findable", *ALL, "shred_rate", "")
    if key not in ours or key not in theirs:
        return []
    one = difference(ours[key], theirs[key])
    if np.isfinite(one[3]):
        return [_row("shreds per source over the classical chain's", (one[3], one[4:6]), 1.0, 0.5, False)]
    return [_row("shreds per source minus the classical chain's (which has none)", (one[0], one[1:3]), 0.0, np.nan, False)]


def _stars(ours, theirs) -> list[tuple]:
    out = []
    for metric, least in STARS.items():
        key = ("gold", *ALL, metric, "")
        if key in ours:
            out.append(_row(metric.replace("_", " "), _of(ours[key]), least, np.nan, True))
            out += _below(ours, theirs, metric, metric.replace("_", " "))
    return out


def _flux(ours, theirs) -> list[tuple]:
    out = []
    for band, (most, aim) in FLUX.items():
        key = ("gold", *ALL, "flux_nmad", band)
        if key in ours and key in theirs:
            one = difference(ours[key], theirs[key])
            out.append(_row(f"{band} flux NMAD over the classical chain's", (one[3], one[4:6]), most, aim, False))
            bias = ours["gold", *ALL, "flux_bias", band]
            out.append(_row(f"{band} flux bias, size", (abs(bias.value), limits(np.abs(bias.draws))), BIAS, np.nan, False))
    return out


def _masks(ours, theirs) -> list[tuple]:
    key = ("gold", *ALL, "mask_iou", "")
    if key not in ours or key not in theirs:
        return []
    one = difference(ours[key], theirs[key])
    return [("mask IoU minus the classical chain's, interval above 0", *one[:3], 0.0, np.nan, bool(one[1] > 0), "")]


def of_redshifts(name: str, rows: list[tuple], ours: dict) -> list[tuple]:
    """The bars of p(z): `rows` as `pz.scenes.compared` of a model with the classical chain's, `ours` its `judged`."""
    out = []
    for where, label in PARTS.items():
        of = {(row[3], row[4]): row for row in rows if tuple(row[:3]) == where}
        for key, (short, strict) in SCORES.items():
            if key in of:
                value, low, high = of[key][5:8]
                met = bool(high < 0) if strict else bool(low <= 0)
                out.append((f"{name}: {short}{label} minus the classical chain's", value, low, high, 0.0, np.nan, met, ""))
    key = (*ALL, "pit_ks", "D")
    if key in ours:
        most = max(KS, KOLMOGOROV / np.sqrt(max(ours[key].n, 1)))
        out.append(_row(f"{name}: PIT-KS", _of(ours[key]), most, np.nan, False))
    return out
