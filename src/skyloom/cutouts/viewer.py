"""GALEX's and unWISE's stamps: one cube an object from the Legacy Survey viewer."""

from __future__ import annotations

import numpy as np

from skyloom.archives import replies, viewer
from skyloom.cutouts import singles
from skyloom.cutouts.stamps import Stamp, blank, calibrated, centred, gaussian_kernel
from skyloom.errors import ReplyError


class _Cubes:
    """The stamps of a shard's members (positions in deg) with the settings of the `stamps` block."""

    service, layer = "viewer", viewer.GALEX

    def __init__(self, settings: dict, ra, dec):
        self.settings, self.ra, self.dec = settings, ra, dec
        self.bands, self.scale = self.layer.bands, self.layer.scale
        self.size, self.ivar_source = settings["size"], settings["ivar_source"]
        self.request = f"layer {self.layer.name} at {self.scale} arcsec/px"
        self.queries = [viewer.params(self.layer, r, d, self.size, self.ivar_source == "archive")
                        for r, d in zip(ra, dec, strict=True)]
        self.keys = [" ".join(f"{name}={value}" for name, value in query.items()) for query in self.queries]

    def missing(self, cache: replies.Replies) -> int:
        """Number of requests without a final reply."""
        have = cache.have()
        return sum(key not in have for key in self.keys)

    def fetch(self, client, urls: dict, options: dict, cache: replies.Replies, progress) -> dict[str, str]:
        """Ask for what is missing; {key: cause} of what was never answered."""
        asks = []
        for key, query, ra, dec in zip(self.keys, self.queries, self.ra, self.dec, strict=True):
            def check(body, ra=ra, dec=dec):
                viewer.parse(self.layer, body, ra, dec, self.size)

            asks.append(singles.Ask(key, urls["url"], check, query))
        return singles.fetch(client, asks, cache, options["attempts"], options["streams"], progress)

    def stamps(self, k: int, cache: replies.Replies, dead: dict) -> tuple[list[Stamp], list[np.ndarray], list[str]]:
        """(stamps, PSF kernels, sha256 of the replies) of member `k`, one a band; an all-zero plane is no coverage.
        The PSF is a Gaussian of the survey's published width: the service gives none."""
        reply = cache.get(self.keys[k])
        kernels = [gaussian_kernel(fwhm / self.scale, self.settings["psf_size"]) for fwhm in self.layer.fwhm]
        if reply is None:
            return [blank(self.size, "failed", dead.get(self.keys[k], "never answered"))] * 2, kernels, ["", ""]
        try:
            planes = viewer.parse(self.layer, reply[3] or b"", self.ra[k], self.dec[k], self.size)
        except ReplyError as error:
            return [blank(self.size, "failed", reply[1] or str(error))] * 2, kernels, [reply[2]] * 2
        made = [blank(self.size, "no_coverage") if plane is None else
                centred(plane, calibrated(plane), self.ra[k], self.dec[k], self.settings) for plane in planes.values()]
        return made, kernels, [reply[2]] * 2


class Galex(_Cubes):
    """GALEX NUV and FUV."""


class Unwise(_Cubes):
    """unWISE W1 and W2."""

    layer = viewer.UNWISE
