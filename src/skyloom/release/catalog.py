"""The photo-z catalog: one row per object that passed the cuts and isn't lost."""

from __future__ import annotations

import numpy as np

from skyloom.cutouts.stamps import STATUS
from skyloom.errors import InputError
from skyloom.measure.sources import FLAGS as MORPHOLOGY
from skyloom.pz import distribution
from skyloom.release import zphot
from skyloom.release.flags import BITS, DETECTED, SAME, flag_bits

# worst first: what `status_{service}` says when bands differ
_ORDER = ("failed", "no_coverage", "too_small", "masked", "ok")


def combine_predictions(predictions: list[dict]) -> dict[str, dict]:
    """{model: {object_id, mean, std, seeds}} of predictions (dicts with model, seed, object_id, z, where a model has no seeds of
    its own the `std` that it tells); of those with p(z) (the
    arrays of one of `distribution.FORMS`, or `stored`) also `arrays`, their mean over seeds, and `uncertainty`, what of its
    spread the seeds agree on.

    InputError if two predictions of the run don't hold the same objects in the same order, or seeds of one model were trained on
    different data (`data_hash`).
    """
    first = predictions[0]["object_id"]
    out: dict[str, dict] = {}
    for one in predictions:
        if not np.array_equal(one["object_id"], first):
            raise InputError(f"predictions of {one['model']} seed {one['seed']} hold other objects than those of "
                             f"{predictions[0]['model']}; rerun predict")
        block = out.setdefault(one["model"], {"object_id": first, "z": [], "seeds": [], "parts": []})
        if one.get("data_hash") != block.setdefault("data_hash", one.get("data_hash")):
            raise InputError(f"seeds {block['seeds'][0]} and {one['seed']} of {one['model']} were trained on different datasets; "
                             "rerun train")
        block["z"].append(one["z"])
        if "std" in one:
            block["std"] = one["std"]
        block["seeds"].append(one["seed"])
        part = one.get("stored") or {name: one[name] for name in distribution.NAMES if name in one}
        if distribution.form(part):
            block["parts"].append(part)
    for block in out.values():
        z = np.stack(block["z"])
        if parts := block.pop("parts"):
            block |= {"arrays": distribution.combined(parts), "uncertainty": distribution.uncertainty(parts)}
        block["mean"] = z.mean(axis=0)
        scatter = z.std(axis=0, ddof=1) if len(z) > 1 else np.full(z.shape[1], np.nan)
        block["std"] = block.get("std", scatter)
    return out


def best_status(status: np.ndarray) -> np.ndarray:
    """The best status name over the bands of each object: a survey of a multi-survey run counts if one band does."""
    rank = np.array([_ORDER.index(name) for name in STATUS])
    return np.array(_ORDER, object)[rank[status].max(axis=1)]


def worst_status(status: np.ndarray) -> np.ndarray:
    """The worst status name over the bands of each object, from codes (n, band)."""
    rank = np.array([_ORDER.index(name) for name in STATUS])
    return np.array(_ORDER, object)[rank[status].min(axis=1)]


def flags(table: dict[str, np.ndarray], status, bands, magnitudes, surveys=None) -> np.ndarray:
    """int32 flags (n,) of dataset columns, bits as of `release.flags`; morphology bits are those of the i band (or the first).

    `surveys` {name: status (n, band)} of a multi-survey run: `{survey}_not_ok` where no band of it is ok.
    """
    n, known = len(table["object_id"]), flag_bits(surveys or ())
    out = np.zeros(n, np.int32)

    def raise_bit(name, where):
        out[np.asarray(where, bool)] |= 1 << known[name]

    if status is not None:
        for b, band in enumerate(bands):
            if f"{band}_not_ok" in BITS:
                raise_bit(f"{band}_not_ok", status[:, b] != STATUS.index("ok"))
        leading = "i" if "i" in bands else bands[0]
        measured = table[f"{leading}_morphology_flags"]
        for name, bit in MORPHOLOGY.items():
            if name in BITS:
                raise_bit(name, (measured & bit) != 0)
    for name, codes in (surveys or {}).items():
        raise_bit(f"{name}_not_ok", (codes != STATUS.index("ok")).all(axis=1))
    for name in magnitudes:
        values = np.asarray(table[name], float)
        raise_bit("missing_magnitude", ~np.isfinite(values) | (np.abs(values) >= 90))
    if "detect_flags" in table:
        for name, detected in SAME.items():
            raise_bit(name, (table["detect_flags"].astype(np.int64) & (1 << DETECTED[detected])) != 0)
    if "specz_redshift_err" in table:
        raise_bit("no_z_spec_err", ~np.isfinite(np.asarray(table["specz_redshift_err"], float)))
    return out


