"""tune: a tabular estimator's settings by cross-validation on the training file. Imports what train imports."""

from __future__ import annotations

import json
import sys

from skyloom import store
from skyloom.dataset import read
from skyloom.errors import InputError
from skyloom.models import registry
from skyloom.train import fitting, loop, tuning
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--training", required=True)
    parser.add_argument("--out", required=True, help="JSON: the chosen settings and every trial's loss")


def run(args) -> None:
    """Write `chosen` and `trials`; settings that the configuration gives are not touched."""
    settings = args.settings
    given = settings["options"]
    options = registry.options(settings["model"], given)
    moves = [(key, values) for key, values in tuning.MOVES if key not in given]
    found = fitting.columns(args.training, options)
    if not found.errors:
        moves = [(key, values) for key, values in moves if key not in ("noise", "errors")]
        options["noise"] = 0.0
    split = read.Split(args.training, [*found.inputs, "specz_redshift"], images=False)
    rows = fitting.rows_of(split, True)
    fold = tuning.folds(split.columns["object_id"][rows], settings["folds"])
    parts = [(rows[fold != k], rows[fold == k]) for k in range(settings["folds"])]
    if min(min(len(a), len(b)) for a, b in parts) < fitting.LEAST:
        raise InputError(f"{args.training} has too few objects for {settings['folds']} folds; set `tune: false` for "
                         f"{settings['model']}")
    device = loop.choose_device(settings["device"])

    def score(tried):
        now = {**options, **tried}
        return [_loss(now, split, part, fitting.columns(args.training, now), settings, device) for part in parts]

    best, trials = tuning.search(score, moves, lambda text: print(text, file=sys.stderr, flush=True))
    store.write_text(args.out, json.dumps({"chosen": best, "trials": trials, **common.provenance(settings)}, indent=1) + "\n")


def _loss(options, split, rows, found, settings, device) -> float:
    """Loss of one fold: trained on the others for a share of the epochs, to the end, without a look at the fold."""
    options = {**options, "max_epochs": max(1, int(options["max_epochs"] * settings["share"]))}
    loop.prepare(settings["seed"], settings["threads"])
    model, head, table, out = fitting.network(split, rows[0], options, found)
    loop.run_epochs(model, head.loss, out, options, settings["seed"], device)
    return loop.evaluate(model, head.loss, fitting.arrays(split, rows[1], table), 4096, device, "fp32")
