"""Pan-STARRS1's stamps: which stacks hold each position, then one cutout a band."""

from __future__ import annotations

import numpy as np

from skyloom.archives import panstarrs as ps1
from skyloom.archives import replies
from skyloom.cutouts import singles
from skyloom.cutouts.stamps import Stamp, blank, calibrated, centred, gaussian_kernel
from skyloom.errors import ReplyError, ServiceError


class PanStarrs:
    """The stamps of a shard's members (positions in deg) with the settings of the `stamps` block."""

    service, bands, scale = "ps1", ps1.BANDS, ps1.SCALE

    def __init__(self, settings: dict, ra, dec):
        self.settings, self.ra, self.dec = settings, ra, dec
        self.size, self.ivar_source = settings["size"], settings["ivar_source"]
        self.kinds = ("stack", "stack.wt") if self.ivar_source == "archive" else ("stack",)
        self.request = "ps1filenames.py + fitscut.cgi, " + ", ".join(self.kinds)
        self.lists = [f"list {r:.10f} {d:.10f} {','.join(self.kinds)}" for r, d in zip(ra, dec, strict=True)]

    def missing(self, cache: replies.Replies) -> int:
        """Number of requests without a final reply, as far as the lists are known."""
        have = cache.have()
        unlisted = sum(key not in have for key in self.lists)
        return unlisted * (1 + len(self.bands)) + sum(ask.key not in have for ask in self._asks("", cache))

    def fetch(self, client, urls: dict, options: dict, cache: replies.Replies, progress) -> dict[str, str]:
        """Ask for what is missing; {key: cause} of what was never answered."""
        dead = self._fetch_lists(client, urls["filenames_url"], options["attempts"], cache, progress)
        asks = sorted(self._asks(urls["fitscut_url"], cache), key=lambda ask: ask.params["red"])  # the server's file cache
        return dead | singles.fetch(client, asks, cache, options["attempts"], options["streams"], progress)

    def _fetch_lists(self, client, url, attempts, cache, progress) -> dict[str, str]:
        have = cache.have()
        todo = [k for k, key in enumerate(self.lists) if key not in have]
        for start in range(0, len(todo), ps1.POSITIONS):
            part = todo[start:start + ps1.POSITIONS]
            where = [(self.ra[k], self.dec[k]) for k in part]
            try:
                rows = _listed(client, url, where, self.kinds, attempts)
            except ServiceError as error:
                return {self.lists[k]: str(error) for k in todo[start:]}
            for k, found in zip(part, ps1.by_position(rows, where), strict=True):
                lines = [" ".join(row.values()) for row in found]
                cache.put(self.lists[k], replies.OK if found else replies.NO_COVERAGE,
                          "\n".join([" ".join(rows[0]), *lines]).encode() if found else None)
            cache.commit()
            progress.step(len(part))
        return {}

    def _files(self, k: int, cache, kind: str) -> dict[str, str]:
        reply = cache.get(self.lists[k])
        return ps1.filenames(ps1.parse_list(reply[3].decode()), kind) if reply and reply[0] == replies.OK else {}

    def _key(self, k: int, filename: str) -> str:
        return f"cut {self.ra[k]:.10f} {self.dec[k]:.10f} {self.size} {filename}"

    def _asks(self, url: str, cache) -> list[singles.Ask]:
        out = []
        for k, (ra, dec) in enumerate(zip(self.ra, self.dec, strict=True)):
            for kind in self.kinds:
                for band, name in self._files(k, cache, kind).items():
                    def check(body, ra=ra, dec=dec, band=band):
                        ps1.check_cutout(body, ra, dec, self.size, band)

                    out.append(singles.Ask(self._key(k, name), url, check, ps1.cutout_params(ra, dec, name, self.size)))
        return out

    def stamps(self, k: int, cache: replies.Replies, dead: dict) -> tuple[list[Stamp], list[np.ndarray], list[str]]:
        """(stamps, PSF kernels, sha256 of the replies) of member `k`, one a band. The PSF is a Gaussian of the survey's
        median width: the service gives none with a cutout."""
        if self.lists[k] in dead or cache.get(self.lists[k]) is None:
            made = [blank(self.size, "failed", dead.get(self.lists[k], "never answered"))] * len(self.bands)
            return made, [self._kernel(band) for band in self.bands], [""] * len(self.bands)
        files = [self._files(k, cache, kind) for kind in self.kinds]
        made, digests = [], []
        for band in self.bands:
            if band not in files[0]:
                made.append(blank(self.size, "no_coverage", "no stack"))
                digests.append("")
                continue
            found = [cache.get(self._key(k, names[band])) if band in names else None for names in files]
            made.append(self._stamp(k, band, found, dead.get(self._key(k, files[0][band]), "")))
            digests.append(found[0][2] if found[0] else "")
        return made, [self._kernel(band) for band in self.bands], digests

    def _stamp(self, k, band, found, cause) -> Stamp:
        if any(reply is None for reply in found):
            return blank(self.size, "failed", cause or "never answered")
        try:
            planes = [ps1.parse_cutout(reply[3] or b"", self.ra[k], self.dec[k], self.size, band) for reply in found]
        except ReplyError as error:
            status = "no_coverage" if error.cause == "all_nan" else "failed"
            return blank(self.size, status, next((r[1] for r in found if r[1]), "") or str(error))
        if len(planes) > 1:
            planes[0].variance = planes[1].image
        return centred(planes[0], calibrated(planes[0]), self.ra[k], self.dec[k], self.settings)

    def _kernel(self, band: str) -> np.ndarray:
        return gaussian_kernel(ps1.FWHM[band] / self.scale, self.settings["psf_size"])


def _listed(client, url, where, kinds, attempts) -> list[dict]:
    """The file list of some positions, asked again while the reply is none; ServiceError in the end."""
    for attempt in range(attempts):
        try:
            return ps1.parse_list(client.fetch("POST", url, **ps1.list_form(where, kinds)).decode("utf-8", "replace"))
        except ReplyError:
            if attempt == attempts - 1:
                raise
    raise ServiceError("no attempts allowed")
