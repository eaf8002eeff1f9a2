"""Symmetries and rotations of stamps that leave no pixel undefined."""

from __future__ import annotations

import torch
from torch.nn import functional


def symmetry(images: torch.Tensor, which: int) -> torch.Tensor:
    """Images (n, band, y, x) under one of the 8 symmetries: quarter turns `which % 4`, then a flip if `which >= 4`."""
    turned = torch.rot90(images, which % 4, (2, 3))
    return torch.flip(turned, (3,)) if which >= 4 else turned


def rotated(images: torch.Tensor, angle: torch.Tensor, flip: torch.Tensor, size: int) -> torch.Tensor:
    """The central (n, band, size, size) of images (n, band, y, y), each turned by its angle (n,) in radians, then flipped
    where flip (n,) says so; bilinear. With y >= sqrt(2) size every pixel comes from inside the image. An angle of 0 is
    the plain crop where y and size are both even or both odd."""
    ratio = size / images.shape[-1]
    cos, sin = torch.cos(angle) * ratio, torch.sin(angle) * ratio
    sign = torch.where(flip, -1.0, 1.0)
    zero = torch.zeros_like(cos)
    theta = torch.stack([torch.stack([cos * sign, -sin, zero], 1), torch.stack([sin * sign, cos, zero], 1)], 1).to(images)
    grid = functional.affine_grid(theta, (len(images), images.shape[1], size, size), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
