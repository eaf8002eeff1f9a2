"""FITS binary table, extension PHOTOZ. FITS knows ASCII alone: a column with other characters is written with Python's
escapes (U+2212 as \\u2212, a backslash doubled), so that no two names become one; the header names it in `escaped_columns`."""

from __future__ import annotations

import io

from skyloom.release.exporters import ROWS, Exporter

NAME = "PHOTOZ"
RECORD = 2880  # bytes


def write(path, blocks, meta: dict) -> None:
    """Two passes: how wide each text column is, then the rows behind a header whose count of rows is put in at the end."""
    from astropy.io import fits

    widths, escaped = _text(blocks)
    rows = 0
    with open(path, "wb") as handle:
        for k, block in enumerate(blocks):
            raw, start, header = _encoded(_columns(block, widths, escaped), meta, escaped)
            rows += header["NAXIS2"]
            if not k:
                handle.write(raw[:start])
            handle.write(raw[start:start + header["NAXIS1"] * header["NAXIS2"]])
        handle.write(bytes(-handle.tell() % RECORD))
        header["NAXIS2"] = rows
        handle.seek(len(fits.PrimaryHDU().header.tostring()))
        handle.write(header.tostring().encode("ascii"))


def _text(blocks) -> tuple[dict[str, int], list[str]]:
    """({text column: width}, those of them that need escapes)."""
    plain: dict = {}
    wide: dict = {}
    escaped = set()
    for block in blocks:
        for name in (name for name, values in block.items() if values.dtype.kind in "OUT"):
            values = [str(value) for value in block[name]]
            if any(_odd(value) for value in values):
                escaped.add(name)
            plain[name] = max([plain.get(name, 1), *map(len, values)])
            wide[name] = max([wide.get(name, 1), *(len(_escape(value)) for value in values)])
    return {name: wide[name] if name in escaped else plain[name] for name in plain}, sorted(escaped)


def _odd(text: str) -> bool:
    """Whether FITS would lose something of a text: what isn't printable ASCII, blanks at its end."""
    return not text.isascii() or (text != "" and not text.isprintable()) or text.endswith(" ")


def _escape(text: str) -> str:
    kept = text.rstrip(" ")
    return kept.encode("unicode_escape").decode("ascii") + "\\x20" * (len(text) - len(kept))


def _columns(block: dict, widths: dict, escaped) -> dict:
    import numpy as np

    def one(name, values):
        if name not in widths:
            return values
        return np.array([_escape(str(v)) if name in escaped else str(v) for v in values], f"U{widths[name]}")

    return {_escape(name): one(name, values) for name, values in block.items()}


def _encoded(columns: dict, meta: dict, escaped) -> tuple[bytes, int, object]:
    """(a whole file of some rows, where its rows begin, the table's header); long keys and values as HIERARCH and CONTINUE."""
    from astropy.io import fits
    from astropy.table import Table

    hdu = fits.BinTableHDU(Table(columns), name=NAME)
    told = {**meta, "escaped_columns": ",".join(escaped)} if escaped else meta
    for key, value in sorted(told.items()):
        hdu.header[f"HIERARCH {key}" if len(key) > 8 else key] = value if isinstance(value, int | float) else _escape(str(value))
    buffer = io.BytesIO()
    hdus = fits.HDUList([fits.PrimaryHDU(), hdu])
    hdus.writeto(buffer)
    return buffer.getvalue(), sum(len(one.header.tostring()) for one in hdus), hdu.header


def read(path):
    """Blocks of a file, escapes undone."""
    import numpy as np
    from astropy.io import fits

    with fits.open(path, memmap=True) as hdus:
        data, header = hdus[NAME].data, hdus[NAME].header
        escaped = set(filter(None, header.get("escaped_columns", "").split(",")))
        for first in range(0, max(len(data), 1), ROWS):
            some = data[first:first + ROWS]
            block = {}
            for name in data.names:
                values = np.array(some[name])
                if values.dtype.kind in "SU":
                    texts = [str(value) for value in values]
                    values = np.array([t.encode("ascii").decode("unicode_escape") for t in texts] if name in escaped else texts,
                                      object)
                block[name] = values.astype(values.dtype.newbyteorder("=")) if values.dtype.kind != "O" else values
            yield block


EXPORTER = Exporter("fits", "fits", "catalog", write, read)
