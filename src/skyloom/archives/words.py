"""Columns of words, as text replies hold them, brought to integers, numbers or text; a null is a state of its cell."""

from __future__ import annotations

import numpy as np

NULLS = ("", "null", "nan", "none", "na", "n/a", "<na>", "--", "\\n")
INTEGER, FORTRAN = r"[+-]?[0-9]+", r"([0-9.])[dD]([+-]?[0-9])"


def typed(frame, texts=()):
    """A frame of str columns (n rows) with each column as what its words are: int64 or uint64 (with nulls pandas' Int64 or
    UInt64, so that no digit of an id is lost), float64 with NaN, or text with None. `texts` stay text."""
    return frame.assign(**{name: _column(frame[name], name in texts) for name in frame})


def _column(words, as_text: bool):
    import pandas

    words = words.str.strip()
    null = words.isna() | words.str.lower().isin(NULLS)
    given = words[~null]
    if as_text or not len(given):
        return words.astype(object).where(~null, None) if as_text else pandas.Series(float("nan"), words.index)
    if given.str.fullmatch(INTEGER).all():
        numbers = [int(word) for word in given]
        kind = "Int64" if min(numbers) >= -(2**63) and max(numbers) < 2**63 else "UInt64"
        if kind == "Int64" or (min(numbers) >= 0 and max(numbers) < 2**64):
            exact = pandas.Series(np.array(numbers, dtype=kind.lower()), given.index)
            return exact.astype(kind).reindex(words.index) if null.any() else exact
    else:
        numbers = pandas.to_numeric(given.str.replace(FORTRAN, r"\1e\2", regex=True), errors="coerce")
        if numbers.notna().all():
            return numbers.astype(float).reindex(words.index)
    return words.astype(object).where(~null, None)
