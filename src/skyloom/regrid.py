"""From one grid of square pixels to another by the area that they share."""

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
