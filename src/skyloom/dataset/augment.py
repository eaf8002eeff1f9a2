"""The eight symmetries of the square: flips and quarter turns lose no pixel."""

from __future__ import annotations

import torch


def symmetry(images: torch.Tensor, which: int) -> torch.Tensor:
    """Images (n, band, y, x) under one of the 8 symmetries: quarter turns `which % 4`, then a flip if `which >= 4`."""
    turned = torch.rot90(images, which % 4, (2, 3))
    return torch.flip(turned, (3,)) if which >= 4 else turned
