"""degrade: how much worse one fusion model becomes when surveys are hidden from it."""

from __future__ import annotations

import itertools

import numpy as np

from skyloom import store
from skyloom.dataset import multi
from skyloom.errors import InputError
from skyloom.models import artefact, mantis
from skyloom.pz import comparison, histogram, metrics
from skyloom.train import estimation, loop
from skyloom.verbs import common

COLUMNS = ("model", "seed", "seen", "metric", "convention", "value", "lo68", "hi68", "n")


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--model", required=True, help="folder with model.safetensors and model.json")
    parser.add_argument("--data", required=True, help="packed testing split")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write metrics on the testing split for every subset of the model's surveys."""
    import pandas

    model, card = artefact.load(args.model)
    if not card["options"]["survey_dropout"]:
        raise InputError(f"{args.model} was trained without `survey_dropout`, it never met a missing survey; set it and train")
    loop.prepare(card["seed"], card["threads"])
    device = loop.choose_device(args.settings["device"])
    split = multi.opened(args.data, card, ["specz_redshift"])
    zs, edges = split.columns["specz_redshift"], np.array(card["bin_edges"])
    centres, rows = mantis.centres(len(edges) - 1), []
    for size in range(len(card["surveys"]), 0, -1):
        for seen in itertools.combinations(card["surveys"], size):
            hidden = [name for name in card["surveys"] if name not in seen]
            pz = estimation.pz_of_split(model, card, split, device, hidden)
            options = args.settings["bootstrap"], args.settings["seed"]
            found = metrics.point_metrics(pz.astype(float) @ centres, zs, *options)
            found = [(name, f"{convention}|mean", *rest) for name, convention, *rest in found]
            found.append((*comparison.CDE, *metrics.mean_of(histogram.cde_terms(pz, edges, zs), *options)))
            rows += [(card["model"], card["seed"], "+".join(seen), *row) for row in found]
    store.write_csv(args.out, pandas.DataFrame(rows, columns=COLUMNS))
