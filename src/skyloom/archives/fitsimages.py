"""Image HDUs of small FITS files in memory, for the thousands of stamps of a shard.

Only the walk over blocks and plain numbers are ours (astropy parses every other card), since opening a
four-HDU stamp as an HDUList costs 7 ms, ten times what its pixels cost.
"""

from __future__ import annotations

import numpy as np

from skyloom.archives import guard
from skyloom.errors import ReplyError

BLOCK, CARD = 2880, 80
_TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


class Cards(dict):
    """Raw 80-character cards of a header by keyword; `value(key)` parses one."""

    def value(self, key: str, default=None):
        """A card's value: plain numbers and logicals here, whatever else by astropy; ReplyError `bad_fits` for a card that
        is none."""
        card = self.get(key)
        if card is None:
            return default
        text = card.partition("=")[2].partition("/")[0].strip()
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                pass
        if text in ("T", "F"):
            return text == "T"
        from astropy.io import fits

        with guard.reading(f"the card {key}"):
            return fits.Card.fromstring(card).value

    def positive(self, key: str, cause: str) -> float:
        """A card that must be a number above 0; ReplyError of `cause` where it is missing or anything else."""
        value = self.value(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
            raise ReplyError(cause, f"{key} is missing" if value is None else f"{key} is {value!r}, not a positive number")
        return float(value)


@guard.reading("the reply")
def images(body: bytes) -> list[tuple[Cards, np.ndarray | None]]:
    """(cards, pixels in native byte order or None) of every HDU; ReplyError `not_fits` or `bad_fits`."""
    if body[:6] != b"SIMPLE":
        raise ReplyError("not_fits", f"starts with {body[:20]!r}")
    out, at = [], 0
    while at < len(body) and body[at:at + 8].strip():
        cards, at = _header(body, at)
        shape = [cards.value(f"NAXIS{k}") for k in range(cards.value("NAXIS", 0), 0, -1)]
        kind = _TYPES.get(cards.value("BITPIX"))
        if any(not isinstance(n, int) or n < 0 for n in shape):
            raise ReplyError("bad_fits", f"HDU {len(out)}: axes of {shape} px")
        size = int(np.prod(shape)) * np.dtype(kind).itemsize if shape and kind else 0
        if kind is None or at + size > len(body) or cards.value("BSCALE", 1) != 1 or cards.value("BZERO", 0) != 0:
            raise ReplyError("bad_fits", f"HDU {len(out)}: {len(body) - at} bytes left of {size}, or scaled pixels")
        pixels = np.frombuffer(body, kind, int(np.prod(shape)), at).reshape(shape) if shape else None
        out.append((cards, None if pixels is None else pixels.astype(pixels.dtype.newbyteorder("="))))
        at += size + -size % BLOCK
    return out


def _header(body: bytes, at: int) -> tuple[Cards, int]:
    cards = Cards()
    while at < len(body):
        block = body[at:at + BLOCK]
        at += BLOCK
        try:
            text = block.decode("ascii")
        except UnicodeDecodeError:
            raise ReplyError("bad_fits", "a header that is not ASCII") from None
        for k in range(0, len(text), CARD):
            line = text[k:k + CARD]
            key = line[9:].partition("=")[0].strip() if line.startswith("HIERARCH") else line[:8].strip()
            if key == "END":
                return cards, at
            cards[key] = line
    raise ReplyError("bad_fits", "a header without END")


def tan(cards: Cards) -> tuple[tuple[float, float], tuple[float, float], np.ndarray]:
    """(CRVAL, CRPIX, CD in deg/px) of a gnomonic WCS given as CD, PCi_j or the old PC00i00j with CDELT.

    ReplyError `bad_fits` if there is none.
    """
    if not str(cards.value("CTYPE1", "")).startswith("RA---TAN"):
        raise ReplyError("bad_fits", f"CTYPE1 is {cards.value('CTYPE1')!r}, not a gnomonic WCS")
    try:
        crval, crpix = ((float(cards.value(f"{key}1")), float(cards.value(f"{key}2"))) for key in ("CRVAL", "CRPIX"))
        if "CD1_1" in cards:
            cd = np.array([[cards.value(f"CD{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2)], float)
        else:
            form = "PC00{}00{}" if "PC001001" in cards else "PC{}_{}"
            unit = np.eye(2)
            turn = np.array([[cards.value(form.format(i, j), unit[i - 1, j - 1]) for j in (1, 2)] for i in (1, 2)], float)
            cd = np.array([[float(cards.value("CDELT1"))], [float(cards.value("CDELT2"))]]) * turn
    except (TypeError, ValueError):
        raise ReplyError("bad_fits", "no celestial WCS in the image's header") from None
    if not (np.isfinite([*crval, *crpix]).all() and np.isfinite(cd).all() and np.linalg.det(cd)):
        raise ReplyError("bad_fits", f"the WCS can't be used: CRVAL {crval}, CRPIX {crpix}, CD {cd.tolist()}")
    return crval, crpix, cd


def check_unit(cards: Cards, known) -> None:
    """ReplyError `unknown_unit` if the header names a unit that isn't in `known` (lower case; empty = none named)."""
    unit = str(cards.value("BUNIT", "") or "").strip()
    if unit.lower() not in known:
        raise ReplyError("unknown_unit", f"BUNIT is {unit!r}")


def check_pixels(image: np.ndarray) -> None:
    """ReplyError `all_nan` or `all_zero` for an image that holds nothing."""
    if not np.isfinite(image).any():
        raise ReplyError("all_nan", "no finite pixel")
    if not np.any(np.nan_to_num(image)):
        raise ReplyError("all_zero", "every pixel is zero")
