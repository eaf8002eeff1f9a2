"""What the network says of each source: its query for light, then, of its features and photometry, class, flux, size, p(z)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from skyloom.models.heads import Head
from skyloom.models.scene.photometry import Light

CLASSES = ("spurious", "galaxy", "star")
COMPONENTS, Z_RANGE = 5, (0.0, 4.0)
SHAPE = 5  # numbers of a source's profile, see `windows.logits`
LIGHT = 4  # fluxes of a band: three apertures and the isophote


def redshift() -> Head:
    """The mixture that the network's last numbers mean."""
    return Head("mixture", COMPONENTS, *Z_RANGE)


@dataclass
class Said:
    """Of n sources: `classes` (n, 3) logits; `flux`, `flux_error` (n, band) asinh(flux / 2 s) and log of its scale, s the usual
    error of a flux; `size`, `size_error` (n,) log arcsec and log of its scale; `move` (n, 2) px from the peak to the centre;
    `z` (n, 15) numbers of the mixture."""

    classes: torch.Tensor
    flux: torch.Tensor
    flux_error: torch.Tensor
    size: torch.Tensor
    size_error: torch.Tensor
    move: torch.Tensor
    z: torch.Tensor


def numbers(light: Light, scale: torch.Tensor, about: torch.Tensor) -> torch.Tensor:
    """(n, k) the photometry as the network reads it: asinh fluxes in units of twice `scale` (band,) nJy, colours, errors,
    concentrations (differences of apertures, stretched), moments, what wasn't seen; `about` (n, 2 band) of the tile."""
    flux = torch.asinh(together(light) / (2 * scale[:, None]))
    error = torch.log(torch.cat([light.aperture_error, light.isophote_error[:, :, None]], 2) / scale[:, None]).clamp(-6, 6)
    concentration = (4 * (flux[:, :, 1:] - flux[:, :, :-1])).clamp(-4, 4)
    colour = flux[:, 1:, :3] - flux[:, :-1, :3]
    parts = [flux / 3, error[:, :, [1, 3]], concentration, colour, light.moments, light.unseen, light.own[:, None],
             light.others[:, None], about]
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def together(light: Light) -> torch.Tensor:
    """(n, band, LIGHT) nJy: apertures, then the isophote."""
    return torch.cat([light.aperture, light.isophote[:, :, None]], dim=2)


def count(bands: int) -> int:
    """Length of `numbers`."""
    return bands * (LIGHT + 2 + LIGHT - 1 + 3) - 3 + 5 + bands + 2 + 2 * bands


class Layers(nn.Module):
    """(n, inputs) -> (n, outputs) by two hidden layers, the second beside the identity; no batch statistics: a batch may hold
    one source."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.norm, self.first = nn.LayerNorm(hidden), nn.Linear(inputs, hidden)
        self.second, self.last = nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)

    def forward(self, x):
        x = functional.gelu(self.first(x))
        return self.last(x + functional.gelu(self.second(self.norm(x))))


class Objects(nn.Module):
    """Features of n sources (n, features) -> query (n, embed) and shape (n, SHAPE); with photometry -> `Said`."""

    def __init__(self, features: int, bands: int, embed: int, hidden: int):
        super().__init__()
        self.bands, self.embed = bands, embed
        self.query = Layers(features, hidden, embed + SHAPE)
        self.catalog = Layers(features + count(bands), hidden, len(CLASSES) + bands * (LIGHT + 2) + 4)
        self.redshift = Layers(features + count(bands), hidden, redshift().outputs)
        redshift().start(self.redshift.last)
        with torch.no_grad():
            self.query.last.weight.mul_(0.3)
            self.query.last.bias.zero_()
            self.query.last.bias[embed:] = torch.tensor([3.0, 0.7, 0.0, 0.0, 0.7])
            for layers in (self.catalog, self.redshift):
                layers.last.weight.mul_(0.3)

    def asked(self, features):
        """(query, shape)."""
        found = self.query(features)
        return found[:, :self.embed], found[:, self.embed:]

    def said(self, features, light: Light, scale: torch.Tensor, about: torch.Tensor) -> Said:
        """What is said of sources; `scale`, `about` as `numbers` takes them."""
        seen = torch.cat([features, numbers(light, scale, about)], dim=1)
        out, b = self.catalog(seen), self.bands
        classes, mixed, correction, flux_error, rest = out.split([len(CLASSES), LIGHT * b, b, b, 4], dim=1)
        weight = torch.softmax(mixed.reshape(-1, b, LIGHT), dim=2)
        base = torch.asinh((weight * together(light)).sum(dim=2) / (2 * scale))
        moved = light.moments[:, :2] + 0.5 * rest[:, 2:]
        return Said(classes, base + 0.5 * correction, flux_error.clamp(-6, 3), rest[:, 0] - 1, rest[:, 1].clamp(-4, 2), moved,
                    self.redshift(seen))
