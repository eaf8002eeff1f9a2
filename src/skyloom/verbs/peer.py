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
    edges, seconds, n = distribution.grid(*settings["grid"]), {}, len(testing["z"])
    reason = "" if settings["peer"] != "bpz" else jobs.no_templates(settings["options"], names, errors)
    pz = np.zeros((0, len(edges) - 1))
    if not reason and settings["peer"] == "trainz":
        pz = np.broadcast_to(jobs.trainz(training["z"], edges), (n, len(edges) - 1))
    elif not reason:
        pz, seconds = jobs.elsewhere(args.python, jobs.job(settings, names, training["magnitudes"], edges),
                                     {"training": training, "testing": testing}, os.path.dirname(os.path.abspath(args.out)))
    with store.streaming(args.out, len(pz), _meta(settings, reason), distribution.SHARED) as append:
        for rows in distribution.blocks(len(pz)):
            some = pz[rows]
            append({"object_id": testing["object_id"][:len(pz)][rows], "split": np.full(len(some), "testing", object),
                    "z": distribution.mean({"pz": some, "edges": edges}), "pz": np.asarray(some, np.float32), "edges": edges})
    told = {"objects": len(pz), "training": len(training["z"]), "reason": reason, **seconds}
    store.write_text(args.timing, json.dumps(told))


def _given(args) -> None:
    """The redshifts of a table for the testing objects, NaN for those that it lacks."""
    settings = args.settings
    columns = Table([args.testing]).columns(["object_id", "specz_redshift"])
    ids = columns["object_id"][np.isfinite(columns["specz_redshift"])]
    found = tables.estimates(args.table, settings["options"]["id"], settings["options"]["z"])
    at = align(found["object_id"], ids)
    z = np.where(at >= 0, found["z"][at], np.nan) if len(found["z"]) else np.full(len(ids), np.nan)
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
