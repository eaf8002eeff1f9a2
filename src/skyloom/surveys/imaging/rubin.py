"""Rubin's Data Preview 1, deep coadds of the LSSTComCam: search, links and cutouts of the Science Platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyloom.surveys.clients import Cutouts
from skyloom.surveys.imaging import ImagingSurvey
from skyloom.surveys.service import Service

if TYPE_CHECKING:
    import numpy as np

    from skyloom.archives.replies import Replies
    from skyloom.archives.rsp import Coadd
    from skyloom.cutouts.singles import Ask
    from skyloom.cutouts.stamps import Stamp

CELL = 0.1  # deg: positions of one cell share a search
NEAR, MOST = 0.01, 500  # deg around a position, and rows, within which an object tells the PSF
PROBE, PROBED = 16, "i"  # px and band of the cutouts that tell a tract's grid
MOMENTS = ("ixxPSF", "iyyPSF", "ixyPSF")  # px^2


class Rubin(Cutouts):
    """The stamps of a shard's members, of any side: patches that a stamp needs are joined on their tract's pixels.

    The PSF is the Gaussian of the second moments that the Object table gives for the nearest object (NaN where it wasn't
    asked, the published width where no object is near). A scene's tile is a stamp of the tile's side: see
    `ImagingSurvey.tiles`.
    """

    def __init__(self, survey: ImagingSurvey, settings: dict, ra, dec):
        super().__init__(survey, settings, ra, dec, "SIA2 + DataLink + SODA cutouts, MaskedImage, lsst.deep_coadd")
        self.side = self.size * self.scale
        self.cells = [_cell(r, d, self.side) for r, d in zip(ra, dec, strict=True)]
        self.searches = ["search {:.6f} {:.6f} {:.4f}".format(*cell) for cell in self.cells]
        self.psfs = [f"psf {r:.8f} {d:.8f}" for r, d in zip(ra, dec, strict=True)]
        self.found: dict[str, list[Coadd]] = {}

    def missing(self, cache: Replies) -> int:
        """Number of requests without a final reply, as far as the coadds are known."""
        have = cache.have()
        unknown = sum(key not in have for key in self.searches) * 2 * len(self.bands)
        return unknown + sum(ask.key not in have for ask in self._all({}, cache))

    def fetch(self, client, urls: dict, options: dict, cache: Replies, progress) -> dict[str, str]:
        """Ask for what is missing; {key: cause} of what was never answered."""
        from skyloom.cutouts import singles

        dead: dict[str, str] = {}
        for asks in (self._search_asks, self._psf_asks, self._link_asks, self._cut_asks):
            dead |= singles.fetch(client, asks(urls, cache), cache, options["attempts"], options["streams"], progress)
        return dead

    def frames(self, service, cache: Replies) -> list[tuple | None]:
        """The grid of the tract that each tile is cut from, told by one small cutout a tract: cutouts are dear."""
        from skyloom.cutouts import singles

        have = cache.have()
        if any(key not in have for key in self.searches):
            client, urls, _, options = service()
            singles.fetch(client, self._search_asks(urls, cache), cache, options["attempts"], options["streams"])
        tracts = {}
        for k in range(len(self.ra)):
            chosen = [own[0].tract for own in (self.coadds(k, cache) or {}).values()]
            tracts.setdefault(chosen[0] if chosen else None, []).append(k)
        grids: list[tuple | None] = [None] * len(self.ra)
        for tract, members in tracts.items():
            grid = self._grid(tract, members, service, cache) if tract is not None else None
            for k in members:
                grids[k] = grid
        return grids

    def _grid(self, tract: int, members: list[int], service, cache) -> tuple | None:
        """(crval, crpix, cd) of the tract of some members, from the first of them that shows pixels in the probes' band."""
        import math

        for k in members:
            probe = _Probe(self.survey, {**self.settings, "size": PROBE, "pad": "masked"}, self.ra[k:k + 1], self.dec[k:k + 1])
            if any(own[0].tract != tract for own in (probe.coadds(0, cache) or {}).values()):
                continue
            if probe.missing(cache):
                client, urls, _, options = service()
                probe.fetch(client, urls, options, cache, None)
            for stamp in probe.stamps(0, cache, {})[0]:
                if math.isfinite(stamp.crpix[0]):
                    return stamp.crval, stamp.crpix, stamp.cd
        return None

    def _all(self, urls, cache) -> list[Ask]:
        return [ask for asks in (self._search_asks, self._psf_asks, self._link_asks, self._cut_asks) for ask in asks(urls, cache)]

    def _search_asks(self, urls, cache) -> list[Ask]:
        from skyloom.archives import rsp
        from skyloom.cutouts.singles import Ask

        where = dict(zip(self.searches, self.cells, strict=True))
        return [Ask(key, urls.get("sia_url", ""), lambda body: rsp.parse_search(body, self.bands), rsp.search_params(*cell))
                for key, cell in where.items()]

    def _psf_asks(self, urls, cache) -> list[Ask]:
        from skyloom.archives import rsp
        from skyloom.cutouts.singles import Ask

        columns = _psf_columns(self.bands)
        return [Ask(key, _sync(urls), lambda body: rsp.parse_cone(body, columns, False), rsp.cone(columns, ra, dec, NEAR, MOST))
                for key, ra, dec in dict(zip(self.psfs, zip(self.psfs, self.ra, self.dec, strict=True), strict=True)).values()]

    def coadds(self, k: int, cache: Replies) -> dict[str, list[Coadd]] | None:
        """{band: coadds that hold the stamp of member `k`}; None where the search was never answered."""
        from skyloom.archives import replies, rsp
        from skyloom.cutouts import patches

        key = self.searches[k]
        if key not in self.found:
            reply = cache.get(key)
            if reply is None or reply[0] != replies.OK:
                return None
            self.found[key] = rsp.parse_search(reply[3], self.bands)
        return patches.chosen(self.found[key], self.ra[k], self.dec[k], self.side + 2 * rsp.MARGIN * self.scale)

    def _wanted(self, cache):
        """(k, coadd) of every cutout."""
        for k in range(len(self.ra)):
            for own in (self.coadds(k, cache) or {}).values():
                yield from ((k, coadd) for coadd in own)

    def _link_asks(self, urls, cache) -> list[Ask]:
        from skyloom.archives import rsp
        from skyloom.cutouts.singles import Ask

        sets = dict.fromkeys(coadd.dataset for _, coadd in self._wanted(cache))
        return [Ask(_link(name), urls.get("datalink_url", ""), rsp.parse_links, rsp.links_params(name),
                    lambda body: rsp.parse_links(body).encode()) for name in sets]

    def _key(self, k: int, coadd: Coadd) -> str:
        from skyloom.archives import rsp

        return f"cut {self.ra[k]:.10f} {self.dec[k]:.10f} {self.size} {rsp.DETAIL} {coadd.dataset}"

    def _cut_asks(self, urls, cache) -> list[Ask]:
        from skyloom.archives import replies, rsp
        from skyloom.cutouts.singles import Ask

        out, ids = {}, {}
        for k, coadd in sorted(self._wanted(cache), key=lambda one: (one[1].dataset, one[0])):
            if coadd.dataset not in ids:
                reply = cache.get(_link(coadd.dataset))
                ids[coadd.dataset] = reply[3].decode() if reply and reply[0] == replies.OK else ""
            if ids[coadd.dataset]:
                def check(body, k=k, coadd=coadd):
                    rsp.check_cutout(body, self.ra[k], self.dec[k], self.size, coadd, self.scale)

                params = rsp.cutout_params(ids[coadd.dataset], self.ra[k], self.dec[k], self.size, self.scale)
                out[self._key(k, coadd)] = Ask(self._key(k, coadd), urls.get("soda_url", ""), check, params)
        return list(out.values())

    def stamps(self, k: int, cache: Replies, dead: dict) -> tuple[list[Stamp], list[np.ndarray], list[str]]:
        """(stamps, PSF kernels, sha256 of the replies) of member `k`, one a band."""
        from skyloom.cutouts.stamps import blank

        found = self.coadds(k, cache)
        if found is None:
            reply = cache.get(self.searches[k])
            cause = (reply[1] if reply else "") or dead.get(self.searches[k], "never answered")
            return [blank(self.size, "failed", cause)] * len(self.bands), self._kernels(k, cache), [""] * len(self.bands)
        made = [self._stamp(k, found.get(band, []), cache, dead) for band in self.bands]
        return [stamp for stamp, _ in made], self._kernels(k, cache), [digest for _, digest in made]

    def _stamp(self, k: int, coadds: list[Coadd], cache, dead) -> tuple[Stamp, str]:
        from skyloom.archives import rsp
        from skyloom.cutouts import patches
        from skyloom.cutouts.stamps import blank, cut_stamp
        from skyloom.errors import ReplyError

        planes, digests = [], []
        for coadd in coadds:
            key = self._key(k, coadd)
            reply, link = cache.get(key), cache.get(_link(coadd.dataset))
            if reply is None:
                cause = dead.get(key) or dead.get(_link(coadd.dataset)) or (link[1] if link else "") or "never answered"
                return blank(self.size, "failed", cause), ""
            digests.append(reply[2])
            try:
                planes.append(rsp.parse_cutout(reply[3] or b"", self.ra[k], self.dec[k], self.size, coadd, self.scale))
            except ReplyError as error:
                if error.cause != "all_nan" and "No intersection" not in reply[1]:
                    return blank(self.size, "failed", reply[1] or str(error)), reply[2]
        if not planes:
            return blank(self.size, "no_coverage", "" if coadds else "no coadd"), " ".join(digests)[:64]
        try:
            whole = patches.joined(planes)
        except ReplyError as error:
            return blank(self.size, "failed", str(error)), digests[0]
        options = self.settings
        return cut_stamp(whole, self.ra[k], self.dec[k], self.size, options["max_masked_fraction"],
                         options.get("pad", "none") == "masked"), digests[0]

    def _kernels(self, k: int, cache) -> list[np.ndarray]:
        import numpy as np

        from skyloom.archives import replies, rsp
        from skyloom.cutouts.stamps import moment_kernel

        reply, size = cache.get(self.psfs[k]), self.settings["psf_size"]
        if reply is None or reply[0] != replies.OK:
            return [np.full((size, size), np.nan, np.float32) for _ in self.bands]
        rows = rsp.parse_cone(reply[3], _psf_columns(self.bands), False)
        apart = np.hypot((rows["coord_ra"] - self.ra[k] + 180) % 360 - 180, rows["coord_dec"] - self.dec[k])
        order, out = np.argsort(apart), []
        for band, usual in zip(self.bands, self.kernels(), strict=True):
            moments = np.array([rows[f"{band}_{name}"] for name in MOMENTS], float)[:, order]
            good = np.isfinite(moments).all(axis=0) & (moments[0] * moments[1] > moments[2] ** 2) & (moments[0] > 0)
            out.append(moment_kernel(*moments[:, np.argmax(good)], size) if good.any() else usual)
        return out


