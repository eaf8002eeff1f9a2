"""The Rubin Science Platform: TAP (sync, circles of the Object table), SIA2, DataLink, SODA cutouts and the storage they lie in.

The storage is another host: the same server under the name `localhost`. It refuses whoever brings a login along, as storages
with signed links do.
"""

from __future__ import annotations

import base64
import collections
import re
import threading
import time
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from xml.sax.saxutils import escape

import numpy as np

from skyloom.sky import hashing, hsc, rubin, rubin_objects
from skyloom.sky.servers import fitsbytes, forms, tables
from skyloom.sky.servers.app import Reply, Request

TOKEN = "gt-embedded.sky"  # of its own: a rehearsal needs nobody's real one
PUBLISHED = {"tap_url": "/rubin/api/tap", "sia_url": "/rubin/api/sia/dp1/query", "datalink_url": "/rubin/api/datalink/links",
             "soda_url": "/rubin/api/cutout/sync"}
STORE = "/rubin-store/"
DETAILS = ("Image", "MaskedImage", "Exposure")
QUOTA = {"tap": 1000, "sia": 70, "cutout": 35}  # of a user in 15 minutes
LIVES = 900.0  # s that a signed link holds
VOTABLE = "application/x-votable+xml"
_CONE = re.compile(r"CONTAINS\s*\(\s*POINT\s*\(\s*'ICRS'\s*,\s*coord_ra\s*,\s*coord_dec\s*\)\s*,\s*CIRCLE\s*\(\s*'ICRS'\s*,"
                   r"\s*([-+.\deE]+)\s*,\s*([-+.\deE]+)\s*,\s*([-+.\deE]+)\s*\)\s*\)\s*=\s*1", re.I)
_UUID = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-0000-([0-9a-f]{12})")


class Usage(Exception):
    """Parameters that SODA doesn't take; the text goes back with status 422."""


