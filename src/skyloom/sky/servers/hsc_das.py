"""The HSC DAS cutout service and the PSF picker: lists in, tar streams out."""

from __future__ import annotations

import base64
import re

import numpy as np

from skyloom.sky import geometry, hashing, hsc
from skyloom.sky.servers import fitsbytes, forms
from skyloom.sky.servers.app import Reply, Request

LIMIT = 1000  # rows of a list
_UNIT = {"": 1.0, "deg": 1.0, "amin": 1 / 60, "arcmin": 1 / 60, "asec": 1 / 3600, "arcsec": 1 / 3600,
         "rad": 180 / np.pi}
_TRUE, _FALSE = ("true", "on", "1", "yes"), ("false", "off", "0", "no")


class BadList(Exception):
    """The uploaded list can't be read; its text goes back with status 406."""


def authorised(request: Request, account: tuple[str, str]) -> Reply | None:
    """None if the Basic credentials are right, else the 401 to send."""
    wanted = base64.b64encode(":".join(account).encode()).decode()
    if request.headers.get("Authorization") == f"Basic {wanted}":
        return None
    return Reply(401, b"Unauthorized", headers={"WWW-Authenticate": 'Basic realm="hsc-ssp"'})


def angle(text: str) -> float:
    """Degrees of a number with an optional unit."""
    match = re.fullmatch(r"([-+0-9.eE]+?)(deg|amin|arcmin|asec|arcsec|rad)?", text)
    if not match:
        raise BadList(f"bad angle {text!r}")
    return float(match[1]) * _UNIT[match[2] or ""]


def rows_of(request: Request) -> list[tuple[int, dict]]:
    """(line number, fields) of the uploaded list; line 1 is the `#?` header, comments and blanks count as lines."""
    match = re.search(rb"boundary=([^;]+)", request.headers.get("Content-Type", "").encode())
    if not match:
        raise BadList("no multipart form")
    for part in request.body.split(b"--" + match[1].strip(b'"')):
        head, _, content = part.partition(b"\r\n\r\n")
        if b'name="list"' in head:
            return _parse_list(content.removesuffix(b"\r\n").decode())
    raise BadList("no part named list")


def _parse_list(text: str) -> list[tuple[int, dict]]:
    lines = text.splitlines()
    if not lines or not lines[0].startswith("#?"):
        raise BadList("the first line must start with #?")
    names = lines[0][2:].split()
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        values = line.partition("#")[0].split()
        if not values:
            continue
        if len(values) != len(names):
            raise BadList(f"line {number}: {len(values)} values for {len(names)} columns")
        rows.append((number, dict(zip(names, values, strict=True))))
    if len(rows) > LIMIT:
        raise BadList(f"the list has {len(rows)} rows; no more than {LIMIT} images per request")
    return rows


def tar_member(name: str, data: bytes) -> bytes:
    """A ustar header, the data, and padding."""
    head = bytearray(512)
    for at, text in ((0, name), (100, "0000644"), (108, "0000000"), (116, "0000000"), (124, f"{len(data):011o}"),
                     (136, f"{0:011o}"), (148, " " * 8), (156, "0"), (257, "ustar\x0000")):
        head[at:at + len(text)] = text.encode()
    head[148:156] = f"{sum(head):06o}\0 ".encode()
    return bytes(head) + data + b"\0" * (-len(data) % 512)


END_OF_TAR = b"\0" * 10240


