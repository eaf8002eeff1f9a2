"""Delimited text tables: every cell as text, with the line that it stands on.

The standard library's csv splits the cells. astropy.io.ascii guesses: it takes a text of one line for a path, reads a row too
few without a word, and can't name the line of a cell. What the head of a file says is judged in `textheads`.
"""

from __future__ import annotations

import array
import bz2
import gzip
import itertools
import lzma
from dataclasses import dataclass, field

from skyloom.archives import textheads
from skyloom.archives.textheads import Line
from skyloom.errors import InputError

CHUNK = 50_000  # rows that are Python objects at a time
OPENERS = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
FOREIGN = {b"PK\x03\x04": "a zip archive or an Excel file", b"\x89HDF": "HDF5", b"SIMPLE": "FITS", b"PAR1": "Parquet",
           b"%PDF": "a PDF"}
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass
class TextTable:
    """Names as they stand, columns {name: pyarrow strings}, the line of each row."""

    names: list[str]
    columns: dict
    lines: array.array = field(default_factory=lambda: array.array("q"))


def read(path: str, given=None, wanted=None) -> TextTable:
    """The table in a text file, packed or not; `given` stand for its names, of `wanted` columns alone the cells are kept.

    InputError if it is no text, is empty, or a row has another number of cells than the names (with its line).
    """
    opener = _opener(path)
    with opener(path, "rb") as handle:
        start = handle.read(4096)
    foreign = next((what for mark, what in FOREIGN.items() if start.startswith(mark)), "")
    if start.lstrip()[:1] == b"<":
        foreign = "an HTML or XML page"
    mark = next((name for sign, name in MARKS.items() if start.startswith(sign)), "utf-8")
    if foreign or (mark != "utf-16" and b"\0" in start):
        raise InputError(f"the table {path} is {foreign or 'no text'}; give a text table, or end its name in what it is")
    for encoding in (mark, "latin-1"):
        try:
            with opener(path, "rt", encoding=encoding) as handle:
                return _table(handle, path, given, wanted)
        except UnicodeDecodeError:
            continue
    raise InputError(f"the table {path} is no text; mend the file")


def _opener(path):
    with open(path, "rb") as handle:
        return OPENERS.get(handle.read(2), open)


def _table(handle, path, given, wanted) -> TextTable:
    """The table of an open text file."""
    feed = _body(handle)
    comments, body = [], []
    for line in feed:
        if line.comment:
            comments += [] if body else [line.text]
            continue
        body.append(line)
        if len(body) == textheads.LOOKED_AT:
            break
    layout = textheads.layout(path, comments, body, given)
    lines = (line for line in itertools.chain(body[layout.skip:], feed) if not line.comment)
    keep = [k for k, name in enumerate(layout.names) if name and (wanted is None or name in wanted)]
    table = TextTable(layout.names, {})
    parts = {layout.names[k]: [] for k in reversed(keep)}  # of a name that stands twice, the first
    places = {layout.names[k]: k for k in reversed(keep)}
    rows = _rows(lines, layout, path, table.lines)
    while chunk := list(itertools.islice(rows, CHUNK)):
        _append(parts, places, chunk)
    table.columns = _joined(parts)
    return table


def _body(handle):
    """Lines of a file with number and kind, without blank ones, rules of dashes and Excel's `sep=;`."""
    for number, text in enumerate(handle, 1):
        text = text.strip("\r\n\0")
        if text.strip() and not textheads.is_rule(text) and not (number == 1 and text.strip('"').lower().startswith("sep=")):
            yield Line(number, text, text.lstrip().startswith(textheads.COMMENT))


def _rows(lines, layout, path, numbers):
    """Cells of each row; appends its line to `numbers`. InputError for a row of another length."""
    width = len(layout.names)
    for line in lines:
        cells = textheads.split(path, line, layout.separator)
        if len(cells) == width + 1 and not cells[-1]:
            cells.pop()  # a separator at the end of the row
        if len(cells) != width:
            raise InputError(f"line {line.number} of the table {path} has {len(cells)} cells, not {width} "
                             f"({textheads.shown(line.text)}); mend that row, or take it out with a # in front")
        if any(cells):  # a row of nothing but separators is what a spreadsheet leaves at its end
            numbers.append(line.number)
            yield cells


def _append(parts, places, chunk) -> None:
    import pyarrow

    columns = list(zip(*chunk, strict=True))
    for name, place in places.items():
        parts[name].append(pyarrow.array(columns[place], pyarrow.string()))


def _joined(parts) -> dict:
    """Chunks put together, cells without the blanks around them."""
    import pyarrow
    import pyarrow.compute as compute

    return {name: compute.utf8_trim_whitespace(pyarrow.chunked_array(chunks, pyarrow.string())) for name, chunks in parts.items()}
