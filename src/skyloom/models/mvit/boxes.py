"""Boxes (n, 4) as x0, y0, x1, y1 in px, where pixel j covers j to j + 1 (its centre lies at j + 0.5): overlap, coding, NMS."""

from __future__ import annotations

import math

import torch

BLOCK = 512  # boxes that NMS decides on at a time
ROWS = 16_384  # boxes compared with all true ones at a time: memory grows with the number of true boxes alone
AT_MOST = math.log(1000 / 16)  # largest log of a change of size: an exponential of raw numbers would overflow (Girshick 2015)


def area(boxes: torch.Tensor) -> torch.Tensor:
    """(n,) px; 0 for boxes that end before they begin."""
    return (boxes[:, 2] - boxes[:, 0]).clamp(min=0) * (boxes[:, 3] - boxes[:, 1]).clamp(min=0)


def overlap(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(n, m) intersection over union of boxes a (n, 4) and b (m, 4); 0 where both are empty."""
    low, high = torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clamp(min=0).prod(dim=2)
    union = area(a)[:, None] + area(b)[None] - common
    return torch.where(union > 0, common / union.clamp(min=1e-12), torch.zeros_like(union))


def inside(boxes: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Boxes cut at the borders of an image."""
    return torch.stack([boxes[:, 0].clamp(0, width), boxes[:, 1].clamp(0, height), boxes[:, 2].clamp(0, width),
                        boxes[:, 3].clamp(0, height)], dim=1)


def encode(boxes: torch.Tensor, wanted: torch.Tensor, weights) -> torch.Tensor:
    """(n, 4) changes that bring boxes to those wanted: shifts in units of the size, logs of the change of size, each times its
    weight (Girshick et al. 2014, app. C; Ren et al. 2015, eq. 2)."""
    at, size = _centre(boxes)
    to, new = _centre(wanted)
    return torch.cat([(to - at) / size, torch.log(new / size)], dim=1) * boxes.new_tensor(weights)


def decode(boxes: torch.Tensor, changes: torch.Tensor, weights) -> torch.Tensor:
    """Boxes (n, 4) changed by what `encode` gives."""
    at, size = _centre(boxes)
    changes = changes.float() / boxes.new_tensor(weights)
    to, new = at + changes[:, :2] * size, size * torch.exp(changes[:, 2:].clamp(max=AT_MOST))
    return torch.cat([to - new / 2, to + new / 2], dim=1)


def _centre(boxes):
    """(centres, sizes), each (n, 2)."""
    size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    return (boxes[:, :2] + boxes[:, 2:]) / 2, size


def nms(boxes: torch.Tensor, scores: torch.Tensor, most: float) -> torch.Tensor:
    """Rows of the boxes that stay, best first: none overlaps a better one that stays by more than `most`.

    A block of boxes at a time: those that an earlier one suppresses go at once; within the block "stays" = "no better one
    that stays overlaps" is repeated until nothing changes. The k-th box is right after k rounds, so the end is the greedy
    choice; a few rounds do.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    kept = order[:0]
    for rows in order.split(BLOCK):
        if len(kept):
            rows = rows[~(overlap(boxes[kept], boxes[rows]) > most).any(dim=0)]
        hides = (overlap(boxes[rows], boxes[rows]) > most).triu(diagonal=1)
        stays, before = torch.ones(len(rows), dtype=torch.bool, device=boxes.device), None
        while before is None or not torch.equal(stays, before):
            before, stays = stays, ~(hides & stays[:, None]).any(dim=0)
        kept = torch.cat([kept, rows[stays]])
    return kept


def matches(boxes: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(overlap with the best true box (n,), its row (n,)); zeros without true boxes."""
    if not len(truth) or not len(boxes):
        return boxes.new_zeros(len(boxes)), torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
    parts = [overlap(part, truth).max(dim=1) for part in boxes.split(ROWS)]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def unbeaten(boxes: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """(n,) bool: boxes that overlap a true one as no other box does."""
    if not len(truth):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    most = torch.stack([overlap(part, truth).amax(dim=0) for part in boxes.split(ROWS)]).amax(dim=0)
    parts = (overlap(part, truth) for part in boxes.split(ROWS))
    return torch.cat([((found == most) & (found > 0)).any(dim=1) for found in parts])


def drawn(wanted: torch.Tensor, other: torch.Tensor, number: int, share: float):
    """(rows of `wanted` (n,) bool, at most `share` of `number`; rows of `other`, which fill it up), by torch's generator."""
    def some(mask, most):
        rows = mask.nonzero()[:, 0]
        return rows[torch.randperm(len(rows)).to(rows.device)[:most]]

    first = some(wanted, int(number * share))
    return first, some(other, number - len(first))
