"""Pan-STARRS1's 3 pi survey at STScI: which stacks hold each position, then one cutout a band."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyloom.surveys.clients import Cutouts
from skyloom.surveys.imaging import ImagingSurvey
from skyloom.surveys.service import Service

if TYPE_CHECKING:
    import numpy as np

    from skyloom.archives.replies import Replies
    from skyloom.cutouts.singles import Ask
    from skyloom.cutouts.stamps import Stamp


class PanStarrs(Cutouts):
    """The stamps of a shard's members; the PSF is a Gaussian of the survey's median width: the service gives none."""

    def __init__(self, survey: ImagingSurvey, settings: dict, ra, dec):
        super().__init__(survey, settings, ra, dec, "")
        self.kinds = ("stack", "stack.wt") if self.ivar_source == "archive" else ("stack",)
        self.request = "ps1filenames.py + fitscut.cgi, " + ", ".join(self.kinds)
        self.lists = [f"list {r:.10f} {d:.10f} {','.join(self.kinds)}" for r, d in zip(ra, dec, strict=True)]

    def missing(self, cache: Replies) -> int:
        """Number of requests without a final reply, as far as the lists are known."""
        have = cache.have()
        unlisted = sum(key not in have for key in self.lists)
        return unlisted * (1 + len(self.bands)) + sum(ask.key not in have for ask in self._asks("", cache))

    def fetch(self, client, urls: dict, options: dict, cache: Replies, progress) -> dict[str, str]:
        """Ask for what is missing; {key: cause} of what was never answered."""
        from skyloom.archives import panstarrs
        from skyloom.cutouts import filelists, singles

        where = dict(zip(self.lists, zip(self.ra, self.dec, strict=True), strict=True))
        dead = filelists.fetch(client, urls["filenames_url"], where,
                               lambda positions: panstarrs.list_form(positions, self.bands, self.kinds),
                               options["attempts"], cache, progress)
        asks = sorted(self._asks(urls["fitscut_url"], cache), key=lambda ask: ask.params["red"])  # the server's file cache
        return dead | singles.fetch(client, asks, cache, options["attempts"], options["streams"], progress)

    def _files(self, k: int, cache, kind: str) -> dict[str, str]:
        from skyloom.archives import panstarrs, replies

        reply = cache.get(self.lists[k])
        if not reply or reply[0] != replies.OK:
            return {}
        names = panstarrs.filenames(panstarrs.parse_list(reply[3].decode()), kind)
        return {band: name for band, name in names.items() if band in self.bands}

    def _key(self, k: int, filename: str) -> str:
        return f"cut {self.ra[k]:.10f} {self.dec[k]:.10f} {self.size} {filename}"

    def _asks(self, url: str, cache) -> list[Ask]:
        from skyloom.archives import panstarrs
        from skyloom.cutouts.singles import Ask

        out = []
        for k, (ra, dec) in enumerate(zip(self.ra, self.dec, strict=True)):
            for kind in self.kinds:
                for band, name in self._files(k, cache, kind).items():
                    def check(body, ra=ra, dec=dec, band=band):
                        panstarrs.check_cutout(body, ra, dec, self.size, band, self.scale)

                    out.append(Ask(self._key(k, name), url, check, panstarrs.cutout_params(ra, dec, name, self.size)))
        return out

    def stamps(self, k: int, cache: Replies, dead: dict) -> tuple[list[Stamp], list[np.ndarray], list[str]]:
        """(stamps, PSF kernels, sha256 of the replies) of member `k`, one a band."""
        from skyloom.cutouts.stamps import blank

        if self.lists[k] in dead or cache.get(self.lists[k]) is None:
            made = [blank(self.size, "failed", dead.get(self.lists[k], "never answered"))] * len(self.bands)
            return made, self.kernels(), [""] * len(self.bands)
        files = [self._files(k, cache, kind) for kind in self.kinds]
        made, digests = [], []
        for band in self.bands:
            if band not in files[0]:
                made.append(blank(self.size, "no_coverage", "no stack"))
                digests.append("")
                continue
            found = [cache.get(self._key(k, names[band])) if band in names else None for names in files]
            causes = [dead.get(self._key(k, names[band]), "") for names in files if band in names]
            made.append(self._stamp(k, band, found, next(filter(None, causes), "")))
            digests.append(found[0][2] if found[0] else "")
        return made, self.kernels(), digests

    def _stamp(self, k, band, found, cause) -> Stamp:
        from skyloom.archives import panstarrs
        from skyloom.cutouts.stamps import blank, calibrated, centred
        from skyloom.errors import ReplyError

        if any(reply is None for reply in found):
            return blank(self.size, "failed", cause or "never answered")
        try:
            planes = [panstarrs.parse_cutout(reply[3] or b"", self.ra[k], self.dec[k], self.size, band, self.scale)
                      for reply in found]
        except ReplyError as error:
            status = "no_coverage" if error.cause == "all_nan" else "failed"
            return blank(self.size, status, next((r[1] for r in found if r[1]), "") or str(error))
        if len(planes) > 1:
            planes[0].variance = planes[1].image
        return centred(planes[0], calibrated(planes[0]), self.ra[k], self.dec[k], self.settings)


SERVICE = Service("ps1", {"filenames_url": "https://ps1images.stsci.edu/cgi-bin/ps1filenames.py",
                          "fitscut_url": "https://ps1images.stsci.edu/cgi-bin/fitscut.cgi"},
                  rpm=300, streams=6, most_streams=8, timeout_s=60)

# Widths: Magnier et al. (2020), median of the stacks. Extinction: Schlafly & Finkbeiner (2011), table 6.
SURVEY = ImagingSurvey(
    name="ps1", title="Pan-STARRS1 3 pi",
    bands={"g": 484.9, "r": 620.1, "i": 753.5, "z": 867.4, "y": 962.8}, scale=0.25, size=170, sizes=(16, 2000),
    fwhm={"g": 1.31, "r": 1.19, "i": 1.11, "z": 1.07, "y": 1.02}, zero_point="25 + 2.5 log10 EXPTIME of the header",
    extinction={"g": 3.172, "r": 2.271, "i": 1.682, "z": 1.322, "y": 1.087}, aperture=4.0,
    service=SERVICE, client=PanStarrs, flag_bit=17,
    licence="public", citation="Chambers et al. 2016; Waters et al. 2020")
