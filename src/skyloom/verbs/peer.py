"""peer: p(z) of the testing objects by another estimator, trained on the same objects and columns."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from skyloom import store
from skyloom.archives import tables
from skyloom.dataset import read
from skyloom.errors import InputError
from skyloom.peers import rail_job
from skyloom.pz import distribution
from skyloom.sample import bands
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--python", default="", help="interpreter of an environment with RAIL (`make rail`)")
    parser.add_argument("--training", nargs="+", required=True, help="packed files to learn from")
    parser.add_argument("--testing", required=True)
    parser.add_argument("--table", default="", help="redshifts that somebody else estimated, instead of an estimator")
    parser.add_argument("--out", required=True)
    parser.add_argument("--timing", required=True, help="JSON with the seconds it took")


def run(args) -> None:
    """Write object_id, split, z and p(z) (`pz`, `edges`) of the testing objects, or no rows and the reason where the
    estimator can't be applied; training and validation objects together are what it learns from. Of a table z alone."""
    settings = args.settings
    if args.table:
        _given(args)
        return
    names = bands.by_wavelength(read.magnitude_columns(args.testing))
    errors = bands.errors_of(store.names(args.testing), names)
    names = _known(args.training, names)
    errors = {name: errors[name] for name in names if name in errors}
    training = _joined([_columns(path, names, errors) for path in args.training])
    testing = _columns(args.testing, names, errors)
    edges = distribution.grid(*settings["grid"])
    reason = "" if settings["peer"] != "bpz" else _no_templates(settings, names, errors)
    seconds, pz = {}, np.zeros((0, len(edges) - 1))
    if not reason and settings["peer"] == "trainz":
        counts = np.histogram(training["z"], edges)[0] / len(training["z"])
        pz = np.broadcast_to(counts, (len(testing["z"]), len(counts)))
    elif not reason:
        pz, seconds = _elsewhere(args, settings, names, training, testing, edges)
    rows = np.arange(len(pz))
    meta = common.provenance(settings) | {"model": settings["peer"], "seed": settings["seed"], "reason": reason}
    store.write_columns(args.out, {
        "object_id": testing["object_id"][rows], "split": np.full(len(rows), "testing", object),
        "z": distribution.mean({"pz": pz, "edges": edges}), "pz": np.asarray(pz, np.float32), "edges": edges}, meta)
    store.write_text(args.timing, json.dumps({"objects": len(rows), "training": len(training["z"]), "reason": reason, **seconds}))


def _given(args) -> None:
    """The redshifts of a table for the testing objects, NaN for those that it lacks."""
    settings = args.settings
    columns = store.columns(args.testing, ["object_id", "specz_redshift"])
    ids = columns["object_id"][np.isfinite(columns["specz_redshift"])]
    found = tables.estimates(args.table, settings["options"]["id"], settings["options"]["z"])
    known = dict(zip(found["object_id"].tolist(), found["z"].tolist(), strict=True))
    z = np.array([known.get(int(i), np.nan) for i in ids])
    reason = "" if np.isfinite(z).any() else f"{Path(args.table).name} holds none of the testing objects"
    rows = np.arange(0 if reason else len(z))
    meta = common.provenance(settings) | {"model": settings["peer"], "seed": settings["seed"], "reason": reason}
    store.write_columns(args.out, {"object_id": ids[rows], "split": np.full(len(rows), "testing", object), "z": z[rows]}, meta)
    store.write_text(args.timing, json.dumps({"objects": len(rows), "found": int(np.isfinite(z).sum()), "reason": reason}))


def _known(paths, names: list[str]) -> list[str]:
    """The magnitudes that at least one object to learn from was detected in; all of them where there is none."""
    found = _joined([store.columns(path, names) for path in paths])
    return [name for name in names if (np.abs(np.asarray(found[name], float)) < 90).any()] or names


def _columns(path, names, errors) -> dict:
    """magnitudes and errors (n, band) with 99 and NaN as they are, z, object_id of a packed file; rows with a redshift."""
    wanted = [*names, *errors.values(), "specz_redshift", "object_id"]
    columns = store.columns(path, list(dict.fromkeys(wanted)))
    good = np.isfinite(columns["specz_redshift"])
    magnitudes = np.stack([np.asarray(columns[n], float) for n in names], axis=1)[good]
    magnitudes[magnitudes <= -90] = np.nan
    sigma = np.stack([np.asarray(columns[errors[n]], float) if n in errors else np.zeros(len(good)) for n in names], axis=1)
    return {"magnitudes": magnitudes, "errors": sigma[good], "z": np.asarray(columns["specz_redshift"], float)[good],
            "object_id": columns["object_id"][good]}


def _joined(parts: list[dict]) -> dict:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _no_templates(settings, names, errors) -> str:
    """Why BPZ can't work on these columns; empty if it can."""
    lacking = [name for name in names if name not in settings["options"].get("filters", {})]
    if lacking:
        return f"no transmission curve for {lacking[0]} (peers.options.bpz.filters)"
    return "" if len(errors) == len(names) else "BPZ needs errors of every magnitude"


def _elsewhere(args, settings, names, training, testing, edges):
    """(p(z), seconds) from RAIL's interpreter."""
    if not Path(args.python).exists():
        raise InputError(f"`rail.python` is {args.python}, which does not exist; run `make rail` or drop "
                         f"{settings['peer']} from `peers.models`")
    seen = np.where(np.abs(training["magnitudes"]) < 90, training["magnitudes"], -np.inf)
    options = dict(settings["options"])
    filters = options.pop("filters", None)
    if filters:
        options["filter_list"] = [filters[name] for name in names]
    reference = next((n for n in names if n.split("_")[0] == "i"), names[len(names) // 2])
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(args.out))) as folder:
        job = {"peer": settings["peer"], "seed": settings["seed"], "edges": edges.tolist(), "bands": names,
               "errors": [f"{name}_error" for name in names], "reference": reference, "options": options,
               "limits": dict(zip(names, seen.max(axis=0).tolist(), strict=True)), "low": max(0.0, float(edges[0])),
               "high": float(edges[-1]), "points": settings["points"], "out": f"{folder}/pz.npz"}
        for name, table in (("training", training), ("testing", testing)):
            job[name] = f"{folder}/{name}.npz"
            np.savez(job[name], **{key: table[key] for key in ("magnitudes", "errors", "z")})
        Path(folder, "job.json").write_text(json.dumps(job), encoding="utf-8")
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        command = [os.path.abspath(args.python), rail_job.__file__, f"{folder}/job.json"]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", cwd=folder,
                              check=False, env={**environment, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": folder})
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            why = next((line for line in reversed(lines) if "rror: " in line), lines[-1])  # below it a trace of its libraries
            raise InputError(f"{settings['peer']} failed in RAIL's environment ({why[:200]}); renew it: make rail")
        found = np.load(f"{folder}/pz.npz")
        return found["pz"], {name: float(found[name]) for name in ("training_s", "estimating_s")}
