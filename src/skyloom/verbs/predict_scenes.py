"""predict-scenes: p(z) that a network gave the sources it found, as the predictions of a model."""

from __future__ import annotations

import json

import numpy as np

from skyloom import store, textfiles
from skyloom.dataset import detections
from skyloom.dataset.table import Table, align
from skyloom.errors import InputError
from skyloom.pz import distribution
from skyloom.verbs import common

FORM = {"weights": "weight", "means": "mean", "stds": "sigma"}  # a mixture's arrays and their names beside the detections


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--card", required=True, help="model.json of the network")
    parser.add_argument("--detections", nargs="+", required=True, help="one file a shard")
    parser.add_argument("--pz", nargs="+", required=True, help="the mixtures beside them")
    parser.add_argument("--data", nargs="+", required=True, help="one packed file a split")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write object_id, split, z and the mixture of all rows of the packed files, in their order; InputError for an object that
    the network didn't find."""
    card = json.loads(textfiles.read(args.card))
    known = Table(args.data).columns(["object_id", "split"])
    ids = np.concatenate([detections.read(path, ["object_id"])["object_id"].to_numpy() for path in args.detections])
    at = align(ids, known["object_id"])
    if (at < 0).any():
        raise InputError(f"object {known['object_id'][at < 0][0]} of {args.data[0]} and its siblings is none of the sources that "
                         f"{card['model']} found; rerun pack-detections")
    parts = [store.arrays(path, FORM.values()) for path in args.pz]
    found = {name: np.concatenate([part[own] for part in parts])[at].astype(np.float32) for name, own in FORM.items()}
    if len(parts) and len(ids) != sum(len(part["weight"]) for part in parts):
        raise InputError(f"{args.pz[0]} and its siblings hold p(z) of other sources than {args.detections[0]}; rerun detect")
    distribution.check(found)
    meta = common.provenance(args.settings) | {"model": card["model"], "seed": card["seed"], "data_hash": card["data_hash"],
                                               "model_code": card["code_hash"]}
    store.write_columns(args.out, {**known, "z": distribution.mean(found), **found}, meta)
