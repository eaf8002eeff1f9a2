"""stack: a mixture of several models' p(z), its weights fitted on objects of `select`."""

from __future__ import annotations

import json

import numpy as np

from skyloom import store
from skyloom.dataset.predictions import Ensemble, Prediction, by_model
from skyloom.dataset.table import Table
from skyloom.errors import InputError
from skyloom.provenance.canonical import digest
from skyloom.pz import distribution, evaluation, histogram, stack
from skyloom.verbs import common

MODEL = "stack"
FOLDS = 5


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--predictions", nargs="+", required=True, help="of the members, all seeds")
    parser.add_argument("--data", nargs="+", required=True, help="the packed files, in the order of predict")
    parser.add_argument("--out", required=True, help="predictions in the layout of predict")
    parser.add_argument("--weights", required=True, help="JSON: the weights, and on what they were fitted")


def run(args) -> None:
    """Write p(z) of all rows, histograms on the evaluation's grid, block by block, and the weights. A member is the mean of its
    seeds; objects of `select` get the weights that were fitted without their fold, all others those of all of `select`."""
    settings, data = args.settings, Table(args.data)
    known = data.columns(["object_id", "split", "subset"], ["specz_redshift"])
    members, columns = _members(args, settings["models"], known["object_id"]), _columns(data, settings["columns"])
    edges = evaluation.one_grid([one.pz for one in members.values()], settings["grid"])
    z = known["specz_redshift"].astype(float)
    held = np.flatnonzero((known["subset"] == "select") & np.isfinite(z))
    density = {name: _densities(one, edges, held, z[held]) for name, one in members.items()}
    at_held = {name: values[held] for name, values in columns.items()}
    weights, without, fold = stack.crossed(density, at_held, settings["columns"], settings["seed"], FOLDS)
    fold_of = np.full(len(z), -1)
    fold_of[held] = fold
    meta = common.provenance(settings)
    meta |= {"model": MODEL, "seed": settings["seed"], "members": ",".join(members), "model_code": digest(
        [meta["code_hash"], *(one.about["model_code"] for whole in members.values() for one in whole.members)])}
    with store.streaming(args.out, len(z), meta, distribution.SHARED) as append:
        for rows in distribution.blocks(len(z)):
            some = {name: values[rows] for name, values in columns.items()}
            share = _shares(weights, without, fold_of[rows], some)
            pz = stack.combined([distribution.probabilities(one.pz.read(rows), edges) for one in members.values()], share)
            append({"object_id": known["object_id"][rows], "split": known["split"][rows],
                    "z": distribution.mean({"pz": pz, "edges": edges}), "std": _scatter(members, rows, share),
                    "pz": pz.astype(np.float32), "edges": edges})
    store.write_text(args.weights, json.dumps(_facts(weights, without, density, at_held, fold), indent=1) + "\n")


def _members(args, names, ids) -> dict[str, Ensemble]:
    """The members in the order of the configuration; InputError where one is absent, gives no p(z) or holds other objects."""
    found, _ = by_model([Prediction(path) for path in args.predictions])
    absent = [name for name in names if name not in found]
    if absent:
        raise InputError(f"`stack.models` names {absent[0]}, of which there are no predictions; there are {', '.join(found)}")
    out = {name: Ensemble(found[name]) for name in names}
    for name, one in out.items():
        if one.pz is None:
            raise InputError(f"`stack.models` names {name}, which gives no p(z); give it a `head` or drop it")
        if not np.array_equal(one.object_id, ids):
            raise InputError(f"a stack of models on different objects: {one.members[0].path} holds others than {args.data[0]} "
                             "and its neighbours; rerun predict")
    return out


def _columns(data: Table, names) -> dict[str, np.ndarray]:
    """The columns that weights may depend on, NaN where a magnitude was not detected or observed; InputError for an absent one
    or one of text."""
    absent = [name for name in names if name not in data.names]
    if absent:
        raise InputError(f"`stack.columns` names {absent[0]}, which {data.paths[0]} doesn't hold; its magnitudes are "
                         f"{', '.join(data.magnitudes) or 'none'}")
    out = data.columns(["object_id", *names])
    out.pop("object_id")
    for name, values in out.items():
        if values.dtype.kind not in "fiub":
            raise InputError(f"`stack.columns` names {name}, a column of text; name columns of numbers")
        values = values.astype(float)
        out[name] = np.where(np.abs(values) < 90, values, np.nan) if name in data.magnitudes else values
    return out


def _densities(one: Ensemble, edges, rows, z) -> np.ndarray:
    """(n,) density of some rows at their truth, NaN without p(z)."""
    return np.concatenate([histogram.density_at(distribution.probabilities(one.pz.read(rows[part]), edges), edges, z[part])
                           for part in distribution.blocks(len(rows))])


def _shares(weights, without, fold, columns) -> np.ndarray:
    """(n, members) weights of some objects, each those of its fold."""
    out = weights.of(columns, len(fold))
    for k, one in enumerate(without):
        out = np.where((fold == k)[:, None], one.of(columns, len(fold)), out)
    return out


def _scatter(members: dict[str, Ensemble], rows, share) -> np.ndarray:
    """(n,) scatter over seeds of the stacked points, NaN with one seed or where a member has none."""
    z = np.stack([[one.z[rows] for one in whole.members] for whole in members.values()])
    point = (share.T[:, None] * z).sum(axis=0)
    return point.std(axis=0, ddof=1) if len(point) > 1 else np.full(len(share), np.nan)


def _facts(weights, without, density: dict, columns: dict, fold) -> dict:
    """What stack.json says: the weights, their means, and the mean log densities at the truths, the stack's out of fold."""
    values, n = np.stack(list(density.values()), axis=1), len(fold)
    good = np.isfinite(values).all(axis=1)
    floored = np.maximum(values[good], stack.FLOOR)
    share, apart = weights.of(columns, n), _shares(weights, without, fold, columns)[good]

    def score(densities):
        return float(np.log(densities).mean()) if good.any() else None

    return {**weights.facts(), "fitted_on": int(good.sum()) if good.sum() >= stack.LEAST else 0, "subset": "select",
            "mean_weight": dict(zip(density, share.mean(axis=0).tolist() if n else [None] * len(density), strict=True)),
            "log_density": {name: score(floored[:, k]) for k, name in enumerate(density)}
            | {"stack, out of fold": score((apart * floored).sum(axis=1))},
            "folds": [one.facts() for one in without]}
