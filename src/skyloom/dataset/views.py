"""Two views of a multi-survey object: `late` at each survey's own pixels, `early` on one grid."""

from __future__ import annotations

import numpy as np

from skyloom.regrid import overlap


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
