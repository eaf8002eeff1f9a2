"""Photometry as a layer: fluxes and errors of sources on their shares of the pixels.

Gaussian apertures follow Kuijken (2008): on an image of Gaussian PSF s_b the weight exp(-r^2 / 2 w^2) with w^2 = A^2 - s_b^2,
times A^2 / w^2, measures what an aperture of A would on an image without PSF: F A^2 / (A^2 + s^2) for a Gaussian galaxy of s,
F for a star, in every band alike, so that colours don't depend on the seeing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from skyloom.models.scene.inputs import CELL, FWHM, Pixels
from skyloom.models.scene.windows import Windows

INNER = 20  # cells: the window in which pixels are weighed
NARROWEST = 0.5  # of A: a weight isn't narrower, however wide the PSF


@dataclass
class Light:
    """Of n sources: `aperture`, `aperture_error` (n, band, 3), `isophote`, `isophote_error` (n, band) nJy; `moments` (n, 5):
    centroid (x, y) in px from the centre, xx, yy, xy over the weight's in the summed bands; `unseen` (n, band) share of the
    inner weight without data; `own`, `others` (n,) share of the light at its centre that is the source's, other sources'."""

    aperture: torch.Tensor
    aperture_error: torch.Tensor
    isophote: torch.Tensor
    isophote_error: torch.Tensor
    moments: torch.Tensor
    unseen: torch.Tensor
    own: torch.Tensor
    others: torch.Tensor


def measured(pixels: Pixels, windows: Windows, share: torch.Tensor, sky: torch.Tensor, tile: torch.Tensor,
             apertures: torch.Tensor) -> Light:
    """Light of sources; their share (n, k k) of cells, the sky's share (cells,), `tile` (n,) of each, apertures (3,) px."""
    isophote, isophote_error = _isophotal(pixels, windows, share)
    near = _inner(windows, share, sky[windows.at], pixels)
    return Light(*_apertures(near, pixels, tile, apertures), isophote, isophote_error, *_shape(near, pixels, tile, apertures))


def cells(values: torch.Tensor) -> torch.Tensor:
    """(m, band, y, x) -> (band, m y/2 x/2): sums over the pixels of each cell."""
    summed = torch.nn.functional.avg_pool2d(values, CELL) * CELL**2
    return summed.transpose(0, 1).reshape(values.shape[1], -1)


def _isophotal(pixels, windows, share):
    """Flux and error (n, band): the sum of share x light over the window."""
    n, k = windows.at.shape
    light, variance = (cells(a)[:, windows.at.reshape(-1)].reshape(a.shape[1], n, k) for a in (pixels.image, pixels.variance))
    flux = torch.einsum("nk,bnk->nb", share, light)
    return flux, torch.sqrt(torch.einsum("nk,bnk->nb", share**2, variance).clamp(min=1e-12))


@dataclass
class _Near:
    """Pixels around sources: share, sky (n, p, p), image, variance, seen (n, band, p, p), dx, dy (n, p, p) px."""

    share: torch.Tensor
    sky: torch.Tensor
    image: torch.Tensor
    variance: torch.Tensor
    seen: torch.Tensor
    dx: torch.Tensor
    dy: torch.Tensor


def _inner(windows, share, sky, pixels):
    """The INNER cells around each source, as pixels."""
    n, side = len(share), windows.side
    low = side // 2 - INNER // 2
    middle = slice(low, low + INNER)
    squares = (a.reshape(n, side, side)[:, middle, middle] for a in (share, sky, windows.dx, windows.dy, windows.inside))
    share, sky, dx, dy, inside = (a.repeat_interleave(CELL, 1).repeat_interleave(CELL, 2) for a in squares)
    half = (torch.arange(CELL * INNER, device=dx.device) % CELL) - (CELL - 1) / 2
    dx, dy = dx * CELL + half[None, None, :], dy * CELL + half[None, :, None]
    image, variance = _pixels(pixels, windows.at.reshape(n, side, side)[:, middle, middle])
    image, variance = image * inside[:, None], variance * inside[:, None]
    return _Near(share, sky * inside, image, variance, ((variance > 0) | ~inside[:, None]).float(), dx, dy)


def _pixels(pixels, at):
    """Image and variance (n, band, p, p) of windows of cells (n, k, k): whole cells are taken, whose pixels lie together."""
    n, k, _ = at.shape
    both = torch.nn.functional.pixel_unshuffle(torch.cat([pixels.image, pixels.variance], dim=1), CELL)
    rows = both.permute(0, 2, 3, 1).reshape(-1, both.shape[1])
    bands = pixels.image.shape[1]
    taken = rows[at.reshape(-1)].reshape(n, k, k, 2, bands, CELL, CELL)
    return taken.permute(3, 0, 4, 1, 5, 2, 6).reshape(2, n, bands, k * CELL, k * CELL)


def _weights(near, pixels, tile, apertures):
    """Weights exp(-d^2 / 2 w^2) of Gaussian apertures (k,) px along x and along y, each (n, band, k, p), whose product is a round
    Gaussian's, and factors (n, band, k)."""
    wide = torch.maximum(apertures**2 - (pixels.fwhm[tile] / FWHM)[:, :, None] ** 2, (NARROWEST * apertures) ** 2)
    along = [torch.exp(-0.5 * d[:, None, None, :] ** 2 / wide[..., None]) for d in (near.dx[:, 0, :], near.dy[:, :, 0])]
    return *along, apertures**2 / wide


def _weighed(values, x, y):
    """(n, band, k) sums of values (n, band, p, p) under weights along x and y (n, band, k, p)."""
    return (torch.matmul(values, x.transpose(2, 3)) * y.transpose(2, 3)).sum(dim=2)


def _apertures(near, pixels, tile, apertures):
    """Fluxes and errors (n, band, 3)."""
    x, y, factor = _weights(near, pixels, tile, apertures)
    flux = factor * _weighed(near.image * near.share[:, None], x, y)
    variance = _weighed(near.variance * (near.share**2)[:, None], x**2, y**2)
    return flux, factor * torch.sqrt(variance.clamp(min=1e-12))


def _shape(near, pixels, tile, apertures):
    """moments, unseen, own, others of `Light`."""
    x, y, _ = _weights(near, pixels, tile, apertures[:1])
    unseen = 1 - (_weighed(near.seen, x, y) / (x.sum(dim=3) * y.sum(dim=3)))[:, :, 0]
    light = (near.image / pixels.sigma[tile][:, :, None, None]).sum(dim=1)
    core = x[:, :, 0].mean(dim=1)[:, None, :] * y[:, :, 0].mean(dim=1)[:, :, None]
    part = core * near.share * light
    total = part.sum(dim=(1, 2))
    floor = torch.sqrt((core**2).sum(dim=(1, 2)) * light.new_tensor(near.image.shape[1]))  # of noise: faint moments are none
    norm = total.clamp(min=0) + floor
    wide = (core * (near.dx**2 + near.dy**2)).sum(dim=(1, 2)) / core.sum(dim=(1, 2)) / 2
    parts = [(part * a).sum(dim=(1, 2)) / norm for a in (near.dx, near.dy, near.dx**2, near.dy**2, near.dx * near.dy)]
    moments = torch.stack([parts[0], parts[1], *(p / wide for p in parts[2:])], dim=1)
    own, sky = ((core * a).sum(dim=(1, 2)) / core.sum(dim=(1, 2)) for a in (near.share, near.sky))
    return moments.clamp(-8, 8), unseen, own, (1 - own - sky).clamp(0, 1)
