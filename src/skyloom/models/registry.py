"""Models by name: how to build each, what it reads, and its published training settings."""

from __future__ import annotations

from skyloom.errors import InputError
from skyloom.models.galaxiesml import GalaxiesMLCNN, GalaxiesMLNN

DEFAULTS = {
    "galaxiesml_nn": {"lr": 5e-4, "batch_size": 100, "max_epochs": 1000, "patience": 10, "uses_image": False},
    "galaxiesml_cnn": {"lr": 1e-4, "batch_size": 256, "max_epochs": 200, "patience": 10, "uses_image": True},
}


def options(name: str, given: dict) -> dict:
    """A model's published settings with `given` over them."""
    if name not in DEFAULTS:
        raise InputError(f"unknown model {name!r}; known: {', '.join(DEFAULTS)}")
    return {**DEFAULTS[name], "size": 64, "scaling": "default", "augment": False, **given}


def build(name: str, inputs: int = 5, bands: int = 5, size: int = 64):
    """An untrained network; parameters are drawn from torch's global generator."""
    if name == "galaxiesml_nn":
        return GalaxiesMLNN(inputs)
    if name == "galaxiesml_cnn":
        return GalaxiesMLCNN(inputs, bands, size)
    raise InputError(f"unknown model {name!r}; known: {', '.join(DEFAULTS)}")


def count(module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
