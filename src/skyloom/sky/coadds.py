"""The embedded GALEX and unWISE tiles, and the resampling that the Legacy Survey viewer does with them.

Depths: Bianchi et al. (2017) for GALEX's two exposure classes, Schlafly, Meisner & Green (2019) for unWISE; PSF widths:
Morrissey et al. (2007), Wright et al. (2010). Zero points are those that the pixels are served in.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from skyloom.sky import geometry, hashing, hsc, render

KERNEL = 3  # Lanczos order of the viewer's resampling


@dataclass(frozen=True)
class Layer:
    """One image layer of the viewer: its bands in the order of its planes, pixels, tiles and depth."""

    name: str
    survey: str
    title: str
    letters: str
    scale: float
    spacing: float  # deg between tile centres
    reach: float  # deg from a tile's centre to where its pixels end
    round: bool
    depth: tuple[float, float]  # 5 sigma, AB, at `exposure`
    fwhm: tuple[float, float]  # arcsec
    zero_point: tuple[float, float]  # AB magnitude of one unit
    level: tuple[float, float]  # background, AB mag per arcsec^2: sets the gain noise
    exposure: float = 1.0


GALEX = Layer("galex", "galex", "GALEX", "nf", 1.5, 1.0, 0.6, True, (22.6, 22.5), (5.3, 4.2), (20.08, 18.82), (27.0, 27.5),
              1500.0)
UNWISE = Layer("unwise-neo7", "unwise", "unWISE", "12", 2.75, 1.5, 0.782, False, (20.7, 20.0), (6.1, 6.4),
               (22.5 + 2.699, 22.5 + 3.339), (22.6, 22.0))
LAYERS = {layer.name: layer for layer in (GALEX, UNWISE)}


class NoOverlap(Exception):
    """No brick of a layer touches the request."""


def tiles_at(layer: Layer, ra: float, dec: float, margin: float) -> list[tuple[int, int]]:
    """(ring, number) of the tiles whose pixels may come within `margin` deg of a position."""
    found = []
    middle = int(np.floor((dec + 90) / layer.spacing))
    for ring in range(middle - 1, middle + 2):
        centre_dec = -90 + (ring + 0.5) * layer.spacing
        if abs(centre_dec) >= 90:
            continue
        count = _count(layer, ring)
        home = int(ra % 360 / 360 * count)
        for number in {(home + k) % count for k in (-1, 0, 1)}:
            xi, eta = geometry.project(*tile_centre(layer, (ring, number)), ra, dec)
            if max(abs(xi), abs(eta)) / 3600 < layer.reach + margin:
                found.append((ring, number))
    return sorted(found)


def _count(layer: Layer, ring: int) -> int:
    return max(1, int(360 * np.cos(np.radians(-90 + (ring + 0.5) * layer.spacing)) / layer.spacing))


def tile_centre(layer: Layer, tile) -> tuple[float, float]:
    """(ra, dec) in deg of a tile's tangent point."""
    ring, number = tile
    return (number + 0.5) * 360 / _count(layer, ring), -90 + (ring + 0.5) * layer.spacing


def exposures(sky: hsc.Sky, layer: Layer, tile) -> tuple[float, float]:
    """Exposure of a tile's two bands in s (0 = never observed); GALEX's FUV detector often slept."""
    if layer is not GALEX:
        return layer.exposure, layer.exposure
    u, v = (hashing.uniform(sky.seed, name, *tile) for name in ("galex seen", "galex long"))
    seconds = layer.exposure if v < 0.5 else layer.exposure / 10
    return (0.0 if u < 0.08 else seconds), (0.0 if u < 0.22 else seconds)


def sigma(layer: Layer, band: int, exposure: float) -> float:
    """Sky noise per pixel in nJy after `exposure` s."""
    f5 = 10 ** (-0.4 * (layer.depth[band] - 31.4)) * np.sqrt(layer.exposure / exposure)
    return f5 / 5 / (np.sqrt(4 * np.pi) * layer.fwhm[band] / 2.355 / layer.scale)


@functools.lru_cache(128)
def _model(sky: hsc.Sky, layer: Layer, tile, x0: int, y0: int, width: int, height: int) -> np.ndarray:
    noise = np.array([sigma(layer, b, layer.exposure) for b in (0, 1)], np.float32)
    fwhms = [round(f / layer.scale, 4) for f in layer.fwhm]
    return render.render(sky.seed, tile_centre(layer, tile), x0, y0, width, height, noise, fwhms, layer.scale, layer.survey,
                         sky.reddening, sky.deep)


