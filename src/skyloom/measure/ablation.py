"""Take the target out of a stamp: detection, an ellipse of several Kron radii, filled with the background's noise.

After Engel et al. (2025, section 5.1): sep at 2 sigma; the source nearest the centre if it lies within 5 px; its
ellipse at 4 Kron radii; Gaussian noise of the background's median and NMAD; else a static aperture.
"""

from __future__ import annotations

import numpy as np
import sep

THRESHOLD, REACH, KRON = 2.0, 5.0, 4.0
STATIC = {"galex": 2.0, "ps1": 4.0, "unwise": 2.0}  # px


def target_mask(image: np.ndarray, bad: np.ndarray, static: float) -> tuple[np.ndarray, bool]:
    """((y, x) bool mask of the target's pixels, whether it was detected). `static` is the aperture's radius in px
    where nothing is found within 5 px of the centre."""
    image = np.ascontiguousarray(image, np.float32)
    y, x = np.mgrid[:image.shape[0], :image.shape[1]]
    cy, cx = (np.array(image.shape) - 1) / 2
    mask = np.hypot(x - cx, y - cy) <= static
    if bad.all():
        return mask, False
    try:
        background = sep.Background(image, mask=bad)
        net = image - background.back()
        found = sep.extract(net, THRESHOLD, err=background.globalrms, mask=bad) if background.globalrms > 0 else []
    except Exception as error:  # sep raises bare Exceptions when its buffers overflow
        if "overflow" not in str(error) and "buffer" not in str(error):
            raise
        return mask, False
    if not len(found):
        return mask, False
    distance = np.hypot(found["x"] - cx, found["y"] - cy)
    k = int(np.argmin(distance))
    if distance[k] > REACH:
        return mask, False
    row = found[k]
    kron, _ = sep.kron_radius(net, [row["x"]], [row["y"]], [row["a"]], [row["b"]], [row["theta"]], 6.0, mask=bad)
    radius = KRON * (float(kron[0]) if np.isfinite(kron[0]) and kron[0] > 0 else 1.0)
    ellipse = np.zeros(image.shape, bool)
    sep.mask_ellipse(ellipse, [row["x"]], [row["y"]], [row["a"]], [row["b"]], [row["theta"]], radius)
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
