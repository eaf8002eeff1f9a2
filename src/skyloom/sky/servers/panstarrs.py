"""The Pan-STARRS1 file list (`ps1filenames.py`) and cutout (`fitscut.cgi`) services at STScI."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from skyloom.sky import hsc, panstarrs
from skyloom.sky.servers import fitsbytes, forms
from skyloom.sky.servers.app import Reply, Request

HEADER = "projcell subcell ra dec filter mjd type filename shortname badflag"
SUFFIX = {"stack": "unconv.fits", "stack.wt": "unconv.wt.fits"}
_NAME = re.compile(r"/rings\.v3\.skycell/(\d+)/(\d+)/rings\.v3\.skycell\.\1\.\2\.stk\.([grizy])\.unconv(\.wt)?\.fits")
LARGEST = 10000  # px: anything larger is refused


class Stacks:
    """Both endpoints over one embedded sky."""

    def __init__(self, sky: hsc.Sky):
        self.sky = sky

    def filenames(self, request: Request, server) -> Reply:
        """Rows of the best skycell's files for every position, in input order; nothing for positions without data."""
        fields = forms.fields(request)
        try:
            positions = [tuple(float(v) for v in line.split()[:2]) for line in fields["file"].splitlines() if line.strip()] \
                if "file" in fields else [(float(fields["ra"]), float(fields["dec"]))]
        except (KeyError, ValueError) as error:
            return Reply(400, f"bad positions: {error}".encode())
        kinds = [kind for kind in fields.get("type", "stack").split(",") if kind in SUFFIX]
        bands = [band for band in panstarrs.BANDS if band in fields.get("filters", "grizy")]
        server.objects["filenames"] += len(positions)
        rows = [HEADER]
        for ra, dec in positions:
            rows += self._rows(ra, dec, bands, kinds)
        return Reply(200, ("\n".join(rows) + "\n").encode())

    def _rows(self, ra: float, dec: float, bands, kinds) -> list[str]:
        if not -90 <= dec <= 90 or dec < panstarrs.SOUTH:
            return []
        cell, skycell = panstarrs.cell_of(ra, dec)
        out = []
        for band in bands:
            if not panstarrs.stacked(self.sky, cell, skycell, band):
                continue
            for kind in kinds:
                short = f"rings.v3.skycell.{cell:04d}.{skycell:03d}.stk.{band}.{SUFFIX[kind]}"
                out.append(f"{cell:04d} {skycell:03d} {ra:.10f} {dec:.10f} {band} 0.0 {kind} "
                           f"/rings.v3.skycell/{cell:04d}/{skycell:03d}/{short} {short} 0")
        return out

    def fitscut(self, request: Request, server) -> Reply:
        """One band of a window of a skycell in linear counts, NaN where there are none."""
        query = {key.lower(): values[0] for key, values in parse_qs(request.query).items()}
        match = _NAME.fullmatch(query.get("red", ""))
        try:
            ra, dec, size = float(query["ra"]), float(query["dec"]), int(query.get("size", 240))
        except (KeyError, ValueError):
            return Reply(400, b"bad ra, dec or size")
        if not match or query.get("format") != "fits" or not 0 < size <= LARGEST:
            return Reply(400, b"only FITS cutouts of stack images are emulated")
        cell, skycell, band = int(match[1]), int(match[2]), match[3]
        server.objects["fitscut"] += 1
        if not panstarrs.stacked(self.sky, cell, skycell, band):
            return Reply(404, b"no such file")
        data = self._image(cell, skycell, band, match[4] is not None, ra, dec, size)
        fault = server.faults.for_member("ps1", "fitscut", ra, dec, band)
        return Reply(200, fitsbytes.spoiled(data, fault), "image/fits")

    def _image(self, cell, skycell, band, weight, ra, dec, size) -> bytes:
        x, y = (float(v) for v in panstarrs.pixel_of(cell, dec, ra, dec))
        left, low = panstarrs.corner(skycell)
        x0, y0 = round(x - left - (size - 1) / 2), round(y - low - (size - 1) / 2)
        with forms.drawing:
            image, variance = panstarrs.stack(self.sky, cell, dec, skycell, band, x0, y0, size)
        ra0, dec0 = panstarrs.centre(cell, dec)
        step = panstarrs.SCALE / 3600
        cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra0, "CRVAL2": dec0,
                 "CRPIX1": float(1 - x0 - left), "CRPIX2": float(1 - y0 - low), "CDELT1": step, "CDELT2": step,
                 "PC001001": -1.0, "PC001002": 0.0, "PC002001": 0.0, "PC002002": 1.0, "RADESYS": "FK5",
                 "EXPTIME": panstarrs.exposure_time(self.sky, cell, skycell, band),
                 "HIERARCH FPA.FILTERID": f"{band}.00000"}
        return fitsbytes.hdu(variance if weight else image, cards, True)
