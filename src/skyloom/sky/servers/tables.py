"""Tables as the catalog services send them: an SQL engine over columns, CSV, VOTable, FITS and text."""

from __future__ import annotations

import io
import re
import sqlite3
from xml.sax.saxutils import escape

import numpy as np


class BadQuery(Exception):
    """The query can't be run; the text says why."""


def execute(tables: dict[str, dict], sql: str, most: int) -> tuple[list[str], list[tuple], bool]:
    """(column names, rows, whether more than `most` were cut off) of a SELECT [TOP n] over named tables."""
    text = sql.strip().rstrip(";")
    match = re.match(r"(?is)^select\s+(?:top\s+(\d+)\s+)?(.*)$", text)
    if not match:
        raise BadQuery("only SELECT is supported")
    top = int(match[1]) if match[1] else None
    known = {name.lower() for name in tables} | {c.lower() for columns in tables.values() for c in columns}
    for name in re.findall(r'"([^"]*)"', text):  # SQLite would take an unknown quoted name for a text
        if name.lower() not in known:
            raise BadQuery(f"no such column: {name}")
    connection = sqlite3.connect(":memory:")
    try:
        for name, columns in tables.items():
            if not re.search(re.escape(name) + r"\b", text, re.I):
                continue
            connection.execute(f'CREATE TABLE "{name}" ({", ".join(_quoted(c) for c in columns)})')
            rows = zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True)
            connection.executemany(f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(columns))})', rows)
        cursor = connection.execute(f"SELECT {match[2]} LIMIT {min(top if top is not None else most + 1, most + 1)}")
        found = cursor.fetchall()
        return [item[0] for item in cursor.description], found[:most], len(found) > most
    except sqlite3.Error as error:
        raise BadQuery(str(error)) from None
    finally:
        connection.close()


def _quoted(name: str) -> str:
    return '"' + name + '"'


def csv_text(names, rows, first: str = "") -> str:
    """CSV with an optional line in front."""
    lines = [first] if first else []
    lines.append(",".join(names))
    return "\n".join([*lines, *(",".join("" if v is None else str(v) for v in row) for row in rows)]) + "\n"


_KINDS = {int: ("long", ""), float: ("double", ""), str: ("char", ' arraysize="*"')}


def votable(names, rows, overflow: bool = False) -> str:
    """A VOTable 1.3 of a query's result, with QUERY_STATUS OK and, after the table, OVERFLOW."""
    fields = []
    for k, name in enumerate(names):
        kind, size = _KINDS[type(next((row[k] for row in rows if row[k] is not None), 0.0))]
        fields.append(f'<FIELD name="{escape(name)}" datatype="{kind}"{size}/>')
    cells = ("".join(f"<TD>{'' if v is None else escape(str(v))}</TD>" for v in row) for row in rows)
    body = "".join(f"<TR>{cell}</TR>\n" for cell in cells)
    more = '<INFO name="QUERY_STATUS" value="OVERFLOW"/>' if overflow else ""
    return _wrapped(f'<INFO name="QUERY_STATUS" value="OK"/><TABLE>{"".join(fields)}<DATA><TABLEDATA>\n{body}</TABLEDATA></DATA>'
                    f"</TABLE>{more}")


def votable_error(message: str) -> str:
    """The VOTable that says a query failed."""
    return _wrapped(f'<INFO name="QUERY_STATUS" value="ERROR">{escape(message)}</INFO>')


def _wrapped(inner: str) -> str:
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
            f'<RESOURCE type="results">{inner}</RESOURCE></VOTABLE>\n')


def fits_table(columns: dict, name: str) -> bytes:
    """A FITS file whose first extension is a binary table."""
    from astropy.io import fits
    from astropy.table import Table

    plain = {key: np.array(value, str) if np.asarray(value).dtype == object else value for key, value in columns.items()}
    hdu = fits.BinTableHDU(Table(plain), name=name)
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(out)
    return out.getvalue()


def text_table(columns: dict) -> str:
    """Whitespace-separated text; the names stand in the last line that begins with #."""
    names = " ".join(columns)
    rows = zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True)
    body = "\n".join(" ".join(str(v).replace(" ", "_") for v in row) for row in rows)
    return f"# made on the embedded sky\n# {names}\n{body}\n"
