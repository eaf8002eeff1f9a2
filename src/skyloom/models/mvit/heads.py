"""What is said of a box: cascaded boxes and classes (Cai & Vasconcelos 2018), masks (He et al. 2017), redshifts (Bishop 1994).

Classes are 0 galaxy, 1 star, 2 nothing. A source of unknown class teaches "not nothing" alone.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from skyloom.models.mvit import boxes as box
from skyloom.models.mvit.backbone import Normed

GALAXY, STAR, NOTHING, UNKNOWN = 0, 1, 2, -1
OVERLAPS = (0.5, 0.6, 0.7)  # from which a box is a source, by stage
WEIGHTS = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))
POOLED, MASK = 7, 14  # cells a side of a box's features; masks have twice as many
GAUSSIANS = 5
NARROWEST, WIDEST = math.log(1e-3), math.log(10.0)  # of a Gaussian's sigma: beyond them an exponential could overflow


class Stage(nn.Module):
    """One stage: four convolutions and a layer; logits of the classes, four changes whatever the class."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.convolutions = nn.ModuleList(Normed(channels, channels, 3) for _ in range(4))
        self.layer = nn.Linear(channels * POOLED**2, hidden)
        self.logit, self.change = nn.Linear(hidden, 3), nn.Linear(hidden, 4)
        nn.init.normal_(self.logit.weight, std=0.01)
        nn.init.normal_(self.change.weight, std=0.001)
        nn.init.zeros_(self.logit.bias)
        nn.init.zeros_(self.change.bias)

    def forward(self, features):
        """Features (n, channels, 7, 7) -> (logits (n, 3), changes (n, 4))."""
        for layer in self.convolutions:
            features = functional.relu(layer(features))
        hidden = functional.relu(self.layer(features.flatten(1)))
        return self.logit(hidden).float(), self.change(hidden).float()


class Masks(nn.Module):
    """Four convolutions, doubled: logits (n, 2, 28, 28) of a box's pixels, a mask a class."""

    def __init__(self, channels: int):
        super().__init__()
        self.convolutions = nn.ModuleList(Normed(channels, channels, 3) for _ in range(4))
        self.larger, self.logit = nn.ConvTranspose2d(channels, channels, 2, 2), nn.Conv2d(channels, 2, 1)
        nn.init.normal_(self.logit.weight, std=0.001)
        nn.init.zeros_(self.logit.bias)

    def forward(self, features):
        for layer in self.convolutions:
            features = functional.relu(layer(features))
        return self.logit(functional.relu(self.larger(features))).float()


class Redshift(nn.Sequential):
    """Features of a box, flat, and its E(B-V) if `ebv` -> 5 logits, 5 means, 5 logs of sigma (Merz et al. 2024, table 1)."""

    def __init__(self, channels: int, ebv: bool, hidden: int, last: int):
        super().__init__(nn.Linear(channels * POOLED**2 + ebv, hidden), nn.Tanh(), nn.Linear(hidden, last), nn.Tanh(),
                         nn.Linear(last, 3 * GAUSSIANS))


def gaussians(out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(log weights, means, sigmas), each (n, 5), of the redshift head's numbers."""
    weight, mean, sigma = out.float().chunk(3, dim=1)
    return functional.log_softmax(weight, dim=1), mean, sigma.clamp(NARROWEST, WIDEST).exp()


def unlikelihood(out: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Mean negative log likelihood of redshifts z (n,); 0 without any."""
    if not len(z):
        return out.sum() * 0
    weight, mean, sigma = gaussians(out)
    each = -0.5 * ((z[:, None] - mean) / sigma) ** 2 - torch.log(sigma) - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(weight + each, dim=1).mean()


def classified(logits: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of kinds (n,): galaxy, star, nothing, or unknown, which is either of the first two."""
    log = functional.log_softmax(logits, dim=1)
    known = log.gather(1, kind.clamp(min=0)[:, None])[:, 0]
    either = torch.logsumexp(log[:, :NOTHING], dim=1)
    return -torch.where(kind == UNKNOWN, either, known).mean()


def stage_losses(k: int, out, boxes, rows, kinds, truth) -> dict[str, torch.Tensor]:
    """`class_k` and `box_k` of one stage: boxes (n, 4) of all images, `rows` (n,) of the true boxes `truth` that they match and
    their `kinds` (n,). L1 of the changes of those that are sources, summed, over the number of all boxes."""
    logits, changes = out
    yes = kinds != NOTHING
    moved = changes.sum() * 0
    if yes.any():
        moved = functional.l1_loss(changes[yes], box.encode(boxes[yes], truth[rows[yes]], WEIGHTS[k]), reduction="sum")
    return {f"class_{k + 1}": classified(logits, kinds), f"box_{k + 1}": moved / max(len(boxes), 1)}


def assigned(boxes, truth, kinds, least: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(rows of the true boxes, kinds) of an image's boxes: those that overlap a true one by `least` or more are what it is."""
    iou, rows = box.matches(boxes, truth)
    if not len(truth):
        return rows, torch.full_like(rows, NOTHING)
    return rows, torch.where(iou >= least, kinds[rows], NOTHING)
