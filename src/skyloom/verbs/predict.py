"""predict: z and p(z) of every object of every split from one trained model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom import store, typed
from skyloom.models import artefact, families
from skyloom.pz import distribution
from skyloom.train import data, estimation, loop
from skyloom.verbs import common


@dataclass(frozen=True)
class Settings:
    """What the rule gives."""

    device: str = "auto"


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--model", required=True, help="folder with model.safetensors and model.json")
    parser.add_argument("--data", nargs="+", required=True, help="one packed file a split")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write object_id, split, z and p(z) of all rows of the given files, in their order."""
    settings = typed.read(Settings, args.settings, "--settings", strict=False)
    model, card = artefact.load(args.model)
    loop.prepare(card.seed, card.threads)
    device, blocks = loop.choose_device(settings.device), []
    for path in args.data:
        split = data.of_card(path, card)
        found = estimation.predicted(families.of(card.model), model, card, split, device)
        blocks.append({**{name: split.columns[name] for name in ("object_id", "split")}, **found})
    joined = {name: blocks[0][name] if name in distribution.SHARED else np.concatenate([block[name] for block in blocks])
              for name in blocks[0]}
    store.write_columns(args.out, joined, common.provenance(args.settings) | {
        "model": card.model, "seed": card.seed, "data_hash": card.data_hash, "model_code": card.code_hash})
