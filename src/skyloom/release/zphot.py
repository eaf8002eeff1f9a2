"""One redshift to use: `z_phot`, its intervals and its flags, of the model that stands for it."""

from __future__ import annotations

import json

import numpy as np

from skyloom.cutouts.stamps import STATUS
from skyloom.pz import choice, distribution, histogram, tomography

# of `z_phot_flags`; what the catalog's `flags` know, too, has the same name and bit there
BITS = {"no_band_observed": 0, "broad": 1, "multi_modal": 2, "outside_grid": 3, "no_z_phot": 7, "extrapolated": 21}
UNLIKE = 0.01  # conformal p-value at or below which an object is unlike training
BROAD = 0.2  # length of the 68 % interval over 1 + z from which p(z) is broad
SECOND = 0.1  # probability around a second peak from which p(z) has several
OUTSIDE = 0.05  # probability beyond the grid from which its ends decide quantiles
NAMES = ("z_phot", "z_phot_l68", "z_phot_u68", "z_phot_l95", "z_phot_u95", "z_phot_flags", "z_phot_model")
_SIDES = {"l68": (0.68, -1), "u68": (0.68, 1), "l95": (0.95, -1), "u95": (0.95, 1)}

NOBODY = "no model of the run gives p(z) that could be judged on objects that it did not learn from; name one in `release.z_phot`"


def metadata(chosen: dict | None) -> dict[str, str]:
    """What a catalog's metadata say of a choice (`choose-z-phot`'s JSON: model, why, interval)."""
    if chosen is None:
        return {}
    about = {"z_phot_model": chosen["model"], "z_phot_why": chosen["why"],
             "z_phot_flag_bits": json.dumps({str(bit): name for name, bit in BITS.items()})}
    return about | ({"z_phot_point": "median of p(z)"} if chosen["model"] else {})


def none(n: int) -> dict[str, np.ndarray]:
    """The columns of a catalog in which no model stands for z_phot."""
    return {name: np.full(n, np.nan) for name in NAMES[:5]} | {
        "z_phot_flags": np.full(n, 1 << BITS["no_z_phot"], np.int32), "z_phot_model": np.full(n, "", object)}


def columns(model: str, block: dict, edges, seen, unlike, rows=None) -> dict[str, np.ndarray]:
    """NAMES, each (n,), of a model's `arrays` (p(z) of any form) and, optional, `conformal` (p(z), {level: half-width in PIT}).

    z_phot is the median of p(z), an interval the conformal one where there is one, else p(z)'s; one that wouldn't hold z_phot
    reaches out to it. edges: of the bins on which forms without bins are read; seen, unlike (n,) bool as `observed` and
    `extrapolated` give them; `rows` row numbers, all without.
    """
    arrays = block["arrays"]
    rows = np.arange(distribution.length(arrays)) if rows is None else np.asarray(rows)
    halves = usual(block)
    parts = [_block(arrays, block.get("conformal", (None, {}))[0], halves, edges, rows[some])
             for some in distribution.blocks(len(rows))]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    z = found["z_phot"]
    for name in ("l68", "l95"):
        found[f"z_phot_{name}"] = np.minimum(found[f"z_phot_{name}"], z)
    for name in ("u68", "u95"):
        found[f"z_phot_{name}"] = np.maximum(found[f"z_phot_{name}"], z)
    told = {"no_band_observed": ~np.asarray(seen, bool), "extrapolated": np.asarray(unlike, bool), "no_z_phot": ~np.isfinite(z),
            "broad": width(found) >= BROAD, "multi_modal": found.pop("second") >= SECOND,
            "outside_grid": found.pop("outside") >= OUTSIDE}
    flags = np.zeros(len(z), np.int32)
    for name, where in told.items():
        flags[where] |= 1 << BITS[name]
    return {**found, "z_phot_flags": flags, "z_phot_model": np.full(len(z), model, object)}


def width(found: dict) -> np.ndarray:
    """(n,) length of the 68 % interval over 1 + z_phot."""
    return (found["z_phot_u68"] - found["z_phot_l68"]) / (1 + found["z_phot"])


def cuts(found: dict, truth, like: list[dict] | None = None) -> list[dict]:
    """Rows of `choice.cuts` of NAMES of objects with truths (n,): for every flag that occurs and shares of the narrowest, or the
    same cuts as the rows `like` of another sample."""
    raised = {name: (found["z_phot_flags"] & (1 << bit)) != 0 for name, bit in BITS.items() if name != "no_z_phot"}
    limits = None
    if like is None:
        raised = {name: where for name, where in raised.items() if where.any()}
    else:
        raised = {name: where for name, where in raised.items() if f"without {name}" in [row["cut"] for row in like]}
        limits = [row["width_max"] for row in like if np.isfinite(row["width_max"])]
    return choice.cuts(found["z_phot"], width(found), found["z_phot_flags"] != 0, truth, raised, limits)


def usual(block: dict) -> dict[float, float]:
    """{level: conformal half-width in PIT} of the catalog's levels; those of which there were too few objects (0.5: all of p(z))
    are left out."""
    found = {float(level): half for level, half in block.get("conformal", (None, {}))[1].items()}
    return {level: found[level] for level in (0.68, 0.95) if found.get(level, 0.5) < 0.5}


def _block(arrays, raw, halves: dict, edges, rows) -> dict[str, np.ndarray]:
    """Median, limits, probability around the second peak and beyond the grid, of some rows."""
    bins = distribution.own_edges(arrays, edges)
    pz = distribution.probabilities(distribution.take(arrays, rows), bins)
    found = histogram.summaries(pz, bins)
    out = {"z_phot": found["median"]} | {f"z_phot_{name}": found[name] for name in _SIDES}
    if halves:
        bins_of = distribution.own_edges(raw, edges)
        before = distribution.probabilities(distribution.take(raw, rows), bins_of)
        asked = {name: 0.5 + sign * halves[level] for name, (level, sign) in _SIDES.items() if level in halves}
        limits = histogram.quantiles(before, bins_of, asked.values())
        out |= {f"z_phot_{name}": limit for name, limit in zip(asked, limits, strict=True)}
    known = np.isfinite(pz).all(axis=1)
    second = np.zeros(len(pz))
    second[known] = tomography.second_share(pz[known], bins)
    return out | {"second": second, "outside": np.where(known, np.clip(1 - pz.sum(axis=1), 0, 1), 0.0)}


def observed(table: dict, magnitudes, status=None, surveys=None) -> np.ndarray:
    """(n,) bool: objects of which any band was observed: a magnitude that is not -99 or NaN (99: observed, not detected), or a
    stamp that is ok. `status` (n, band), `surveys` {name: (n, band)}. All where a run has neither."""
    n, ok = len(table["object_id"]), STATUS.index("ok")
    stamps = [codes == ok for codes in (*([] if status is None else [status]), *(surveys or {}).values())]
    if not stamps and not len(magnitudes):
        return np.ones(n, bool)
    out = np.zeros(n, bool)
    for name in magnitudes:
        values = np.asarray(table[name], float)
        out |= np.isfinite(values) & (values > -90)
    for good in stamps:
        out |= good.any(axis=1)
    return out


def extrapolated(support: dict) -> np.ndarray:
    """(n,) bool: objects unlike training, or with bands or magnitudes that training lacks (columns of the verb support)."""
    return (support["p_value"] <= UNLIKE) | ~support["pattern_seen"] | ~support["in_range"]