def tile_window(sky: hsc.Sky, layer: Layer, tile, band: int, x0: int, y0: int, width: int, height: int):
    """(pixels in the tile's unit, weight: the exposure where the tile has data) of a window of a tile."""
    seconds = exposures(sky, layer, tile)[band]
    if not seconds:
        return np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    light = _model(sky, layer, tile, x0, y0, width, height)[band]
    level = np.float32(10 ** (-0.4 * (layer.level[band] - 31.4)) * layer.scale**2)
    spread = np.float32(sigma(layer, band, seconds)) * np.sqrt(1 + np.maximum(light, 0) / level)
    key = hashing.key(sky.seed, layer.name, *tile, band)
    image = light + hashing.pixel_normals(key, y0, x0, height, width) * spread
    y, x = np.mgrid[y0:y0 + height, x0:x0 + width]
    edge = layer.reach * 3600 / layer.scale
    inside = np.hypot(x, y) < edge if layer.round else np.maximum(abs(x), abs(y)) < edge
    unit = np.float32(10 ** (-0.4 * (31.4 - layer.zero_point[band])))
    return np.where(inside, image * unit, 0).astype(np.float32), np.where(inside, seconds, 0).astype(np.float32)


def _lanczos(t: np.ndarray) -> np.ndarray:
    return np.sinc(t) * np.sinc(t / KERNEL)


def cutout(sky: hsc.Sky, layer: Layer, ra: float, dec: float, width: int, height: int, scale: float, bands):
    """(band, height, width) float32 pixels and invvar on a TAN grid centred on a position, as the viewer makes them.

    Each tile's values are Lanczos-interpolated and averaged with the weights of the tiles (GALEX: exposure); without
    any weight the value is 0. Interpolating values conserves no flux off the native scale: so does the server.
    """
    j, i = np.mgrid[:height, :width]
    xi, eta = -(i - (width - 1) / 2) * scale, (j - (height - 1) / 2) * scale
    sky_ra, sky_dec = geometry.deproject(ra, dec, xi, eta)
    found = tiles_at(layer, ra, dec, max(width, height) * scale / 3600)
    if not found:
        raise NoOverlap
    total, weights, inverse = (np.zeros((len(bands), height, width), np.float64) for _ in range(3))
    for tile in found:
        txi, teta = geometry.project(*tile_centre(layer, tile), sky_ra, sky_dec)
        x, y = -txi / layer.scale, teta / layer.scale
        for k, band in enumerate(bands):
            value, weight = _resampled(sky, layer, tile, band, x, y)
            total[k] += value * weight
            weights[k] += weight
            seconds = exposures(sky, layer, tile)[band]
            if seconds:
                inverse[k] += (weight > 0) / (sigma(layer, band, seconds) * 10 ** (-0.4 * (31.4 - layer.zero_point[band]))) ** 2
    with np.errstate(invalid="ignore"):
        image = np.where(weights > 0, total / weights, 0)
    return image.astype(np.float32), inverse.astype(np.float32)


def _resampled(sky, layer, tile, band, x, y):
    """(values, weights) of a tile at float pixel positions: Lanczos over the 6 x 6 neighbours."""
    x0, y0 = int(np.floor(x.min())) - KERNEL, int(np.floor(y.min())) - KERNEL
    width, height = int(np.ceil(x.max())) + KERNEL + 1 - x0, int(np.ceil(y.max())) + KERNEL + 1 - y0
    pixels, weight = tile_window(sky, layer, tile, band, x0, y0, width, height)
    ix, iy = np.floor(x).astype(int), np.floor(y).astype(int)
    nearest = weight[np.rint(y).astype(int) - y0, np.rint(x).astype(int) - x0]
    value, norm = np.zeros(x.shape), np.zeros(x.shape)
    for dy in range(1 - KERNEL, KERNEL + 1):
        wy = _lanczos(y - iy - dy)
        for dx in range(1 - KERNEL, KERNEL + 1):
            w = wy * _lanczos(x - ix - dx)
            value += w * pixels[iy + dy - y0, ix + dx - x0]
            norm += w
    return value / norm, nearest
