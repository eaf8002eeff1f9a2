"""Estimators as objects, for other frameworks: fit on columns or images, predict p(z) of such, kept as plain data."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import load, save

from skyloom import typed
from skyloom.errors import InputError
from skyloom.models import scaling
from skyloom.models.card import Card
from skyloom.models.families import galaxiesml_cnn, tabular
from skyloom.models.heads import Head
from skyloom.models.tabular import Columns
from skyloom.pz import distribution
from skyloom.train import data, estimation, fitting, loop

KINDS = {"skyloom.tabular": tabular.FAMILY, "skyloom.image": galaxiesml_cnn.FAMILY}


def fit(columns: dict, read: Columns, z: np.ndarray, options: dict, seeds) -> dict:
    """A model as plain data from columns {name: (n,)} and redshifts z (n,): one network a seed, trained for all of its epochs.

    `options` over the tabular estimator's defaults. InputError for columns that are missing or too few rows.
    """
    missing = [name for name in read.inputs if name not in columns]
    if missing:
        raise InputError(f"the training table has no column `{missing[0]}`; it has {', '.join(map(str, columns))[:160]}")
    family = tabular.FAMILY
    options = family.options(options)
    split = _split("the training table", {**columns, data.REDSHIFT: np.asarray(z, float)})
    rows = fitting.drawn(split, fitting.usable(split, family.least), options.objects, family.least)
    facts = family.facts(options, {name: split.columns[name][rows] for name in (*read.inputs, data.REDSHIFT)}, read)
    card = Card("tabular", options, **facts)
    return {"kind": "skyloom.tabular", "options": typed.plain(options), "table": card.table, "head": card.head,
            "members": _members(family, card, split, rows, seeds)}


def fit_images(columns: dict, magnitudes: list[str], image: str, ivar: str, z: np.ndarray, options: dict, seeds) -> dict:
    """The same for GalaxiesML's CNN on magnitudes and stamps, `image` and `ivar` (n, band, y, x) in nJy and nJy^-2.

    `options` over the CNN's defaults. InputError for missing columns, or stamps that are not square or below 32 px.
    """
    _present({"columns": magnitudes, "errors": {"image": image, "ivar": ivar}}, columns)
    shape = np.shape(columns[image])
    if len(shape) != 4 or shape[2] != shape[3] or shape[2] < 32 or np.shape(columns[ivar]) != shape:
        raise InputError(f"`{image}` has the shape {shape}; it must be (n, band, y, y), at least 32 px, as `{ivar}`")
    family = galaxiesml_cnn.FAMILY
    options = dataclasses.replace(family.options({"head": "mixture", "augment": True, **options}), size=shape[2])
    split = _split("the training table", {**columns, data.REDSHIFT: np.asarray(z, float)}, image, ivar)
    rows = fitting.drawn(split, fitting.usable(split, family.least), options.objects, family.least)
    seen, low, high = {name: np.asarray(columns[name], float)[rows] for name in magnitudes}, z[rows].min(), z[rows].max()
    pixels = scaling.fit_image(np.asarray(columns[ivar])[rows[:256]], "default") | {"ivar": options.ivar}
    card = Card("galaxiesml_cnn", options, tuple(magnitudes), {**scaling.fit_table(seen, "default", True), "errors": {}}, pixels,
                [""] * shape[1], Head(options.head, options.outputs, float(low), float(high) + 1e-6).facts())
    return {"kind": "skyloom.image", "options": typed.plain(options), "image": image, "ivar": ivar, "bands": shape[1],
            "table": card.table, "scaling": card.image, "head": card.head,
            "members": _members(family, card, split, rows, seeds)}


def _split(path: str, columns: dict, image: str = "", ivar: str = "") -> SimpleNamespace:
    """Columns in memory, as families read a packed split."""
    pixels = {"images": lambda rows: np.asarray(columns[image])[rows], "ivar": lambda rows: np.asarray(columns[ivar])[rows]}
    return SimpleNamespace(path=path, n=len(next(iter(columns.values()))), columns=columns, **(pixels if image else {}))


def _members(family, card: Card, split, rows: np.ndarray, seeds) -> list[bytes]:
    """Weights of one network a seed."""
    arrays, out = fitting.arrays(family, card, split, rows, training=True), []
    for seed in seeds:
        loop.prepare(int(seed), 1)
        net = family.build(card)
        last = loop.run_epochs(net, family.loss(card), arrays, card.options, int(seed), torch.device("cpu"))
        if not math.isfinite(last):
            raise InputError(f"the training loss is {last}; lower `lr`, or look for absurd values among the inputs")
        out.append(save({name: p.detach().contiguous() for name, p in net.named_parameters()}))
    return out


def _present(table: dict, columns: dict) -> None:
    missing = [name for name in (*table["columns"], *table["errors"].values()) if name not in columns]
    if missing:
        raise InputError(f"the table has no column `{missing[0]}`, which the model needs; it has {', '.join(columns)[:160]}")


def predict(model: dict, columns: dict) -> dict[str, np.ndarray]:
    """p(z) (a form of `distribution.FORMS`) of columns {name: (n,)}: the mean over the model's networks. InputError for a
    missing column, stamps of another shape, or something that is no such model."""
    family = KINDS.get(model.get("kind")) if isinstance(model, dict) else None
    if family is None:
        raise InputError("this is no model of skyloom's estimators; inform one first")
    stamps = [model["image"], model["ivar"]] if "image" in model else []
    _present({**model["table"], "errors": {**model["table"]["errors"], **dict(enumerate(stamps))}}, columns)
    if stamps and np.shape(columns[stamps[0]])[1:] != (model["bands"], *[model["options"]["size"]] * 2):
        raise InputError(f"`{stamps[0]}` has the shape {np.shape(columns[stamps[0]])}, the model was trained on "
                         f"{model['bands']} bands of {model['options']['size']} px")
    size = {"size": model["options"]["size"]} if stamps else {}
    given = {name: value for name, value in model["options"].items() if name not in size}
    options = dataclasses.replace(family.options(given, strict=False), **size)
    inputs = tuple(name for key in ("columns", "extra") for name in model["table"].get(key, ()))
    card = Card(family.name, options, (*inputs, *model["table"]["errors"].values()), model["table"], model.get("scaling"),
                [""] * model.get("bands", 0), model["head"])
    split, parts = _split("the table", columns, *stamps), []
    arrays, device = family.arrays(card, split, np.arange(split.n)), torch.device("cpu")
    for weights in model["members"]:
        net = family.build(card)
        net.load_state_dict(load(weights))
        parts.append(family.outcome(card, estimation.numbers(net, arrays, device, family.at_once(options))))
    return distribution.combined(parts)
