"""Take the target out of a stamp: an ellipse of several Kron radii, filled with the background's noise.

After Engel et al. (2025, section 5.1): the target's ellipse at 4 Kron radii is filled with Gaussian noise of the
background's median and NMAD; where nothing is detected near the centre, a static aperture.
"""

from __future__ import annotations

import numpy as np
import sep

from skyloom.measure.target import find

KRON = 4.0


def target_mask(image: np.ndarray, bad: np.ndarray, static: float) -> tuple[np.ndarray, bool]:
    """((y, x) bool mask of the target's pixels, whether it was detected). `static` is the aperture's radius in px
    where nothing is found within 5 px of the centre."""
    y, x = np.mgrid[:image.shape[0], :image.shape[1]]
    cy, cx = (np.array(image.shape) - 1) / 2
    mask = np.hypot(x - cx, y - cy) <= static
    _, target = find(image, bad)
    if target is None:
        return mask, False
    ellipse = np.zeros(image.shape, bool)
    sep.mask_ellipse(ellipse, *target.ellipse, KRON * target.kron)
    return ellipse | mask, True


def remove(image: np.ndarray, bad: np.ndarray, static: float, rng: np.random.Generator) -> np.ndarray:
    """The stamp (y, x) without its target: masked pixels drawn from a Gaussian of the rest's median and NMAD.

    A stamp without usable pixels comes back as it is. `rng` decides the noise, so the caller decides repeatability.
    """
    mask, _ = target_mask(image, bad, static)
    rest = image[~mask & ~bad]
    if not rest.size:
        return image.copy()
    median = np.median(rest)
    spread = 1.4826 * np.median(np.abs(rest - median))
    out = image.copy()
    fill = mask & ~bad
    out[fill] = rng.normal(median, spread, int(fill.sum())).astype(image.dtype)
    return out
