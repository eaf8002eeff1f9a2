"""Time per object of the tabular ensemble against FlexZBoost on the same testing objects, one after the other on one thread.

    python benchmarks/photoz_time.py results/dc2      # in the folder of that finished run, with `make rail` done

Ours: every seed's `predict` from the weights on disk, p(z) as mixtures, then their mean on the run's grid; FlexZBoost: RAIL's
estimator alone on its own grid, without its training and its start. Prints JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from skyloom.models import artefact, families
from skyloom.pz import distribution
from skyloom.train import data, estimation, loop

GRID = (-0.1, 3.0, 0.01)


def ours(folder: Path) -> dict:
    """Seconds of the ensemble over the testing file."""
    path = folder / "dataset" / "table_testing.hdf5"
    started, parts = time.perf_counter(), []
    for member in sorted((folder / "models" / "tabular").glob("seed*")):
        model, card = artefact.load(member)
        family, split = families.of(card.model), data.of_card(path, card)
        arrays = family.arrays(card, split, np.arange(split.n))
        parts.append(family.outcome(card, estimation.numbers(model, arrays, torch.device("cpu"), family.batch)))
    mixtures = distribution.combined(parts)
    networks = time.perf_counter() - started
    distribution.probabilities(mixtures, distribution.grid(*GRID))
    return {"members": len(parts), "objects": len(mixtures["means"]), "to_mixtures_us": networks,
            "to_grid_us": time.perf_counter() - started}


def theirs(folder: Path) -> float:
    """Seconds of FlexZBoost's estimate; it is trained anew for it."""
    data = [str(folder / "dataset" / f"table_{split}.hdf5") for split in ("training", "validation", "testing")]
    settings = {"peer": "flexzboost", "seed": 1, "grid": GRID, "points": 301, "options": {}}
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, "-m", "skyloom", "peer", "--settings", json.dumps(settings), "--python",
                        ".venv-rail/bin/python", "--training", *data[:2], "--testing", data[2], "--out", f"{place}/o.h5",
                        "--timing", f"{place}/t.json"], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        return json.loads(Path(place, "t.json").read_text())["estimating_s"]


def main(folder):
    loop.prepare(1, 1)
    other = theirs(folder)
    runs = [ours(folder) for _ in range(3)]
    best = {name: float(np.median([run[name] for run in runs])) for name in runs[0]}
    n = best.pop("objects")
    out = {"device": "CPU, 1 thread", "objects": int(n), "members": int(best.pop("members")),
           **{name: round(1e6 * seconds / n, 1) for name, seconds in best.items()}, "flexzboost_us": round(1e6 * other / n, 1)}
    print(json.dumps({**out, "ratio_to_grid": round(out["to_grid_us"] / out["flexzboost_us"], 3)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
