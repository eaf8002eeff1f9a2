"""train: one model and seed. Imports numpy, h5py, torch and safetensors only, so that any GPU box can run it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from skyloom import store, textfiles, typed
from skyloom.dataset import read
from skyloom.models import artefact, families
from skyloom.train import data, fitting, loop
from skyloom.train.state import State, key
from skyloom.verbs import common


@dataclass(frozen=True)
class Settings:
    """What the rule gives: the model and its options, seed and machine; `acquisition`: how stamps of several surveys are made."""

    model: str
    options: dict
    seed: int
    threads: int
    device: str = "auto"
    precision: str = "auto"
    acquisition: dict | None = None


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--training", required=True)
    parser.add_argument("--validation", required=True)
    parser.add_argument("--tuned", default="", help="JSON of the verb tune")
    parser.add_argument("--weights-of", default="", help="file of the verb weigh")
    parser.add_argument("--state", required=True, help="folder of the training state, kept for a killed run")
    parser.add_argument("--code", default="", help="fingerprint of the code, part of the state's key")
    parser.add_argument("--shuffle-redshifts", action="store_true", help="a check: must ruin the score")
    for name in ("weights", "card", "history"):
        parser.add_argument(f"--{name}", required=True)


def run(args) -> None:
    """Train, early-stopped on the `select` half of validation; write weights, model.json, history.csv."""
    settings = typed.read(Settings, args.settings, "--settings", strict=False)
    family = families.of(settings.model)
    chosen = json.loads(textfiles.read(args.tuned))["chosen"] if args.tuned else {}
    options = family.options({**settings.options, **chosen})
    loop.prepare(settings.seed, settings.threads)
    device = loop.choose_device(settings.device)
    data_hash = read.file_hash([args.training, args.validation])
    files = family.files(options) | ({"weights": args.weights_of} if args.weights_of else {})
    decided = key(args.settings, typed.plain(options), args.code, device, files, data=data_hash, shuffled=args.shuffle_redshifts)
    lesson, ids = fitting.lesson(family, settings.model, options, args.training, args.validation)
    precision = loop.choose_precision(settings.precision, device, lesson.learn.images is not None)
    lesson.learn.weight = data.weights(args.weights_of, ids)
    if args.shuffle_redshifts:
        _shuffle(lesson.learn)
    state = State(Path(args.state), settings.model, settings.seed, decided)
    history, best = loop.fit(lesson.model, lesson.loss, lesson.learn, lesson.select, options, settings.seed, device, precision,
                             state.load, state.save)
    card = replace(lesson.card, **common.provenance(args.settings, args.code), seed=settings.seed, best_epoch=best,
                   acquisition=settings.acquisition, parameters=artefact.count(lesson.model), epochs=len(history),
                   data_hash=data_hash, device=device.type, precision=precision, threads=settings.threads,
                   torch=loop.version())
    with store.replacing(args.weights) as temporary:
        temporary.write_bytes(artefact.weights_bytes(lesson.model))
    store.write_text(args.card, json.dumps(card.plain(), indent=1, sort_keys=True) + "\n")
    lines = ["epoch,train_loss,select_loss"] + [f"{h['epoch']},{h['train_loss']:.8g},{h['select_loss']:.8g}" for h in history]
    store.write_text(args.history, "\n".join(lines) + "\n")
    state.forget_others()


def _shuffle(arrays) -> None:
    """Give every object the redshift of another."""
    order = torch.randperm(len(arrays.z), generator=torch.Generator().manual_seed(0))
    for name in ("z", "classes", "counts"):
        values = getattr(arrays, name)
        setattr(arrays, name, None if values is None else values[order])
