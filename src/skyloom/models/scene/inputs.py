"""From a tile's pixels to what the network sees; its constants are fitted on the training tiles and kept in model.json."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from skyloom.errors import InputError

CELL = 2  # px across a cell: the grid of the maps
STRIDE = 16  # px: sides are padded to a multiple, that of the coarsest maps
CLIP = 3e4  # sigma: brighter pixels look alike, or half precision overflows
DARK = -5.0  # depth of a pixel without data
FWHM = 2.3548  # of a Gaussian, in its standard deviations
APERTURES = (1.5, 2.2, 3.5)  # Gaussian apertures, in the widest usual PSF's standard deviations
SCALE_TOLERANCE = 0.02


@dataclass
class Tile:
    """One tile: image (band, y, x) nJy, ivar (band, y, x) nJy^-2 (0 = no data), `psf_fwhm` (band,) arcsec, names of the bands,
    arcsec a pixel; `saturated` (y, x) bool where it is known."""

    image: np.ndarray
    ivar: np.ndarray
    psf_fwhm: np.ndarray
    bands: tuple[str, ...]
    pixel_scale: float
    unit: str = "nJy"
    saturated: np.ndarray | None = None


def fit(sigma: np.ndarray, psf_fwhm: np.ndarray) -> dict:
    """Constants of an input: `sigma` (band,) nJy a pixel, and apertures in arcsec, from the tiles' noise and PSF widths, each
    (tile, band), NaN where a band wasn't seen."""
    if not (np.isfinite(sigma).any(axis=0).all() and np.isfinite(psf_fwhm).any(axis=0).all()):
        raise InputError("no training tile has data and a PSF width in some band; leave that band out of the survey's bands")
    usual, width = np.nanmedian(sigma, axis=0), np.nanmedian(psf_fwhm, axis=0)
    widest = float(width.max()) / FWHM
    return {"sigma": usual.tolist(), "psf_fwhm": width.tolist(), "apertures": [factor * widest for factor in APERTURES]}


def noise(ivar: np.ndarray) -> np.ndarray:
    """(band,) noise sigma of the usual pixel of (band, y, x) ivar; NaN for a band without data."""
    return np.array([1 / np.sqrt(np.median(one[one > 0])) if (one > 0).any() else np.nan for one in ivar])


def cleaned(image: np.ndarray, ivar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(image, ivar) float32 in which whatever is not finite, or has no positive ivar, counts as not observed: 0, 0."""
    good = np.isfinite(image) & np.isfinite(ivar) & (ivar > 0)
    return np.where(good, image, 0).astype(np.float32), np.where(good, ivar, 0).astype(np.float32)


def check(tile: Tile, bands, pixel_scale: float, unit: str) -> None:
    """InputError for a tile that isn't of the network's bands, pixels and unit."""
    remedy = "use tiles of the survey that the model was trained on, or train one on these"
    if tuple(tile.bands) != tuple(bands):
        raise InputError(f"the tile holds the bands {','.join(tile.bands)}, the model was trained with {','.join(bands)}; "
                         f"{remedy}")
    if not abs(tile.pixel_scale / pixel_scale - 1) <= SCALE_TOLERANCE:
        raise InputError(f"the tile has {tile.pixel_scale:.4g} arcsec/px, the model was trained on {pixel_scale:.4g}; {remedy}")
    if tile.unit != unit:
        raise InputError(f"the tile's unit is {tile.unit}, the model was trained on {unit}; convert it")
    shape = (len(bands), *np.shape(tile.image)[-2:])
    if np.shape(tile.image) != shape or np.shape(tile.ivar) != shape:
        raise InputError(f"the tile's image is {np.shape(tile.image)} and its ivar {np.shape(tile.ivar)}; both must be "
                         "(band, y, x) of one size")


@dataclass
class Pixels:
    """Tiles as tensors: image, variance (m, band, y, x) nJy, nJy^2 (0 where there is no data), `seen` 1 where there is, sigma and
    fwhm (m, band) nJy, px."""

    image: torch.Tensor
    variance: torch.Tensor
    seen: torch.Tensor
    sigma: torch.Tensor
    fwhm: torch.Tensor


def pixels(image: np.ndarray, ivar: np.ndarray, psf_fwhm: np.ndarray, constants: dict, scale: float, device) -> Pixels:
    """Tensors of cleaned tiles (m, band, y, x), padded below and to the right to a multiple of STRIDE; psf_fwhm (m, band)
    arcsec. A band without data gets the usual noise and PSF."""
    usual, width = np.asarray(constants["sigma"]), np.asarray(constants["psf_fwhm"])
    sigma = np.array([np.where(np.isfinite(found), found, usual) for found in map(noise, ivar)])
    fwhm = np.where(np.isfinite(psf_fwhm) & (np.asarray(psf_fwhm) > 0), psf_fwhm, width) / scale
    pad = (0, -image.shape[-1] % STRIDE, 0, -image.shape[-2] % STRIDE)
    image, ivar = (functional.pad(torch.from_numpy(np.ascontiguousarray(a)).to(device), pad) for a in (image, ivar))
    variance = torch.where(ivar > 0, 1 / ivar.clamp(min=1e-30), 0)
    as_float = [torch.as_tensor(a, dtype=torch.float32, device=device) for a in (sigma, fwhm)]
    return Pixels(image, variance, (ivar > 0).float(), *as_float)


def channels(bands: int) -> int:
    """Channels of `seen`."""
    return 2 * bands * CELL**2 + bands + 1


def seen(found: Pixels) -> torch.Tensor:
    """(m, channels, y / 2, x / 2): asinh of the image in sigma and in 10 sigma, unshuffled to cells; per band the cell's depth
    in magnitudes of noise; the share of the cell's pixels that have no data."""
    unit = (found.image / found.sigma[:, :, None, None]).clamp(-CLIP, CLIP)
    shuffled = functional.pixel_unshuffle(torch.cat([torch.asinh(unit), torch.asinh(unit / 10)], dim=1), CELL)
    relative = (found.sigma**2)[:, :, None, None] / found.variance.clamp(min=1e-30)
    depth = torch.where(found.seen > 0, 1.25 * torch.log10(relative), DARK).clamp(DARK, 1)
    missing = 1 - found.seen.mean(dim=1, keepdim=True)
    return torch.cat([shuffled, functional.avg_pool2d(torch.cat([depth, missing], dim=1), CELL)], dim=1)


def about(found: Pixels, constants: dict) -> torch.Tensor:
    """(m, 2 band) what holds for all of a tile: log of noise and PSF width against the usual ones."""
    sigma = torch.as_tensor(constants["sigma"], dtype=torch.float32, device=found.sigma.device)
    return torch.cat([torch.log(found.sigma / sigma), found.fwhm / 4 - 1], dim=1)
