"""A stamp: one band of one object in nJy with inverse variance, mask and status, cut from calibrated planes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from skyloom import flux, wcs
from skyloom.archives.plane import Plane
from skyloom.errors import ReplyError

STATUS = ("ok", "no_coverage", "masked", "too_small", "failed")
CORE, SHIFT = 0.2, 0.05  # of a kernel's peak; px: a kernel whose centroid is no further off stays as it is
UNUSABLE = np.uint32(1 << 31)  # our bit in the stored mask: the archive's planes (or a NaN) make the pixel useless


@dataclass
class Stamp:
    """One band of one object: nJy, nJy^-2, mask, status, why (of an `ok` one: what is amiss all the same), calibration, and
    where the target lies. `cd` is the 2x2 matrix from px to (east, north) in deg, NaN where no WCS says it; with `crval` (deg)
    and `crpix` (1-based px of the stamp) it is the stamp's gnomonic WCS, where it has one; `pixel_scale` (arcsec) is NaN where
    it is the survey's."""

    image: np.ndarray
    ivar: np.ndarray
    mask: np.ndarray
    status: str
    cause: str = ""
    zero_point: float = np.nan
    offset: tuple[float, float] = (np.nan, np.nan)  # target minus stamp centre, px (x, y)
    pixel_scale: float = np.nan
    cd: np.ndarray = field(default_factory=lambda: np.full((2, 2), np.nan))
    crval: tuple[float, float] = (np.nan, np.nan)
    crpix: tuple[float, float] = (np.nan, np.nan)


def blank(size: int, status: str, cause: str = "") -> Stamp:
    """A stamp without data: image and ivar zero, every pixel unusable."""
    zero = np.zeros((size, size), np.float32)
    return Stamp(zero, zero.copy(), np.full((size, size), UNUSABLE, np.uint32), status, cause)


def cut_stamp(plane: Plane, ra: float, dec: float, size: int, max_masked: float, pad: bool = False) -> Stamp:
    """The size x size stamp centred on (ra, dec) by the plane's own WCS, calibrated by its own zero point.

    Status `too_small` where the image doesn't hold the stamp (unless `pad`: the rest has ivar 0), `masked` where
    more than `max_masked` of the pixels within a quarter of the stamp of its centre are unusable.
    """
    x, y = wcs.tan_pixel(plane.crval, plane.crpix, plane.cd, ra, dec)
    image, ivar, mask = calibrated(plane)
    out = window_stamp(image, ivar, mask, x, y, plane.zero_point, size, max_masked, pad)
    return _placed(out, plane, x, y)


def _placed(stamp: Stamp, plane: Plane, x: float, y: float) -> Stamp:
    """The stamp with the plane's WCS; the target lies on the plane's pixel (x, y)."""
    middle = (len(stamp.image) - 1) / 2
    shift = [stamp.offset[k] + middle - at for k, at in enumerate((x, y))]
    stamp.crval, stamp.crpix, stamp.cd = plane.crval, tuple(plane.crpix[k] + float(np.rint(shift[k])) for k in (0, 1)), plane.cd
    return stamp


def calibrated(plane: Plane):
    """(image nJy, ivar nJy^-2, mask uint32) of a plane; without a variance, ivar is the image's own robust scatter."""
    if plane.variance is None:
        image = np.where(plane.bad, np.nan, plane.image) * flux.njy_per_count(plane.zero_point)
        ivar = flux.robust_ivar(image)
        image = np.nan_to_num(image, nan=0.0).astype(np.float32)
    else:
        image, ivar = flux.calibrate(plane.image, plane.variance, plane.zero_point)
    unusable = plane.bad | (ivar == 0)
    mask = plane.mask.astype(np.uint32) | np.where(unusable, UNUSABLE, np.uint32(0))
    ivar[unusable] = 0
    return image, ivar, mask


def window_stamp(image, ivar, mask, x, y, zero_point, size: int, max_masked: float, pad: bool) -> Stamp:
    """The stamp around pixel (x, y) of calibrated planes; status as for `cut_stamp`."""
    if pad:
        image, ivar, mask, x, y = _padded(image, ivar, mask, x, y, size)
    try:
        window = wcs.centre_crop(x, y, image.shape, size)
    except ReplyError as error:
        status = "too_small" if error.cause == "too_small" else "failed"
        return blank(size, status, str(error))
    middle = (size - 1) / 2
    out = Stamp(image[window], ivar[window], mask[window], "ok", "", zero_point,
                (x - window[1].start - middle, y - window[0].start - middle))
    fraction = masked_fraction(out.mask)
    if fraction > max_masked:
        out.status, out.cause = "masked", f"{fraction:.2f} of the central pixels are unusable"
    return out


