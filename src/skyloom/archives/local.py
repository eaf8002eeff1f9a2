"""Local images as an archive: one band of one object from its manifest row, with its own scale, unit and zero point."""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass

import numpy as np

from skyloom import flux, wcs
from skyloom.archives import guard, imagefiles, units
from skyloom.archives.manifest import bands_of, read_manifest
from skyloom.errors import ReplyError

__all__ = ["LocalImage", "bands_of", "calibrated", "read_image", "read_manifest"]
LARGE = 2048**2  # px: of a larger image only a window around the target is read
REACH = 512  # px: half of that window, at least
SCALES_AGREE = 0.02  # planes and kernels within so much of the image's scale belong to it
ZERO_POINTS = (-60.0, 60.0)  # AB mag, from W m^-2 Hz^-1 to far below nJy; -99 and the like are no zero points


@dataclass
class LocalImage:
    """One band of one object as it lies on disk: pixels, variance or None, bad pixels, calibration, target, arcsec/px,
    kernel or None, 2x2 matrix from px to (east, north) in deg (NaN without a WCS), and what is amiss with the kernel."""

    image: np.ndarray
    variance: np.ndarray | None
    bad: np.ndarray
    zero_point: float
    x: float
    y: float
    pixel_scale: float
    psf: np.ndarray | None
    cd: np.ndarray
    note: str = ""


def read_image(row, default_scale: float, size: int | None = None) -> LocalImage:
    """The image of a manifest row (a mapping): manifest first, then the image's own header, then `default_scale` (arcsec/px).

    Of an image of more than LARGE px, where a stamp of `size` px is wanted, it is a window around the target. ReplyError
    with the file's name: `missing_file`, `bad_fits`, `no_hdu`, `bad_wcs`, `no_position`, `off_centre`, `no_zero_point`,
    `unknown_unit`, `unit_mismatch`, `wrong_shape`, `wrong_scale`, `all_zero`, `all_nan`.
    """
    with imagefiles.opened(row["path"]) as layers:
        layer = imagefiles.pick(layers, "image", row["hdu"])
        lead, shape = layer.plane(row["plane"])
        x, y, scale, cd = _place(layer, row, default_scale)
        zero_point = _zero_point(layer, row, scale)
        window = _window(row["path"], x, y, shape, size)
        data = layer.read((*lead, *window))
        planes = {kind: _companion(row, kind, layer, shape, window, (x, y), scale)
                  for kind in ("variance", "ivar", "mask") if row[f"{kind}_path"]}
    if not np.isfinite(data).any():
        raise ReplyError("all_nan", row["path"])
    if not np.any(np.nan_to_num(data)):
        raise ReplyError("all_zero", row["path"])
    variance = planes.get("variance")
    if "ivar" in planes:
        good = planes["ivar"] > 0
        variance = np.where(good, 1 / np.where(good, planes["ivar"], 1), np.inf)
    bad = ~np.isfinite(data) | (planes["mask"] != 0 if "mask" in planes else False)
    psf, note = _kernel(row, layer, scale) if row["psf_path"] else (None, "")
    return LocalImage(data, variance, bad, zero_point, x - window[1].start, y - window[0].start, scale, psf, cd, note)


def _place(layer, row, default) -> tuple[float, float, float, np.ndarray]:
    """(x, y, arcsec/px, matrix): what the manifest says, else the WCS, else the header's card of the scale or the default."""
    path, cd = row["path"], np.full((2, 2), np.nan)
    given = bool(np.isfinite([row["x"], row["y"]]).all())
    told = np.isfinite(row["pixel_scale"])
    # where the manifest tells everything, a broken WCS costs nothing but the orientation
    with contextlib.suppress(ReplyError) if given and told else contextlib.nullcontext(), guard.reading(path, "bad_wcs"):
        sky = layer.sky()
        if given:
            x, y = float(row["x"]), float(row["y"])
        elif sky is None or not np.isfinite([row["ra"], row["dec"]]).all():
            raise ReplyError("no_position", f"{path}: neither x, y nor ra, dec with a celestial WCS"
                                            + (f" (CTYPE1 is {layer.header['CTYPE1']!r})" if _ctype(layer) else ""))
        else:
            x, y = wcs.target_pixel(sky, row["ra"], row["dec"])
        if not np.isfinite([x, y]).all():
            raise ReplyError("off_centre", f"{path}: the projection doesn't show ra {row['ra']}, dec {row['dec']}")
        if sky is not None:
            found = wcs.local_cd(sky, x, y)
            if not (np.isfinite(found).all() and np.linalg.det(found)):
                raise ReplyError("bad_wcs", f"{path}: the WCS has the matrix {found.tolist()} at the target")
            cd = found
    if given:
        x, y = float(row["x"]), float(row["y"])
    seen = wcs.pixel_scale(cd)
    stated = imagefiles.stated_scale(layer.header)
    scale = next(float(value) for value in (row["pixel_scale"], seen, stated, default) if np.isfinite(value))
    return x, y, scale, cd * (scale / seen)


def _ctype(layer) -> bool:
    return layer.header is not None and "CTYPE1" in layer.header


