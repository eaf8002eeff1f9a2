"""Catalogs published as one file: resumed by byte ranges under one ETag, read as FITS or text."""

from __future__ import annotations

import gzip
import io
import json
import warnings
from pathlib import Path

import numpy as np

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
        headers = {"Range": f"bytes={part.stat().st_size}-", "If-Range": json.loads(note.read_text(encoding="utf-8"))}
    with client.open("GET", url, headers=headers, stream_ok=(200, 206)) as response:
        tag, length = response.headers.get("ETag"), response.headers.get("Content-Length")
        if response.status_code == 200:
            part.unlink(missing_ok=True)
        if tag:
            note.write_text(json.dumps(tag), encoding="utf-8")
        got = 0
        with open(part, "ab") as handle:
            for block in response.iter_content(1 << 20):
                got += handle.write(block)
    if length is not None and got != int(length):
        raise ReplyError("broken_off", f"{got} of {length} bytes of {url}")
    part.rename(path)
    note.unlink(missing_ok=True)


def read(path: Path, kind: str, where: str, columns):
    """A DataFrame of a catalog file with at least `columns`.

    `kind` fits: `where` names the extension; text: the header is the last `#` line (that holds the column `where`).
    InputError naming the file and the column that is missing, or for a file of another kind.
    """
    import pandas

    body = Path(path).read_bytes()
    try:
        body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        frame = _fits(body, where) if kind == "fits" else _text(body.decode("utf-8", "replace"), where)
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
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