class Platform:
    """All endpoints over one embedded sky; `quota` {endpoint: requests in 15 minutes}, `detail` what a cutout holds by default
    (Image since vo-cutouts 5.0, Exposure before)."""

    def __init__(self, sky: hsc.Sky, quota: dict | None = None, detail: str = "Image"):
        self.sky, self.quota, self.detail, self.lock = sky, quota or {}, detail, threading.Lock()
        self.times: dict = collections.defaultdict(collections.deque)

    def routes(self) -> dict:
        """{path: (service, endpoint, function)}."""
        paths = {"tap": PUBLISHED["tap_url"] + "/sync", "sia": PUBLISHED["sia_url"], "links": PUBLISHED["datalink_url"],
                 "cutout": PUBLISHED["soda_url"]}
        doors = {"tap": self._tap, "sia": self._sia, "links": self._links, "cutout": self._cutout}
        return {path: ("rubin", name, self._guarded(name, doors[name])) for name, path in paths.items()} | {
            STORE: ("rubin", "storage", self._stored)}

    def _guarded(self, endpoint, answer):
        def checked(request: Request, server) -> Reply:
            basic = base64.b64encode(f"x-oauth-basic:{TOKEN}".encode()).decode()
            login = request.headers.get("Authorization", "")
            if login != f"Bearer {TOKEN}" and not (endpoint == "tap" and login == f"Basic {basic}"):
                return Reply(401, b"Authentication required", headers={"WWW-Authenticate": 'Bearer realm="embedded"'})
            wait = self._over(endpoint)
            return Reply(429, b"Quota used up", headers={"Retry-After": str(wait)}) if wait else answer(request, server)

        return checked

    def _over(self, endpoint) -> int:
        """Seconds until the quota allows another request, 0 where it does now."""
        with self.lock:
            times, now = self.times[endpoint], time.monotonic()
            while times and times[0] < now - 900:
                times.popleft()
            if endpoint in self.quota and len(times) >= self.quota[endpoint]:
                return int(times[0] + 901 - now)
            times.append(now)
            return 0

    def _tap(self, request: Request, server) -> Reply:
        """A query of dp1.Object in one circle."""
        fields = {key.upper(): value for key, value in forms.fields(request).items()}
        sql, server.objects["rubin.tap"] = fields.get("QUERY", ""), server.objects["rubin.tap"] + 1
        cone = _CONE.search(sql)
        if not cone or float(cone[3]) > rubin_objects.CEILING:
            return Reply(400, tables.votable_error("only circles of up to 0.9 deg in dp1.Object are emulated").encode(), VOTABLE)
        rows = rubin_objects.around(self.sky, *(float(cone[k]) for k in (1, 2, 3)))
        text = re.sub(r"\bdp1\.Object\b", "Object", sql[:cone.start()] + "1=1" + sql[cone.end():], flags=re.I)
        try:
            names, found, over = tables.execute({"Object": rows}, text, min(int(fields.get("MAXREC", 100_000)), 100_000))
        except (tables.BadQuery, ValueError) as error:
            return Reply(400, tables.votable_error(str(error)).encode(), VOTABLE)
        return Reply(200, tables.votable(names, found, over).encode(), VOTABLE)

    def _sia(self, request: Request, server) -> Reply:
        """Coadds that touch a circle; other regions are not emulated."""
        fields = {key.upper(): value for key, value in forms.fields(request).items()}
        words = fields.get("POS", "").split()
        try:
            if len(words) != 4 or words[0].upper() != "CIRCLE":
                raise ValueError(f"Unrecognized shape in POS string {fields.get('POS')!r}")
            ra, dec, radius = map(float, words[1:])
            most = int(fields.get("MAXREC", 60_000))
        except ValueError as error:
            return Reply(400, tables.votable_error(f"UsageFault: {error}").encode(), "application/xml")
        server.objects["rubin.sia"] += 1
        wanted = fields.get("CALIB", "3") == "3" and fields.get("DPSUBTYPE", "lsst.deep_coadd") == "lsst.deep_coadd"
        rows = [self._row(request, tract, patch, band) for tract, patch in rubin.patches_near(self.sky, ra, dec, radius)
                for band in rubin.BANDS if rubin.coadded(self.sky, tract, patch, band)] if wanted else []
        names = ["obs_collection", "dataproduct_type", "dataproduct_subtype", "calib_level", "obs_publisher_did", "access_url",
                 "access_format", "s_region", "lsst_band", "lsst_tract", "lsst_patch"]
        return Reply(200, tables.votable(names, rows[:most], len(rows) > most).encode(), VOTABLE)

    def _row(self, request, tract, patch, band) -> tuple:
        name = _uuid(self.sky, tract, patch, band)
        link = f"http://{request.headers.get('Host', '')}{PUBLISHED['datalink_url']}?ID={quote(_did(name, ''), safe='')}"
        region = "POLYGON ICRS " + " ".join(f"{v:.8f}" for corner in rubin.corners(tract, patch) for v in corner)
        return ("LSST.DP1", "image", "lsst.deep_coadd", 3, _did(name, "usdac/"), link, VOTABLE + ";content=datalink", region,
                band, tract, patch)

    def _links(self, request: Request, server) -> Reply:
        """A dataset's links: the whole file behind a signed one, and the cutout service at three levels of detail."""
        fields = {key.upper(): value for key, value in forms.fields(request).items()}
        name = _dataset(self.sky, fields.get("ID", ""))
        if name is None:
            return Reply(404, b'{"detail":[{"msg":"Dataset does not exist","type":"not_found"}]}', "application/json")
        server.objects["rubin.links"] += 1
        return Reply(200, _links_table(request, _did(name, "")).encode(), VOTABLE,
                     {"Cache-Control": f"private, max-age={LIVES:.0f}"})

    def _cutout(self, request: Request, server) -> Reply:
        """A 303 to the storage, where the cutout lies for a while."""
        fields = collections.defaultdict(list)
        for source in (request.query, request.body.decode("utf-8", "replace") if request.method == "POST" else ""):
            for key, values in parse_qs(source).items():
                fields[key.upper()] += values
        try:
            name, ra, dec, radius, detail = self._asked(fields)
            window = self._window(name, ra, dec, radius)
        except Usage as error:
            return Reply(422, f"UsageError: {error}".encode())
        server.objects["rubin.cutout"] += 1
        band = _parts(name)[2]
        fault = server.faults.for_member("rubin", "cutout", ra, dec, band)
        kind = fault["kind"] if fault else ""
        until = time.time() + (-1 if kind == "expired_link" else LIVES)
        query = {"id": name, "window": "_".join(map(str, window)), "circle": f"{ra!r}_{dec!r}_{radius!r}", "detail": detail,
                 "spoil": kind, "Expires": f"{until:.3f}"}
        query["Signature"] = _signature(self.sky, query)
        port = urlsplit(f"http://{request.headers.get('Host', '')}").port or 80
        return Reply(303, headers={"Location": f"http://localhost:{port}{STORE}cutout.fits?{urlencode(query)}"})

    def _asked(self, fields) -> tuple:
        for key in ("ID", "CUTOUTDETAIL"):
            if len(fields[key]) > 1:
                raise Usage(f"{key} given more than once")
        name = _dataset(self.sky, fields["ID"][0]) if fields["ID"] else None
        if name is None:
            raise Usage("no dataset of that ID")
        detail = (fields["CUTOUTDETAIL"] or [self.detail])[0]
        if detail not in DETAILS:
            raise Usage(f"unknown CUTOUTDETAIL {detail}")
        stencils = fields["POS"] + [f"CIRCLE {text}" for text in fields["CIRCLE"]]
        words = stencils[0].split() if len(stencils) == 1 else []
        if len(words) != 4 or words[0].upper() != "CIRCLE":  # polygons and ranges are not emulated
            raise Usage(f"exactly one circle is needed, got {stencils}")
        try:
            ra, dec, radius = map(float, words[1:])
        except ValueError:
            raise Usage(f"bad numbers in {stencils[0]}") from None
        if not (0 <= ra <= 360 and -90 <= dec <= 90 and 0 < radius < 1):
            raise Usage(f"no circle on the sky: {stencils[0]}")
        return name, ra, dec, radius, detail

    def _window(self, name, ra, dec, radius) -> tuple[int, int, int, int]:
        """(x0, y0, width, height) in px of the tract: the square around a circle, as far as the patch has it."""
        tract, patch, _ = _parts(name)
        x, y = (float(v) for v in rubin.pixel_of(tract, ra, dec))
        left, low, width, height = rubin.box(patch)
        reach = radius * 3600 / rubin.SCALE
        x0, y0 = max(left, int(np.ceil(x - reach))), max(low, int(np.ceil(y - reach)))
        x1, y1 = min(left + width, int(np.floor(x + reach)) + 1), min(low + height, int(np.floor(y + reach)) + 1)
        if x1 <= x0 or y1 <= y0:
            raise Usage("No intersection between cutout and image")
        return x0, y0, x1 - x0, y1 - y0

    def _stored(self, request: Request, server) -> Reply:
        """The file of a signed link; 403 once it has expired, 400 to whoever shows a login."""
        query = {key: values[0] for key, values in parse_qs(request.query, keep_blank_values=True).items()}
        signature = query.pop("Signature", "")
        if "Authorization" in request.headers:
            server.objects["rubin.logins_at_storage"] += 1
            return _storage_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        if not query or signature != _signature(self.sky, query):
            return _storage_error(403, "SignatureDoesNotMatch", "The signature is not ours")
        if float(query["Expires"]) < time.time():
            return _storage_error(403, "AccessDenied", "Request has expired")
        with forms.drawing:
            data = self._file(query)
        return Reply(200, fitsbytes.spoiled(data, {"kind": query["spoil"]} if query["spoil"] else None), "application/fits")

    def _file(self, query) -> bytes:
        tract, patch, band = _parts(query["id"])
        x0, y0, width, height = map(int, query["window"].split("_"))
        ra, dec, radius = map(float, query["circle"].split("_"))
        other = rubin.BANDS[rubin.BANDS.index(band) - 1] if query["spoil"] == "wrong_band" else band
        image, planes, variance = rubin.coadd(self.sky, tract, other, x0, y0, width, height)
        about = {"BTLRUUID": query["id"].replace("-", ""), "BTLRNAME": "deep_coadd"}
        for k, (key, value) in enumerate((("band", other), ("skymap", "lsst_cells_v1"), ("tract", tract), ("patch", patch))):
            about |= {f"BTLRK{k:03}": key, f"BTLRV{k:03}": value}
        about |= {"ST_TYPE": "CIRCLE", "ST_RA": ra, "ST_DEC": dec, "ST_RAD": radius}
        ra0, dec0 = rubin.centre(tract)
        step = rubin.SCALE / 3600
        grid = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra0, "CRVAL2": dec0, "CUNIT1": "deg", "CUNIT2": "deg",
                "CRPIX1": float(rubin.MIDDLE + 1 - x0), "CRPIX2": float(rubin.MIDDLE + 1 - y0), "CD1_1": -step, "CD1_2": 0.0,
                "CD2_1": 0.0, "CD2_2": step, "LTV1": float(-x0), "LTV2": float(-y0), "RADESYS": "ICRS"}
        bits = {("HIERARCH MP_" if len(name) > 5 else "MP_") + name: bit for name, bit in rubin.MASK_BITS.items()}
        out = fitsbytes.hdu(None, about, True) + fitsbytes.hdu(image, {"EXTNAME": "IMAGE", "BUNIT": "nJy", **grid}, False)
        if query["detail"] == "Image":
            return out
        return (out + fitsbytes.hdu(planes, {"EXTNAME": "MASK", **bits, **grid}, False)
                + fitsbytes.hdu(variance, {"EXTNAME": "VARIANCE", "BUNIT": "nJy2", **grid}, False))


