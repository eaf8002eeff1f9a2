"""Run one of RAIL's estimators, or a random forest, in an environment of its own: `python rail_job.py job.json`.

This file is started with RAIL's interpreter and imports nothing of skyloom. The job names the tables (npz: magnitudes, errors,
z), the options and the folder where p(z) goes: 0.npy, 1.npy, ... (probabilities of the bins of `edges`, CHUNK objects a file) and
seconds.json (of training and estimating).
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CHUNK = 50_000  # objects whose p(z) is held at once
STAGES = {"knn": ("k_nearneigh", "KNearNeighInformer", "KNearNeighEstimator"),
          "flexzboost": ("flexzboost", "FlexZBoostInformer", "FlexZBoostEstimator"),
          "bpz": ("bpz_lite", "BPZliteInformer", "BPZliteEstimator")}


def main(path: str) -> None:
    """Do the job that a JSON file describes: learn, then estimate CHUNK objects at a time."""
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    training, testing = (dict(np.load(job[name])) for name in ("training", "testing"))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        estimate = (forest if job["peer"] == "random_forest" else stages)(job, training, folder)
        trained = time.perf_counter()
        for k, first in enumerate(range(0, max(len(testing["z"]), 1), CHUNK)):
            part = {name: values[first:first + CHUNK] for name, values in testing.items()}
            np.save(f"{job['out']}/{k}.npy", estimate(part, k))
        seconds = {"training_s": trained - started, "estimating_s": time.perf_counter() - trained}
    Path(job["out"], "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")


def stages(job: dict, training: dict, folder: str):
    """RAIL's inform with its defaults but for the columns and the grid, and its estimate as a function (table, chunk) -> p(z)."""
    import importlib

    from rail.core.data import TableHandle

    module, informer, estimator = STAGES[job["peer"]]
    found = importlib.import_module(f"rail.estimation.algos.{module}")
    shared = _options(job, folder)
    inform = getattr(found, informer).make_stage(name="inform", model=f"{folder}/model.pkl", **shared)
    model = inform.inform(TableHandle("training", data=_table(job, training)))

    def estimate(table, chunk):
        name, place = f"estimate{chunk or ''}", f"{folder}/output{chunk or ''}.hdf5"
        stage = getattr(found, estimator).make_stage(name=name, output=place, model=model, **shared)
        ensemble = stage.estimate(TableHandle(f"testing{chunk or ''}", data=_table(job, table))).read()
        return np.diff(np.asarray(ensemble.cdf(np.array(job["edges"]))), axis=1)

    return estimate


def _options(job, folder):
    names, errors = job["bands"], job["errors"]
    options = {"bands": names, "err_bands": errors, "ref_band": job["reference"], "mag_limits": job["limits"],
               "nondetect_val": np.nan, "redshift_col": "z", "zmin": job["low"], "zmax": job["high"], "nzbins": job["points"],
               "hdf5_groupname": "", **job["options"]}
    if job["peer"] == "bpz":  # it writes into its data folder: a private copy
        import rail.estimation

        data = next(p for root in rail.estimation.__path__
                    if (p := Path(root).parent / "examples_data" / "estimation_data" / "data").exists())
        shutil.copytree(data, f"{folder}/bpz")
        options |= {"bpz_ref_data_path": f"{folder}/bpz", "output_hdfn": True, "zp_errors": [0.01] * len(names),
                    "nondetect_val": 99.0, "unobserved_val": -99.0}
    else:
        options |= {"seed": job["seed"]}
    return options


def _table(job, table):
    """RAIL's columns; what was not detected or observed is NaN, for BPZ 99 and -99."""
    out = {"z": table["z"]}
    for k, (name, error) in enumerate(zip(job["bands"], job["errors"], strict=True)):
        magnitude, sigma = table["magnitudes"][:, k].copy(), table["errors"][:, k].copy()
        if job["peer"] == "bpz":
            magnitude[np.isnan(magnitude)] = -99.0
            sigma[magnitude >= 90] = job["limits"][name]
        else:
            magnitude[~(np.abs(magnitude) < 90)] = np.nan
        out |= {name: magnitude, error: sigma}
    return out


def forest(job: dict, training: dict, folder: str):
    """200 trees (Breiman 2001; Carrasco Kind & Brunner 2013 for photo-z): p(z) of an object = the training redshifts of its
    leaves, each a Gaussian of the width of Silverman's rule of thumb (1986). A function (table, chunk) -> p(z)."""
    from scipy.special import ndtr
    from sklearn.ensemble import RandomForestRegressor

    def inputs(table):
        magnitudes = table["magnitudes"]
        filled = np.where(np.abs(magnitudes) < 90, magnitudes, np.array([job["limits"][n] for n in job["bands"]]))
        return np.hstack([filled, np.diff(filled, axis=1)])

    trees = RandomForestRegressor(200, min_samples_leaf=5, max_features=0.5, random_state=job["seed"], n_jobs=1)
    trees.fit(inputs(training), training["z"])
    own, edges = trees.apply(inputs(training)), np.array(job["edges"])
    members = []
    for t in range(own.shape[1]):
        order = np.argsort(own[:, t], kind="stable")
        values, starts = np.unique(own[order, t], return_index=True)
        members.append(dict(zip(values, np.split(order, starts[1:]), strict=True)))

    def estimate(table, chunk):
        leaves = trees.apply(inputs(table))
        return np.array([np.diff(_smoothed(row, members, training["z"], edges, ndtr)) for row in leaves]).reshape(
            len(leaves), len(edges) - 1)

    return estimate


def _smoothed(row, members, redshifts, edges, ndtr) -> np.ndarray:
    """The cdf at the edges of an object in the leaves `row`."""
    weight = np.zeros(len(redshifts))
    for t, leaf in enumerate(row):
        weight[members[t][leaf]] += 1 / len(members[t][leaf]) / len(row)
    at = np.flatnonzero(weight)
    z, w = redshifts[at], weight[at]
    order = np.argsort(z)
    quartiles = np.interp((0.25, 0.75), np.cumsum(w[order]), z[order])
    spread = min(np.sqrt(w @ (z - w @ z) ** 2), (quartiles[1] - quartiles[0]) / 1.349)
    width = max(0.9 * spread * (w**2).sum() ** 0.2, 0.002)
    return w @ ndtr((edges[None] - z[:, None]) / width)


if __name__ == "__main__":
    main(sys.argv[1])
