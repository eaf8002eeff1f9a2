"""calibrate: recalibrated p(z) of one model from its `calibrate` objects, where the gate lets it pass."""

from __future__ import annotations

import json

import numpy as np

from skyloom import store
from skyloom.dataset import read
from skyloom.dataset.predictions import Ensemble, Prediction
from skyloom.dataset.table import Table
from skyloom.errors import InputError
from skyloom.pz import calibration, distribution, scores, support, umnn
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--predictions", nargs="+", required=True, help="of one model, one file a seed")
    parser.add_argument("--data", nargs="+", required=True, help="the packed files, in the order of predict")
    parser.add_argument("--out", required=True)
    parser.add_argument("--verdicts", required=True, help="JSON: every method's verdict, the conformal half-widths")


def run(args) -> None:
    """Write object_id, split, z and, if a method was kept, `pz` and `edges` of all rows; the mean over seeds is calibrated.
    Histograms are held of the objects that a map is fitted on and of one block of rows."""
    settings, members = args.settings, [Prediction(path) for path in args.predictions]
    whole, table = Ensemble(members), Table(args.data)
    known = table.columns(["object_id", "split", "subset"], ["specz_redshift"])
    if not np.array_equal(whole.object_id, known["object_id"]):
        raise InputError(f"the predictions {args.predictions[0]} hold other objects than {args.data[0]}; rerun predict")
    edges, z = distribution.own_edges(whole.pz, distribution.grid(*settings["grid"])), known["specz_redshift"].astype(float)
    held = np.flatnonzero((known["subset"] == "calibrate") & np.isfinite(z))
    u = np.concatenate([scores.known_pit(_histograms(whole, held[part], edges), edges, z[held[part]])
                        for part in distribution.blocks(len(held))])
    held, u = held[np.isfinite(u)], u[np.isfinite(u)]
    fitted, features = calibration.some(held), _features(table)
    verdicts, chosen, final = calibration.choose(settings["methods"], _histograms(whole, fitted, edges), edges, z[fitted],
                                                 {name: features(name, fitted) for name in settings["methods"]}, settings["seed"])
    # of the p(z) that has not seen these objects: the guarantee would not survive a map fitted on them
    half = {str(level): calibration.half_width(u, level) for level in settings["levels"]}
    meta = common.provenance(settings) | {"model": whole.model, "calibration": chosen, "conformal": json.dumps(half),
                                          "predictions_hash": read.file_hash(args.predictions)}
    with store.streaming(args.out, len(z), meta, distribution.SHARED) as append:
        for rows in distribution.blocks(len(z)):
            block = {"object_id": whole.object_id[rows], "split": known["split"][rows]}
            if chosen:
                pz = final(_histograms(whole, rows, edges), edges, features(chosen, rows))
                block |= {"z": distribution.mean({"pz": pz, "edges": edges}), "pz": pz.astype(np.float32), "edges": edges}
            append(block if chosen else block | {"z": whole.z[rows]})
    store.write_text(args.verdicts, json.dumps({"model": whole.model, "calibration": chosen, "objects": len(held),
                                                "fitted_on": len(fitted), "verdicts": verdicts,
                                                "conformal_half_widths": half}, indent=1) + "\n")


def _histograms(whole: Ensemble, rows, edges) -> np.ndarray:
    return distribution.probabilities(whole.pz.read(rows), edges)


def _features(table: Table):
    """Function (method, rows) -> (m, k) what a method's map may depend on: neighbouring colours and magnitudes; for `mantis` all
    colours and E(B-V). One column of zeros without any magnitude."""
    magnitudes, dust = table.stacked(), table.columns(["object_id", *table.dust])
    magnitudes = magnitudes if magnitudes.shape[1] else np.zeros((len(magnitudes), 1))
    ebv = np.stack([np.asarray(dust[name], float) for name in table.dust], 1) if table.dust else np.zeros((len(magnitudes), 0))
    return lambda method, rows: (umnn.pairs(magnitudes[rows], ebv[rows]) if method == "mantis"
                                 else support.features(magnitudes[rows]))