class Das:
    """The cutout and PSF endpoints of one embedded survey."""

    def __init__(self, sky: hsc.Sky, account: tuple[str, str]):
        self.sky, self.account = sky, account

    def cutout(self, request: Request, server) -> Reply:
        """POST of a coordinate list: tar of `arch-*/<line>-cutout-<FILTER>-<TRACT>-<RERUN>.fits`."""
        return self._list(request, server, "cutout", self._cutout)

    def psf(self, request: Request, server) -> Reply:
        """POST of a position list: tar of `<line>-psf-calexp-...fits`."""
        return self._list(request, server, "psf", self._psf)

    def _list(self, request, server, endpoint, draw) -> Reply:
        refused = authorised(request, self.account)
        if refused:
            return refused
        if request.method != "POST":
            return Reply(406, b"only the list upload is emulated")
        try:
            release = "pdr3" if "/pdr3/" in request.path else "pdr2"
            rows = [(line, self._checked(row, release)) for line, row in rows_of(request)]
        except (BadList, UnicodeDecodeError) as error:
            return Reply(406, str(error).encode())
        server.objects[endpoint] += len(rows)
        folder = f"arch-{hashing.key(request.body) % 1000000:06d}-{len(rows):06d}"
        return Reply(200, self._stream(rows, folder, server, endpoint, draw), "application/x-tar")

    def _checked(self, row: dict, release: str) -> dict:
        try:
            band = re.fullmatch(r"HSC-([GRIZY])2?", row["filter"])
            for name in ("sw", "sh"):
                angle(row.get(name, "10arcsec"))
            row = {**row, "ra": angle(row["ra"]) % 360, "dec": angle(row["dec"]), "band": band and band[1].lower()}
        except (KeyError, ValueError) as error:
            raise BadList(f"bad row: {error}") from None
        if not row["band"]:
            raise BadList(f"unknown filter {row['filter']}")
        if row.setdefault("rerun", f"{release}_wide") not in (f"{release}_wide", "any"):
            raise BadList(f"unknown rerun {row['rerun']}")
        for name in ("image", "mask", "variance"):
            if name in row and row[name].lower() not in _TRUE + _FALSE:
                raise BadList(f"bad boolean {row[name]!r}")
        return row

    def _stream(self, rows, folder, server, endpoint, draw):
        for line, row in rows:
            tract = geometry.tract_of(row["ra"], row["dec"])
            x, y = (float(v) for v in hsc.pixel_of(tract, row["ra"], row["dec"]))
            if not hsc.covered(self.sky, tract, x, y).all() or hsc.lost(self.sky, tract, x, y, row["band"]):
                continue  # rows without coverage are silently left out
            with forms.drawing:
                name, data = draw(line, row, tract, x, y)
            fault = server.faults.for_member("hsc", endpoint, row["ra"], row["dec"], row["band"])
            yield tar_member(f"{folder}/{name}", fitsbytes.spoiled(data, fault))
        yield END_OF_TAR

    def _cutout(self, line, row, tract, x, y):
        half_w, half_h = (angle(row.get(k, "10arcsec")) * 3600 / hsc.SCALE for k in ("sw", "sh"))
        x0, y0 = int(np.floor(x - half_w)), int(np.floor(y - half_h))
        size = int(np.ceil(2 * max(half_w, half_h))) + 1
        x0, y0, width, height = hsc.window(self.sky, tract, x0, y0, size)
        image, mask, variance = hsc.exposure(self.sky, tract, x0, y0, width, height, row["band"])
        ra0, dec0 = geometry.tract_centre(tract)
        step = hsc.SCALE / 3600
        cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra0, "CRVAL2": dec0, "CRPIX1": float(1 - x0),
                 "CRPIX2": float(1 - y0), "CD1_1": -step, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": step,
                 "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS"}
        planes = {f"MP_{name}": bit for name, bit in hsc.MASK_BITS.items() if len(name) <= 5}
        planes |= {"HIERARCH MP_" + name: bit for name, bit in hsc.MASK_BITS.items() if len(name) > 5}
        out = [fitsbytes.hdu(None, {"FLUXMAG0": 10 ** (0.4 * hsc.ZERO_POINT)}, True)]
        for want, data, extra in (("image", image, {}), ("mask", mask, planes), ("variance", variance, {})):
            if row.get(want, "true" if want == "image" else "false").lower() in _TRUE:
                out.append(fitsbytes.hdu(data, {**cards, **extra}, False))
        return f"{line}-cutout-{row['filter']}-{tract}-{row['rerun']}.fits", b"".join(out)

    def _psf(self, line, row, tract, x, y):
        kernel = hsc.psf_image(self.sky, tract, row["band"])
        column, number = geometry.patch_of(x, y)
        name = (f"{line}-psf-calexp-{row['rerun']}-{row['filter']}-{tract}-{column},{number}-"
                f"{row['ra']:.5f}-{row['dec']:.5f}.fits")
        return name, fitsbytes.hdu(kernel, {"CTYPE1A": "LINEAR", "CTYPE2A": "LINEAR"}, True)
