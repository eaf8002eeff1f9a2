"""Groups of measured columns with errors beside a table: each a branch that is as loud as its measurements are good.

A value v with error s in a sample of intrinsic spread t is shrunk to the sample's middle by t^2 / (t^2 + s^2) (the posterior
mean of a Gaussian prior: Efron & Morris 1973). A group's gate is 1 / (1 + (u / scale)^2) with u the median of s / t over its
columns: 0 for an object that lacks the group. Stamps have u = 1 / their signal to noise. A branch starts at nothing, so that
training begins as the table alone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from skyloom.models import encoders, scaling, tabular

LEAST = 0.05  # of a column's variance that is taken to be intrinsic at the least
WIDEST = 1e3  # error in units of the spread beyond which a value says nothing
FEW = 10  # rows from which a column's spread is known
APERTURE = 1.0  # arcsec, radius of the disc in which a stamp's signal to noise is taken


def known(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """(n, k) bool: finite values with a finite error above zero: others are not measured."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(values) & np.isfinite(errors) & (errors > 0)


def fit(values: np.ndarray, errors: np.ndarray) -> dict[str, list[float]]:
    """`middle` and intrinsic `spread` of columns (n, k) of training rows, by median and MAD of each column's better half: of the
    rows with an error no larger than the median one. NaN for a column that fewer than ten rows have."""
    good, middle, spread = known(values, errors), [], []
    for value, error, has in zip(values.T, errors.T, good.T, strict=True):
        if has.sum() < FEW:
            middle.append(float("nan"))
            spread.append(float("nan"))
            continue
        value, error = value[has], error[has]
        best = error <= np.median(error)
        centre = float(np.median(value[best]))
        whole = (1.4826 * np.median(np.abs(value[best] - centre))) ** 2
        noise = float(np.median(error[best] ** 2))
        middle.append(centre)
        spread.append(float(np.sqrt(max(whole - noise, LEAST * whole, 1e-12))))
    return {"middle": middle, "spread": spread}


def raw(values: np.ndarray, errors: np.ndarray, group: dict) -> np.ndarray:
    """(n, 2 k + 1) float32 of columns (n, k): shrunk values in units of the spread, the noise that is left in them, the gate."""
    spread = np.array(group["spread"])
    value, error = (np.asarray(values, float) - np.array(group["middle"])) / spread, np.asarray(errors, float) / spread
    has = known(value, error)
    error = np.where(has, np.minimum(error, WIDEST), WIDEST)
    keep = 1 / (1 + error**2)
    shrunk = np.where(has, value, 0.0).clip(-8, 8) * keep
    gate = np.where(has.any(axis=1), 1 / (1 + (np.median(error, axis=1) / group["scale"]) ** 2), 0.0)
    return np.concatenate([shrunk, np.where(has, error * keep, 0.0), gate[:, None]], axis=1).astype(np.float32)


def numbers(group: dict) -> int:
    """Numbers that a group adds to an object's raw table: for stamps a one, which a training step may hide."""
    return 1 if group["kind"] == "stamp" else 2 * len(group["columns"]) + 1


def jitter(table: torch.Tensor, first: int, groups: list[dict], generator) -> torch.Tensor:
    """A raw table as a training step shows it: noise of `jitter` of what is left in each value added, and groups hidden from a
    share `absent` of the objects, as if they lacked it. The groups' numbers stand from column `first` on."""
    def drawn(draw, *shape):
        return draw(shape, generator=generator, device=generator.device).to(table.device)

    out = table.clone()
    for group in groups:
        last = first + numbers(group) - 1
        k = (last - first) // 2
        if k and group["jitter"]:
            out[:, first:first + k] += group["jitter"] * table[:, first + k:last] * drawn(torch.randn, len(table), k)
        if group["absent"]:
            out[:, last] *= drawn(torch.rand, len(table)) >= group["absent"]
        first = last + 1
    return out


def _layers(inputs: int, width: int, hidden: int, dropout: float) -> nn.Sequential:
    """A small network whose last layer starts at zero."""
    layers = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, width))
    nn.init.zeros_(layers[-1].weight)
    nn.init.zeros_(layers[-1].bias)
    return layers


class Branch(nn.Module):
    """A group's raw numbers (n, 2 k + 1) -> (n, width): gate x a small network."""

    def __init__(self, group: dict, width: int):
        super().__init__()
        self.columns = len(group["columns"])
        self.layers = _layers(self.columns, width, group["hidden"], group["dropout"])

    def forward(self, image, numbers):
        return numbers[:, -1:] * self.layers(numbers[:, :self.columns])


class StampBranch(nn.Module):
    """Images (n, 2 bands, y, x) as `scaling.image` makes them with ivar, and whether they are shown (n, 1) -> (n, width)."""

    def __init__(self, group: dict, width: int):
        super().__init__()
        self.scale, self.radius = group["scale"], APERTURE / group["pixel_scale"]
        self.encoder, features = encoders.ENCODERS[group["encoder"]](group["channels"])
        self.layers = _layers(features, width, group["hidden"], group["dropout"])

    def forward(self, image, numbers):
        snr = signal_to_noise(image, self.radius)
        return numbers * (snr**2 / (snr**2 + self.scale**-2))[:, None] * self.layers(self.encoder(image))


def signal_to_noise(image: torch.Tensor, radius: float) -> torch.Tensor:
    """(n,) of images (n, 2 bands, y, x) as `scaling.image` makes them with ivar: the median over bands of sum(p / sigma) /
    sqrt(m) over the m pixels with data within `radius` px of the middle, sigma each pixel's own noise; 0 where that is negative
    or no pixel has data. The noise of neighbouring pixels is taken as independent."""
    pixels, depth = image.float().chunk(2, dim=1)
    axes = [torch.arange(n, device=image.device) - (n - 1) / 2 for n in image.shape[-2:]]
    near = torch.hypot(axes[0][:, None], axes[1][None, :]) <= max(radius, 1.0)
    used = near & (depth > scaling.DARK)
    each = 3 * torch.sinh(pixels.clamp(-20, 20)) * 10 ** (0.4 * depth)
    total = torch.where(used, each, torch.zeros_like(each)).sum(dim=(2, 3))
    return (total / used.sum(dim=(2, 3)).clamp(min=1).sqrt()).median(dim=1).values.clamp(min=0)


class Gated(tabular.Tabular):
    """`Tabular` with a branch for every group added to what its first layer gives: (image or None, raw (n, k)) -> (n, outputs).

    Without groups it is `Tabular`, and with them it starts as that: the trunk's parameters are drawn first.
    """

    def __init__(self, groups: list[dict], bands: int, extra: int, outputs: int, width: int, depth: int, dropout: float):
        super().__init__(bands, extra, outputs, width, depth, dropout)
        self.parts = [4 * bands + extra, *map(numbers, groups)]
        kinds = {"stamp": StampBranch}
        self.branches = nn.ModuleList(kinds.get(group["kind"], Branch)(group, width) for group in groups)

    def forward(self, image, raw):
        table, *owned = raw.split(self.parts, dim=1)
        x = self.first(self.features(table))
        for branch, own in zip(self.branches, owned, strict=True):
            x = x + branch(image, own)
        return self.rest(x)
