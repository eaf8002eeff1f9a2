"""learning: what models make of more and more training objects, on the testing split. Predictions are taken as networks gave
them, not calibrated."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from skyloom import store, textfiles, trainings
from skyloom.dataset.predictions import Ensemble, Prediction
from skyloom.dataset.table import Table
from skyloom.errors import InputError
from skyloom.provenance import finals
from skyloom.pz import evaluation, learning
from skyloom.release import curves, figures
from skyloom.sample import subsets
from skyloom.verbs import common

CURVES = ("model", "n_train", "seed", "split", "subset", "metric", "convention", "value", "lo95", "hi95", "n")
PAIRED = ("of", "model_a", "model_b", "n_train", "subset", "metric", "convention", "difference", "difference_lo95",
          "difference_hi95", "ratio", "ratio_lo95", "ratio_hi95", "n")
CELLS = ("model", "n_train", "seed", "slope", "lo95", "hi95", "n", "cells")
STEPS = ("model", "n_train", "seed", "step", "select_loss")


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--predictions", nargs="+", required=True, help="of every model, size and seed")
    parser.add_argument("--cards", nargs="+", required=True, help="model.json of the same, but of stacks")
    parser.add_argument("--histories", nargs="+", required=True, help="history.csv of the same, in the order of the cards")
    parser.add_argument("--training", required=True, help="packed training file: colours, of which cells are made")
    parser.add_argument("--testing", required=True, help="packed testing file")
    parser.add_argument("--final", default="", help="CSV that counts the evaluations on objects set aside")
    parser.add_argument("--folder", required=True, help="where the tables and figures go")


def run(args) -> None:
    """Write learning.csv, learning_paired.csv, learning_attenuation.csv, learning_steps.csv and two figures."""
    import pandas

    settings, folder = args.settings, Path(args.folder)
    points = trainings.points(settings)
    found = _tested(args, settings, points)
    rows = sorted(found["curves"], key=lambda row: (row[4] != "", row[2] != "ensemble"))  # what a page shows comes first
    frame = pandas.DataFrame(rows, columns=CURVES)
    steps = pandas.DataFrame(_steps(args.cards, args.histories, points), columns=STEPS)
    store.write_csv(folder / "learning.csv", frame)
    store.write_csv(folder / "learning_paired.csv", pandas.DataFrame(found["paired"], columns=PAIRED))
    store.write_csv(folder / "learning_attenuation.csv", pandas.DataFrame(found["cells"], columns=CELLS))
    store.write_csv(folder / "learning_steps.csv", steps)
    figures.drawn(curves.learning, folder / "learning.png", frame)
    figures.drawn(curves.steps, folder / "learning_steps.png", steps)
    if args.final:
        finals.count(args.final, settings)


def _tested(args, settings: dict, points: dict) -> dict[str, list[tuple]]:
    """Rows of `curves`, `paired`, `cells`; p(z) is held of one block of objects at a time."""
    known = Table([args.testing]).columns()
    rows = np.flatnonzero(np.isfinite(known["specz_redshift"]))
    ids, zs = known["object_id"][rows], known["specz_redshift"][rows].astype(float)
    parts = subsets.masks(subsets.binned(settings["bins"]), known, rows)
    cells = learning.cells(*(np.diff(Table([path]).stacked(), axis=1) for path in (args.training, args.testing)))[rows]
    asked, seed = settings["bootstrap"], settings["seed"]
    few, members = min(asked, evaluation.FEWER), _members(args.predictions, points)
    edges = evaluation.one_grid([one.pz for some in members.values() for one in some if one.pz], settings["grid"])
    out, ensembles, seeds = {"curves": [], "paired": [], "cells": []}, {}, {}
    for name, (model, size) in points.items():
        whole = Ensemble(members[name])
        at = whole.rows_of(ids)
        for one in (one for one in whole.members if "members" not in one.about):  # a stack is an ensemble, of no seed
            said = learning.said(evaluation.objects(one.z, one.pz, at, zs, edges))
            seeds.setdefault((model, size), []).append(said)
            number = int(one.about["seed"])
            out["curves"] += [(model, size, number, "testing", *row) for row in learning.rows(said, zs, parts, few, seed)]
        said = ensembles[model, size] = learning.said(evaluation.objects(whole.z, whole.pz, at, zs, edges))
        out["curves"] += [(model, size, "ensemble", "testing", *row) for row in learning.rows(said, zs, parts, asked, seed)]
        out["cells"].append((model, size, "ensemble", *learning.attenuation(said["z"], zs, cells, asked, seed)))
    for of, said, resamples in (("ensemble", {key: [one] for key, one in ensembles.items()}, asked), ("seeds", seeds, few)):
        out["paired"] += [(of, *row) for row in _pairs(said, settings["models"], zs, parts, resamples, seed)]
    return out


def _pairs(said: dict, models: list[str], zs, parts: dict, asked: int, seed: int) -> list[tuple]:
    """Every model of {(model, size): what it, or each of its seeds, said} against those named before it, of the same size."""
    return [(model, other, size, *row) for (model, size), ours in said.items() for other in models[:models.index(model)]
            if (other, size) in said for row in learning.over_seeds(ours, said[other, size], zs, parts, asked, seed)]


def _members(paths, points: dict) -> dict[str, list[Prediction]]:
    """{training: its seeds}; InputError where one has no predictions."""
    out: dict = {name: [] for name in points}
    for one in map(Prediction, paths):
        if one.model not in out:
            raise InputError(f"{one.path} holds predictions of {one.model}, which is none of `learning`; leave it out")
        out[one.model].append(one)
    for name, members in out.items():
        if not members:
            raise InputError(f"there are no predictions of {name}, which `learning` names; rerun predict")
        members.sort(key=lambda one: int(one.about["seed"]))
    return out


def _steps(cards, histories, points: dict) -> list[tuple]:
    """Loss on `select` after every epoch, over the steps that were made by then; NaN of a training that nothing watches."""
    import pandas

    out = []
    for path, history in zip(cards, histories, strict=True):
        card = json.loads(textfiles.read(path))
        model, size = points[card["model"]]
        epoch = card["options"].get("batches") or math.ceil(size / card["options"]["batch_size"])
        table = pandas.read_csv(history)
        out += [(model, size, card["seed"], epoch * (int(row.epoch) + 1), row.select_loss) for row in table.itertuples()]
    return out
