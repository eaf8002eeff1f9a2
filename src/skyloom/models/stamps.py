"""Encoders of stamps as one more branch beside a table: features of the image, as loud as the stamp is deep."""

from __future__ import annotations

import torch
from torch import nn

from skyloom.models.gated import shut, silence

CORE = 9  # px of the square at the centre whose light makes the stamp's signal to noise
STRONG = 50.0  # signal to noise, all bands together, at which the gate's u is 1
SOFTENING = 3.0  # noise sigma by which asinh pixels are divided, as `scaling.image` does


class Cnn(nn.Module):
    """(n, band, y, x) asinh pixels -> (n, features): four convolutions of stride 2, the mean over what is left. No batch
    normalisation: a few thousand objects are too few for its statistics."""

    features = 64

    def __init__(self, bands: int):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((bands, 32), (32, 64), (64, 96), (96, 128)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.SiLU()]
        self.convolutions = nn.Sequential(*layers)
        self.last = nn.Linear(128, self.features)

    def forward(self, image):
        return nn.functional.silu(self.last(self.convolutions(image).mean(dim=(2, 3))))


ENCODERS: dict[str, type[nn.Module]] = {"cnn": Cnn}  # name: module of (bands) with `features`


class Stamp(nn.Module):
    """A stamp (n, band, y, x) -> (n, width): gate x the encoder's features through a layer that starts at zero.

    The gate is 1 / (1 + (u / scale)^2) with u = STRONG / (S/N) of the light in the central CORE px of all bands, pixels taken
    as independent; 0 where nothing is seen there, as in a stamp without data.
    """

    def __init__(self, encoder: str, bands: int, width: int, dropout: float, scale: float,
                 absent: float = 0.0):
        super().__init__()
        self.encoder, self.scale, self.absent = ENCODERS[encoder](bands), scale, absent
        self.dropout, self.last = nn.Dropout(dropout), nn.Linear(self.encoder.features, width)
        silence(self.last)

    def gate(self, image):
        """(n, 1) of asinh pixels."""
        low = (image.shape[-1] - CORE) // 2
        core = SOFTENING * torch.sinh(image[:, :, low:low + CORE, low:low + CORE].float())
        ratio = core.sum(dim=(1, 2, 3)) / (CORE * image.shape[1] ** 0.5)
        u = STRONG / ratio.clamp(min=1e-6)
        return torch.where(ratio > 0, 1 / (1 + (u / self.scale) ** 2), torch.zeros_like(ratio))[:, None]

    def forward(self, image):
        return shut(self.gate(image), self) * self.last(self.dropout(self.encoder(image)))
