"""GalaxiesML's two networks (Do et al. 2024; layers as in their released code)."""

from __future__ import annotations

import torch
from torch import nn


def _dense(sizes, activation) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers)


class GalaxiesMLNN(nn.Module):
    """Magnitudes (n, k) -> z (n,): four dense layers of 200, the input joined to their output; with a head of several
    `outputs` (n, outputs)."""

    def __init__(self, inputs: int = 5, outputs: int = 1):
        super().__init__()
        self.dense = _dense([inputs, 200, 200, 200, 200], nn.ReLU)
        self.head = nn.Linear(200 + inputs, outputs)

    def forward(self, image, table):
        """`image` is ignored, so that every model is called alike."""
        return _single(self.head(torch.cat([self.dense(table), table], dim=1)))


class GalaxiesMLCNN(nn.Module):
    """Images (n, band, size, size) and magnitudes (n, k) -> z (n,), with a head of several `outputs` (n, outputs).

    tanh follows the pooling instead of preceding it: the same function, as tanh is monotonic, at a quarter of
    the evaluations.
    """

    def __init__(self, inputs: int = 5, bands: int = 5, size: int = 64, outputs: int = 1):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((bands, 32), (32, 64), (64, 128), (128, 256), (256, 256)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.MaxPool2d(2), nn.Tanh()]
        layers += [nn.Conv2d(256, 512, 3, padding=1), nn.ReLU(), nn.Conv2d(512, 512, 3, padding=1), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        side = size // 32
        self.image_dense = _dense([512 * side * side, 512, 128, 32], nn.Tanh)
        self.table_dense = _dense([inputs] + [200] * 6, nn.ReLU)
        self.head = nn.Linear(32 + 200, outputs)

    def forward(self, image, table):
        pixels = self.image_dense(self.convolutions(image).flatten(1))
        return _single(self.head(torch.cat([pixels, self.table_dense(table)], dim=1)))


def _single(out):
    return out[:, 0] if out.shape[1] == 1 else out


def loss(z_phot: torch.Tensor, z_spec: torch.Tensor, gamma: float = 0.15) -> torch.Tensor:
    """Eq. (1) as printed: 1 - 1 / (1 + (dz / gamma)^2), dz = (z_phot - z_spec) / (1 + z_phot), after Tanaka et al. 2018.

    1 + z_phot is kept above 0.1: a network's first guesses may cross z = -1, where eq. (1) is singular.
    """
    dz = (z_phot - z_spec) / (1 + z_phot).clamp_min(0.1)
    return (1 - 1 / (1 + (dz / gamma) ** 2)).mean()
