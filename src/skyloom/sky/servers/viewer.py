"""The Legacy Survey viewer's `fits-cutout`: GALEX and unWISE cubes on a grid of the caller's choice."""

from __future__ import annotations

from urllib.parse import parse_qs

from skyloom.sky import coadds, hsc
from skyloom.sky.servers import fitsbytes, forms
from skyloom.sky.servers.app import Reply, Request

LARGEST = 3000  # px: larger requests are clipped
SERVICE = {"galex": "galex", "unwise-neo7": "unwise"}  # names of the layers' faults and statistics


class Viewer:
    """The endpoint over one embedded sky."""

    def __init__(self, sky: hsc.Sky):
        self.sky = sky

    def cutout(self, request: Request, server) -> Reply:
        """A cube (one plane a band) or an image (one band); odd answers as the real server gives them."""
        query = {key: values[0] for key, values in parse_qs(request.query).items()}
        try:
            ra, dec = float(query["ra"]), float(query["dec"])
        except (KeyError, ValueError):
            return Reply(400, b"Need ra,dec keywords")
        layer = coadds.LAYERS.get(query.get("layer", "ls-dr9").replace(" ", "+"))
        if layer is None:
            return Reply(200, b"no such layer", "text/html")
        try:
            scale = float(query.get("pixscale", layer.scale))
            width, height = (min(int(query.get(key, query.get("size", 256))), LARGEST) for key in ("width", "height"))
        except ValueError:
            return Reply(500, b"<h1>Server Error (500)</h1>", "text/html")
        # one character at a time; anything unknown falls back to all bands
        asked = query.get("bands", layer.letters)
        bands = asked if all(letter in layer.letters for letter in asked) else layer.letters
        server.objects[SERVICE[layer.name]] += 1
        try:
            with forms.drawing:
                pixels, invvar = coadds.cutout(self.sky, layer, ra, dec, width, height, scale,
                                               [layer.letters.index(letter) for letter in bands])
        except coadds.NoOverlap:
            return Reply(500, b"<h1>Server Error (500)</h1>", "text/html")
        data = self._file(layer, bands, pixels, invvar if "invvar" in query and scale == layer.scale else None, ra, dec, scale)
        fault = server.faults.for_member(SERVICE[layer.name], "cutout", ra, dec, "")
        name = f'attachment; filename="cutout_{ra:.4f}_{dec:.4f}.fits"'
        return Reply(200, fitsbytes.spoiled(data, fault), "image/fits", {"Content-Disposition": name})

    def _file(self, layer, bands, pixels, invvar, ra, dec, scale) -> bytes:
        height, width = pixels.shape[1:]
        cards = {"SURVEY": layer.title} | ({"VERSION": layer.name} if layer is coadds.UNWISE else {}) | {"BANDS": bands}
        cards |= {f"BAND{k}": letter for k, letter in enumerate(bands)}
        cards |= {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec, "CRPIX1": (width + 1) / 2,
                  "CRPIX2": (height + 1) / 2, "CD1_1": -scale / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": scale / 3600,
                  "IMAGEW": float(width), "IMAGEH": float(height)}
        flat = (lambda cube: cube[0]) if len(bands) == 1 else (lambda cube: cube)
        out = fitsbytes.hdu(flat(pixels), {**cards, "IMAGETYP": "IMAGE"}, True)
        if invvar is not None:
            out += fitsbytes.hdu(flat(invvar), {**cards, "IMAGETYP": "INVVAR"}, False)
        return out
