"""What the clients of imaging surveys share. The modules of surveys import this at their top: nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from skyloom.archives.replies import Replies
    from skyloom.cutouts.stamps import Stamp


class Cutouts:
    """The stamps of a shard's members: positions (deg), the survey's facts, the settings of the `stamps` block.

    `request` says in words what was asked for. A client adds `missing(cache)`, the number of requests without a final reply;
    `fetch(client, urls, options, cache, progress)`, which asks for them and returns {request: cause} of what was never
    answered; `stamps(k, cache, dead)`: (stamps, PSF kernels, sha256 of the replies) of member `k`, one a band.
    """

    def __init__(self, survey, settings: dict, ra, dec, request: str):
        self.survey, self.settings, self.ra, self.dec, self.request = survey, settings, ra, dec, request
        self.service, self.bands, self.scale = survey.service.name, tuple(survey.bands), survey.scale
        self.size, self.ivar_source = settings["size"], settings.get("ivar_source", survey.ivar_sources[0])

    def frames(self, service: Callable, cache: Replies) -> list[tuple | None]:
        """The TAN grid (crval, crpix, cd) on which the archive holds each position, None where it has none. Without one of a
        survey's own, positions are taken as they are and each tile stands on the whole pixel next to its place. `service()` opens
        the service where something must be asked: (client, urls, account, options)."""
        return [None] * len(self.ra)

    def kernels(self) -> list[np.ndarray]:
        """Gaussians of the survey's published widths, one a band, for services that give no PSF; NaN where it says none."""
        from skyloom.cutouts.stamps import gaussian_kernel

        widths = [self.survey.fwhm.get(band, float("nan")) for band in self.bands]
        return [gaussian_kernel(fwhm / self.scale, self.settings["psf_size"]) for fwhm in widths]


class Cubes(Cutouts):
    """Stamps from a service that answers one GET an object with all bands, at the address `urls[url]`.

    `params(ra, dec, size, weights)` is the query, with the archive's own weights or without; `parse(body, ra, dec, size)` gives
    {band: `archives.plane.Plane`, or None where the survey never looked} in the survey's order, ReplyError for what isn't that.
    """

    def __init__(self, survey, settings: dict, ra, dec, request: str, params: Callable, parse: Callable, url: str = "url"):
        super().__init__(survey, settings, ra, dec, request)
        self.parse, self.url = parse, url
        self.queries = [params(r, d, self.size, self.ivar_source == "archive") for r, d in zip(ra, dec, strict=True)]
        self.keys = [" ".join(f"{name}={value}" for name, value in query.items()) for query in self.queries]

    def missing(self, cache: Replies) -> int:
        """Number of requests without a final reply."""
        have = cache.have()
        return sum(key not in have for key in self.keys)

    def fetch(self, client, urls: dict, options: dict, cache: Replies, progress) -> dict[str, str]:
        """Ask for what is missing; {key: cause} of what was never answered."""
        from skyloom.cutouts import singles

        asks = []
        for key, query, ra, dec in zip(self.keys, self.queries, self.ra, self.dec, strict=True):
            def check(body, ra=ra, dec=dec):
                self.parse(body, ra, dec, self.size)

            asks.append(singles.Ask(key, urls[self.url], check, query))
        return singles.fetch(client, asks, cache, options["attempts"], options["streams"], progress)

    def stamps(self, k: int, cache: Replies, dead: dict) -> tuple[list[Stamp], list[np.ndarray], list[str]]:
        """(stamps, PSF kernels, sha256 of the reply) of member `k`, one a band; a plane that is None is no coverage."""
        from skyloom.cutouts.stamps import blank, calibrated, centred
        from skyloom.errors import ReplyError

        reply, kernels, n = cache.get(self.keys[k]), self.kernels(), len(self.bands)
        if reply is None:
            return [blank(self.size, "failed", dead.get(self.keys[k], "never answered"))] * n, kernels, [""] * n
        try:
            planes = self.parse(reply[3] or b"", self.ra[k], self.dec[k], self.size)
        except ReplyError as error:
            return [blank(self.size, "failed", reply[1] or str(error))] * n, kernels, [reply[2]] * n
        made = [blank(self.size, "no_coverage") if planes[band] is None else
                centred(planes[band], calibrated(planes[band]), self.ra[k], self.dec[k], self.settings) for band in self.bands]
        return made, kernels, [reply[2]] * n