def build(table: dict[str, np.ndarray], status, bands, magnitudes, models: dict[str, dict], service: str, edges=None,
          surveys=None, support=None, stands: str | None = None, carried=()):
    """The catalog as a mapping of columns sorted by object_id; p(z) without bins of its own is summarised on `edges`.

    `table` holds dataset columns of all splits, row-aligned with `status` (n, band) or None and with the
    predictions; `surveys` as for `flags`; `support` (object_id, p_value, pattern_seen, in_range): an object that it is for is
    `extrapolated` (`zphot.extrapolated`); `stands`: the model of `z_phot`, empty where none can be told, None for a catalog
    without these columns; `carried`: columns of the table that the catalog has, too. InputError if ids disagree with the
    predictions' or repeat.
    """
    ids = table["object_id"]
    if len(np.unique(ids)) != len(ids):
        raise InputError("the dataset holds an object id twice; rerun assign_splits")
    n = len(ids)
    nan = np.full(n, np.nan)
    out = {"object_id": ids.astype(np.int64)}
    out |= {name: np.asarray(table.get(name, nan), float) for name in ("ra", "dec")}
    if stands is not None:
        out |= dict.fromkeys(zphot.NAMES)  # right after the position
    out |= {"split": table["split"], "subset": table["subset"]}
    out["z_spec"] = np.asarray(table.get("specz_redshift", nan), float)
    out["z_spec_err"] = np.asarray(table.get("specz_redshift_err", nan), float)
    bits = flags(table, status, bands, magnitudes, surveys)
    out |= _of_models(models, ids, bits, edges)
    if support is not None:
        if not np.array_equal(support["object_id"], ids):
            raise InputError("the support is not for the objects of the dataset; rerun support")
        out["support"] = support["p_value"]
        bits[zphot.extrapolated(support)] |= 1 << BITS["extrapolated"]
    if stands is not None:
        unlike = (bits & (1 << BITS["extrapolated"])) != 0
        out |= zphot.columns(stands, models[stands], edges, zphot.observed(table, magnitudes, status, surveys),
                             unlike) if stands else zphot.none(n)
    out["flags"] = bits.astype(np.int32)
    if status is not None:
        out[f"status_{service}"] = worst_status(status)
    for name, codes in (surveys or {}).items():
        out[f"status_{name}"] = best_status(codes)
    out |= {name: table[name] for name in carried}
    if "source_id" in table:
        out["source_id"] = table["source_id"]
    order = np.argsort(ids, kind="stable")
    return {name: np.asarray(values)[order] for name, values in out.items()}


def _of_models(models: dict, ids, bits, edges) -> dict:
    """The columns of every model; raises its bits in `bits`."""
    out = {}
    for name, block in models.items():
        if not np.array_equal(block["object_id"], ids):
            raise InputError(f"predictions of {name} are not for the objects of the dataset; rerun predict")
        out[f"z_{name}"], out[f"z_{name}_std"] = block["mean"], block["std"]
        if "arrays" in block:
            found = distribution.summaries(block["arrays"], edges) | block["uncertainty"]
            if "conformal" in block:
                found |= distribution.central(*block["conformal"], edges)
            out |= {f"z_{name}_{what}": values for what, values in found.items()}
        bits[~np.isfinite(block["std"])] |= 1 << BITS["no_z_std"]
        bits[~np.isfinite(block["mean"])] |= 1 << BITS["no_z_phot"]
    return out
