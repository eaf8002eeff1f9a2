"""Networks of scenes as objects, for other frameworks: fit on files of scenes and labels, find sources in such, kept as plain
data."""

from __future__ import annotations

import dataclasses
import importlib

import numpy as np
import torch
from safetensors.torch import load, save

from skyloom import store
from skyloom.errors import InputError
from skyloom.models import families
from skyloom.models.card import Card
from skyloom.train import loop, scenes, sources, tiles

KIND = "skyloom.scenes"


def fit(training, validation, name: str, options: dict, gold: dict, least_snr: float, star_redshifts: bool, seed: int) -> dict:
    """A network of the family `name` as plain data; training and validation are (files of scenes, files of their labels).

    `options` over the family's defaults; `gold` {band, mag}. InputError for a family that finds nothing, or files that don't fit.
    """
    family, device = families.of(name), torch.device("cpu")
    if family.reads != "scenes":
        raise InputError(f"{name} finds no sources of scenes; name a network that does")
    trainer = importlib.import_module(family.trainer)
    loop.prepare(seed, 1)
    chosen = family.options(options)
    with tiles.opened(*training) as learn, tiles.opened(*validation) as select:
        counts = scenes.rules(chosen, learn.bands, gold, least_snr, star_redshifts)
        model, card = trainer.begun(name, chosen, learn)
        _, facts = trainer.fit(model, card, learn, select, counts, seed, device, "fp32")
    card = dataclasses.replace(card, facts={**(card.facts or {}), **facts}, seed=seed, precision="fp32")
    weights = save({name: p.detach().contiguous() for name, p in model.named_parameters()})
    return {"kind": KIND, "card": card.plain(), "weights": weights}


def find(model: dict, paths) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(columns, p(z) as the mixture `weight, mean, sigma`) of every source of files of scenes; InputError for something that is
    no such model."""
    if not isinstance(model, dict) or model.get("kind") != KIND:
        raise InputError("this is no network of scenes; inform one first")
    card = Card.read(model["card"])
    net = families.of(card.model).build(card)
    net.load_state_dict(load(model["weights"]))
    tables, mixtures = [], []
    for path in paths:
        with store.reading(path) as handle:
            for place, bands, out in sources.every(handle, net, card, torch.device("cpu")):
                tables.append(sources.table(out, place, bands, card.model))
                mixtures.append(sources.pz(out))
    return sources.together(tables), sources.together(mixtures)