def _window(path, x, y, shape, size) -> tuple[slice, slice]:
    """Slices (y, x) of what is read: all of an image, of a large one what lies around the target."""
    if size is None or shape[0] * shape[1] <= LARGE:
        return slice(0, shape[0]), slice(0, shape[1])
    half = max(REACH, 2 * size)
    out = tuple(slice(max(0, int(v) - half), min(n, int(v) + half)) for v, n in ((y, shape[0]), (x, shape[1])))
    if any(part.start >= part.stop for part in out):
        raise ReplyError("off_centre", f"{path}: position at pixel ({x:.1f}, {y:.1f}) of a {shape[1]}x{shape[0]} image")
    return out


def _companion(row, kind, image, shape, window, target, scale) -> np.ndarray:
    """The image's `variance`, `ivar` or `mask`, which must lie on the image's own pixels."""
    path = row[f"{kind}_path"]
    with imagefiles.opened(path) as layers:
        layer = imagefiles.pick(layers, kind, row[f"{kind}_hdu"])
        _another(layer, image, kind)
        lead, own = layer.plane(row["plane"])
        if own != shape:
            raise ReplyError("wrong_shape", f"{path}: {kind} of {own[1]}x{own[0]} px for an image of {shape[1]}x{shape[0]} px")
        expected = _wcs_scale(image, target)
        _same_scale(path, kind, _wcs_scale(layer, target), expected if np.isfinite(expected) else scale)
        return layer.read((*lead, *window))


def _another(layer, image, kind) -> None:
    """ReplyError `no_hdu` where a plane or kernel is the image itself, by whatever link."""
    if layer.number == image.number and os.path.samefile(layer.path, image.path):
        raise ReplyError("no_hdu", f"{layer.path}: HDU {layer} is the image itself, not its {kind}")


def _wcs_scale(layer, target) -> float:
    """arcsec/px by an image's own WCS at a pixel, NaN where it has none that can be used."""
    with contextlib.suppress(ReplyError), guard.reading(layer.path):
        sky = layer.sky()
        return float("nan") if sky is None else wcs.pixel_scale(wcs.local_cd(sky, *target))
    return float("nan")


def _same_scale(path, kind, found: float, expected: float) -> None:
    if abs(found / expected - 1) > SCALES_AGREE:
        raise ReplyError("wrong_scale", f"{path}: {kind} of {found:.4f} arcsec/px for an image of {expected:.4f} arcsec/px")


def _kernel(row, image, scale) -> tuple[np.ndarray | None, str]:
    """(kernel of any size and sum, "") of the row's PSF file, or (None, why it is none)."""
    path = row["psf_path"]
    with imagefiles.opened(path) as layers:
        layer = imagefiles.pick(layers, "psf", row["psf_hdu"])
        _another(layer, image, "psf")
        lead, (ny, nx) = layer.plane(row["plane"])
        own = _wcs_scale(layer, ((nx - 1) / 2, (ny - 1) / 2))
        _same_scale(path, "psf", own if np.isfinite(own) else imagefiles.stated_scale(layer.header), scale)
        psf = layer.read(lead)
    if not np.isfinite(psf).all() or not psf.sum() > 0:
        return None, f"{path}: no finite kernel of positive sum"
    return psf, ""


def _zero_point(layer, row, scale) -> float:
    """The AB zero point: the manifest's, else the one that the unit itself has, else the header's FLUXMAG0, MAGZERO, MAGZPT or
    ZP. One that can't be the unit's is refused."""
    path, heads = row["path"], [head for head in (layer.header, layer.top) if head is not None]
    unit = row["unit"] or next((str(head["BUNIT"]) for head in heads if str(head.get("BUNIT") or "").strip()), "")
    try:
        own = units.implied(unit, scale)
        stated, who = (float(row["zero_point"]), "the manifest") if np.isfinite(row["zero_point"]) else _header_zero(heads, own)
        if who:
            units.check(unit, scale, stated, who)
            if not ZERO_POINTS[0] <= stated <= ZERO_POINTS[1]:
                raise ReplyError("no_zero_point", f"{who} says {stated:g}, which is none")
    except ReplyError as error:
        raise ReplyError(error.cause, f"{path}: {str(error).removeprefix(error.cause + ': ')}") from None
    if not who and own is None:
        raise ReplyError("no_zero_point", f"{path}: neither the manifest nor the header gives one")
    return stated if who else own


def _header_zero(heads, own) -> tuple[float, str]:
    """(zero point, card that says it) of the first header with one, (NaN, "") without any."""
    for head in heads:
        for key in ("FLUXMAG0", "MAGZERO", "MAGZPT", "ZP"):
            if key not in head:
                continue
            try:
                value = float(head[key])
                return float(2.5 * math.log10(value) if key == "FLUXMAG0" else value), key
            except (TypeError, ValueError):
                if own is None:
                    raise ReplyError("no_zero_point", f"{key} is {head[key]!r}, no number") from None
    return float("nan"), ""


def calibrated(local: LocalImage):
    """(image nJy, ivar nJy^-2, unusable): ivar from the variance plane, else from the stamp's own sky noise."""
    if local.variance is not None:
        image, ivar = flux.calibrate(local.image, local.variance, local.zero_point)
    else:
        image = np.where(np.isfinite(local.image), local.image, 0) * flux.njy_per_count(local.zero_point)
        image = image.astype(np.float32)
        ivar = flux.robust_ivar(np.where(local.bad, np.nan, image))
    unusable = local.bad | (ivar == 0)
    return image, np.where(unusable, np.float32(0), ivar), unusable
