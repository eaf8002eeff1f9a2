"""tune: a model's settings by cross-validation on the training file. Imports what train imports."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, replace

from skyloom import store, typed
from skyloom.errors import InputError
from skyloom.models import families
from skyloom.train import data, fitting, loop, tuning
from skyloom.verbs import common


@dataclass(frozen=True)
class Settings:
    """What the rule gives: the model and its options; `folds`, in each of which a `share` of the epochs is trained."""

    model: str
    options: dict
    seed: int
    threads: int
    folds: int
    share: float
    device: str = "auto"


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--training", required=True)
    parser.add_argument("--out", required=True, help="JSON: the chosen settings and every trial's loss")


def run(args) -> None:
    """Write `chosen` and `trials`; settings that the configuration gives are not touched."""
    settings = typed.read(Settings, args.settings, "--settings", strict=False)
    family, packed = families.of(settings.model), data.packed(args.training)
    options, moves = family.moves(packed, family.options(settings.options))
    moves = [(name, values) for name, values in moves if name not in settings.options]
    if not moves:
        raise InputError(f"there is nothing to tune for {settings.model}: its family has no such settings, or all are given; set "
                         "`tune: false`")
    split = data.opened(args.training, _wanted(family, packed, options, moves), [data.REDSHIFT])
    rows = fitting.drawn(split, fitting.usable(split, family.least), options.objects, family.least)
    fold = tuning.folds(split.columns["object_id"][rows], settings.folds)
    parts = [(rows[fold != k], rows[fold == k]) for k in range(settings.folds)]
    if min(min(len(a), len(b)) for a, b in parts) < family.least:
        raise InputError(f"{args.training} has too few objects for {settings.folds} folds; set `tune: false` for "
                         f"{settings.model}")

    def score(tried):
        return [_loss(family, replace(options, **tried), split, part, packed, settings) for part in parts]

    best, trials = tuning.search(score, moves, lambda text: print(text, file=sys.stderr, flush=True))
    if not any(math.isfinite(trial["loss"]) for trial in trials):
        raise InputError(f"no trial of {settings.model} had a finite loss; lower `lr`, or look for absurd values among the "
                         "inputs")
    out = {"chosen": best, "trials": trials, **common.provenance(args.settings)}
    store.write_text(args.out, json.dumps(out, indent=1) + "\n")


def _wanted(family, packed, options, moves):
    """What any of the trials reads."""
    each = [family.wanted(packed, replace(options, **{name: value})) for name, values in moves for value in values]
    return replace(each[0], columns=tuple(dict.fromkeys(name for one in each for name in one.columns)))


def _loss(family, options, split, rows, packed, settings) -> float:
    """Loss of one fold: trained on the others for a share of the epochs, to the end, without a look at the fold."""
    options = replace(options, max_epochs=max(1, int(options.max_epochs * settings.share)))
    loop.prepare(settings.seed, settings.threads)
    device = loop.choose_device(settings.device)
    lesson = fitting.begun(family, settings.model, options, split, rows[0], packed)
    if not math.isfinite(loop.run_epochs(lesson.model, lesson.loss, lesson.learn, options, settings.seed, device)):
        return math.nan
    held = fitting.arrays(family, lesson.card, split, rows[1])
    return loop.evaluate(lesson.model, lesson.loss, held, family.at_once(options), device, "fp32")
