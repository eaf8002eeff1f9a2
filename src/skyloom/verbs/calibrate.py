"""calibrate: recalibrated p(z) of one model from its `calibrate` objects, where the gate lets it pass."""

from __future__ import annotations

import json

import numpy as np

from skyloom import store
from skyloom.dataset import read
from skyloom.errors import InputError
from skyloom.pz import calibration, distribution, support, umnn
from skyloom.sample import bands
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--predictions", nargs="+", required=True, help="of one model, one file a seed")
    parser.add_argument("--data", nargs="+", required=True, help="the packed files, in the order of predict")
    parser.add_argument("--out", required=True)
    parser.add_argument("--verdicts", required=True, help="JSON: every method's verdict, the conformal half-widths")


def run(args) -> None:
    """Write object_id, split, z and, if a method was kept, `pz` and `edges` of all rows; the mean over seeds is calibrated."""
    settings = args.settings
    parts = [store.arrays(path, ("object_id", "split", *distribution.NAMES)) for path in args.predictions]
    table = _table(args.data)
    if any(not np.array_equal(part["object_id"], table["object_id"]) for part in parts):
        raise InputError(f"the predictions {args.predictions[0]} hold other objects than {args.data[0]}; rerun predict")
    for part in parts:
        distribution.check(part)
    arrays = distribution.combined([{k: v for k, v in part.items() if k in distribution.NAMES} for part in parts])
    edges = np.asarray(arrays.get("edges", distribution.grid(*settings["grid"])), float)
    pz = distribution.probabilities(arrays, edges)
    ours = np.flatnonzero((table["subset"] == "calibrate") & np.isfinite(table["z"]) & np.isfinite(pz).all(axis=1))
    verdicts = [calibration.gate(name, pz[ours], edges, table["z"][ours], _features(name, table)[ours], settings["seed"])
                for name in settings["methods"]]
    kept = sorted((v["cde"], v["method"]) for v in verdicts if v["kept"])
    chosen = kept[0][1] if kept else ""
    out = {"object_id": table["object_id"], "split": parts[0]["split"], "z": distribution.mean(arrays)}
    if chosen:
        x = _features(chosen, table)
        final = calibration.METHODS[chosen](pz[ours], edges, table["z"][ours], x[ours], settings["seed"])(pz, edges, x)
        out |= {"z": distribution.mean({"pz": final, "edges": edges}), "pz": final.astype(np.float32), "edges": edges}
    # of the p(z) that has not seen these objects: the guarantee would not survive a map fitted on them
    half = {str(level): calibration.conformal(pz[ours], edges, table["z"][ours], level) for level in settings["levels"]}
    model = store.attributes(args.predictions[0])["model"]
    meta = common.provenance(settings) | {"model": model, "calibration": chosen, "conformal": json.dumps(half),
                                          "predictions_hash": read.file_hash(args.predictions)}
    store.write_columns(args.out, out, meta)
    store.write_text(args.verdicts, json.dumps({"model": model, "calibration": chosen, "objects": len(ours), "verdicts": verdicts,
                                                "conformal_half_widths": half}, indent=1) + "\n")


def _features(method: str, table: dict) -> np.ndarray:
    """What a method's map may depend on: neighbouring colours and magnitudes; for `mantis` all colours and E(B-V)."""
    return umnn.pairs(table["magnitudes"], table["ebv"]) if method == "mantis" else support.features(table["magnitudes"])


def _table(paths) -> dict[str, np.ndarray]:
    """object_id, subset, z, magnitudes (n, band; the undetected and unobserved as NaN; one of zeros without any) and E(B-V)
    (n, maps) of all files in order."""
    out = []
    for path in paths:
        names = [name for name in bands.by_wavelength(read.magnitude_columns(path)) if name]
        dust = [name for name in store.names(path) if name.startswith("ebv_")]
        columns = store.columns(path, ["object_id", "subset", *names, *dust])
        z = store.arrays(path, ["specz_redshift"]).get("specz_redshift", np.full(len(columns["object_id"]), np.nan))
        out.append({"object_id": columns["object_id"], "subset": columns["subset"], "z": np.asarray(z, float),
                    "magnitudes": bands.stacked(columns, names) if names else np.zeros((len(z), 1)),
                    "ebv": np.stack([np.asarray(columns[n], float) for n in dust], 1) if dust else np.zeros((len(z), 0))})
    return {name: np.concatenate([part[name] for part in out]) for name in out[0]}
