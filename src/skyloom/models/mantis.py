"""Mantis Shrimp's two networks (Engel et al. 2025): fusion of surveys before or after the encoder, p(z) in bins."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from skyloom.models.convnext import ConvNeXt
from skyloom.models.heads import Head

SURVEYS = {"galex": 2, "ps1": 5, "unwise": 2}  # number of bands of each, in the order of the published input
BINS, Z_MAX, HIDDEN = 400, 1.6, 2048
COMPANION = {"large": "small", "base": "small"}  # encoder of the small stamps beside a large one; else the same


def edges(bins: int = BINS, z_max: float = Z_MAX) -> np.ndarray:
    """(bins + 1,) edges of the redshift bins over 0 <= z < z_max; class k holds edges[k] <= z < edges[k + 1]."""
    return np.linspace(0.0, z_max, bins + 1)


def centres(bins: int = BINS, z_max: float = Z_MAX) -> np.ndarray:
    """(bins,) centres of the bins, at which point estimates are taken."""
    step = edges(bins, z_max)
    return (step[1:] + step[:-1]) / 2


def classes(z, bins: int = BINS, z_max: float = Z_MAX) -> np.ndarray:
    """Class (n,) int64 of redshifts; -1 outside 0 <= z < z_max, which the loss leaves out."""
    z = np.asarray(z, float)
    found = np.searchsorted(edges(bins, z_max), z, side="right") - 1
    return np.where((z >= 0) & (z < z_max), found, -1)


def head(options) -> Head:
    """The head of a network of these options: the published classes over 0 <= z < 1.6, or a mixture or quantiles of
    `outputs`."""
    return Head(options.head, options.bins if options.head == "binned" else options.outputs, 0.0, Z_MAX)


class MantisEarly(nn.Module):
    """{survey: (n, band, y, x)} on one grid and E(B-V) (n, 2) -> logits (n, bins): one encoder over all bands.

    `surveys` {name: number of its bands}.
    """

    def __init__(self, encoder: str = "large", surveys: Mapping[str, int] = SURVEYS, ebv: int = 2, bins: int = BINS,
                 patch: int = 4, gamma: float = 1e-6, hidden: int = HIDDEN):
        super().__init__()
        self.surveys = tuple(surveys)
        self.encoder = ConvNeXt(encoder, sum(surveys.values()), patch, gamma)
        self.head = nn.Sequential(nn.Linear(self.encoder.features + ebv, hidden), nn.GELU(), nn.Linear(hidden, bins))

    def forward(self, images: dict, ebv: torch.Tensor):
        stacked = torch.cat([images[name] for name in self.surveys], dim=1)
        return self.head(torch.cat([self.encoder(stacked), ebv], dim=1))


class MantisLate(nn.Module):
    """{survey: (n, band, y, x)} at native pixels and E(B-V) (n, 2) -> logits (n, bins): an encoder a survey."""

    def __init__(self, encoder: str = "large", surveys: Mapping[str, int] = SURVEYS, ebv: int = 2, bins: int = BINS,
                 patches=None, gamma: float = 1e-6, hidden: int = HIDDEN):
        super().__init__()
        self.surveys = tuple(surveys)
        patches = patches or {}
        small = COMPANION.get(encoder, encoder)
        self.encoders = nn.ModuleDict({
            name: ConvNeXt(encoder if name == "ps1" else small, bands, patches.get(name, 4), gamma)
            for name, bands in surveys.items()})
        width = sum(encoder.features for encoder in self.encoders.values())
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(width + ebv, hidden), nn.ReLU(), nn.Linear(hidden, bins))

    def features(self, name: str, image: torch.Tensor) -> torch.Tensor:
        """One survey's features (n, width): what attribution computes once and uses again."""
        return self.encoders[name](image)

    def join(self, features: dict, ebv: torch.Tensor) -> torch.Tensor:
        """Logits (n, bins) from every survey's features."""
        return self.head(torch.cat([*(features[name] for name in self.surveys), ebv], dim=1))

    def forward(self, images: dict, ebv: torch.Tensor):
        return self.join({name: self.features(name, images[name]) for name in self.surveys}, ebv)


def loss(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Cross entropy of logits (n, bins) with classes (n,); rows of class -1 (outside the bins) are left out."""
    return nn.functional.cross_entropy(logits, classes, ignore_index=-1)


def expectation(logits: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Mean redshift (n,) of softmax(logits) at the bin centres z (bins,), the paper's point estimate."""
    return torch.softmax(logits.float(), dim=1) @ z
