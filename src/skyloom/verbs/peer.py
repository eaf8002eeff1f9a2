"""peer: p(z) of the testing objects by another estimator, trained on the same objects and columns."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from skyloom import store
from skyloom.archives import tables
from skyloom.dataset.table import Table, align
from skyloom.errors import InputError
from skyloom.peers import jobs
from skyloom.pz import distribution
from skyloom.sample import cuts
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
    learnt, asked = Table(args.training), Table([args.testing])
    if not asked.magnitudes:
        raise InputError(f"{args.testing} holds no magnitudes for {settings['peer']}; add photometry or drop `peers.models`")
    names = _known(args.training, asked.magnitudes)
    errors = {name: asked.errors[name] for name in names if name in asked.errors}
    wanted = list(dict.fromkeys([*names, *errors.values(), "specz_redshift", "object_id"]))
    training, testing = (jobs.table(table.columns(wanted), names, errors) for table in (learnt, asked))
    edges, n = distribution.grid(*settings["grid"]), len(testing["z"])
    reason = "" if settings["peer"] != "bpz" else jobs.no_templates(settings["options"], names, errors)
    told = {"objects": 0 if reason else n, "training": len(training["z"]), "reason": reason}
    if reason:
        _write(args, testing, edges, [np.zeros((0, len(edges) - 1))], told)
    elif settings["peer"] == "trainz":
        _write(args, testing, edges, [np.broadcast_to(jobs.trainz(training["z"], edges), (n, len(edges) - 1))], told)
    else:
        job = jobs.job(settings, names, training["magnitudes"], edges)
        both, place = {"training": training, "testing": testing}, os.path.dirname(os.path.abspath(args.out))
        with jobs.elsewhere(args.python, job, both, place) as (pieces, seconds):
            _write(args, testing, edges, pieces, told | seconds)


def _write(args, testing: dict, edges, pieces, told: dict) -> None:
    """The file of the testing objects, p(z) piece by piece, and its timing."""
    first, meta = 0, _meta(args.settings, told["reason"])
    with store.streaming(args.out, told["objects"], meta, distribution.SHARED) as append:
        for piece in pieces:
            for rows in distribution.blocks(len(piece)):
                pz = piece[rows]
                ids = testing["object_id"][first:first + len(pz)]
                append({"object_id": ids, "split": np.full(len(pz), "testing", object), "pz": np.asarray(pz, np.float32),
                        "z": distribution.mean({"pz": pz, "edges": edges}), "edges": edges})
                first += len(pz)
    store.write_text(args.timing, json.dumps(told))


def _given(args) -> None:
    """The redshifts of a table for the testing objects, NaN for those that it lacks."""
    settings = args.settings
    asked = store.arrays(args.testing, ["object_id", "specz_redshift", "ra", "dec"])
    asked = {name: values[np.isfinite(asked["specz_redshift"])] for name, values in asked.items()}
    ids, found = asked["object_id"], tables.estimates(args.table, settings["options"])
    if "object_id" in found:
        at = align(found["object_id"], ids)
        z = np.where(at >= 0, found["z"][at], np.nan) if len(found["z"]) else np.full(len(ids), np.nan)
    elif "ra" not in asked:
        raise InputError(f"{args.table} is matched by position, but the objects have none; name `local.columns.ra` and `dec`")
    else:
        place = cuts.nearest(asked["ra"], asked["dec"], found["ra"], found["dec"])
        z = np.where(place < 0, np.nan, found["z"][place]) if len(found["z"]) else np.full(len(ids), np.nan)
    reason = "" if np.isfinite(z).any() else f"{Path(args.table).name} holds none of the testing objects"
    rows = np.arange(0 if reason else len(z))
    store.write_columns(args.out, {"object_id": ids[rows], "split": np.full(len(rows), "testing", object), "z": z[rows]},
                        _meta(settings, reason))
    store.write_text(args.timing, json.dumps({"objects": len(rows), "found": int(np.isfinite(z).sum()), "reason": reason}))


def _meta(settings: dict, reason: str) -> dict:
    return common.provenance(settings) | {"model": settings["peer"], "seed": settings["seed"], "reason": reason}


def _known(paths, names: list[str]) -> list[str]:
    """The magnitudes that at least one object to learn from was detected in; all of them where there is none."""
    return jobs.detected(Table(paths).columns(names), names)
