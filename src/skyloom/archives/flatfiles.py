"""Catalogs published as one file, read as FITS or text."""

from __future__ import annotations

import csv
import io
import warnings
import zlib
from pathlib import Path

import numpy as np

from skyloom.archives import bodies
from skyloom.archives.wholefile import download as download
from skyloom.archives.words import typed
from skyloom.errors import InputError, ReplyError


class NoCatalog(InputError):
    """A file that came isn't the catalog that was asked for."""


def read(path: Path, kind: str, where: str, columns, texts=()):
    """A DataFrame of a catalog file with `columns`; nulls are NaN, None or pandas' NA.

    `kind` fits: `where` names the extension; text: the header is the last `#` line (that holds the word `where`), and
    columns `texts` stay text. NoCatalog naming the file and the column that is missing, or for a file of another kind.
    """
    import pandas

    try:
        frame = _fits(Path(path), where, columns) if kind == "fits" else _text(Path(path), where, texts)
    except (ReplyError, OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, UserWarning, zlib.error) as error:
        raise NoCatalog(f"{path} is no {kind} catalog ({str(error)[:100]}; it begins with {_begins(path)}); "
                        "delete it and rerun") from None
    missing = [column for column in columns if column not in frame]
    if missing:
        raise NoCatalog(f"{path} lacks the column {missing[0]}; it has {', '.join(map(str, frame))[:200]}; "
                        "see docs/surveys.md")
    return pandas.DataFrame({column: frame[column] for column in columns})


def _begins(path) -> str:
    with open(path, "rb") as handle:
        return repr(handle.read(40).decode("latin-1"))


def _fits(path: Path, where: str, columns) -> dict:
    """{column: values} of those `columns` that a FITS table has and the bare names of the others, read from disk column by
    column, so that a file of many GB takes the memory of what is asked for."""
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    with open(path, "rb") as handle:
        packed = handle.read(2) == b"\x1f\x8b"
    size = path.stat().st_size
    if not size or (size % 2880 and not packed):
        raise ValueError(f"{size} bytes are no whole FITS blocks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.filterwarnings("error", "File may have been truncated")  # the pages that are missing would read as a crash
        with fits.open(path, memmap=not packed) as hdus:
            hdu = hdus[int(where) if where.isdigit() else where]
            data = hdu.data
            return {name: _column(data, hdu.columns[name]) if name in columns else () for name in data.names}


def _column(data, column):
    """A FITS column in memory: native numbers, text without padding, TNULL as a null."""
    import pandas

    values = np.array(data[column.name])
    if values.ndim > 1:
        raise ValueError(f"its column {column.name} holds arrays")
    if values.dtype.kind in "US":
        return np.char.strip(values.astype(str)).astype(object)
    values = values.astype(values.dtype.newbyteorder("="))
    if column.null is None or values.dtype.kind not in "iu":
        return values
    null = values == column.null
    return pandas.arrays.IntegerArray(values, null) if null.any() else values


def _text(path: Path, where: str, texts):
    import pandas

    text = bodies.unzipped(path.read_bytes()).decode("utf-8", "replace")
    lines = text.splitlines()
    heads = [line.lstrip("# ").split() for line in lines if line.startswith("#")]
    names = next((names for names in reversed(heads) if where in names), None)
    if names is None:
        raise ValueError(f"no header line names {where}")
    rows = [line for line in lines if line.strip() and not line.startswith("#")]
    odd = next((row for row in rows if len(row.split()) != len(names)), None)
    if odd is not None:  # a blank cell would shift all values after it
        raise ValueError(f"a row has {len(odd.split())} values for {len(names)} names: {odd.strip()[:40]}")
    frame = pandas.read_csv(io.StringIO("\n".join(rows)), sep=r"\s+", names=names, dtype=str, keep_default_na=False,
                            quoting=csv.QUOTE_NONE)
    return typed(frame, texts)
