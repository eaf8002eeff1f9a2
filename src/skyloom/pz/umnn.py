"""Mantis Shrimp's recalibration (Engel et al. 2025, App. B): Cal-PIT with an unconstrained monotonic network, as published.

Wehenkel & Louppe (2019): the output is the integral of a positive network from 0 to a, so that it rises with a. Three hidden
layers of WIDTH, Adam with weight decay, EPOCHS passes; features are magnitudes, all pairwise colours and E(B-V). At its full
width it wants a GPU or patience.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

WIDTH, EPOCHS, RATE, DECAY, BATCH = 1024, 100, 1e-3, 1e-5, 128
NODES = 10  # of Gauss and Legendre's rule between 0 and a while training
PIECE = 3  # of the same between neighbouring levels of a table


def pairs(magnitudes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, k) magnitudes (n, band), the differences of all pairs of bands, other columns (n, m)."""
    first, second = np.triu_indices(magnitudes.shape[1], 1)
    return np.column_stack([magnitudes, magnitudes[:, first] - magnitudes[:, second], others])


class Umnn(nn.Module):
    """Logit of P(PIT <= a | x), rising with a: offset(x) + the integral of a positive slope(x, a)."""

    def __init__(self, features: int, width: int):
        super().__init__()
        self.slope = nn.Sequential(nn.Linear(features + 1, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
                                   nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.offset = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, 1))

    def _integral(self, x, low, high, nodes):
        """(n, m) integrals of the slope from low to high, each (n, m), for features (n, k)."""
        at, weight = (torch.tensor(v, dtype=x.dtype) for v in np.polynomial.legendre.leggauss(nodes))
        half = ((high - low) / 2)[:, :, None]
        a = ((high + low) / 2)[:, :, None] + half * at
        grid = torch.cat([x[:, None, None].expand(*a.shape, -1), a[..., None]], dim=3)
        return (half * weight * (nn.functional.elu(self.slope(grid)[..., 0]) + 1)).sum(dim=2)

    def forward(self, x, a):
        """Logits for features (n, k) and levels a (n, m)."""
        return self.offset(x) + self._integral(x, torch.zeros_like(a), a, NODES)

    def table(self, x, levels):
        """Logits (n, m) at ascending levels (m,), integrated from one to the next."""
        edges = torch.cat([torch.zeros(1), levels]).expand(len(x), -1)
        return self.offset(x) + torch.cumsum(self._integral(x, edges[:, :-1], edges[:, 1:], PIECE), dim=1)


def fit(x: torch.Tensor, u: torch.Tensor, seed: int) -> Umnn:
    """A network trained on features (n, k) and PIT values (n,), a drawn anew for every object and step."""
    net, generator = Umnn(x.shape[1], WIDTH), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), lr=RATE, weight_decay=DECAY)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(u), generator=generator).split(BATCH):
            a = torch.rand(len(rows), 1, generator=generator)
            loss = nn.functional.binary_cross_entropy_with_logits(net(x[rows], a), (u[rows, None] <= a).float())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return net
