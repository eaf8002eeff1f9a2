"""Packed files as families want them: models don't open files, and files know no model."""

from __future__ import annotations

import numpy as np
import torch

from skyloom import store
from skyloom.dataset import multi, read
from skyloom.errors import InputError
from skyloom.models.card import Card
from skyloom.models.family import Packed, Wanted

REDSHIFT = "specz_redshift"


def packed(path) -> Packed:
    """What a packed file holds."""
    declared = str(store.attributes(path).get("magnitude_columns", ""))
    return Packed(str(path), tuple(store.names(path)), tuple(name for name in declared.split(",") if name))


def opened(path, wanted: Wanted, names=()):
    """A split with what is wanted and the columns `names` besides; InputError if the file lacks any of it."""
    if wanted.surveys:
        return multi.MultiSplit(path, wanted.surveys, [*wanted.columns, *names])
    return read.Split(path, [*wanted.columns, *names], wanted.images)


def of_card(path, card: Card, names=()):
    """A split for the network of a card; InputError if its columns, bands or stamps aren't those that the network knows."""
    split = opened(path, Wanted(tuple(card.inputs), card.image is not None, tuple(card.surveys or ())), names)
    remedy = "use the dataset of the model's own configuration"
    if card.surveys:
        if split.ebv_names != card.ebv:
            raise InputError(f"{path} has the reddening columns {split.ebv_names}, the model was trained with {card.ebv}; "
                             f"{remedy}")
        if split.bands != card.bands:
            raise InputError(f"{path} holds the bands {split.bands}, the model was trained with {card.bands}; {remedy}")
    elif card.image is not None:
        bands, size = str(split.attributes.get("bands", "")).split(","), getattr(card.options, "size", split.shape[-1])
        if card.bands and bands != list(card.bands):
            raise InputError(f"{path} holds the bands {bands}, the model was trained with {list(card.bands)}; {remedy}")
        if split.shape[-1] != size:
            raise InputError(f"{path} holds stamps of {split.shape[-1]} px, the model was trained on {size}; {remedy}")
    return split


def weights(path: str, ids: np.ndarray) -> torch.Tensor | None:
    """(n,) importance weights of the objects to learn from, None without a file; InputError if it is of other objects."""
    if not path:
        return None
    found = store.columns(path, ["object_id", "weight"])
    at = {int(i): k for k, i in enumerate(found["object_id"])}
    if any(int(i) not in at for i in ids):
        raise InputError(f"{path} lacks objects to learn from (it has weights of the split training alone): rerun "
                         "weigh, or set `refit: false` beside `reweight`")
    return torch.from_numpy(found["weight"][[at[int(i)] for i in ids]])
