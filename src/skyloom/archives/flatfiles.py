"""Catalogs published as one file: resumed by byte ranges under one ETag, read as FITS or text."""

from __future__ import annotations

import csv
import gzip
import io
import json
import warnings
import zlib
from pathlib import Path

import numpy as np

from skyloom.archives import cells
from skyloom.errors import InputError, ReplyError


def download(client, url: str, path: Path, attempts: int = 5) -> Path:
    """The file at `url` in `path`; a part left by a break or a killed job is completed if it is still the same file.

    Refused, ServiceError as `http.Client.open`; ReplyError `broken_off` when it broke off `attempts` times.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(attempts):
        if path.exists():
            break
        try:
            _download(client, url, path)
        except ReplyError:
            if attempt == attempts - 1:
                raise
    return path


def _download(client, url: str, path: Path) -> None:
    """One attempt, from where the last one ended."""
    part, note = path.with_name(path.name + ".part"), path.with_name(path.name + ".etag")
    headers = {}
    if part.exists() and note.exists():
        headers = {"Range": f"bytes={part.stat().st_size}-", "If-Range": json.loads(note.read_text())}
    with client.open("GET", url, headers=headers, stream_ok=(200, 206)) as response:
        tag, length = response.headers.get("ETag"), response.headers.get("Content-Length")
        if response.status_code == 200:
            part.unlink(missing_ok=True)
        if tag:
            note.write_text(json.dumps(tag))
        got = 0
        with open(part, "ab") as handle:
            for block in response.iter_content(1 << 20):
                got += handle.write(block)
    if length is not None and got != int(length):
        raise ReplyError("broken_off", f"{got} of {length} bytes of {url}")
    part.rename(path)
    note.unlink(missing_ok=True)


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
    except (OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, UserWarning, zlib.error) as error:
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

    body = path.read_bytes()
    body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
    text = body.decode("utf-8", "replace")
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
    return cells.typed(frame, texts)
