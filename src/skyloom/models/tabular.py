"""Photo-z from measured columns: asinh magnitudes, colours, errors and the states of missing bands, for any head.

Magnitudes enter as fluxes: noise can be added to them, and a faint one is a number and not a divergence. Columns that hold
fluxes are taken as they are, negative ones, too. The features are
asinh(flux / 2 b) with b a band's usual noise (Lupton, Gunn & Szalay 1999), their differences from band to band, log errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from skyloom.models import scaling
from skyloom.sample import bands as band_names

ZERO = 22.5  # magnitude of flux 1; any would do
POGSON = 2.5 / np.log(10)
LARGEST = 50.0  # error of a magnitude that still is one


@dataclass(frozen=True)
class Columns:
    """What the estimator reads: magnitudes from blue to red, their errors, other columns."""

    magnitudes: list[str]
    errors: dict[str, str]
    extra: list[str]

    @property
    def inputs(self) -> list[str]:
        """All of them."""
        return [*self.magnitudes, *self.errors.values(), *self.extra]


def fit(columns: dict[str, np.ndarray], magnitudes: list[str], errors: dict[str, str], extra: list[str]) -> dict:
    """What turns these training columns into raw inputs, as plain lists: per band the softening b (its median noise; without
    errors a tenth of its faintest percentile), per extra column its mean and spread."""
    soft, offset, scale = [], [], []
    for name in magnitudes:
        flux, noise, detected, _ = _band(columns, name, errors.get(name))
        known = detected & (noise > 0)
        if known.any():
            soft.append(float(np.median(noise[known])))
        else:
            soft.append((float(np.percentile(np.abs(flux[detected]), 1) / 10) if detected.any() else 1.0) or 1.0)
    for name in extra:
        values = np.asarray(columns[name], float)
        values = values[np.isfinite(values)]
        offset.append(float(values.mean()) if len(values) else 0.0)
        scale.append(float(values.std()) or 1.0 if len(values) else 1.0)
    return {"kind": "tabular", "columns": magnitudes, "errors": errors, "extra": extra, "soft": soft, "offset": offset,
            "scale": scale}


def raw(columns: dict[str, np.ndarray], table: dict) -> np.ndarray:
    """(n, 4 bands + 2 extra) float32 of columns: fluxes and noise in units of b, detected, observed; extra columns
    standardised, and whether they are finite."""
    bands = [_band(columns, name, table["errors"].get(name)) for name in table["columns"]]
    soft = np.array(table["soft"])
    parts = [np.stack([b[k] for b in bands], axis=1) / (soft if k < 2 else 1) for k in range(4)]
    for name, offset, scale in zip(table["extra"], table["offset"], table["scale"], strict=True):
        values = np.asarray(columns[name], float)
        finite = np.isfinite(values)
        parts += [np.where(finite, (np.where(finite, values, 0) - offset) / scale, 0)[:, None].clip(-8, 8), finite[:, None]]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _band(columns, name, error):
    """(flux, noise, detected, observed), each (n,), of one magnitude, or flux, and its error; 0 where nothing was detected."""
    magnitude = np.asarray(columns[name], float)
    undetected, unobserved = states(name, magnitude)
    detected = ~undetected & ~unobserved
    if band_names.is_flux(name):
        sigma = np.asarray(columns[error], float) if error else np.zeros(len(magnitude))
        known = detected & np.isfinite(sigma) & (sigma > 0)
        return np.where(detected, magnitude, 0.0), np.where(known, sigma, 0.0), detected, ~unobserved
    flux = np.where(detected, 10 ** (-0.4 * (np.where(detected, magnitude, ZERO) - ZERO)), 0.0)
    noise = np.zeros_like(flux)
    if error:
        sigma = np.asarray(columns[error], float)
        usable = detected & np.isfinite(sigma) & (sigma > 0) & (sigma < LARGEST)
        noise = flux * np.where(usable, sigma, 0) / POGSON
    return flux, noise, detected, ~unobserved


def states(name: str, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks (not detected, not observed) of a column: a flux that was measured counts as detected, whatever it is."""
    values = np.asarray(values, float)
    return (np.zeros(len(values), bool), ~np.isfinite(values)) if band_names.is_flux(name) else scaling.states(values)


