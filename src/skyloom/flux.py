"""One unit inside: nanojansky with inverse variance. Formulas by name.

AB magnitude (Oke & Gunn 1983): m = -2.5 log10(f / 3631 Jy) = 31.4 - 2.5 log10(f / nJy).
"""

from __future__ import annotations

import numpy as np

NJY_ZERO_POINT = 31.4  # AB magnitude of 1 nJy, to the mmag that surveys quote


def njy_per_count(zero_point):
    """nJy of one count in an image of AB `zero_point`: 10^(0.4 (31.4 - zero_point))."""
    return 10.0 ** (0.4 * (NJY_ZERO_POINT - np.asarray(zero_point, float)))


def magnitude(njy, zero_point: float = NJY_ZERO_POINT):
    """AB magnitude of a flux; NaN where the flux is not positive."""
    njy = np.asarray(njy, float)
    out = np.full(njy.shape, np.nan)
    good = njy > 0
    out[good] = zero_point - 2.5 * np.log10(njy[good])
    return out


def calibrate(counts, variance, zero_point):
    """Return (image nJy, ivar nJy^-2) float32 from counts and their variance.

    Pixels whose counts or variance are not finite, or whose variance is not positive, get image 0 and ivar 0.
    """
    scale = njy_per_count(zero_point)
    with np.errstate(divide="ignore", invalid="ignore"):
        ivar = 1.0 / (np.asarray(variance, np.float64) * scale**2)
    image = np.asarray(counts, np.float64) * scale
    bad = ~(np.isfinite(image) & np.isfinite(ivar) & (ivar > 0))
    image[bad], ivar[bad] = 0.0, 0.0
    return image.astype(np.float32), ivar.astype(np.float32)


def robust_ivar(image):
    """Constant ivar from the pixel scatter of an image (1.4826 MAD, Hoaglin et al. 1983); 0 where not finite."""
    good = np.isfinite(image)
    if not good.any():
        return np.zeros(np.shape(image), np.float32)
    values = image[good]
    sigma = 1.4826 * np.median(np.abs(values - np.median(values)))
    return np.where(good, 1.0 / sigma**2 if sigma > 0 else 0.0, 0.0).astype(np.float32)
