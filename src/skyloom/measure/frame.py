"""How a stamp's pixels lie on the sky: angles as north and east have them, pixels that are no squares."""

from __future__ import annotations

import numpy as np

OBLONG = 0.01  # a pixel whose sides differ by more, or are so much off the right angle


def sky_angle(angle: np.ndarray, cd: np.ndarray) -> np.ndarray:
    """Angles (...) in deg from x to y of the image as they are in one with north up and east left: from west to north, the
    position angle plus 90. cd (..., 2, 2) from px to (east, north); where it is NaN, or that frame's already, nothing changes.
    """
    theta = np.radians(angle)
    east, north = np.einsum("...ij,...j->i...", cd, np.stack([np.cos(theta), np.sin(theta)], axis=-1))
    turned = (np.degrees(np.arctan2(north, -east)) + 90) % 180 - 90
    upright = (cd[..., 0, 1] == 0) & (cd[..., 1, 0] == 0) & (cd[..., 0, 0] < 0) & (cd[..., 1, 1] > 0)
    return np.where(upright | ~np.isfinite(cd).all(axis=(-2, -1)), angle, turned)


def oblong(cd: np.ndarray) -> np.ndarray:
    """Where the pixels of (..., 2, 2) matrices are no squares: radii and ellipticities in px mean nothing there."""
    x, y = np.hypot(cd[..., 0, 0], cd[..., 1, 0]), np.hypot(cd[..., 0, 1], cd[..., 1, 1])
    slant = (cd[..., 0, 0] * cd[..., 0, 1] + cd[..., 1, 0] * cd[..., 1, 1]) / (x * y)
    return (np.abs(x / y - 1) > OBLONG) | (np.abs(slant) > OBLONG)
