"""train-scenes: one network that finds and measures the sources of scenes. Imports numpy, h5py, torch and safetensors only."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from skyloom import store, typed
from skyloom.dataset import read
from skyloom.models import artefact, families
from skyloom.train import loop, scenes, tiles
from skyloom.train.state import State, key
from skyloom.verbs import common


@dataclass(frozen=True)
class Settings:
    """What the rule gives: the network and its options, seed and machine; `scenes`: gold, least_snr, star_redshifts."""

    model: str
    options: dict
    seed: int
    threads: int
    scenes: dict
    device: str = "auto"
    precision: str = "auto"


def arguments(parser) -> None:
    common.settings_argument(parser)
    for part in ("training", "validation"):
        parser.add_argument(f"--{part}", nargs="+", required=True, help="scenes, one file a shard")
        parser.add_argument(f"--{part}-labels", nargs="+", required=True, help="their labels")
    parser.add_argument("--state", required=True, help="folder of the training state, kept for a killed run")
    parser.add_argument("--code", default="", help="fingerprint of the code, part of the state's key")
    for name in ("weights", "card", "history"):
        parser.add_argument(f"--{name}", required=True)


def run(args) -> None:
    """Train on the tiles of training; those of validation set the score above which sources are kept. Write weights, model.json,
    history.csv."""
    settings = typed.read(Settings, args.settings, "--settings", strict=False)
    family = families.of(settings.model)
    options, trainer = family.options(settings.options), importlib.import_module(family.trainer)
    loop.prepare(settings.seed, settings.threads)
    device = loop.choose_device(settings.device)
    precision = scenes.precision_of(settings.precision, device)
    data_hash = read.file_hash([*args.training, *args.training_labels, *args.validation, *args.validation_labels])
    decided = key(args.settings, typed.plain(options), args.code, device, family.files(options), data=data_hash)
    state = State(Path(args.state), settings.model, settings.seed, decided)
    about = settings.scenes
    with (tiles.opened(args.training, args.training_labels) as learn,
          tiles.opened(args.validation, args.validation_labels) as select):
        counts = scenes.rules(options, learn.bands, about["gold"], about["least_snr"], about["star_redshifts"])
        model, card = trainer.begun(settings.model, options, learn)
        history, facts = trainer.fit(model, card, learn, select, counts, settings.seed, device, precision, state.load, state.save)
    card = replace(card, **common.provenance(args.settings, args.code), seed=settings.seed, facts={**card.facts, **facts},
                   parameters=artefact.count(model), epochs=len(history), data_hash=data_hash, device=device.type,
                   precision=precision, threads=settings.threads, torch=loop.version())
    with store.replacing(args.weights) as temporary:
        temporary.write_bytes(artefact.weights_bytes(model))
    store.write_text(args.card, json.dumps(card.plain(), indent=1, sort_keys=True) + "\n")
    names = list(dict.fromkeys(name for row in history for name in row))
    lines = [",".join(names)] + [",".join(f"{row.get(name, float('nan')):.8g}" for name in names) for row in history]
    store.write_text(args.history, "\n".join(lines) + "\n")
    state.forget_others()
