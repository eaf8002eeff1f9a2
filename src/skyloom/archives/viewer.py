"""The Legacy Survey viewer: cutouts of its layers, one request an object for all bands at the native scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom import wcs
from skyloom.archives import fitsimages, guard
from skyloom.archives.plane import Plane
from skyloom.errors import ReplyError


@dataclass(frozen=True)
class Layer:
    """A layer: name, SURVEY card, native scale (arcsec/px), bands by the server's letters in its order, AB zero points, units
    it may have. Asking off the native scale would interpolate values and change the flux."""

    name: str
    title: str
    scale: float
    letters: str
    bands: tuple[str, ...]
    zero_points: tuple[float, ...]
    units: tuple[str, ...]


def params(layer: Layer, ra: float, dec: float, size: int, invvar: bool = False) -> dict:
    """Query of one cutout of all bands; the scale is always the layer's own and always said."""
    query = {"ra": f"{ra:.10f}", "dec": f"{dec:.10f}", "layer": layer.name, "pixscale": f"{layer.scale:g}",
             "size": str(size), "bands": layer.letters}
    return query | ({"invvar": "1"} if invvar else {})


@guard.reading("the cutout")
def parse(layer: Layer, body: bytes, ra: float, dec: float, size: int | None) -> dict[str, Plane | None]:
    """{band: Plane, or None where the survey never looked (all zero)}, in the order that the header names.

    ReplyError: `no_such_layer`, `not_fits`, `bad_fits`, `wrong_survey`, `wrong_order`, `wrong_size`, `wrong_scale`,
    `off_centre`, `unknown_unit`, `all_nan`.
    """
    if body.startswith(b"no such layer"):
        raise ReplyError("no_such_layer", layer.name)
    hdus = fitsimages.images(body)
    head, cube = hdus[0]
    cube, n = _cube(cube, layer), len(layer.letters)
    if cube is None or cube.ndim != 3 or len(cube) != n or (size and cube.shape[1:] != (size, size)):
        raise ReplyError("wrong_size", f"{None if cube is None else cube.shape}, asked for {n} x {size} x {size}")
    if str(head.value("SURVEY", "")).strip() != layer.title:
        raise ReplyError("wrong_survey", f"SURVEY is {head.value('SURVEY')!r}, not {layer.title}")
    order = "".join(str(head.value(f"BAND{k}", "?")).strip() for k in range(len(cube)))
    if order != layer.letters or str(head.value("BANDS", order)).strip() != order:
        raise ReplyError("wrong_order", f"BANDS {head.value('BANDS')!r}, planes {order!r}, asked for {layer.letters!r}")
    crval, crpix, cd = fitsimages.tan(head)
    wcs.check_scale(cd, layer.scale)
    wcs.check_centre(crval, crpix, cd, ra, dec, cube.shape[1:])
    fitsimages.check_unit(head, layer.units)
    invvar = _cube(hdus[1][1], layer) if len(hdus) > 1 else None
    if invvar is not None and invvar.shape != cube.shape:
        raise ReplyError("wrong_size", f"inverse variance of {invvar.shape} for an image of {cube.shape}")
    planes = {}
    for k, band in enumerate(layer.bands):
        planes[band] = _plane(cube[k], None if invvar is None else invvar[k], layer.zero_points[k], crval, crpix, cd)
    return planes


def _cube(pixels, layer: Layer):
    """The planes of a layer; one band comes as an image."""
    return pixels[None] if pixels is not None and pixels.ndim == 2 and len(layer.letters) == 1 else pixels


def _plane(image, invvar, zero_point, crval, crpix, cd) -> Plane | None:
    if not np.any(image):
        return None
    if not np.isfinite(image).any():
        raise ReplyError("all_nan", "no finite pixel")
    with np.errstate(divide="ignore"):
        variance = None if invvar is None else np.where(invvar > 0, 1 / np.asarray(invvar, float), np.inf)
    bad = ~np.isfinite(image) | (image == 0 if invvar is None else invvar <= 0)
    return Plane(image.astype(np.float32), np.zeros(image.shape, np.int32), bad, variance, zero_point, crval, crpix, cd)
