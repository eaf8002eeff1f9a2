"""Local images as an archive: a CSV manifest with one row an object and band, FITS or npz files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skyloom import flux
from skyloom.archives import ids
from skyloom.errors import InputError, ReplyError

REQUIRED = ("object_id", "band", "path")
OPTIONAL = ("hdu", "plane", "zero_point", "ra", "dec", "x", "y", "variance_path", "variance_hdu", "mask_path", "mask_hdu",
            "psf_path", "pixel_scale")


@dataclass
class LocalImage:
    """One band of one object as it lies on disk: counts, variance or None, bad pixels, calibration, target, kernel."""

    image: np.ndarray
    variance: np.ndarray | None
    bad: np.ndarray
    zero_point: float
    x: float
    y: float
    pixel_scale: float
    psf: np.ndarray | None


def read_manifest(path):
    """The manifest with object_id as int64 (text ids hashed, kept as source_id); paths relative to its folder.

    InputError names a missing or unknown column, or a row that repeats an object and band.
    """
    import pandas

    if not Path(path).is_file():
        raise InputError(f"the manifest {path} does not exist; name an existing CSV under `local.images`")
    table = pandas.read_csv(path, dtype={"object_id": str, "band": str, "path": str}, skipinitialspace=True)
    absent = [name for name in REQUIRED if name not in table]
    unknown = [name for name in table if name not in REQUIRED + OPTIONAL]
    if absent or unknown:
        what = f"lacks column `{absent[0]}`" if absent else f"has an unknown column `{unknown[0]}`"
        raise InputError(f"the manifest {path} {what}; columns are {', '.join(REQUIRED + OPTIONAL)}")
    for name in OPTIONAL:
        if name not in table:
            table[name] = np.nan
    missing = table["object_id"].isna()
    table["object_id"], source = ids.canonical(table["object_id"].astype(object).where(~missing, None), f"object_id of {path}")
    if source is not None:
        table["source_id"] = source
    twice = table.duplicated(["object_id", "band"])
    if twice.any():
        row = table[twice].iloc[0]
        raise InputError(f"the manifest {path} names object {row['object_id']}, band {row['band']} twice; drop one row")
    folder = Path(path).resolve().parent
    for name in ("path", "variance_path", "mask_path", "psf_path"):
        table[name] = [str(folder / v) if isinstance(v, str) and v else "" for v in table[name]]
    return table


def bands_of(table) -> list[str]:
    """Bands in the order of their first appearance."""
    return list(dict.fromkeys(table["band"]))


def read_image(row, default_scale: float) -> LocalImage:
    """The image of a manifest row (a mapping), with the header's own WCS and zero point where the row gives none.

    ReplyError: `missing_file`, `bad_fits`, `no_zero_point`, `no_position`, `all_zero`, `all_nan`.
    """
    data, header, top = _pixels(row["path"], row["hdu"])
    if np.isfinite(row["plane"]) and data.ndim == 3:
        data = data[int(row["plane"])]
    if data.ndim != 2:
        raise ReplyError("bad_fits", f"{row['path']}: {data.ndim} axes, not 2; give `plane`")
    if not np.isfinite(data).any():
        raise ReplyError("all_nan", row["path"])
    if not np.any(data):
        raise ReplyError("all_zero", row["path"])
    variance = mask = psf = None
    if row["variance_path"]:
        variance = _pixels(row["variance_path"], row["variance_hdu"])[0]
    if row["mask_path"]:
        mask = _pixels(row["mask_path"], row["mask_hdu"])[0]
    if row["psf_path"]:
        psf = _pixels(row["psf_path"], np.nan)[0]
        psf = psf / psf.sum()
    x, y = _target(row, header)
    scale = row["pixel_scale"] if np.isfinite(row["pixel_scale"]) else _scale(header, default_scale)
    bad = ~np.isfinite(data) | (mask != 0 if mask is not None else False)
    return LocalImage(data, variance, np.broadcast_to(bad, data.shape), _zero_point(row, header, top), x, y, scale, psf)


def _pixels(path, hdu):
    """(float32 pixels, header or None, primary header or None) of a FITS or npz file."""
    if not Path(path).is_file():
        raise ReplyError("missing_file", str(path))
    if str(path).endswith(".npz"):
        with np.load(path) as archive:
            return np.asarray(archive[archive.files[0]], np.float32), None, None
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            usable = [k for k, h in enumerate(hdus) if getattr(h, "data", None) is not None and h.is_image]
            number = int(hdu) if np.isfinite(hdu) else usable[0]
            return np.asarray(hdus[number].data, np.float32), hdus[number].header, hdus[0].header
    except (OSError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ReplyError("bad_fits", f"{path}: {' '.join(str(error).split())[:100]}") from None


def _target(row, header):
    if np.isfinite(row["x"]) and np.isfinite(row["y"]):
        return float(row["x"]), float(row["y"])
    if header is not None and "CTYPE1" in header and np.isfinite(row["ra"]):
        from skyloom.wcs import target_pixel

        return target_pixel(header, row["ra"], row["dec"])
    raise ReplyError("no_position", f"{row['path']}: neither x, y nor a WCS with ra, dec")


def _scale(header, default):
    if header is None or "CTYPE1" not in header:
        return default
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    return float(np.sqrt(np.prod(proj_plane_pixel_scales(WCS(header).celestial)))) * 3600


def _zero_point(row, header, top) -> float:
    """The manifest's AB zero point, else the header's FLUXMAG0, MAGZERO, MAGZPT or ZP."""
    if np.isfinite(row["zero_point"]):
        return float(row["zero_point"])
    for cards in (header, top):
        if cards is None:
            continue
        if "FLUXMAG0" in cards:
            return float(2.5 * np.log10(cards["FLUXMAG0"]))
        for key in ("MAGZERO", "MAGZPT", "ZP"):
            if key in cards:
                return float(cards[key])
    raise ReplyError("no_zero_point", f"{row['path']}: neither the manifest nor the header gives one")


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