class _Probe(Rubin):
    """A few pixels in one band, which tell a tract's grid; nobody asks for their PSF."""

    def __init__(self, survey: ImagingSurvey, settings: dict, ra, dec):
        super().__init__(survey, settings, ra, dec)
        self.bands = (PROBED,)

    def _psf_asks(self, urls, cache) -> list[Ask]:
        return []


def objects(client, urls: dict, ra: float, dec: float, radius: float):
    """DataFrame of the Object table in a circle (deg), for labels of scenes: `object_id, ra, dec, is_star` (1, 0, -1 unknown),
    `half_light_radius` (arcsec, circularised), `q, pa` (rad from east to north) of the Sersic fit, `{band}_flux,
    {band}_flux_err` (nJy, cModel, dust not taken off), deblended, each object once. Errors as `rsp.parse_cone` and `http`."""
    from skyloom.archives import rsp

    columns = rsp.object_columns(SURVEY.bands)
    body = client.fetch("GET", _sync(urls), params=rsp.cone(columns, ra, dec, radius, 100_000))
    return rsp.objects(rsp.parse_cone(body, columns), SURVEY.bands, SURVEY.scale)


def catalog(service, template: str, options: dict):
    """(objects in the columns of `skyloom.sample.objects`, their number, what was asked) in the box `options["region"]`;
    `service` is an open one (see `verbs.common.service`), no template is needed."""
    import math

    west, east, low, high = options["region"]
    middle = (west + east) / 2, (low + high) / 2
    radius = math.hypot((east - west) / 2 * math.cos(math.radians(min(abs(low), abs(high)))), (high - low) / 2)
    found = objects(service[0], service[1], middle[0] % 360, middle[1], radius)
    inside = ((found["ra"] - west) % 360 <= east - west) & found["dec"].between(low, high)
    return found[inside].reset_index(drop=True), int(inside.sum()), f"Object table within {radius:.5f} deg of {middle}"


