"""Object ids: one rule for tables, manifests, targets and the tables of peers.

An id is what its column says, cell by cell, never what a file as a whole looks like. A whole number that int64 holds is that
integer, whether it comes as a number or as text (`123`); anything else (`J1000+02`, `00123`, `+5`, 20 digits) is text: it stays
as source_id, and object_id is the first 63 bits of its sha256. A double is an id only where no digit can have been lost.
"""

from __future__ import annotations

import hashlib
import re

import numpy as np

from skyloom.errors import InputError

INTEGER = re.compile(r"0|-?[1-9]\d*")
WHOLE = re.compile(r"(0|-?[1-9]\d*)\.0+")  # an integer as a double prints itself
POWER = re.compile(r"([+-]?\d)\.(\d*)[eEdD]([+-]?\d+)|[+-]?\d+[eE]\+\d+")  # a number with an exponent: 1.2376e+18
NONE = {"", "nan", "none", "null", "<na>", "n/a", "na", "--"}  # cells that hold no id, in any case of letters
MANTISSA = {"f2": 11, "f4": 24, "f8": 53}  # bits of the integers that a float holds exactly


def text_id(text: str) -> int:
    """The first 63 bits of the sha256 of a text id."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def decoded(text: bytes) -> str:
    """Bytes of a table as text: UTF-8, else Latin-1."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def canonical(values, where: str) -> tuple[np.ndarray, np.ndarray | None]:
    """(object_id int64 (n,), source_id (n,) of str or None where every id is an integer) of a column of ids.

    `where` names the column in a sentence. InputError for an id that is missing, or a number that lost digits.
    """
    if np.ma.is_masked(values):
        values = np.where(np.ma.getmaskarray(values), None, values.data.astype(object))
    values = np.asarray(values)
    if values.dtype.kind == "i":
        return values.astype(np.int64), None
    if values.dtype.kind == "u" and (not len(values) or values.max() <= np.iinfo(np.int64).max):
        return values.astype(np.int64), None
    if values.dtype.kind == "f":
        return _doubles(values, where), None
    source = np.array([_clean(value, row, where) for row, value in enumerate(values)], object)
    out = np.array([int(v) if _fits(v) else text_id(v) for v in source], np.int64)
    return out, None if all(_fits(v) for v in source) else source


def _fits(text: str) -> bool:
    return bool(INTEGER.fullmatch(text)) and -(2**63) <= int(text) < 2**63


def _doubles(values, where: str) -> np.ndarray:
    """Whole floats that are too small to have been rounded, as integers."""
    missing = np.isnan(values)
    if missing.any():
        raise InputError(f"{where} holds no id in row {int(np.argmax(missing))} ({int(missing.sum())} rows in all); "
                         "give every object one")
    exact = 2.0 ** MANTISSA.get(values.dtype.str[1:], 53)
    bad = ~((np.abs(values) < exact) & (values == np.floor(values)))
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"{where} holds floating-point numbers (row {row}: {values[row]:.17g}), which can't be ids: digits may "
                         "be lost; store them as integers or text")
    return values.astype(np.int64)


def _clean(value, row: int, where: str) -> str:
    """An id as text, an integer in its shortest form; InputError as `canonical`."""
    text = "" if value is None else (decoded(value) if isinstance(value, bytes) else str(value)).strip()
    if text.lower() in NONE:
        raise InputError(f"{where} holds no id in row {row}; give every object one")
    if text[-1].isdigit() or text[-1] == ".":
        if whole := WHOLE.fullmatch(text):
            return whole[1]
        if power := POWER.fullmatch(text):
            decimals, exponent = (power[2] or "", int(power[3])) if power[1] else ("", 1)
            if not (0 <= exponent <= len(decimals) and not decimals[exponent:].strip("0")):
                raise InputError(f"{where} holds the number {text} (row {row}), which can't be an id: digits may be lost; store "
                                 "ids as integers or text")
            return str(int(power[1] + decimals[:exponent]))
    return text
