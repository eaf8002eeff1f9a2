"""Cells of text as numbers: what a cell means is decided here and nowhere else."""

from __future__ import annotations

import re

import numpy as np

# pandas' own list of what means "no value", with SQL's, astropy's and IRAF's
ABSENT = ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
          "NaN", "None", "n/a", "nan", "null", "none", "NAN", "\\N", "--", "-", "INDEF")
PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?[iI]nf(inity)?$"
_FORTRAN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[dDqQ]([+-]?\d+)|([+-]\d{2,3}))")  # 1.2D-02, 1.234-102
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?([eE][+-]?\d+)?")
_DECIMAL = re.compile(r"[+-]?(\d*,\d+|\d+,)([eEdD][+-]?\d+)?")
_BOTH = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+,\d*")  # thousands with points, decimals with a comma


def floats(cells, comma: str) -> tuple[np.ndarray, np.ndarray]:
    """(float64 (n,), mask of the cells that are no numbers) of pyarrow strings; NaN where a cell is absent.

    `comma` is what a comma in a number means in this file (see `comma_of`).
    """
    import pyarrow
    import pyarrow.compute as compute

    cells = compute.if_else(compute.is_in(cells, pyarrow.array(ABSENT)), None, cells)
    plain = compute.fill_null(compute.match_substring_regex(cells, PLAIN), True)
    numbers = compute.cast(compute.if_else(plain, cells, None), pyarrow.float64())
    values = compute.fill_null(numbers, np.nan).to_numpy().copy()
    rest = np.flatnonzero(~plain.to_numpy())
    found = [_mended(cell, comma) for cell in compute.take(cells, pyarrow.array(rest)).to_pylist()]
    bad = np.zeros(len(values), bool)
    bad[rest] = [value is None for value in found]
    values[rest] = [np.nan if value is None else value for value in found]
    return values, bad


def _mended(cell: str, comma: str) -> float | None:
    """The number of a cell that isn't written as most are, None for what is no number."""
    cell = cell.replace("\u2212", "-")
    if "," in cell:
        if comma == "thousands" and _THOUSANDS.fullmatch(cell):
            cell = cell.replace(",", "")
        elif comma == "decimal" and (_DECIMAL.fullmatch(cell) or _BOTH.fullmatch(cell)):
            cell = cell.replace(".", "").replace(",", ".")
    if power := _FORTRAN.fullmatch(cell):
        cell = f"{power[1]}e{power[2] or power[3]}"
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def among(cells, words: list[str]) -> np.ndarray:
    """Mask (n,) of the pyarrow strings that are one of `words`."""
    import pyarrow
    import pyarrow.compute as compute

    return compute.is_in(cells, value_set=pyarrow.array(words, pyarrow.string())).to_numpy().copy()


def number(declared) -> float | None:
    """The number that a declared value of the config stands for, None for a word."""
    try:
        return float(declared)
    except ValueError:
        return None


def comma_of(columns) -> str:
    """What commas in numbers mean in a file: `thousands`, `decimal`, `none` (there are none) or `unclear`.

    `columns` are pyarrow strings. 1,234.5 and 1,234,567 have thousands, 20,5 and 0,123 decimals; 1,234 alone may be either. A
    point in a number without a comma is a decimal one.
    """
    import pyarrow.compute as compute

    thousands = decimal = points = seen = False
    for cells in columns:
        with_comma = compute.unique(cells.filter(compute.match_substring(cells, ","))).to_pylist()
        with_comma = [c for text in with_comma
                      if any(form.fullmatch(c := text.replace("\u2212", "-")) for form in (_THOUSANDS, _DECIMAL, _BOTH))]
        if not with_comma:
            continue
        seen = True
        thousands |= any(_THOUSANDS.fullmatch(c) and (c.count(",") > 1 or "." in c) for c in with_comma)
        decimal |= any(not _THOUSANDS.fullmatch(c) for c in with_comma)
        points |= bool(compute.any(compute.match_substring_regex(cells, r"^[+-]?\d*\.\d*([eE][+-]?\d+)?$")).as_py())
    if not seen:
        return "none"
    if decimal:
        return "unclear" if thousands or points else "decimal"
    return "thousands" if thousands or points else "unclear"