def _storage_error(status: int, code: str, text: str) -> Reply:
    return Reply(status, f"<Error><Code>{code}</Code><Message>{text}</Message></Error>".encode(), "application/xml")


def _signature(sky, query: dict) -> str:
    return f"{hashing.key(sky.seed, 'rubin link', sorted(query.items())):016x}"


def _uuid(sky, tract: int, patch: int, band: str) -> str:
    end = hashing.key(sky.seed, "rubin dataset", tract, patch, band) & 0xFFFFFFFFFFFF
    return f"{tract:08x}-{patch:04x}-{rubin.BANDS.index(band):04x}-0000-{end:012x}"


def _parts(name: str) -> tuple[int, int, str]:
    """(tract, patch, band) of a dataset's name."""
    match = _UUID.fullmatch(name)
    return int(match[1], 16), int(match[2], 16), rubin.BANDS[int(match[3], 16)]


def _did(name: str, archive: str) -> str:
    return f"ivo://org.rubinobs/{archive}lsst-dp1?repo=dp1&id={name}"


def _dataset(sky, did: str) -> str | None:
    """The name of an existing dataset by its identifier."""
    found = re.fullmatch(r"ivo://org\.rubinobs/lsst-dp1\?repo=dp1&id=([0-9a-f-]{36})", did)
    match = _UUID.fullmatch(found[1]) if found else None
    if not match or int(match[2], 16) >= rubin.ACROSS**2 or int(match[3], 16) >= len(rubin.BANDS):
        return None
    parts = _parts(found[1])
    return found[1] if found[1] == _uuid(sky, *parts) and rubin.coadded(sky, *parts) else None


