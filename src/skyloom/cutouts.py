"""Fetch a shard's stamps, verify them, bring them to nJy; a status for every object and band."""

from __future__ import annotations

import collections
from dataclasses import dataclass

import numpy as np

from skyloom import flux, wcs
from skyloom.archives import hsc_das, local, replies
from skyloom.archives.http import Client
from skyloom.errors import InputError, Refused, ReplyError, ServiceError

STATUS = ("ok", "no_coverage", "masked", "too_small", "failed")
UNUSABLE = np.uint32(1 << 31)  # our bit in the stored mask: the archive's planes (or a NaN) make the pixel useless


def fetch(client: Client, url: str, columns: str, rows: list[str], check, store: replies.Replies, attempts: int,
          progress=None) -> dict[str, str]:
    """Ask the list service at `url` for every row without a final reply in `store`.

    `check(row, name, body)` raises ReplyError for a reply that isn't what the row asked for; such a row is asked
    again, up to `attempts` times, then kept as bad with its cause. A list that breaks off is asked again for what
    is missing; after `attempts` rounds without a single new reply the service counts as dead.
    Returns {row: cause} of the rows that the service never answered; they aren't stored, a rerun asks again.
    InputError if the service refuses the account.
    """
    have = store.have()
    waiting = sorted((row for row in rows if row not in have), key=hsc_das.sort_key)
    tries: collections.Counter = collections.Counter()
    barren, dead = 0, ""
    while waiting and not dead:
        batch = waiting[:hsc_das.ROWS]
        before = len(waiting)
        try:
            done, broken = _ask(client, url, columns, batch, check, store, tries, attempts)
        except ServiceError as error:
            if isinstance(error, Refused) and getattr(error, "status", 0) == 401:
                raise InputError("the HSC archive refused the account; set SKYLOOM_HSC_USER and "
                                 "SKYLOOM_HSC_PASSWORD to a valid pair") from None
            done, broken, dead = set(), "", str(error)
        finally:
            store.commit()
        waiting = [row for row in waiting if row not in done]
        if progress:
            progress.step(before - len(waiting))
        barren = 0 if done else barren + 1
        if barren >= attempts:
            dead = broken or "no reply to any row"
    return dict.fromkeys(waiting, dead)


def _ask(client, url, columns, batch, check, store, tries, attempts) -> tuple[set[str], str]:
    """One request: the rows that got a final reply, and why the list broke off (empty if it didn't)."""
    done: set[str] = set()
    again: set[str] = set()
    try:
        with client.open("POST", url, files=hsc_das.list_file(columns, batch)) as response:
            for index, name, body in hsc_das.members(response.raw):
                if not 0 <= index < len(batch):
                    raise ReplyError("wrong_line", f"{name} in a list of {len(batch)} rows")
                row = batch[index]
                try:
                    check(row, name, body)
                    store.put(row, replies.OK, body)
                except ReplyError as error:
                    tries[row] += 1
                    if tries[row] < attempts:
                        again.add(row)
                        continue
                    store.put(row, replies.BAD, body, str(error))
                done.add(row)
    except ReplyError as error:
        return done, str(error)
    for row in batch:
        if row not in done and row not in again:  # the list ended well and left these out: no coverage
            store.put(row, replies.NO_COVERAGE)
            done.add(row)
    return done, ""


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


@dataclass
class Stamp:
    """One band of one object: nJy, nJy^-2, mask, status, why, calibration, and where the target lies."""

    image: np.ndarray
    ivar: np.ndarray
    mask: np.ndarray
    status: str
    cause: str = ""
    zero_point: float = np.nan
    offset: tuple[float, float] = (np.nan, np.nan)  # target minus stamp centre, px (x, y)


def blank(size: int, status: str, cause: str = "") -> Stamp:
    """A stamp without data: image and ivar zero, every pixel unusable."""
    zero = np.zeros((size, size), np.float32)
    return Stamp(zero, zero.copy(), np.full((size, size), UNUSABLE, np.uint32), status, cause)


def cut_stamp(plane: hsc_das.Plane, ra: float, dec: float, size: int, max_masked: float, pad: bool = False) -> Stamp:
    """The size x size stamp centred on (ra, dec) by the plane's own WCS, calibrated by its own zero point.

    Status `too_small` where the image doesn't hold the stamp (unless `pad`: the rest has ivar 0), `masked` where
    more than `max_masked` of the pixels within a quarter of the stamp of its centre are unusable.
    """
    x, y = wcs.tan_pixel(plane.crval, plane.crpix, plane.cd, ra, dec)
    image, ivar = flux.calibrate(plane.image, plane.variance, plane.zero_point)
    unusable = plane.bad | (ivar == 0)
    mask = plane.mask.astype(np.uint32) | np.where(unusable, UNUSABLE, np.uint32(0))
    ivar[unusable] = 0
    return window_stamp(image, ivar, mask, x, y, plane.zero_point, size, max_masked, pad)


def window_stamp(image, ivar, mask, x, y, zero_point, size: int, max_masked: float, pad: bool) -> Stamp:
    """The stamp around pixel (x, y) of calibrated planes; status as for `cut_stamp`."""
    if pad:
        image, ivar, mask, x, y = _padded(image, ivar, mask, x, y, size)
    try:
        window = wcs.centre_crop(x, y, image.shape, size)
    except ReplyError as error:
        status = "too_small" if error.cause == "too_small" else "failed"
        return blank(size, status, str(error))
    middle = (size - 1) / 2
    out = Stamp(image[window], ivar[window], mask[window], "ok", "", zero_point,
                (x - window[1].start - middle, y - window[0].start - middle))
    fraction = masked_fraction(out.mask)
    if fraction > max_masked:
        out.status, out.cause = "masked", f"{fraction:.2f} of the central pixels are unusable"
    return out


def masked_fraction(mask: np.ndarray) -> float:
    """Fraction of unusable pixels within a quarter of the stamp's side of its centre."""
    size = mask.shape[-1]
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    inner = np.hypot(x, y) <= size / 4
    return float(np.mean((mask[inner] & UNUSABLE) != 0))


def _padded(image, ivar, mask, x, y, size):
    """The planes with a border of unusable pixels wide enough for any window around (x, y)."""
    grown = [np.pad(a, size, constant_values=v) for a, v in ((image, 0), (ivar, 0), (mask, UNUSABLE))]
    return (*grown, x + size, y + size)


def stamp_of_file(row, scale: float, size: int, max_masked: float, pad: bool) -> tuple[Stamp, np.ndarray | None]:
    """(stamp, PSF kernel or None) of a manifest row; a file that can't be used gives status `failed` with the cause."""
    try:
        found = local.read_image(row, scale)
    except ReplyError as error:
        return blank(size, "failed", str(error)), None
    image, ivar, unusable = local.calibrated(found)
    mask = np.where(unusable, UNUSABLE, np.uint32(0))
    return window_stamp(image, ivar, mask, found.x, found.y, found.zero_point, size, max_masked, pad), found.psf


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


def fit_kernel(kernel: np.ndarray, size: int) -> np.ndarray:
    """A centred kernel cut or zero-padded to odd (size, size), renormalised to sum 1."""
    out = np.zeros((size, size), np.float32)
    half = min(size // 2, kernel.shape[0] // 2, kernel.shape[1] // 2)
    cy, cx, c = kernel.shape[0] // 2, kernel.shape[1] // 2, size // 2
    out[c - half:c + half + 1, c - half:c + half + 1] = kernel[cy - half:cy + half + 1, cx - half:cx + half + 1]
    return out / out.sum()
