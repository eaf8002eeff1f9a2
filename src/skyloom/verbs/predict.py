"""predict: z of every object of every split from one trained model."""

from __future__ import annotations

import numpy as np
import torch

from skyloom import store
from skyloom.dataset import multi, read
from skyloom.models import artefact, mantis, registry, scaling, tabular
from skyloom.models.heads import Head
from skyloom.pz import distribution
from skyloom.train import estimation, loop
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--model", required=True, help="folder with model.safetensors and model.json")
    parser.add_argument("--data", nargs="+", required=True, help="one packed file a split")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write object_id, split and z of all rows of the given files, in their order."""
    model, card = artefact.load(args.model)
    loop.prepare(card["seed"], card["threads"])
    device = loop.choose_device(args.settings["device"])
    meta = common.provenance(args.settings) | {"model": card["model"], "seed": card["seed"], "data_hash": card["data_hash"],
                                               "model_code": card["code_hash"]}
    if registry.family(card["model"]):
        _fusion(args, model, card, device, meta)
        return
    if registry.is_tabular(card["model"]):
        _tabular(args, model, card, device, meta)
        return
    blocks, head = [], Head(**card["head"]) if card.get("head") else None
    for path in args.data:
        split = read.Split(path, card["inputs"], card["image"] is not None)
        table = scaling.table({name: split.columns[name] for name in card["inputs"]}, card["table"])
        images = (lambda rows, s=split: s.inputs(rows, card["image"])) if card["image"] else None
        found = estimation.predict(model, images, table, device)
        pz = head.pz(torch.from_numpy(found.reshape(-1, head.outputs))) if head else {}
        blocks.append({**_names(split), "z": distribution.mean(pz) if head else found, **pz})
    _write(args.out, blocks, meta)


def _names(split) -> dict[str, np.ndarray]:
    return {name: split.columns[name] for name in ("object_id", "split")}


def _write(path, blocks: list[dict], meta) -> None:
    """The blocks of all files one after another."""
    joined = {name: blocks[0][name] if name in distribution.SHARED else np.concatenate([block[name] for block in blocks])
              for name in blocks[0]}
    store.write_columns(path, joined, meta)


def _fusion(args, model, card, device, meta) -> None:
    """The same with p(z): `pz` (n, bins) and the `edges` of its bins; z is its mean at the bins' centres. An object of which
    the model's surveys show nothing has NaN in both."""
    centres = mantis.centres(len(card["bin_edges"]) - 1)
    parts = {"object_id": [], "split": [], "z": []}
    probabilities = []
    for path in args.data:
        split = multi.opened(path, card)
        pz = estimation.pz_of_split(model, card, split, device)
        parts["object_id"].append(split.columns["object_id"])
        parts["split"].append(split.columns["split"])
        parts["z"].append(pz.astype(float) @ centres)
        probabilities.append(pz)
    with store.writing(args.out, meta) as handle:
        for name, values in parts.items():
            store.put(handle, name, np.concatenate(values))
        store.put(handle, "edges", np.array(card["bin_edges"]))
        handle.create_dataset("pz", data=np.concatenate(probabilities), track_times=False)


def _tabular(args, model, card, device, meta) -> None:
    """The same in the form that the head gives (`distribution.FORMS`); z is the mean of p(z). An object of which nothing was
    detected gets what the network learned of such objects; one of which nothing was observed gets NaN."""
    head, blocks = Head(**card["head"]), []
    for path in args.data:
        split = read.Split(path, card["inputs"], images=False)
        raw = tabular.raw(split.columns, card["table"])
        found = head.pz(estimation.predict_table(model, raw, device))
        observed = len(card["table"]["columns"])
        blind = ~(raw[:, 3 * observed:4 * observed] > 0).any(axis=1)
        for values in (values for name, values in found.items() if name not in distribution.SHARED):
            values[blind] = np.nan
        blocks.append({**_names(split), "z": distribution.mean(found), **found})
    _write(args.out, blocks, meta)
