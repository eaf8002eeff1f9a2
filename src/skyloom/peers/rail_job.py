"""Run one of RAIL's estimators, or a random forest, in an environment of its own: `python rail_job.py job.json`.

This file is started with RAIL's interpreter and imports nothing of skyloom. The job names the tables (npz: magnitudes, errors,
z), the options and where p(z) goes (npz: probabilities of the bins of `edges`, seconds of training and estimating).
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

STAGES = {"knn": ("k_nearneigh", "KNearNeighInformer", "KNearNeighEstimator"),
          "flexzboost": ("flexzboost", "FlexZBoostInformer", "FlexZBoostEstimator"),
          "bpz": ("bpz_lite", "BPZliteInformer", "BPZliteEstimator")}


def main(path: str) -> None:
    """Do the job that a JSON file describes."""
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    training, testing = (dict(np.load(job[name])) for name in ("training", "testing"))
    with tempfile.TemporaryDirectory() as folder:
        run = forest if job["peer"] == "random_forest" else stages
        probabilities, seconds = run(job, training, testing, folder)
    np.savez(job["out"], pz=probabilities, **seconds)


def stages(job: dict, training: dict, testing: dict, folder: str):
    """RAIL's inform and estimate with its defaults but for the columns and the grid."""
    import importlib

    from rail.core.data import TableHandle

    module, informer, estimator = STAGES[job["peer"]]
    found = importlib.import_module(f"rail.estimation.algos.{module}")
    shared = _options(job, folder)
    started = time.perf_counter()
    inform = getattr(found, informer).make_stage(name="inform", model=f"{folder}/model.pkl", **shared)
    model = inform.inform(TableHandle("training", data=_table(job, training)))
    trained = time.perf_counter()
    estimate = getattr(found, estimator).make_stage(name="estimate", output=f"{folder}/output.hdf5", model=model, **shared)
    ensemble = estimate.estimate(TableHandle("testing", data=_table(job, testing))).read()
    done = time.perf_counter()
    pz = np.diff(np.asarray(ensemble.cdf(np.array(job["edges"]))), axis=1)
    return pz, {"training_s": trained - started, "estimating_s": done - trained}


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


def forest(job: dict, training: dict, testing: dict, folder: str):
    """200 trees (Breiman 2001; Carrasco Kind & Brunner 2013 for photo-z): p(z) of an object = the training redshifts of its
    leaves, each a Gaussian of the width of Silverman's rule of thumb (1986)."""
    from sklearn.ensemble import RandomForestRegressor

    started = time.perf_counter()
    tables = [np.where(np.abs(t["magnitudes"]) < 90, t["magnitudes"], limits)
              for t in (training, testing) for limits in [np.array([job["limits"][n] for n in job["bands"]])]]
    inputs = [np.hstack([m, np.diff(m, axis=1)]) for m in tables]
    trees = RandomForestRegressor(200, min_samples_leaf=5, max_features=0.5, random_state=job["seed"], n_jobs=1)
    trees.fit(inputs[0], training["z"])
    trained = time.perf_counter()
    own, leaves = trees.apply(inputs[0]), trees.apply(inputs[1])
    members = []
    for t in range(own.shape[1]):
        order = np.argsort(own[:, t], kind="stable")
        values, starts = np.unique(own[order, t], return_index=True)
        members.append(dict(zip(values, np.split(order, starts[1:]), strict=True)))
    from scipy.special import ndtr

    edges, out = np.array(job["edges"]), np.empty((len(leaves), len(job["edges"]) - 1))
    for k, row in enumerate(leaves):
        found = [members[t][leaf] for t, leaf in enumerate(row)]
        weight = np.zeros(len(own))
        for rows in found:
            weight[rows] += 1 / len(rows) / len(found)
        at = np.flatnonzero(weight)
        z, w = training["z"][at], weight[at]
        order = np.argsort(z)
        quartiles = np.interp((0.25, 0.75), np.cumsum(w[order]), z[order])
        spread = min(np.sqrt(w @ (z - w @ z) ** 2), (quartiles[1] - quartiles[0]) / 1.349)
        width = max(0.9 * spread * (w**2).sum() ** 0.2, 0.002)
        out[k] = np.diff(w @ ndtr((edges[None] - z[:, None]) / width))
    return out, {"training_s": trained - started, "estimating_s": time.perf_counter() - trained}


if __name__ == "__main__":
    main(sys.argv[1])
