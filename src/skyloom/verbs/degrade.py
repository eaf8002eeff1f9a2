"""degrade: how much worse one fusion model becomes when surveys are hidden from it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from skyloom import store, typed
from skyloom.errors import InputError
from skyloom.models import artefact, families
from skyloom.pz import comparison, distribution, histogram, metrics
from skyloom.train import data, estimation, loop
from skyloom.verbs import common

COLUMNS = ("model", "seed", "seen", "metric", "convention", "value", "lo68", "hi68", "n")


@dataclass(frozen=True)
class Settings:
    """What the rule gives: resamplings and their seed; `grid` (low, high, step) of the bins of a p(z) without bins of its own."""

    bootstrap: int
    seed: int
    grid: tuple = (-0.1, 4.0, 0.005)
    device: str = "auto"


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--model", required=True, help="folder with model.safetensors and model.json")
    parser.add_argument("--data", required=True, help="packed testing split")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write metrics on the testing split for every subset of the model's surveys."""
    import pandas

    settings = typed.read(Settings, args.settings, "--settings", strict=False)
    model, card = artefact.load(args.model)
    if not card.options.survey_dropout:
        raise InputError(f"{args.model} was trained without `survey_dropout`, it never met a missing survey; set it and train")
    loop.prepare(card.seed, card.threads)
    device = loop.choose_device(settings.device)
    split, rows = data.of_card(args.data, card, [data.REDSHIFT]), []
    zs, options = split.columns[data.REDSHIFT], (settings.bootstrap, settings.seed)
    for size in range(len(card.surveys), 0, -1):
        for seen in itertools.combinations(card.surveys, size):
            hidden = [name for name in card.surveys if name not in seen]
            pz = estimation.predicted(families.of(card.model), model, card, split, device, hidden)
            found = [(name, f"{convention}|mean", *rest)
                     for name, convention, *rest in metrics.point_metrics(pz["z"], zs, *options)]
            edges = pz.get("edges", distribution.grid(*settings.grid))
            terms = histogram.cde_terms(distribution.probabilities(pz, edges), edges, zs)
            found.append((*comparison.CDE, *metrics.mean_of(terms, *options)))
            rows += [(card.model, card.seed, "+".join(seen), *row) for row in found]
    store.write_csv(args.out, pandas.DataFrame(rows, columns=COLUMNS))
