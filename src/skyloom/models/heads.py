"""What the last numbers of a network mean: classes of redshift, a Gaussian mixture, quantiles. One loss for each.

Networks give raw numbers (n, outputs); `Head` holds the constants that turn them into p(z). Redshifts enter as they are.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from skyloom.errors import InputError
from skyloom.pz import quantiles

KINDS = ("binned", "mixture", "quantile")
NARROWEST = 1e-3  # least standard deviation of a component: no photometry is finer


class Head:
    """A kind of p(z) with its constants: `outputs` numbers an object, `loss(out, z)`, `pz(out)` as plain arrays.

    kind: binned (Engel et al. 2025), mixture (Bishop 1994), quantile (Koenker & Bassett 1978). `size`: classes, components,
    levels. `low`, `high`: where the redshifts lie, the edges of the classes; for mixtures and quantiles only a scale.
    """

    def __init__(self, kind: str, size: int, low: float, high: float):
        if kind not in KINDS:
            raise InputError(f"unknown head {kind!r}; known: {', '.join(KINDS)}")
        self.kind, self.size, self.low, self.high = kind, size, low, high
        self.outputs = 3 * size if kind == "mixture" else size
        self.edges = np.linspace(low, high, size + 1)
        self.levels = (np.arange(size) + 0.5) / size

    def facts(self) -> dict:
        """What rebuilds it: `Head(**facts)`."""
        return {"kind": self.kind, "size": self.size, "low": self.low, "high": self.high}

    def loss(self, out: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Mean loss of raw numbers (n, outputs) for redshifts z (n,): cross entropy (rows outside the edges left out), minus
        the log likelihood, or the mean pinball loss over the levels."""
        if self.kind == "binned":
            k = torch.searchsorted(torch.as_tensor(self.edges, dtype=z.dtype, device=z.device), z, right=True) - 1
            k = torch.where(self.counts(z), k, -1)
            return functional.cross_entropy(out, k, ignore_index=-1)
        if self.kind == "mixture":
            weights, means, stds = self._mixture(out)
            each = -0.5 * ((z[:, None] - means) / stds) ** 2 - torch.log(stds) - 0.5 * np.log(2 * np.pi)
            return -torch.logsumexp(weights + each, dim=1).mean()
        levels = torch.as_tensor(self.levels, dtype=out.dtype, device=out.device)
        miss = z[:, None] - self._quantiles(out)
        return torch.maximum(levels * miss, (levels - 1) * miss).mean()

    def counts(self, z: torch.Tensor) -> torch.Tensor:
        """(n,) bool: redshifts that the loss counts; classes leave out what lies outside their edges."""
        return (z >= self.low) & (z < self.high) if self.kind == "binned" else torch.isfinite(z)

    def pz(self, out: torch.Tensor) -> dict[str, np.ndarray]:
        """p(z) as arrays: `pz, edges`; `weights, means, stds`; `levels, locs` (ascending along the second axis)."""
        out = out.detach().double().cpu()
        if self.kind == "binned":
            return {"pz": torch.softmax(out, dim=1).numpy(), "edges": self.edges}
        if self.kind == "mixture":
            weights, means, stds = self._mixture(out)
            return {"weights": weights.exp().numpy(), "means": means.numpy(), "stds": stds.numpy()}
        return {"levels": self.levels, "locs": self._quantiles(out).numpy()}

    def bins(self, out: torch.Tensor, edges: np.ndarray) -> torch.Tensor:
        """(n, bins) float64 probabilities of the bins of `edges` (bins + 1,); for `binned` its own classes, whatever `edges`."""
        found = self.pz(out)
        if self.kind == "binned":
            return torch.from_numpy(found["pz"])
        if self.kind == "quantile":
            return torch.from_numpy(np.diff(quantiles.cdf(found["levels"], found["locs"], edges), axis=1))
        at, (weights, means, stds) = torch.from_numpy(np.asarray(edges, float)), (torch.from_numpy(v) for v in found.values())
        below = sum(weights[:, [k]] * torch.special.ndtr((at - means[:, [k]]) / stds[:, [k]]) for k in range(self.size))
        return below.diff(dim=1)

    def mean(self, out: torch.Tensor) -> torch.Tensor:
        """(n,) expectation, on the network's device."""
        if self.kind == "binned":
            middle = torch.as_tensor((self.edges[1:] + self.edges[:-1]) / 2, dtype=torch.float32, device=out.device)
            return torch.softmax(out.float(), dim=1) @ middle
        if self.kind == "mixture":
            weights, means, _ = self._mixture(out.float())
            return (weights.exp() * means).sum(dim=1)
        return self._quantiles(out.float()).mean(dim=1)  # levels lie evenly: each stands for its share

    def _mixture(self, out):
        """(log weights, means, standard deviations), each (n, size)."""
        weights, means, stds = out.chunk(3, dim=1)
        half = (self.high - self.low) / 2
        means = self.low + half + half * means
        return functional.log_softmax(weights, dim=1), means, half * functional.softplus(stds) * 0.1 + NARROWEST

    def _quantiles(self, out):
        """(n, size) ascending: the first, then steps of softplus."""
        half = (self.high - self.low) / 2
        first = self.low + half + half * out[:, :1]
        steps = half * 0.1 * functional.softplus(out[:, 1:])
        return torch.cat([first, first + torch.cumsum(steps, dim=1)], dim=1)

    @torch.no_grad()
    def start(self, last: nn.Linear) -> None:
        """Spread a fresh last layer's mixture or quantiles over the range of redshifts."""
        if self.kind == "mixture":
            last.bias[self.size:2 * self.size] = torch.linspace(-0.9, 0.9, self.size)
        elif self.kind == "quantile":
            last.bias[0] = -0.8
