"""Groups of measured columns with errors beside a table: each a branch that is as loud as its measurements are good.

A value v with error s in a sample of intrinsic spread t is shrunk to the sample's middle by t^2 / (t^2 + s^2) (the posterior
mean of a Gaussian prior: Efron & Morris 1973). A group's gate is the mean of 1 / (1 + (s / (scale t))^2) over its
columns: 0 for an object that lacks the group. A branch starts at nothing, so that training begins as the table alone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from skyloom.models.tabular import Tabular

LEAST = 0.05  # of a column's variance that is taken to be intrinsic at the least
FEWEST = 10  # measured values below which a column tells nothing
WIDEST = 1e3  # error in units of the spread beyond which a value says nothing


def fit(values: np.ndarray, errors: np.ndarray) -> dict:
    """What turns a group's columns into inputs, as plain lists: each column's middle and intrinsic spread, by the median and the
    MAD of the better measured half, its median error's square taken off; a spread of 0 for a column that tells nothing.

    values, errors (n, k) of training rows; NaN or an error that isn't positive: not measured.
    """
    middle, spread = [], []
    for value, error in zip(values.T, errors.T, strict=True):
        good = np.isfinite(value) & np.isfinite(error) & (error > 0)
        value, error = value[good], error[good]
        if len(value) < FEWEST:
            middle.append(0.0)
            spread.append(0.0)
            continue
        best = error <= np.median(error)
        centre = float(np.median(value[best]))
        whole = float((1.4826 * np.median(np.abs(value[best] - centre))) ** 2)
        noise = float(np.median(error[best]) ** 2)
        middle.append(centre)
        spread.append(float(np.sqrt(max(whole - noise, LEAST * whole))))
    return {"middle": middle, "spread": spread}


def raw(values: np.ndarray, errors: np.ndarray, group: dict, scale: float) -> np.ndarray:
    """(n, 2 k + 1) float32: shrunk values in units of the spread, the noise that is left in them, the gate."""
    spread = np.array(group["spread"])
    live = spread > 0
    unit = np.where(live, spread, 1.0)
    value, error = (np.asarray(values, float) - np.array(group["middle"])) / unit, np.asarray(errors, float) / unit
    known = np.isfinite(value) & np.isfinite(error) & (error > 0) & live
    error = np.where(known, np.minimum(error, WIDEST), WIDEST)
    keep = 1 / (1 + error**2)
    shrunk = np.where(known, value, 0.0).clip(-8, 8) * keep
    gate = (known / (1 + (error / scale) ** 2)).sum(axis=1) / max(live.sum(), 1)
    return np.concatenate([shrunk, np.where(known, error * keep, 0.0), gate[:, None]], axis=1).astype(np.float32)


def jitter(inputs: torch.Tensor, amount: float, generator) -> torch.Tensor:
    """A group's inputs (n, 2 k + 1) with noise of `amount` of what is left in each value added."""
    k = inputs.shape[1] // 2
    noise = torch.randn(len(inputs), k, generator=generator, device=generator.device).to(inputs.device)
    return torch.cat([inputs[:, :k] + amount * inputs[:, k:2 * k] * noise, inputs[:, k:]], dim=1)


class Branch(nn.Module):
    """A group's inputs (n, 2 k + 1) -> (n, width): gate x a small network whose last layer starts at zero. In training the gate
    is shut for a share `absent` of the objects, so that p(z) without the group is learned, too."""

    def __init__(self, columns: int, width: int, hidden: int, dropout: float, absent: float = 0.0):
        super().__init__()
        self.columns, self.absent = columns, absent
        self.layers = nn.Sequential(nn.Linear(columns, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, width))
        silence(self.layers[-1])

    def forward(self, inputs):
        return shut(inputs[:, -1:], self) * self.layers(inputs[:, :self.columns])


class Gated(Tabular):
    """`Tabular` with branches beside its first layer: (image or None, raw (n, base + sum of 2 k + 1)) -> (n, outputs).

    `columns`: k of each group, in the order in which their inputs stand behind the table's; `stamp`: a branch that reads the
    image, or None. Without either it is `Tabular`, to the last bit.
    """

    def __init__(self, bands: int, extra: int, outputs: int, width: int, depth: int, dropout: float, columns=(), hidden: int = 64,
                 group_dropout: float = 0.0, absent: float = 0.0, stamp: nn.Module | None = None):
        super().__init__(bands, extra, outputs, width, depth, dropout)
        self.parts = [4 * bands + extra, *(2 * k + 1 for k in columns)]
        self.branches = nn.ModuleList(Branch(k, width, hidden, group_dropout, absent) for k in columns)
        self.stamp = stamp

    def forward(self, image, raw):
        table, *groups = raw.split(self.parts, dim=1)
        x = self.first(self.features(table))
        for branch, inputs in zip(self.branches, groups, strict=True):
            x = x + branch(inputs)
        if self.stamp is not None:
            x = x + self.stamp(image)
        return self.rest(x)


def shut(gate: torch.Tensor, branch) -> torch.Tensor:
    """A gate (n, 1), in training at 0 for a share `branch.absent` of the objects."""
    if not branch.training or not branch.absent:
        return gate
    return gate * (torch.rand(len(gate), 1, device=gate.device) >= branch.absent)


@torch.no_grad()
def silence(layer: nn.Linear) -> None:
    """Let a layer start at zero."""
    layer.weight.zero_()
    layer.bias.zero_()
