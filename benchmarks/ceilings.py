"""How far measured structure could go: the estimator `hybrid` on the true light of bulge and disc, beside the measured one.

    python benchmarks/ceilings.py results/pixels_pay

Two ceilings, at every size of the run's learning curve and for every seed: `ideal`, the true fluxes with noise drawn from the
covariance that the run's own fit states (a fit without bias, failures or neighbours), and `noiseless`, the true fluxes with
errors of a thousandth. Both replace the columns of the packed files of a run on the embedded sky; networks and settings are the
run's model `hybrid_annuli` with the group `bulge_disk` alone. Writes evaluation/ceilings.csv into the run's folder and counts
its look at testing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas
import yaml
from scipy.spatial import cKDTree

from skyloom import store
from skyloom.dataset.predictions import Ensemble, Prediction
from skyloom.dataset.table import Table
from skyloom.provenance import finals
from skyloom.provenance.canonical import digest
from skyloom.pz import evaluation, learning
from skyloom.sky import population

BANDS, SPLITS, NEAR = "grizy", ("training", "validation", "testing"), 1.0  # arcsec within which a galaxy is the object
OPTIONS = {"groups": ["bulge_disk"]}
GRID = (-0.1, 4.0, 0.005)  # that of `evaluation.grid` where a configuration names none


def truth(sky: dict, ra, dec) -> dict[str, np.ndarray]:
    """The true galaxy nearest to each position (n,): its columns, and `found`, whether it is within NEAR."""
    box = (ra.min() - 0.01, ra.max() + 0.01, dec.min() - 0.01, dec.max() + 0.01)
    whole = population.in_region(sky["seed"], box, population.GALAXY_TIERS[:1], sky.get("reddening", 0.0))
    away, at = cKDTree(_unit(whole["ra"], whole["dec"])).query(_unit(ra, dec))
    return {name: values[at] for name, values in whole.items()} | {"found": np.degrees(away) * 3600 < NEAR}


def _unit(ra, dec) -> np.ndarray:
    ra, dec = np.radians(ra), np.radians(dec)
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def columns(known: dict, true: dict, noisy: bool, rng) -> dict[str, np.ndarray]:
    """The fit's columns as an ideal fit would have them; NaN where the fit or the true galaxy is none."""
    out = {"bulge_re": true["re_bulge"], "disk_re": true["re_disc"], "disk_q": true["q_disc"], "bulge_q": true["q_bulge"]}
    for part in ("bulge", "disk"):
        error = np.array(known[f"{part}_re_err"]) if noisy else 1e-3 * out[f"{part}_re"]
        out[f"{part}_re"] = out[f"{part}_re"] * np.exp(error / out[f"{part}_re"] * rng.standard_normal(len(error)))
        out[f"{part}_re_err"] = error
    for b, band in enumerate(BANDS):
        vb, vd, both = (np.array(known[f"{band}_{name}"]) for name in ("bulge_flux_err", "disk_flux_err", "bulge_disk_cov"))
        if not noisy:
            total = true["bulge"][:, b] + true["disc"][:, b]
            vb, vd, both = 1e-3 * total, 1e-3 * total, np.zeros(len(total))
        first, second = rng.standard_normal((2, len(vb)))
        slope = both / vb
        out[f"{band}_bulge_flux"] = true["bulge"][:, b] + vb * first
        out[f"{band}_disk_flux"] = true["disc"][:, b] + slope * first + np.sqrt(np.maximum(vd**2 - slope**2, 0)) * second
        out |= {f"{band}_bulge_flux_err": vb, f"{band}_disk_flux_err": vd, f"{band}_bulge_disk_cov": both}
    lost = ~true["found"]
    return {name: np.where(lost, np.nan, values) for name, values in out.items()}


def files(run: Path, work: Path, sky: dict, noisy: bool) -> dict[str, Path]:
    """Copies of the run's packed files with the columns of an ideal fit."""
    out = {}
    for k, split in enumerate(SPLITS):
        path = next(run.glob(f"dataset/*_{split}_with_morphology.hdf5"))
        out[split] = work / path.name
        shutil.copyfile(path, out[split])
        known = Table([str(path)]).columns()
        ideal = columns(known, truth(sky, known["ra"], known["dec"]), noisy, np.random.default_rng([7, k, noisy]))
        with h5py.File(out[split], "r+") as file:
            for name, values in ideal.items():
                file[name][...] = values
    return out


def train(name: str, size: int, seed: int, data: dict, work: Path) -> str:
    """Path of the predictions of one network on ideal columns."""
    out = work / f"{name}_n{size}" / f"seed{seed}"
    out.mkdir(parents=True)
    settings = {"run": name, "model": "hybrid", "options": OPTIONS | {"objects": size}, "seed": seed, "threads": 1}
    for verb in (["train", "--settings", json.dumps(settings), "--training", data["training"], "--validation", data["validation"],
                  "--state", work / "state", "--weights", out / "model.safetensors", "--card", out / "model.json",
                  "--history", out / "history.csv"],
                 ["predict", "--settings", json.dumps({"run": name, "device": "cpu"}), "--model", out, "--data", data["testing"],
                  "--out", out / "predictions.h5"]):
        subprocess.run([sys.executable, "-m", "skyloom", *map(str, verb)], check=True, stderr=subprocess.DEVNULL)
    return str(out / "predictions.h5")


def said(paths: list[str], ids, zs) -> dict:
    """What an ensemble says of the testing objects."""
    whole = Ensemble([Prediction(path) for path in paths])
    edges = evaluation.one_grid([one.pz for one in whole.members], GRID)
    return learning.said(evaluation.objects(whole.z, whole.pz, whole.rows_of(ids), zs, edges))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--recipe", default="resources/recipes/pixels_pay.yaml")
    parser.add_argument("--work", type=Path, default=Path("cache/ceilings"))
    args = parser.parse_args()
    recipe = yaml.safe_load(Path(args.recipe).read_text(encoding="utf-8"))
    seeds, known = recipe["train"]["seeds"], Table([str(next(args.run.glob("dataset/*_testing_with_morphology.hdf5")))]).columns()
    rows = np.flatnonzero(np.isfinite(known["specz_redshift"]))
    ids, zs = known["object_id"][rows], known["specz_redshift"][rows].astype(float)
    out: list[tuple] = []
    shutil.rmtree(args.work, ignore_errors=True)
    for name, noisy in (("ideal", True), ("noiseless", False)):
        work = args.work / name
        work.mkdir(parents=True)
        data = files(args.run, work, recipe["embedded"], noisy)
        for size in recipe["learning"]["sizes"]:
            base = said([str(args.run / f"models/tabular_n{size}/seed{k}/predictions.h5") for k in seeds], ids, zs)
            mine = said([train(name, size, k, data, work) for k in seeds], ids, zs)
            out += [(name, "tabular", size, *row) for row in learning.compared(mine, base, zs, {}, 1000)]
            print(name, size, *[row[1:] for row in out[-6:]], sep="\n", flush=True)
        for path in data.values():
            path.unlink()
    frame = pandas.DataFrame(out, columns=("model_a", "model_b", "n_train", "subset", "metric", "convention", "difference",
                                           "difference_lo95", "difference_hi95", "ratio", "ratio_lo95", "ratio_hi95", "n"))
    store.write_csv(args.run / "evaluation" / "ceilings.csv", frame)
    finals.count("docs/final_runs.csv", {"run": recipe["run"], "table": "testing (ceilings)", "config_hash": digest(recipe)})


if __name__ == "__main__":
    main()
