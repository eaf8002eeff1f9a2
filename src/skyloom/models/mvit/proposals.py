"""Region proposals (Ren et al. 2015) on a pyramid: anchors, which of them are sources, and the boxes that they propose."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from skyloom.models.mvit import boxes as box

SIZES = (8, 16, 32, 64, 128)  # px of a level's anchors, strides 4 to 64
RATIOS = (0.5, 1.0, 2.0)  # height over width
WEIGHTS = (1.0, 1.0, 1.0, 1.0)  # of the four changes
SOURCE, EMPTY = 0.7, 0.3  # overlap from which an anchor is a source, below which it is none
NMS = 0.7


class Proposer(nn.Module):
    """Two convolutions, then a logit and four changes for each anchor of each cell."""

    def __init__(self, channels: int):
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.logit, self.change = nn.Conv2d(channels, len(RATIOS), 1), nn.Conv2d(channels, 4 * len(RATIOS), 1)
        for layer in (*self.convolutions, self.logit, self.change):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, pyramid):
        """(logits, changes): a list of levels each, (n, anchors) and (n, anchors, 4), in the order of `anchors`."""
        logits, changes = [], []
        for x in pyramid:
            for layer in self.convolutions:
                x = functional.relu(layer(x))
            logits.append(self.logit(x).permute(0, 2, 3, 1).flatten(1).float())
            changes.append(self.change(x).permute(0, 2, 3, 1).reshape(len(x), -1, 4).float())
        return logits, changes


def anchors(pyramid) -> list[torch.Tensor]:
    """Boxes (cells * ratios, 4) of each level, around the cells' centres, of equal area and three shapes."""
    out = []
    for k, level in enumerate(pyramid):
        height, width = level.shape[2:]
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centre = (torch.stack([x, y], dim=2).reshape(-1, 1, 2) + 0.5) * (4 << k)
        ratio = torch.tensor(RATIOS)
        half = SIZES[k] / 2 * torch.stack([ratio**-0.5, ratio**0.5], dim=1)
        out.append(torch.cat([centre - half, centre + half], dim=2).reshape(-1, 4).to(level.device))
    return out


def losses(logits, changes, places, truth: list[torch.Tensor], samples: int) -> dict[str, torch.Tensor]:
    """`rpn_source` (cross entropy of drawn anchors) and `rpn_box` (L1 of the changes of those that are sources), sums over
    `samples` an image: half sources, as far as there are, the rest empty sky."""
    logits, changes, places = torch.cat(logits, dim=1), torch.cat(changes, dim=1), torch.cat(places)
    source = moved = logits.sum() * 0
    for k, boxes in enumerate(truth):
        iou, which = box.matches(places, boxes)
        positive = (iou >= SOURCE) | box.unbeaten(places, boxes)
        yes, no = box.drawn(positive, (iou < EMPTY) & ~positive, samples, 0.5)
        source = source + functional.binary_cross_entropy_with_logits(
            logits[k, torch.cat([yes, no])], torch.cat([torch.ones_like(logits[k, yes]), torch.zeros_like(logits[k, no])]),
            reduction="sum")
        if len(yes):
            wanted = box.encode(places[yes], boxes[which[yes]], WEIGHTS)
            moved = moved + functional.l1_loss(changes[k, yes], wanted, reduction="sum")
    return {"rpn_source": source / (samples * len(truth)), "rpn_box": moved / (samples * len(truth))}


@torch.no_grad()
def proposed(logits, changes, places, height: int, width: int, before: int, after: int) -> list[torch.Tensor]:
    """Boxes (at most `after`, 4) an image, best first: of every level the best `before`, cut at the image's borders, without
    those that overlap a better one of their level."""
    out = []
    for k in range(len(logits[0])):
        found, scores = [], []
        for logit, change, place in zip(logits, changes, places, strict=True):
            score, rows = logit[k].topk(min(before, logit.shape[1]))
            boxes = box.inside(box.decode(place[rows], change[k, rows], WEIGHTS), height, width)
            sound = ((box.area(boxes) > 0) & torch.isfinite(score) & torch.isfinite(boxes).all(dim=1)).nonzero()[:, 0]
            kept = sound[box.nms(boxes[sound], score[sound], NMS)]
            found.append(boxes[kept])
            scores.append(score[kept])
        out.append(torch.cat(found)[torch.cat(scores).argsort(descending=True, stable=True)[:after]])
    return out