def _links_table(request, did: str) -> str:
    host = request.headers.get("Host", "")
    signed = f"http://localhost{STORE}whole.fits?Expires={time.time() + LIVES:.0f}&Signature=0"
    rows = [(did, signed, "", "Primary image or observation data file", "#this")]
    services = {"cutout-sync": "Image", "cutout-sync-maskedimage": "MaskedImage", "cutout-sync-exposure": "Exposure"}
    rows += [(did, "", name, f"Cutout service (SODA sync), {detail}", "#cutout") for name, detail in services.items()]
    fields = "".join(f'<FIELD name="{name}" datatype="char" arraysize="*"/>'
                     for name in ("ID", "access_url", "service_def", "description", "semantics"))
    body = "".join(f"<TR>{''.join(f'<TD>{escape(cell)}</TD>' for cell in row)}</TR>" for row in rows)
    text = f'<RESOURCE type="results"><TABLE>{fields}<DATA><TABLEDATA>{body}</TABLEDATA></DATA></TABLE></RESOURCE>'
    for name, detail in services.items():
        text += (f'<RESOURCE ID="{name}" type="meta" utype="adhoc:service"><GROUP name="inputParams">'
                 f'<PARAM arraysize="*" datatype="char" name="ID" value="{escape(did)}"/>'
                 f'<PARAM arraysize="*" datatype="char" name="CUTOUTDETAIL" value="{detail}"/></GROUP>'
                 f'<PARAM arraysize="*" datatype="char" name="accessURL" value="http://{host}{PUBLISHED["soda_url"]}"/>'
                 '<PARAM arraysize="*" datatype="char" name="standardID" value="ivo://ivoa.net/std/SODA#sync-1.0"/></RESOURCE>')
    return ('<?xml version="1.0" encoding="utf-8"?>\n<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
            f"{text}</VOTABLE>")
