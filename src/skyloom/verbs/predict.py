"""predict: z and p(z) of every object of every split from one trained model."""

from __future__ import annotations

from dataclasses import dataclass

from skyloom import store, typed
from skyloom.dataset.table import Table
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
    """Write object_id, split, z and p(z) of all rows of the given files, in their order, block by block."""
    settings = typed.read(Settings, args.settings, "--settings", strict=False)
    model, card = artefact.load(args.model)
    loop.prepare(card.seed, card.threads)
    device, family = loop.choose_device(settings.device), families.of(card.model)
    meta = common.provenance(args.settings) | {"model": card.model, "seed": card.seed, "data_hash": card.data_hash,
                                               "model_code": card.code_hash}
    n = len(Table(args.data).columns(["object_id"])["object_id"])
    with store.streaming(args.out, n, meta, distribution.SHARED) as append:
        for path in args.data:
            split = data.of_card(path, card)
            for rows, found in estimation.in_blocks(family, model, card, split, device):
                append({**{name: split.columns[name][rows] for name in ("object_id", "split")}, **found})
