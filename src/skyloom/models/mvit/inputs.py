"""From a tile's pixels to what the network sees, and what a training step does to them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from skyloom.errors import InputError

# A_b / E(B-V) of LSST's bands, R_V = 3.1, E(B-V) of SFD's map (Schlafly & Finkbeiner 2011, table 6)
REDDENING = {"u": 4.145, "g": 3.237, "r": 2.273, "i": 1.684, "z": 1.323, "y": 1.088}


def fit(tiles, kind: str) -> dict:
    """Constants of the inputs, (band,) each, of tiles [(image, ivar)] (band, y, x). `published`: mean and standard deviation of
    the pixels with data; `noise`: 0 and the noise of the usual pixel. InputError where a band has no data anywhere."""
    count, total, square, noise = 0, 0.0, 0.0, []
    for image, ivar in tiles:
        good = ivar > 0
        light = np.where(good, image, 0).astype(float)
        count, total, square = count + good.sum(axis=(1, 2)), total + light.sum(axis=(1, 2)), square + (light**2).sum(axis=(1, 2))
        noise.append([1 / math.sqrt(np.median(one[one > 0])) if (one > 0).any() else np.nan for one in ivar])
    if not len(noise) or not np.all(count):
        raise InputError("no training tile has data in every band; leave the empty band out of the survey's bands")
    mean = total / count
    if kind == "noise":
        return {"mean": [0.0] * len(mean), "std": np.nanmedian(noise, axis=0).tolist()}
    return {"mean": mean.tolist(), "std": np.sqrt(np.maximum(square / count - mean**2, 1e-30)).tolist()}


def scaled(image: np.ndarray, ivar: np.ndarray, constants: dict) -> torch.Tensor:
    """(band, y, x) float32: (image - mean) / std, 0 where there is no data."""
    mean, std = (np.asarray(constants[name], np.float32)[:, None, None] for name in ("mean", "std"))
    return torch.from_numpy(np.where(ivar > 0, (image - mean) / std, 0).astype(np.float32))


def extinction(bands) -> list[float]:
    """A_b / E(B-V) of bands by name; InputError for one that isn't known."""
    unknown = [band for band in bands if band not in REDDENING]
    if unknown:
        raise InputError(f"`redden` knows the bands {', '.join(REDDENING)}, not {unknown[0]!r}; set `redden: 0`")
    return [REDDENING[band] for band in bands]


def reddened(image: np.ndarray, bands, ebv: float) -> np.ndarray:
    """Light of (band, y, x) behind more dust."""
    return image * 10 ** (-0.4 * ebv * np.array(extinction(bands), np.float32))[:, None, None]


def blurred(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Images (n, band, y, x) convolved with a Gaussian of `sigma` px, borders mirrored; as they are below 0.1 px."""
    if sigma < 0.1:
        return images
    reach = math.ceil(3 * sigma)
    at = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, -1)
    for axes, shape in (((reach, reach, 0, 0), kernel[:, :, None]), ((0, 0, reach, reach), kernel[:, :, :, None])):
        images = functional.conv2d(functional.pad(images, axes, mode="reflect"), shape, groups=images.shape[1])
    return images
