"""Features of boxes from a pyramid: RoIAlign (He et al. 2017) by grid sampling, the level chosen by size (Lin et al. 2017)."""

from __future__ import annotations

import torch
from torch.nn import functional

SAMPLES = 2  # points a bin and axis: four bilinear samples a bin, as He et al. have it
CANONICAL = 224.0  # size in px that belongs to the level of stride 16
AT_ONCE = 1024  # boxes sampled at a time


def align(features: torch.Tensor, boxes: torch.Tensor, size: int, scale: float = 1.0, samples: int = SAMPLES) -> torch.Tensor:
    """Features (channel, y, x) of boxes (n, 4), averaged over `samples`^2 points in each of size x size bins: (n, channel, size,
    size). `scale`: cells a px. Cell j's centre lies at j + 0.5 of the scaled frame ("aligned"); a point beyond the outermost
    centres has the border's value, one more than a cell beyond them 0.
    """
    parts = [_align(features, part * scale, size, samples) for part in boxes.split(AT_ONCE)]
    return torch.cat(parts) if parts else features.new_zeros(0, len(features), size, size)


def _align(features, boxes, size, samples):
    n, (channels, height, width) = len(boxes), features.shape
    step = (torch.arange(size * samples, device=boxes.device, dtype=boxes.dtype) + 0.5) / (size * samples)
    x = boxes[:, :1] + (boxes[:, 2:3] - boxes[:, :1]) * step - 0.5  # in cells, centres at integers
    y = boxes[:, 1:2] + (boxes[:, 3:4] - boxes[:, 1:2]) * step - 0.5
    within = ((y >= -1) & (y <= height))[:, :, None] & ((x >= -1) & (x <= width))[:, None]
    grid = torch.stack([((2 * x + 1) / width - 1)[:, None].expand(-1, len(step), -1),
                        ((2 * y + 1) / height - 1)[:, :, None].expand(-1, -1, len(step))], dim=3)
    found = functional.grid_sample(features[None].float(), grid.reshape(1, n * len(step), len(step), 2).float(),
                                   padding_mode="border", align_corners=False)[0]
    found = found.reshape(channels, n, len(step), len(step)) * within
    found = found.reshape(channels, n, size, samples, size, samples).mean(dim=(3, 5))
    return found.transpose(0, 1)


def level(boxes: torch.Tensor, levels: int) -> torch.Tensor:
    """(n,) index of the pyramid's level of each box: stride 4 times 2^index (Lin et al. 2017, eq. 1 with k0 = 4)."""
    size = torch.sqrt(((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=1e-6))
    return torch.floor(2 + torch.log2(size / CANONICAL + 1e-8)).clamp(0, levels - 1).long()


def pooled(pyramid: list[torch.Tensor], boxes: list[torch.Tensor], size: int) -> torch.Tensor:
    """Features of all boxes of all images, one list entry an image, in their order: (sum of n, channel, size, size).
    `pyramid`: levels (image, channel, y, x) of strides 4, 8, ..."""
    out = []
    for k, own in enumerate(boxes):
        found = pyramid[0].new_zeros((len(own), pyramid[0].shape[1], size, size), dtype=torch.float32)
        at = level(own, len(pyramid))
        for j in at.unique().tolist():
            rows = (at == j).nonzero()[:, 0]
            found = found.index_copy(0, rows, align(pyramid[j][k], own[rows], size, 1 / (4 << j)))
        out.append(found)
    return torch.cat(out)
