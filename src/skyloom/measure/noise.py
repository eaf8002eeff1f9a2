"""Noise of resampled images: neighbouring pixels share it, so sums over pixels scatter more than their variances say."""

from __future__ import annotations

import numpy as np
import scipy.fft

REACH = 3  # px to which noise is taken to be correlated: coadds are made with kernels of a few pixels
LEAST = 2000  # pairs of pixels below which a lag's correlation isn't believed


def correlation(images, ivars, bads, reach: int = REACH, clip: float = 3.0) -> np.ndarray:
    """(2 reach + 1, 2 reach + 1) autocorrelation of the noise, 1 at its centre, from the empty pixels of stamps.

    Iterables of images (y, x), ivar and bad (y, x): each pixel in units of its own sigma, the stamp's median taken off,
    pixels beyond `clip` of their robust spread (sources) left out. The identity where there are too few pixels.
    """
    side = 2 * reach + 1
    total, pairs = np.zeros((side, side)), np.zeros((side, side))
    for image, ivar, bad in zip(images, ivars, bads, strict=True):
        good = ~bad & (ivar > 0) & np.isfinite(image)
        if good.sum() < 100:
            continue
        unit = np.where(good, image * np.sqrt(np.where(good, ivar, 0)), 0.0)
        middle = np.median(unit[good])
        spread = 1.4826 * np.median(np.abs(unit[good] - middle))
        good &= np.abs(unit - middle) < clip * max(spread, 1e-9)
        values = np.where(good, unit - middle, 0.0)
        for name, field in (("total", values), ("pairs", good.astype(float))):
            found = _autocorrelation(field, reach)
            total, pairs = (total + found, pairs) if name == "total" else (total, pairs + found)
    if pairs.min() < LEAST or total[reach, reach] <= 0:
        out = np.zeros((side, side))
        out[reach, reach] = 1.0
        return out
    mean = total / pairs
    out = mean / mean[reach, reach]
    return (out + out[::-1, ::-1]) / 2


def _autocorrelation(field: np.ndarray, reach: int) -> np.ndarray:
    """Sums of products at every lag up to `reach`, nothing wrapped around."""
    shape = tuple(n + reach for n in field.shape)
    spectrum = np.abs(scipy.fft.rfft2(field, s=shape)) ** 2
    whole = scipy.fft.irfft2(spectrum, s=shape)
    return np.roll(whole, (reach, reach), (0, 1))[:2 * reach + 1, :2 * reach + 1]


def power(kernel: np.ndarray, size: int) -> np.ndarray:
    """(size, size // 2 + 1) power of noise of variance 1 a pixel and autocorrelation `kernel`, on the rfft grid; at least 1 %
    of its mean, so that no mode weighs for ever."""
    reach = len(kernel) // 2
    canvas = np.zeros((size, size))
    canvas[:2 * reach + 1, :2 * reach + 1] = kernel
    found = scipy.fft.rfft2(np.roll(canvas, (-reach, -reach), (0, 1))).real
    return np.maximum(found, 0.01)
