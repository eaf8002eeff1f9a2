"""What other estimators learn from and are asked for: tables of magnitudes, and a process of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from skyloom.errors import InputError
from skyloom.peers import rail_job


def detected(columns: dict, names: list[str]) -> list[str]:
    """The magnitudes that at least one object was detected in; all of them where there is none."""
    return [name for name in names if (np.abs(np.asarray(columns[name], float)) < 90).any()] or names


def table(columns: dict, names: list[str], errors: dict[str, str]) -> dict:
    """magnitudes and errors (n, band) with 99 and NaN as they are, z, object_id of packed columns; rows with a redshift."""
    good = np.isfinite(columns["specz_redshift"])
    magnitudes = np.stack([np.asarray(columns[n], float) for n in names], axis=1)[good]
    magnitudes[magnitudes <= -90] = np.nan
    sigma = np.stack([np.asarray(columns[errors[n]], float) if n in errors else np.zeros(len(good)) for n in names], axis=1)
    return {"magnitudes": magnitudes, "errors": sigma[good], "z": np.asarray(columns["specz_redshift"], float)[good],
            "object_id": columns["object_id"][good]}


def trainz(z, edges) -> np.ndarray:
    """(bins,) the redshift distribution of training, which trainz gives to every object (Schmidt et al. 2020)."""
    return np.histogram(z, edges)[0] / len(z)


def no_templates(options: dict, names: list[str], errors: dict[str, str]) -> str:
    """Why BPZ can't work on these columns; empty if it can."""
    lacking = [name for name in names if name not in options.get("filters", {})]
    if lacking:
        return f"no transmission curve for {lacking[0]} (peers.options.bpz.filters)"
    return "" if len(errors) == len(names) else "BPZ needs errors of every magnitude"


def job(settings: dict, names: list[str], seen: np.ndarray, edges: np.ndarray) -> dict:
    """What `rail_job` is told besides its files: `settings` of the peer, names of the bands from blue to red, their magnitudes
    (n, band) in training."""
    options = dict(settings["options"])
    filters = options.pop("filters", None)
    if filters:
        options["filter_list"] = [filters[name] for name in names]
    faintest = np.where(np.abs(seen) < 90, seen, -np.inf).max(axis=0)
    return {"peer": settings["peer"], "seed": settings["seed"], "edges": edges.tolist(), "bands": names,
            "errors": [f"{name}_error" for name in names], "options": options, "points": settings["points"],
            "reference": next((n for n in names if "i" in n.split("_")), names[len(names) // 2]),
            "limits": dict(zip(names, faintest.tolist(), strict=True)), "low": max(0.0, float(edges[0])),
            "high": float(edges[-1])}


@contextlib.contextmanager
def elsewhere(python: str, told: dict, tables: dict[str, dict], place: str):
    """(p(z) in pieces, one after another; seconds) from RAIL's interpreter, which works in a folder of its own inside `place`;
    `tables` training and testing. InputError if there is no such interpreter or the estimator fails."""
    if not Path(python).exists():
        raise InputError(f"`rail.python` is {python}, which does not exist; run `make rail` or drop {told['peer']} from "
                         "`peers.models`")
    with tempfile.TemporaryDirectory(dir=place) as folder:
        told = told | {"out": folder} | {name: f"{folder}/{name}.npz" for name in tables}
        for name, columns in tables.items():
            np.savez(told[name], **{key: columns[key] for key in ("magnitudes", "errors", "z")})
        Path(folder, "job.json").write_text(json.dumps(told), encoding="utf-8")
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        done = subprocess.run([os.path.abspath(python), rail_job.__file__, f"{folder}/job.json"], capture_output=True, text=True,
                              encoding="utf-8", errors="replace", cwd=folder, check=False,
                              env={**environment, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": folder})
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            why = next((line for line in reversed(lines) if "rror: " in line), lines[-1])  # below it a trace of its libraries
            raise InputError(f"{told['peer']} failed in RAIL's environment ({why[:200]}); renew it: make rail")
        pieces = sorted(Path(folder).glob("[0-9]*.npy"), key=lambda path: int(path.stem))
        yield map(np.load, pieces), json.loads(Path(folder, "seconds.json").read_text(encoding="utf-8"))