def _sync(urls: dict) -> str:
    return urls.get("tap_url", "").rstrip("/") + "/sync"


def _link(dataset: str) -> str:
    return f"link {dataset}"


def _psf_columns(bands) -> list[str]:
    return ["coord_ra", "coord_dec", *(f"{band}_{name}" for band in bands for name in MOMENTS)]


def _cell(ra: float, dec: float, side: float) -> tuple[float, float, float]:
    """(ra, dec, radius) in deg of the circle around the cell that holds a position and a stamp of `side` arcsec there."""
    import math

    row = math.floor(dec / CELL)
    middle = (row + 0.5) * CELL
    step = CELL / max(math.cos(math.radians(middle)), 0.01)
    radius = 0.7072 * (CELL + side / 3600)
    return (math.floor(ra % 360 / step) + 0.5) * step % 360, middle, math.ceil(radius * 100 + 1) / 100


# vo-cutouts allows 35 cutouts, SIA 70 searches, TAP 1000 queries in 15 minutes: at two requests a minute none is used up.
SERVICE = Service(
    "rubin", {"tap_url": "https://data.lsst.cloud/api/tap", "sia_url": "https://data.lsst.cloud/api/sia/dp1/query",
              "datalink_url": "https://data.lsst.cloud/api/datalink/links",
              "soda_url": "https://data.lsst.cloud/api/cutout/sync"},
    rpm=2, streams=1, most_streams=4, timeout_s=120, total_s=2400, wait_initial_s=2.0, token="SKYLOOM_RSP_TOKEN", handover=True)

# Pivots are those of LSST's filters (2023); ComCam's mean wavelengths lie within 2 nm of them. Widths:
# median of the visits in the Extended Chandra Deep Field South (the coadds'). Extinction: Schlafly & Finkbeiner (2011), table 6.
SURVEY = ImagingSurvey(
    name="rubin", title="Rubin DP1 deep coadds",
    bands={"u": 371.6, "g": 478.7, "r": 620.8, "i": 754.9, "z": 867.5, "y": 974.7}, scale=0.2,
    size=128, sizes=(16, 2000), fwhm={"u": 1.43, "g": 1.17, "r": 1.09, "i": 1.01, "z": 1.00, "y": 1.07},
    zero_point="31.4: pixels are in nJy", ivar_sources=("archive",),
    extinction={"u": 4.145, "g": 3.237, "r": 2.273, "i": 1.684, "z": 1.323, "y": 1.088}, aperture=5.0,
    service=SERVICE, client=Rubin, catalog=catalog,
    licence="holders of Rubin data rights only; no redistribution of pixels or rows",
    citation="Rubin Observatory DP1, doi 10.71929/rubin/2570308 (deep coadds 10.71929/rubin/2570313)")