def centred(plane: Plane, pixels, ra: float, dec: float, settings: dict) -> Stamp:
    """The stamp of a whole cutout that was asked for at its size: `pixels` as `calibrated` returns them.

    Status `masked` where more than `max_nan_fraction` of all pixels, or more than `max_masked_fraction` of the central
    ones, are unusable.
    """
    image, ivar, mask = pixels
    size = len(image)
    x, y = wcs.tan_pixel(plane.crval, plane.crpix, plane.cd, ra, dec)
    middle = (size - 1) / 2
    out = _placed(Stamp(image, ivar, mask, "ok", "", plane.zero_point, (x - middle, y - middle)), plane, x, y)
    whole, inner = float(np.mean((mask & UNUSABLE) != 0)), masked_fraction(mask)
    if whole > settings["max_nan_fraction"]:
        out.status, out.cause = "masked", f"{whole:.3f} of the pixels are undefined"
    elif inner > settings["max_masked_fraction"]:
        out.status, out.cause = "masked", f"{inner:.2f} of the central pixels are unusable"
    return out


def masked_fraction(mask: np.ndarray) -> float:
    """Fraction of unusable pixels within a quarter of the stamp's side of its centre."""
    size = mask.shape[-1]
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    inner = np.hypot(x, y) <= size / 4
    return float(np.mean((mask[inner] & UNUSABLE) != 0))


def _padded(image, ivar, mask, x, y, size):
    """The planes with a border of unusable pixels wide enough for any window around (x, y)."""
    grown = [np.pad(a, size, constant_values=v) for a, v in ((image, 0), (ivar, 0), (mask, UNUSABLE))]
    return (*grown, x + size, y + size)


def fit_kernel(kernel: np.ndarray, size: int) -> np.ndarray:
    """A kernel cut or zero-padded to odd (size, size), renormalised to sum 1; one of an even side is centred first."""
    if kernel.shape[0] % 2 == 0 or kernel.shape[1] % 2 == 0:
        kernel = centred_kernel(kernel)
    out = np.zeros((size, size), np.float32)
    cy, cx, c = kernel.shape[0] // 2, kernel.shape[1] // 2, size // 2
    hy, hx = min((size - 1) // 2, cy), min((size - 1) // 2, cx)
    out[c - hy:c + hy + 1, c - hx:c + hx + 1] = kernel[cy - hy:cy + hy + 1, cx - hx:cx + hx + 1]
    return out / out.sum()


def centred_kernel(kernel: np.ndarray) -> np.ndarray:
    """A finite kernel of positive sum with its core's centroid on the central pixel of odd sides, sum 1.

    The core is what is connected with the peak above CORE of it, so that neither a pedestal nor another star counts. Whole
    pixels are moved; the rest of a shift above SHIFT px (half a pixel in a kernel of even side) is a cubic spline's, which
    broadens a kernel less than sharing pixels out by area would.
    """
    from scipy import ndimage

    kernel = np.asarray(kernel, float) / np.sum(kernel, dtype=float)
    peak = np.unravel_index(np.argmax(kernel), kernel.shape)
    core = np.clip(kernel - CORE * kernel[peak], 0, None)
    blobs, _ = ndimage.label(core)
    centre = np.array(ndimage.center_of_mass(np.where(blobs == blobs[peak], core, 0)))
    near = np.rint(centre).astype(int)
    half = np.maximum(near, np.array(kernel.shape) - 1 - near) + 2  # a border in which the spline dies away
    out = np.zeros(2 * half + 1)
    start = half - near
    out[start[0]:start[0] + kernel.shape[0], start[1]:start[1] + kernel.shape[1]] = kernel
    if np.abs(near - centre).max() > SHIFT:
        out = ndimage.shift(out, near - centre, order=3, mode="grid-constant")
    return out / out.sum()


def moment_kernel(xx: float, yy: float, xy: float, size: int) -> np.ndarray:
    """(size, size) float32 Gaussian of sum 1 with second moments in px^2 along the pixels' axes."""
    y, x = np.mgrid[:size, :size] - size // 2
    out = np.exp(-0.5 * (yy * x**2 + xx * y**2 - 2 * xy * x * y) / (xx * yy - xy**2))
    return (out / out.sum()).astype(np.float32)


def gaussian_kernel(fwhm: float, size: int) -> np.ndarray:
    """(size, size) float32 round Gaussian of `fwhm` px and sum 1, for surveys that serve no PSF with their stamps."""
    y, x = np.mgrid[:size, :size] - size // 2
    out = np.exp(-4 * np.log(2) * (x**2 + y**2) / fwhm**2)
    return (out / out.sum()).astype(np.float32)
