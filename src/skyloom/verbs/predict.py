"""predict: z of every object of every split from one trained model."""

from __future__ import annotations

import numpy as np

from skyloom import estimation, store, training
from skyloom.dataset import read
from skyloom.models import artefact, scaling
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--model", required=True, help="folder with model.safetensors and model.json")
    parser.add_argument("--data", nargs="+", required=True, help="one packed file a split")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write object_id, split and z of all rows of the given files, in their order."""
    model, card = artefact.load(args.model)
    training.prepare(card["seed"], card["threads"])
    device = training.choose_device(args.settings["device"])
    parts = {"object_id": [], "split": [], "z": []}
    for path in args.data:
        split = read.Split(path, card["inputs"], card["image"] is not None)
        table = scaling.table({name: split.columns[name] for name in card["inputs"]}, card["table"])
        images = (lambda rows, s=split: scaling.image(s.images(rows), card["image"])) if card["image"] else None
        parts["object_id"].append(split.columns["object_id"])
        parts["split"].append(split.columns["split"])
        parts["z"].append(estimation.predict(model, images, table, device))
    meta = common.provenance(args.settings) | {"model": card["model"], "seed": card["seed"], "data_hash": card["data_hash"],
                                               "model_code": card["code_hash"]}
    store.write_columns(args.out, {name: np.concatenate(values) for name, values in parts.items()}, meta)
