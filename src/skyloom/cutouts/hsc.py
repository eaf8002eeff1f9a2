"""HSC's stamps: lists of cutouts and PSFs from DAS."""

from __future__ import annotations

import numpy as np

from skyloom.archives import hsc_das, replies
from skyloom.cutouts import lists
from skyloom.cutouts.stamps import Stamp, blank, cut_stamp, fit_kernel
from skyloom.errors import ReplyError


class Hsc:
    """The stamps of a shard's members (positions in deg) with the settings of the `stamps` block."""

    service, bands, scale, ivar_source = "hsc", hsc_das.BANDS, hsc_das.SCALE, "archive"

    def __init__(self, settings: dict, ra, dec):
        self.settings, self.ra, self.dec = settings, ra, dec
        self.size, self.request = settings["size"], settings["rerun"]
        self.rows = [hsc_das.cutout_rows(r, d, self.size, self.request) for r, d in zip(ra, dec, strict=True)]
        self.kernels = [hsc_das.psf_rows(r, d, self.request) for r, d in zip(ra, dec, strict=True)]

    def missing(self, cache: replies.Replies) -> int:
        """Number of requests without a final reply."""
        have = cache.have()
        return sum(row not in have for group in (*self.rows, *self.kernels) for row in group)

    def fetch(self, client, urls: dict, options: dict, cache: replies.Replies, progress) -> dict[str, str]:
        """Ask for what is missing; {row: cause} of what was never answered."""
        rows, kernels = ([row for group in groups for row in group] for groups in (self.rows, self.kernels))
        dead = lists.fetch(client, urls["cutout_url"], hsc_das.CUTOUT, rows, check_cutout, cache, options["attempts"], progress)
        return dead | lists.fetch(client, urls["psf_url"] + "?bulk=on", hsc_das.PSF, kernels, check_psf, cache,
                                  options["attempts"], progress)

    def stamps(self, k: int, cache: replies.Replies, dead: dict) -> tuple[list[Stamp], list[np.ndarray], list[str]]:
        """(stamps, PSF kernels, sha256 of the replies) of member `k`, one a band."""
        options, found = self.settings, [cache.get(row) for row in self.rows[k]]
        made = [stamp_of_reply(reply, self.ra[k], self.dec[k], self.size, options["max_masked_fraction"],
                               options["pad"] == "masked", dead.get(row, ""))
                for reply, row in zip(found, self.rows[k], strict=True)]
        kernels = [psf_of_reply(cache.get(row), options["psf_size"]) for row in self.kernels[k]]
        return made, kernels, [reply[2] if reply else "" for reply in found]


def check_cutout(row: str, name: str, body: bytes) -> None:
    """ReplyError unless the member is the cutout of the row's filter, readable, at the right scale."""
    if f"-{row.split()[2]}-" not in name:
        raise ReplyError("wrong_band", f"{name} for {row.split()[2]}")
    hsc_das.parse_cutout(body)


def check_psf(row: str, name: str, body: bytes) -> None:
    """ReplyError unless the member is a PSF kernel of the row's filter."""
    if f"-{row.split()[2]}-" not in name:
        raise ReplyError("wrong_band", f"{name} for {row.split()[2]}")
    hsc_das.parse_psf(body)


def stamp_of_reply(reply, ra, dec, size: int, max_masked: float, pad: bool, dead: str = "") -> Stamp:
    """The stamp of a stored reply (see `replies.Replies.get`), or of none with the cause `dead`."""
    if reply is None:
        return blank(size, "failed", dead or "never answered")
    state, cause, _, body = reply
    if state == replies.NO_COVERAGE:
        return blank(size, "no_coverage")
    try:
        return cut_stamp(hsc_das.parse_cutout(body), ra, dec, size, max_masked, pad)
    except ReplyError as error:
        return blank(size, "failed", str(error) or cause)


def psf_of_reply(reply, size: int) -> np.ndarray:
    """(size, size) float32 kernel of a stored reply, centre-cropped and of sum 1; NaN where there is none."""
    if reply is None or reply[0] != replies.OK:
        return np.full((size, size), np.nan, np.float32)
    try:
        kernel = hsc_das.parse_psf(reply[3])
    except ReplyError:
        return np.full((size, size), np.nan, np.float32)
    return fit_kernel(kernel, size)
