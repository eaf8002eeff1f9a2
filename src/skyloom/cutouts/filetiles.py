"""Tiles of scenes from the user's own images with a WCS."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skyloom import wcs
from skyloom.archives import guard, imagefiles
from skyloom.cutouts.files import Files, stamp_of_file
from skyloom.cutouts.stamps import Stamp, blank, centred_kernel, fit_kernel
from skyloom.errors import ReplyError


class FileTiles(Files):
    """The tiles of a shard from the images of a manifest (its columns `object_id` and positions count for nothing here): for each
    band the first image whose WCS holds the tile's centre. `snap(k, grid)` is the first pixel of tile `k` on a grid (crval,
    crpix, cd); `middle(k)` the lattice's middle (deg). Works as a client of `surveys.clients.Cutouts` does once it has fetched.
    """

    def __init__(self, settings: dict, ra, dec, middle: Callable, snap: Callable, manifest: str):
        super().__init__(settings | {"size": settings["side"]}, (), manifest)
        self.ra, self.dec, self.middle, self.snap = np.array(ra), np.array(dec), middle, snap
        self.images = {band: [row for (_, own), row in self.rows.items() if own == band] for band in self.bands}
        self.seen: dict[tuple, tuple] = {}

    def stamps(self, k: int, cache=None, dead=None) -> tuple[list[Stamp], list[np.ndarray], list[str]]:
        """(stamps, PSF kernels, sha256 of the files) of tile `k`, one a band; NaN kernels where there is no PSF."""
        out, none = ([], [], []), np.full((self.settings["psf_size"],) * 2, np.nan, np.float32)
        for band in self.bands:
            stamp, kernel, path = self._tile(band, k)
            out[0].append(stamp)
            out[1].append(none if kernel is None else fit_kernel(centred_kernel(kernel), len(none)))
            out[2].append(self._digest(path) if path else "")
        return out

    def _tile(self, band: str, k: int):
        """(stamp, PSF kernel or None, path or "") of a band of tile `k`."""
        try:
            for row in self.images[band]:
                at = self._covered(row, k)
                if at is not None:
                    stamp, kernel = stamp_of_file(row | dict(zip("xy", at, strict=True)), self.scale, self.size, 1.0, True)
                    with guard.reading(row["path"], "bad_wcs"):
                        stamp.crval, stamp.crpix = wcs.position(self._image(row)[0], *at), ((self.size + 1) / 2,) * 2
                    return stamp, kernel, row["path"]
        except ReplyError as error:
            return blank(self.size, "failed", str(error)), None, ""
        return blank(self.size, "no_coverage"), None, ""

    def _image(self, row) -> tuple:
        """(WCS, (ny, nx)) of a row's image, read once."""
        key = row["path"], row["hdu"], str(row["plane"])
        if key not in self.seen:
            with imagefiles.opened(row["path"]) as layers:
                layer = imagefiles.pick(layers, "image", row["hdu"])
                self.seen[key] = layer.sky(), layer.plane(row["plane"])[1]
        if self.seen[key][0] is None:
            raise ReplyError("bad_wcs", f"{row['path']}: a scene's image needs a celestial WCS, and this one has none")
        return self.seen[key]

    def _covered(self, row, k: int) -> tuple[float, float] | None:
        """The pixel (x, y) of the tile's centre on the lattice, None where the image doesn't hold the tile's place."""
        sky, (ny, nx) = self._image(row)
        with guard.reading(row["path"], "bad_wcs"):
            x, y = wcs.target_pixel(sky, float(self.ra[k]), float(self.dec[k]))
            if not (-0.5 <= x < nx - 0.5 and -0.5 <= y < ny - 0.5):
                return None
            cd, middle = wcs.local_cd(sky, x, y), self.middle(k)
            wcs.check_scale(cd, self.scale)
            at = wcs.target_pixel(sky, *middle)
        if not np.isfinite(at).all():
            raise ReplyError("bad_wcs", f"{row['path']}: its projection doesn't show the middle of the part at {middle}")
        left, low = self.snap(k, (middle, (at[0] + 1, at[1] + 1), cd))
        return left + (self.size - 1) / 2, low + (self.size - 1) / 2
