"""Groups of measured columns with errors beside a table: each a branch that is as loud as its measurements are good.

A value v with error s in a sample of intrinsic spread t is shrunk to the sample's middle by t^2 / (t^2 + s^2) (the posterior
mean of a Gaussian prior: Efron & Morris 1973). A group's gate is 1 / (1 + (u / scale)^2) with u the median of s / t over its
columns: 0 for an object that lacks the group. A branch starts at nothing, so that training begins as the table alone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

LEAST = 0.05  # of a column's variance that is taken to be intrinsic at the least
WIDEST = 1e3  # error in units of the spread beyond which a value says nothing


def fit(values: np.ndarray, errors: np.ndarray, names: list[str], scale: float = 1.0) -> dict:
    """What turns a group's columns into inputs, as plain lists: per column its middle and intrinsic spread, by the median and
    MAD of the rows with an error below the spread's own.

    values, errors (n, k) of training rows; NaN or a non-positive error = not measured.
    """
    middle, spread = [], []
    for k in range(values.shape[1]):
        good = np.isfinite(values[:, k]) & (errors[:, k] > 0) & np.isfinite(errors[:, k])
        value, error = values[good, k], errors[good, k]
        if len(value) < 10:
            middle.append(0.0)
            spread.append(1.0)
            continue
        best = error <= np.median(error)
        centre = float(np.median(value[best]))
        whole = (1.4826 * np.median(np.abs(value[best] - centre))) ** 2
        noise = float(np.median(error[best] ** 2))
        middle.append(centre)
        spread.append(float(np.sqrt(max(whole - noise, LEAST * whole, 1e-12))))
    return {"columns": names, "middle": middle, "spread": spread, "scale": scale}


def raw(values: np.ndarray, errors: np.ndarray, group: dict) -> np.ndarray:
    """(n, 2 k + 1) float32: shrunk values in units of the spread, the noise that is left in them, the gate."""
    spread = np.array(group["spread"])
    value = (np.asarray(values, float) - np.array(group["middle"])) / spread
    error = np.asarray(errors, float) / spread
    known = np.isfinite(value) & np.isfinite(error) & (error > 0)
    error = np.where(known, np.minimum(error, WIDEST), WIDEST)
    keep = 1 / (1 + error**2)
    shrunk = np.where(known, value, 0.0).clip(-8, 8) * keep
    gate = 1 / (1 + (np.median(error, axis=1) / group["scale"]) ** 2)
    gate = np.where(known.any(axis=1), gate, 0.0)
    return np.concatenate([shrunk, np.where(known, error * keep, 0.0), gate[:, None]], axis=1).astype(np.float32)


def jitter(inputs: torch.Tensor, columns: int, amount: float, generator) -> torch.Tensor:
    """A group's inputs with noise of `amount` of what is left in each value added."""
    noise = torch.randn(len(inputs), columns, generator=generator)
    out = inputs.clone()
    out[:, :columns] += amount * inputs[:, columns:2 * columns] * noise
    return out


class Branch(nn.Module):
    """A group's inputs (n, 2 k + 1) -> (n, width): gate x a small network whose last layer starts at zero."""

    def __init__(self, columns: int, width: int, hidden: int = 64, dropout: float = 0.3):
        super().__init__()
        self.columns = columns
        self.layers = nn.Sequential(nn.Linear(columns, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, width))
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, inputs):
        return inputs[:, -1:] * self.layers(inputs[:, :self.columns])
