"""Models by name: how to build each, what it reads, and its published training settings."""

from __future__ import annotations

import torch

from skyloom.errors import InputError
from skyloom.models.galaxiesml import GalaxiesMLCNN, GalaxiesMLNN
from skyloom.models.mantis import BINS, SURVEYS, MantisEarly, MantisLate

MANTIS = {"mantis_early": MantisEarly, "mantis_late": MantisLate}
DEFAULTS = {
    "galaxiesml_nn": {"lr": 5e-4, "batch_size": 100, "max_epochs": 1000, "patience": 10, "uses_image": False},
    "galaxiesml_cnn": {"lr": 1e-4, "batch_size": 256, "max_epochs": 200, "patience": 10, "uses_image": True},
}
# Engel et al. (2025): NAdam, halved after six epochs without gain, epochs of 1,000 class-balanced batches of 16
FUSION = {"lr": 3e-4, "batch_size": 16, "max_epochs": 150, "patience": 20, "optimiser": "nadam", "plateau": 6, "batches": 1000,
          "survey_dropout": 0.0, "encoder": "large", "bins": BINS, "surveys": list(SURVEYS), "patch": 4, "patch_small": 4,
          "gamma": 1e-6, "augment": True, "symmetries": 1, "uses_image": True}


def options(name: str, given: dict) -> dict:
    """A model's published settings with `given` over them."""
    if name in MANTIS:
        return {**FUSION, "scaling": "default", **given}
    if name not in DEFAULTS:
        raise InputError(f"unknown model {name!r}; known: {', '.join((*DEFAULTS, *MANTIS))}")
    return {**DEFAULTS[name], "size": 64, "scaling": "default", "augment": False, **given}


def build(name: str, inputs: int = 5, bands: int = 5, size: int = 64):
    """An untrained network; parameters are drawn from torch's global generator."""
    if name == "galaxiesml_nn":
        return GalaxiesMLNN(inputs)
    if name == "galaxiesml_cnn":
        return GalaxiesMLCNN(inputs, bands, size)
    raise InputError(f"unknown model {name!r}; known: {', '.join((*DEFAULTS, *MANTIS))}")


def build_fusion(name: str, encoder: str = "large", surveys=tuple(SURVEYS), ebv: int = 2, bins: int = BINS, **more):
    """An untrained multi-survey network; `more` as for `models.mantis`."""
    if name not in MANTIS:
        raise InputError(f"unknown model {name!r}; known: {', '.join(MANTIS)}")
    return MANTIS[name](encoder, surveys, ebv, bins, **more)


def build_from(name: str, options: dict, ebv: int):
    """A fusion network of `options`; the stems of the small stamps may have a stride of their own (`patch_small`)."""
    more = {"patch": options["patch"]} if name == "mantis_early" else {
        "patches": {"ps1": options["patch"], "galex": options["patch_small"], "unwise": options["patch_small"]}}
    return build_fusion(name, options["encoder"], tuple(options["surveys"]), ebv, options["bins"], gamma=options["gamma"], **more)


def describe(name: str, size: int = 127, encoder: str = "large") -> dict:
    """Name, variant, `parameters` and `head_parameters` of a model; InputError for an unknown one."""
    with torch.device("meta"):  # sizes without memory
        if name in MANTIS:
            model, about = build_fusion(name, encoder), {"encoder": encoder}
        else:
            model, about = build(name, size=size), {"size": size}
    return {"model": name, **about, "parameters": count(model), "head_parameters": count(model.head)}


def count(module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
