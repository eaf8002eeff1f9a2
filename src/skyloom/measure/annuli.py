"""Fluxes in annuli at one PSF for all bands: no profile is assumed, and colours of rings mean the same in every band.

Each band's pixels are convolved with the kernel that turns its PSF into a common Gaussian (Alard & Lupton 1998's task, here
with known PSFs: a ratio of transforms) and summed over discs around the target. All of that is linear, so an annulus is one set
of weights on the raw pixels: its flux is a weighted sum, its covariance follows from the pixels' variances and their
correlation. Neighbours and unusable pixels are replaced by those mirrored at the target: their weights go there.
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft
from scipy.special import j1

from skyloom.measure import noise

FLAGS = {"no_psf": 1, "psf_too_wide": 2, "uncovered": 4, "not_ok": 8}
LEAST_RATIO = 1.03  # of the common PSF's width to a band's: below it the kernel would have to sharpen
COVERED, LEAST_COVERED = 0.98, 0.5  # shares of an annulus that good pixels, or their mirrors, must hold: else flagged; else NaN
BORDER = 2.0  # common FWHM beyond the outermost ring within which its weights have died away
WHOLE = 0.95  # share of a PSF's light that must fall on a stamp


@functools.lru_cache(16)
def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """(ky (size, 1), kx (1, size // 2 + 1)) in rad/px of the rfft grid."""
    return 2 * np.pi * np.fft.fftfreq(size)[:, None], 2 * np.pi * np.fft.rfftfreq(size)[None, :]


def known(psf: np.ndarray) -> np.ndarray:
    """(...,) whether kernels (..., k, k) are any: finite, with light in them."""
    return np.isfinite(psf).all(axis=(-2, -1)) & (psf.max(axis=(-2, -1)) > 0) & (psf.sum(axis=(-2, -1)) > 0)


def fwhm(psf: np.ndarray) -> np.ndarray:
    """(...,) FWHM in px of the Gaussians that have the kernels' curvature at their cores: 2.355 / sqrt(2 pi peak) of kernels
    (..., k, k) of sum 1; NaN of what is no kernel."""
    peak = psf.max(axis=(-2, -1))
    return 2.3548 / np.sqrt(2 * np.pi * np.where(peak > 0, peak, np.nan))


def wider(psf: np.ndarray, size: int) -> np.ndarray:
    """(...,) whether kernels (..., k, k) are wider than a stamp of `size` px: where one loses light, or its FWHM is over a
    quarter of the stamp."""
    k = min(psf.shape[-1], size - (1 - size % 2))
    lo = (psf.shape[-1] - k) // 2
    return (fwhm(psf) > size / 4) | (psf[..., lo:lo + k, lo:lo + k].sum(axis=(-2, -1)) < WHOLE)


def transform(psf: np.ndarray, size: int) -> np.ndarray:
    """(..., size, size // 2 + 1) transforms of centred odd kernels (..., k, k), cut to `size` where they are larger."""
    k = min(psf.shape[-1], size - (1 - size % 2))
    lo, half = (psf.shape[-1] - k) // 2, k // 2
    kernel, canvas = psf[..., lo:lo + k, lo:lo + k], np.zeros((*psf.shape[:-2], size, size), psf.dtype)
    for rows, to_rows in ((slice(half, k), slice(0, k - half)), (slice(0, half), slice(size - half, size))):
        for columns, to_columns in ((slice(half, k), slice(0, k - half)), (slice(0, half), slice(size - half, size))):
            canvas[..., to_rows, to_columns] = kernel[..., rows, columns]
    return scipy.fft.rfft2(canvas)


@functools.lru_cache(16)
def _gaussian(size: int, common: float) -> np.ndarray:
    ky, kx = grid(size)
    return np.exp(-0.5 * (ky**2 + kx**2) * (common / 2.3548) ** 2).astype(np.float32)


def matching(otf: np.ndarray, common: float) -> np.ndarray:
    """Transforms of the kernels that turn PSFs, given by their transforms, into a Gaussian of `common` px FWHM, regularised where
    a PSF has no power (Wiener's ratio, 1e-4 of its peak)."""
    wanted = _gaussian(otf.shape[-2], common)
    return wanted * np.conj(otf) / (otf.real**2 + otf.imag**2 + 1e-4 * wanted)


@functools.lru_cache(16)
def _centred(size: int, radii: tuple[float, ...]) -> np.ndarray:
    """(len(radii), size, size // 2 + 1) transforms of rings around pixel (0, 0), the first a disc: 2 pi R J1(k R) / k."""
    k = np.hypot(*grid(size))
    out = np.empty((len(radii), *k.shape), np.float32)
    for n, radius in enumerate(radii):
        with np.errstate(invalid="ignore", divide="ignore"):
            out[n] = 2 * np.pi * radius * j1(k * radius) / k
        out[n, 0, 0] = np.pi * radius**2
    return np.diff(out, axis=0, prepend=np.float32(0))


def rings(size: int, radii, x: float, y: float) -> np.ndarray:
    """(annuli, size, size // 2 + 1) complex transforms of the rings between `radii` px (the first from 0) around pixel (x, y)."""
    ky, kx = grid(size)
    phase = np.exp(-1j * ky * y).astype(np.complex64) * np.exp(-1j * kx * x).astype(np.complex64)
    return _centred(size, tuple(float(r) for r in radii)) * phase


def weights(otf: np.ndarray, around: np.ndarray, common: float) -> np.ndarray:
    """(band, annuli, size, size) float32 weights on raw pixels of the rings `around` (as of `rings`) at the common PSF; otf
    (band, size, size // 2 + 1) the PSFs' transforms."""
    kernel = np.conj(matching(otf, common)).astype(np.complex64)
    return scipy.fft.irfft2(around * kernel[:, None], s=around.shape[-2:-1] * 2)


def folded(weight: np.ndarray, lost: np.ndarray, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    """(weights with those of lost pixels moved to the places mirrored at (x, y), share (...,) of their area kept).

    weight (..., y, x), lost (y, x) bool. A mirrored place lies between four pixels, which share its weight as a bilinear
    interpolation has it, the good ones of them; where they hold less than half of it, the pixel keeps nothing.
    """
    if not lost.any():
        return weight, np.ones(weight.shape[:-2])
    jy, jx = np.nonzero(lost)
    out = weight.reshape(-1, *lost.shape).copy()
    moved = out[:, jy, jx]
    out[:, jy, jx] = 0
    ty, tx = np.floor(2 * y - jy).astype(int), np.floor(2 * x - jx).astype(int)
    fy, fx = (2 * y) % 1, (2 * x) % 1
    taps = [(ty + dy, tx + dx, (fy if dy else 1 - fy) * (fx if dx else 1 - fx)) for dy in (0, 1) for dx in (0, 1)]
    shares = []
    for my, mx, share in taps:
        inside = (my >= 0) & (mx >= 0) & (my < lost.shape[0]) & (mx < lost.shape[1])
        inside[inside] = ~lost[my[inside], mx[inside]]
        shares.append(share * inside)
    whole = np.sum(shares, axis=0)
    kept = whole >= 0.5
    for (my, mx, _), share in zip(taps, shares, strict=True):
        use = np.flatnonzero(kept & (share > 0))
        out[:, my[use], mx[use]] += moved[:, use] * (share[use] / whole[use]).astype(np.float32)
    gone = np.abs(moved[:, ~kept]).sum(axis=1).reshape(weight.shape[:-2])
    return out.reshape(weight.shape), 1 - gone / np.maximum(np.abs(weight).sum(axis=(-2, -1)), 1e-30)


def covariance(weight: np.ndarray, ivar: np.ndarray, correlated: np.ndarray) -> np.ndarray:
    """(band, annuli, annuli) covariance of weighted sums: sigma_p sigma_q C(p - q) summed over pixel pairs.

    weight (band, annuli, y, x) that vanish at the border, where the transform wraps; ivar (band, y, x); correlated (band, r, r).
    """
    sigma = 1 / np.sqrt(np.where(ivar > 0, ivar, np.inf), dtype=np.float32)
    size, (bands, k) = weight.shape[-1], weight.shape[:2]
    # by Parseval's theorem: the sum over pairs is a sum over modes, those of kx > 0 twice
    found = scipy.fft.rfft2(weight * sigma[:, None])
    spectrum = np.stack([_doubled(one.tobytes(), one.shape[0], size) for one in np.ascontiguousarray(correlated, float)])
    found *= spectrum[:, None]
    parts = found.view(np.float32).reshape(bands, k, -1)
    return (parts @ parts.transpose(0, 2, 1)).astype(float) / size**2


@functools.lru_cache(64)
def _doubled(kernel: bytes, side: int, size: int) -> np.ndarray:
    """Square root of the noise's power on the rfft grid, of modes that stand for two times sqrt 2."""
    out = noise.power(np.frombuffer(kernel).reshape(side, side), size)
    out[:, 1:(size + 1) // 2] *= 2
    return np.sqrt(out).astype(np.float32)


def measure(image, ivar, lost, psf, ok, x: float, y: float, radii, common: float, correlated):
    """(flux (band, annuli), covariance (band, annuli, annuli), flags (band,)) of one object.

    image, ivar (band, y, x) in one unit of flux; lost (band, y, x) bool: unusable pixels and neighbours; psf (band, k, k) of
    sum 1, NaN where there is none; ok (band,) bool; (x, y) the target's pixel; radii (annuli,) px, ascending; `common` FWHM of
    the common PSF in px; correlated (band, r, r) as of `noise.correlation`. NaN where a band can't be measured.
    """
    k = len(radii)
    image, ivar, lost, x, y = _bordered(np.asarray(image), np.asarray(ivar), np.asarray(lost), x, y, radii, common)
    bands, size = len(image), image.shape[-1]
    flux, cov = np.full((bands, k), np.nan), np.full((bands, k, k), np.nan)
    there, wide = known(psf), (common < LEAST_RATIO * fwhm(psf)) | wider(psf, size)
    states = {"not_ok": ~np.asarray(ok, bool), "no_psf": ~there, "psf_too_wide": wide}
    flags = np.select(list(states.values()), [FLAGS[name] for name in states]).astype(np.int32)
    use = np.flatnonzero(flags == 0)
    if not len(use):
        return flux, cov, flags
    weight = weights(transform(psf[use], size), rings(size, radii, x, y), common)
    kept = np.ones(weight.shape[:2])
    for first in range(len(use)):  # bands of one mask are folded together
        alike = [n for n in range(first, len(use)) if np.array_equal(lost[use[n]], lost[use[first]])]
        if not any(np.array_equal(lost[use[first]], lost[use[n]]) for n in range(first)):
            weight[alike], kept[alike] = folded(weight[alike], lost[use[first]], x, y)
    gaps, dim = kept < LEAST_COVERED, kept < COVERED
    flags[use] = np.where(dim.any(axis=1), FLAGS["uncovered"], 0)
    # what is lost on both sides of the target is taken to be as bright as the rest of its ring
    weight[dim] /= np.where(gaps, np.inf, kept)[dim][:, None, None]
    flux[use] = (weight.reshape(*gaps.shape, -1) @ image[use].astype(np.float32).reshape(len(use), -1, 1))[..., 0]
    cov[use] = covariance(weight, ivar[use], correlated[use])
    flux[use] = np.where(gaps, np.nan, flux[use])
    cov[use] = np.where(gaps[:, :, None] | gaps[:, None], np.nan, cov[use])
    return flux, cov, flags


def _bordered(image, ivar, lost, x, y, radii, common):
    """(image, ivar, lost, x, y) with a border of lost pixels where rings would reach around a stamp that is too small."""
    size = image.shape[-1]
    reach = max(radii) + BORDER * common
    short = max(reach - min(x, y), x + reach - (size - 1), y + reach - (size - 1))
    if short <= 0:
        return image, ivar, lost, x, y
    pad = (scipy.fft.next_fast_len(size + 2 * int(np.ceil(short)), real=True) - size + 1) // 2
    grown = [np.pad(one, ((0, 0), (pad, pad), (pad, pad)), constant_values=value)
             for one, value in ((image, 0), (ivar, 0), (lost, True))]
    return (*grown, x + pad, y + pad)