class Features(nn.Module):
    """Raw columns (n, 4 bands + extra) -> features (n, k), standardised by constants of the training rows.

    Raw as `raw` makes it. The constants are no parameters: model.json keeps them (`constants`, `load`).
    """

    def __init__(self, bands: int, extra: int):
        super().__init__()
        self.bands, self.extra = bands, extra
        self.count = bands + (bands - 1) + bands + 2 * bands + extra
        self.register_buffer("offset", torch.zeros(self.count), persistent=False)
        self.register_buffer("scale", torch.ones(self.count), persistent=False)

    def plain(self, raw):
        """(features, known) before standardisation, each (n, count)."""
        k = self.bands
        flux, noise, detected, observed, extra = raw.split([k, k, k, k, self.extra], dim=1)
        bright = torch.asinh(flux / 2)
        both = detected[:, 1:] * detected[:, :-1]
        parts = [bright, bright[:, 1:] - bright[:, :-1], torch.log(noise + 1e-3), detected, observed, extra]
        known = [detected, both, detected, torch.ones_like(detected), torch.ones_like(observed), torch.ones_like(extra)]
        return torch.cat(parts, dim=1), torch.cat(known, dim=1)

    def fit(self, raw) -> None:
        """Set the constants so that the known features of these rows have mean 0 and spread 1; a constant one stays 0."""
        features, known = self.plain(raw.double())
        n = known.sum(dim=0).clamp(min=1)
        mean = (features * known).sum(dim=0) / n
        spread = (((features - mean) * known) ** 2).sum(dim=0).div(n).sqrt()
        self.offset.copy_(mean)
        self.scale.copy_(torch.where(spread > 1e-6, spread, torch.full_like(spread, np.inf)))

    def constants(self) -> dict[str, list[float]]:
        """offset and scale of the features, as plain lists; 0 stands for an infinite scale."""
        finite = torch.where(torch.isfinite(self.scale), self.scale, torch.zeros_like(self.scale))
        return {"offset": self.offset.tolist(), "scale": finite.tolist()}

    def load(self, constants: dict) -> None:
        """Take the constants of a trained model."""
        self.offset.copy_(torch.tensor(constants["offset"]))
        scale = torch.tensor(constants["scale"])
        self.scale.copy_(torch.where(scale > 0, scale, torch.full_like(scale, np.inf)))

    def forward(self, raw):
        features, known = self.plain(raw)
        return ((features - self.offset) / self.scale).clamp(-8, 8) * known


def jitter(raw: torch.Tensor, bands: int, amount: float, generator) -> torch.Tensor:
    """Raw columns with noise of `amount` of each flux's own error added."""
    noise = torch.randn(len(raw), bands, generator=generator, device=generator.device).to(raw.device)
    out = raw.clone()
    out[:, :bands] += amount * raw[:, bands:2 * bands] * noise
    return out


class Tabular(nn.Module):
    """Residual network on the features: (image ignored, raw (n, k)) -> (n, outputs)."""

    def __init__(self, bands: int, extra: int, outputs: int, width: int = 128, depth: int = 3, dropout: float = 0.0):
        super().__init__()
        self.features = Features(bands, extra)
        self.first = nn.Linear(self.features.count, width)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout),
                                                  nn.Linear(width, width)) for _ in range(depth))
        self.head = nn.Linear(width, outputs)

    def forward(self, image, raw):
        return self.rest(self.first(self.features(raw)))

    def rest(self, x):
        """(n, outputs) of what the first layer gave (n, width)."""
        for block in self.blocks:
            x = x + block(x)
        return self.head(nn.functional.silu(x))
