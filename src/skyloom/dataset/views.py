"""Two views of a multi-survey object: `late` at each survey's own pixels, `early` on one grid."""

from __future__ import annotations

import functools

import numpy as np


@functools.lru_cache(256)
def overlap(size: int, scale: float, shift: float, out_size: int, out_scale: float) -> np.ndarray:
    """(out_size, size) float64 share of each input pixel that falls on each output pixel, along one axis.

    Both grids are centred, the input's centre `shift` input pixels from the target. Columns of pixels that lie wholly
    inside the output grid add up to 1, so flux is conserved.
    """
    edges = (np.arange(size + 1) - size / 2 - shift) * scale
    out_edges = (np.arange(out_size + 1) - out_size / 2) * out_scale
    low = np.maximum(edges[None, :-1], out_edges[:-1, None])
    high = np.minimum(edges[None, 1:], out_edges[1:, None])
    return np.clip(high - low, 0, None) / scale


def early(image, ivar, mask_bad, scale: float, out_size: int, out_scale: float, offset=(0.0, 0.0)):
    """One band on a common grid: (image, ivar, bad) of (out_size, out_size).

    image (y, x) flux a pixel, ivar its inverse variance (0 = unusable), mask_bad (y, x) bool, scale in arcsec/px,
    offset (x, y) of the target from the stamp's centre in px. Flux goes to output pixels by overlap area (total flux
    conserved inside the grid); variances add with the squares of the shares, correlations are neglected; an output
    pixel is bad where more than half of it saw no good pixel.
    """
    x = overlap(image.shape[1], scale, float(offset[0]), out_size, out_scale)
    y = overlap(image.shape[0], scale, float(offset[1]), out_size, out_scale)
    good = ~mask_bad & (ivar > 0)
    flux = y @ np.where(good, image, 0.0) @ x.T
    variance = (y**2) @ np.where(good, 1.0 / np.where(good, ivar, 1.0), 0.0) @ (x**2).T
    # share of each output pixel's area that good pixels cover
    area = (scale / out_scale) ** 2
    seen = y @ good.astype(float) @ x.T * area
    bad = seen < 0.5
    with np.errstate(divide="ignore"):
        weight = np.where((variance > 0) & ~bad, 1.0 / np.where(variance > 0, variance, 1.0), 0.0)
    return flux.astype(np.float32), weight.astype(np.float32), bad


def late(image, ivar, mask_bad, size: int):
    """One band at its own pixels: the central size x size of (image, ivar, bad)."""
    start = (image.shape[0] - size) // 2
    window = (slice(start, start + size),) * 2
    return image[window], ivar[window], mask_bad[window] | (ivar[window] == 0)
