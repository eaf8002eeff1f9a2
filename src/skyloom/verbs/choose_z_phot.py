"""choose-z-phot: which model of the run stands for z_phot, why, and what cuts on its own words buy."""

from __future__ import annotations

import json

import numpy as np

from skyloom import store
from skyloom.dataset.predictions import Ensemble, Prediction, by_model, recalibrated
from skyloom.dataset.table import Table
from skyloom.errors import InputError
from skyloom.pz import choice, distribution, evaluation, histogram, scores
from skyloom.release import zphot
from skyloom.verbs import common

LEARNED = "it learned from `select`, where models are judged"


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--predictions", nargs="+", required=True, help="of the models that give p(z), all seeds")
    parser.add_argument("--calibrated", nargs="*", default=[], help="files of the verb calibrate")
    parser.add_argument("--data", nargs="+", required=True, help="the packed files, in the order of predict")
    parser.add_argument("--support", required=True, help="file of the verb support")
    parser.add_argument("--out", required=True, help="JSON: the model, the sentence why, a row a candidate")
    parser.add_argument("--cuts", required=True, help="CSV: what cuts on its flags and widths buy")


def run(args) -> None:
    """Write the choice and its cuts. Models are judged on objects of `select`, calibrated where the gate let them pass, but for
    those that learned from it. Cuts are measured on `select`, or on `calibrate` where the model learned from the former."""
    import pandas

    settings, data = args.settings, Table(args.data)
    known = data.columns(["object_id", "subset"], ["specz_redshift"])
    models, calibrations = _models(args, known["object_id"])
    left_out = {name: LEARNED for name in models if name in settings["learned"]}
    z = known["specz_redshift"].astype(float)
    rows_of = {name: np.flatnonzero((known["subset"] == name) & np.isfinite(z)) for name in ("select", "calibrate")}
    model, why, rows = _chosen(settings, models, left_out, rows_of["select"], z)
    subset = "calibrate" if model in left_out else "select"
    held = rows_of[subset]
    cuts = pandas.DataFrame(_cuts(model, models[model], data, args.support, held, z[held], settings))
    cuts.insert(0, "subset", subset)
    levels = zphot.usual(models[model])
    found = {"model": model, "calibration": calibrations.get(model, "none"), "why": why, "asked": settings["z_phot"],
             "judged_on": "select", "candidates": [_plain(row) for row in rows], "left_out": left_out, "cuts_on": subset,
             "intervals": {str(level): "conformal" if level in levels else "p(z)" for level in (0.68, 0.95)}}
    store.write_csv(args.cuts, cuts)
    store.write_text(args.out, json.dumps(found | common.provenance(settings), indent=1) + "\n")


def _models(args, ids) -> tuple[dict[str, dict], dict[str, str]]:
    """({model: object_id, arrays, conformal}, {model: its calibration or none}); InputError for objects of another dataset."""
    members, _ = by_model([Prediction(path) for path in args.predictions])
    models = {}
    for name, seeds in members.items():
        whole = Ensemble(seeds)
        if not np.array_equal(whole.object_id, ids):
            raise InputError(f"the predictions {seeds[0].path} hold other objects than {args.data[0]}; rerun predict")
        if whole.pz:
            models[name] = {"object_id": whole.object_id, "arrays": whole.pz}
    return models, dict(recalibrated(path, models, args.predictions) for path in args.calibrated)


def _chosen(settings, models, left_out, held, z) -> tuple[str, str, list[dict]]:
    """The model, why, and a row a candidate. InputError if the one that the configuration names isn't there, or none is."""
    asked, edges = settings["z_phot"], evaluation.one_grid([block["arrays"] for block in models.values()], settings["grid"])
    if asked != "auto" and asked not in models:
        raise InputError(f"`release.z_phot` names {asked}, which gives no p(z) in this run; name one of {', '.join(models)}")
    judged = {name: _terms(block["arrays"], edges, held, z[held]) for name, block in models.items() if name not in left_out}
    model, why, rows = choice.choose(judged, left_out, settings["seed"]) if judged else ("", "", [])
    if asked != "auto":
        return asked, f"{asked} is named by `release.z_phot`", rows
    if not judged and len(models) > 1:
        raise InputError(f"every model learned from `select` ({', '.join(left_out)}), so none can be judged there; name one in "
                         "`release.z_phot`")
    return (model, why, rows) if judged else (*models, f"{next(iter(models))} is the only model that gives p(z)", [])


def _plain(row: dict) -> dict:
    """The same for JSON, which knows no NaN."""
    return {name: None if value != value else value for name, value in row.items()}


def _terms(arrays, edges, rows, z) -> tuple[np.ndarray, np.ndarray]:
    """(CDE terms, PIT values) of some rows, each (n,)."""
    found = []
    for part in distribution.blocks(len(rows)):
        pz = distribution.probabilities(distribution.take(arrays, rows[part]), edges)
        found.append((histogram.cde_terms(pz, edges, z[part]), scores.known_pit(pz, edges, z[part])))
    return tuple(np.concatenate([one[k] for one in found]) for k in (0, 1))


def _cuts(model, block, data: Table, support, held, truth, settings) -> list[dict]:
    """Rows of `zphot.cuts` of the objects `held`."""
    surveys = data.surveys()
    magnitudes = [] if surveys else data.magnitudes
    seen = zphot.observed(data.columns(["object_id", *magnitudes]), magnitudes, data.status()[0], surveys)
    unlike = zphot.extrapolated(store.columns(support))
    found = zphot.columns(model, block, distribution.grid(*settings["grid"]), seen[held], unlike[held], held)
    return zphot.cuts(found, truth)
