"""A network made ready to train: its rows, its card, its arrays. Shared by train, tune and bench."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import torch

from skyloom.errors import InputError
from skyloom.models.card import Card
from skyloom.models.family import Arrays, Family, Packed, Training
from skyloom.train import data


@dataclass
class Lesson:
    """A network where training starts, its card, its loss, what it learns from and what watches over it."""

    model: torch.nn.Module
    card: Card
    loss: Callable
    learn: Arrays
    select: Arrays | None = None


def lesson(family: Family, model: str, options: Training, training: str, validation: str) -> tuple[Lesson, np.ndarray]:
    """(lesson, object_id of the rows to learn from) of packed files; `select` of validation watches, or with `refit` is learned
    from, too, but not where `objects` says from how many. InputError where there is too little to learn from."""
    packed = data.packed(training)
    wanted = family.wanted(packed, options)
    train, held = (data.opened(path, wanted, [data.REDSHIFT]) for path in (training, validation))
    chosen = held.columns["subset"] == "select"
    if options.refit and options.objects is None:
        train = joined(train, held, chosen)
    rows = drawn(train, usable(train, family.least), options.objects, family.least)
    out = begun(family, model, options, train, rows, packed)
    if not options.refit:
        if not chosen.any():
            raise InputError(f"{validation} holds no object of subset `select`; the sample is too small")
        out.select = arrays(family, out.card, held, usable(held, family.least, chosen))
        _counting(out.select, held, family.head(out.card))
    return out, train.columns["object_id"][rows]


def begun(family: Family, model: str, options: Training, split, rows: np.ndarray, packed: Packed) -> Lesson:
    """A lesson of some rows of a split, watched by nobody."""
    card = Card(model, options, n_train=len(rows), **family.fit(options, split, rows, packed))
    network = family.build(card)
    learn = arrays(family, card, split, rows, training=True)
    _counting(learn, split, family.head(card))
    card = replace(card, **family.start(network, card, learn))
    return Lesson(network, card, family.loss(card), learn)


def arrays(family: Family, card: Card, split, rows: np.ndarray, training: bool = False) -> Arrays:
    """Training arrays of some rows of a split."""
    return family.arrays(card, split, rows, split.columns[data.REDSHIFT][rows], training)


def usable(split, least: int, chosen=True) -> np.ndarray:
    """Rows of a split that are `chosen` and have a redshift; InputError for fewer than `least`."""
    if not split.n:
        raise InputError(f"{split.path} holds no objects; widen the query or the split")
    rows = np.flatnonzero(np.isfinite(split.columns[data.REDSHIFT]) & chosen)
    if len(rows) < least:
        raise InputError(f"{split.path} has {len(rows)} objects with a redshift to learn from, fewer than {least}; "
                         "give a larger sample")
    return rows


def drawn(split, rows: np.ndarray, objects: int | None, least: int = 1) -> np.ndarray:
    """Those `objects` of some rows of a split whose ids come first by a hash, in the split's order: the same for every model and
    seed, the fewer among the more. All rows for None; InputError for fewer rows than asked, or fewer asked than `least`."""
    if objects is None:
        return rows
    if len(rows) < objects:
        raise InputError(f"{split.path} has {len(rows)} objects with a redshift to learn from, fewer than the {objects} of "
                         "`objects`; lower it or give a larger sample")
    if objects < least:
        raise InputError(f"`objects` is {objects}, but from fewer than {least} objects nothing is learned; raise it")
    ids = split.columns["object_id"][rows] if "object_id" in split.columns else rows  # columns in memory have none
    return np.sort(rows[np.argsort(_mixed(ids), kind="stable")[:objects]])


def _mixed(ids: np.ndarray) -> np.ndarray:
    """(n,) uint64 of ids by the finaliser of splitmix64 (Steele, Lea & Flood 2014)."""
    mixed = np.asarray(ids).astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _counting(found: Arrays, split, head) -> None:
    """InputError if the loss counts none of these rows."""
    if len(found.z) and (found.counts is None or found.counts.any()):
        return
    bounds = f" that lies in {head.low:g} <= z < {head.high:g}" if head else ""
    raise InputError(f"no object of {split.path} has a redshift{bounds} and anything to see of it; widen the sample, or choose "
                     "another `head`")


def joined(split, more, chosen: np.ndarray) -> SimpleNamespace:
    """A split's columns with the `chosen` rows of another behind them, both read with the same names."""
    columns = {name: np.concatenate([values, more.columns[name][chosen]]) for name, values in split.columns.items()}
    return SimpleNamespace(path=split.path, n=len(columns["object_id"]), columns=columns)
