"""Catalogs published as one file, read as FITS or text."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np

from skyloom.archives import bodies
from skyloom.archives.wholefile import download as download
from skyloom.errors import InputError, ReplyError


def read(path: Path, kind: str, where: str, columns):
    """A DataFrame of a catalog file with at least `columns`.

    `kind` fits: `where` names the extension; text: the header is the last `#` line (that holds the column `where`).
    InputError naming the file and the column that is missing, or for a file of another kind.
    """
    import pandas

    body = Path(path).read_bytes()
    try:
        body = bodies.unzipped(body)
        frame = _fits(body, where) if kind == "fits" else _text(body.decode("utf-8", "replace"), where)
    except (ReplyError, OSError, EOFError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"{path} is no {kind} catalog ({str(error)[:100]}); delete it and rerun") from None
    missing = [column for column in columns if column not in frame]
    if missing:
        raise InputError(f"{path} lacks the column {missing[0]}; it has {', '.join(map(str, frame))[:200]}; "
                         "see resources/surveys.tsv")
    return pandas.DataFrame({column: frame[column] for column in columns})


def _fits(body: bytes, where: str):
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    if len(body) % 2880 or not body:
        raise ValueError(f"{len(body)} bytes are no whole FITS blocks")
    with warnings.catch_warnings(action="ignore", category=AstropyWarning), fits.open(io.BytesIO(body)) as hdus:
        data = hdus[int(where) if where.isdigit() else where].data
        out = {}
        for name in data.names:
            column = np.asarray(data[name])
            if column.ndim > 1:
                continue
            column = column.astype(column.dtype.newbyteorder("=")) if column.dtype.kind != "U" else column.astype(object)
            out[name] = np.char.strip(column.astype(str)).astype(object) if column.dtype == object else column
    return out


def _text(text: str, where: str):
    import pandas

    lines = text.splitlines()
    heads = [line.lstrip("# ").split() for line in lines if line.startswith("#")]
    names = next((names for names in reversed(heads) if where in names), None)
    if names is None:
        raise ValueError(f"no header line names {where}")
    rows = "\n".join(line for line in lines if line.strip() and not line.startswith("#"))
    return pandas.read_csv(io.StringIO(rows), sep=r"\s+", names=names, dtype={"decd": str}, index_col=False)
