"""What the first lines of a text table say: its separator, its names, and where the rows begin."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass

from skyloom.errors import InputError

LOOKED_AT = 30  # lines besides comments from which the layout is judged
COMMENT = ("#", "%", "!", "//")
SEPARATORS = ("\t", ";", "|", ",")  # in doubt the first: a comma may stand inside a number
NUMBER = re.compile(r"[+\-\u2212]?(\d+[.,]?\d*|[.,]\d+|[1-9]\d{0,2}([,.]\d{3})+([.,]\d*)?)([eEdD][+-]?\d+)?"
                    r"|[+-]?(nan|inf|infinity)", re.I)
ABSENT = {"", "-", "--", "na", "n/a", "null", "none", "<na>"}
# what a line of units or of types holds
UNITS = {"deg", "degree", "degrees", "mag", "abmag", "mag(ab", "ab mag", "mag_ab", "arcsec", "arcmin", "pix", "pixel", "count",
         "ct", "jy", "mjy", "ujy", "njy", "nanomaggy", "nmgy", "dex", "km/s", "h", "hms", "dms", "rad", "int", "int32", "int64",
         "integer", "long", "short", "float", "float32", "float64", "double", "real", "char", "string", "str", "text", "bool",
         "boolean", "unitless", "dimensionless"}
_QUOTED = re.compile(r'"[^"]*"')
_RULE = re.compile(r"[-+=|\s:]*-{3}[-+=|\s:]*")


@dataclass(frozen=True)
class Line:
    """A line of a file: its number, its text, whether it is a comment."""

    number: int
    text: str
    comment: bool


@dataclass(frozen=True)
class Layout:
    """Separator (None: any blanks), names, and how many lines besides comments stand before the first row."""

    separator: str | None
    names: list[str]
    skip: int


def is_rule(text: str) -> bool:
    """True for a line of dashes, as databases and text tables put under their names."""
    return bool(_RULE.fullmatch(text))


def cells(text: str, separator: str | None) -> list[str]:
    """Cells of a line. csv.Error for a quote that isn't closed: a cell over several lines would swallow rows."""
    if '"' not in text:
        return text.split(separator)
    if separator is None:
        text, separator = text.strip().replace("\t", " "), " "
    return next(csv.reader([text], delimiter=separator, skipinitialspace=True, strict=True))


def split(path: str, line: Line, separator: str | None) -> list[str]:
    """Cells of a line; InputError, with its number, where a quote isn't closed."""
    try:
        return cells(line.text, separator)
    except csv.Error as error:
        raise InputError(f"line {line.number} of the table {path} can't be split ({error}); close its quotes on the same line "
                         "or take it out with a # in front") from None


def shown(text: str) -> str:
    """The beginning of a line or cell, for a sentence."""
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."


def layout(path: str, comments: list[str], body: list[Line], given) -> Layout:
    """The layout of a table whose first lines are `comments` and, not commented, `body`.

    Its names: `given`; else numbered comments (`# 3 NAME`, SExtractor's and BPZ's); else the first line, where it holds words
    above the rows' numbers; else the last comment with a name for each cell; else, without any comment, c1, c2, ...
    InputError where none fits.
    """
    texts = [line.text for line in body]
    separator = _separator(texts[1:] or texts)
    rows = [split(path, line, separator) for line in body]
    heads = _header_lines(rows, bool(given))
    if len(rows) <= heads:
        names = list(given) if given else _only_names(path, comments, texts, separator)
        return Layout(separator, names, heads)
    width = Counter(len(row) for row in rows[heads:]).most_common(1)[0][0]
    closed = width > 1 and all(not row[-1] for row in rows[heads:] if len(row) == width)  # each row ends in a separator
    widths = [width, width - 1] if closed else [width]
    known = [list(given)] if given else [_names(comments, texts, heads, w, separator) for w in widths]
    names = next((found for found in known if found and len(found) in widths), None)
    if names is None:
        raise _miscounted(path, width, len(given or _said(comments, texts[:heads])))
    return Layout(separator, names, heads)


def _names(comments, texts, heads, width, separator) -> list[str] | None:
    """Names of rows with `width` cells, None where nothing fits."""
    if heads:
        return _fitting(texts[0], width, separator) or _row_names(texts, separator, width)
    if numbered := _numbered(comments, width):
        return numbered
    said = [text for text in comments if _bare(text)]
    found = [names for text in said if (names := _fitting(_bare(text), width, separator))]
    found = [names for names in found if not _is_units(names)] or found
    if found or said:
        return found[-1] if found else None
    return [f"c{k}" for k in range(1, width + 1)]


def _only_names(path, comments, texts, separator) -> list[str]:
    """Names of a table without a row."""
    if texts:
        return [name.strip() for name in cells(texts[0], separator)]
    if not _said(comments, []):
        raise InputError(f"the table {path} is empty; give a table with a header and rows")
    return _numbered(comments, 0) or _said(comments, [])


def _said(comments, header) -> list[str]:
    """The cells of the header, else of the last comment, split as they seem to be."""
    text = next((text for text in [*header[:1], *map(_bare, reversed(comments))] if text), "")
    return _fitting(text, None, None) or []


def _miscounted(path, width, count) -> InputError:
    return InputError(f"the table {path} has {width} values a row but {count} column names; name them all under "
                      "`local.columns.names`")


def _bare(comment: str) -> str:
    return comment.lstrip().lstrip("#%!/ \t").strip()


def _fitting(text, width, separator):
    """The cells of a header, split as the rows or in any other way that gives `width` of them; None if none does."""
    for way in (separator, *SEPARATORS, None) if width else (_separator([text]),):
        try:
            names = [name.strip() for name in cells(text, way)]
        except csv.Error:
            continue
        if width and len(names) == width + 1 and not names[-1]:
            names.pop()  # a separator at the end of the header alone
        if not width or len(names) == width:
            return names
    return None


def _numbered(comments, width) -> list[str]:
    """Names of numbered comments that begin at 1 and increase; a number left out is one more element of the column before."""
    found = [match for text in comments if (match := re.match(r"\s*#\s*(\d+)\s+(\S+)", text))]
    numbers = [int(match[1]) for match in found]
    rising = numbers[:1] == [1] and sorted(set(numbers)) == numbers and not any(_is_number(match[2]) for match in found)
    if not rising or (width and (numbers[-1] > width or len(numbers) == 1 < width)):
        return []
    names, ends = [], [*numbers[1:], max(width, numbers[-1]) + 1]
    for match, end in zip(found, ends, strict=True):
        names += [match[2], *(f"{match[2]}_{k}" for k in range(1, end - int(match[1])))]
    return names


def _row_names(texts, separator, width) -> list[str] | None:
    """Names of what R's write.table makes: all in quotes, one fewer than cells, because rows begin with their own name."""
    quoted = len(texts) > 1 and all(text.lstrip().startswith('"') for text in texts[:2])
    names = _fitting(texts[0], width - 1, separator) if quoted else None
    return ["", *names] if names and len(_QUOTED.findall(texts[0])) == len(names) else None


def _header_lines(rows, named: bool) -> int:
    """How many of the first lines are names and units: 0, 1 or 2. A doubtful one is a row where the names are known."""
    if not rows:
        return 0
    numeric = [[_is_number(cell) for cell in row] for row in rows]
    first = next((k for k, row in enumerate(numeric[1:3], 1) if any(row)), None)
    if first is None:
        head = not any(numeric[0])
        return int(head) + int(head and len(rows) > 1 and _is_units(rows[1]))
    below = [k for k, number in enumerate(numeric[first]) if number]
    words = sum(k < len(rows[0]) and _is_word(rows[0][k]) for k in below)
    if any(numeric[0]) and 2 * words < len(below) + named:
        return 0
    return 2 if first == 2 and _is_units(rows[1]) else 1


def _is_number(cell: str) -> bool:
    return bool(NUMBER.fullmatch(cell.strip()))


def _is_word(cell: str) -> bool:
    return not _is_number(cell) and cell.strip().lower() not in ABSENT


def _is_units(row) -> bool:
    plain = [cell.strip().strip("()[]").lower() for cell in row]
    return any(cell in UNITS for cell in plain) and all(cell in UNITS | ABSENT for cell in plain)


def _separator(lines: list[str]) -> str | None:
    """The separator that most lines have equally often; None where there is none, or only commas inside numbers."""
    best, most = None, 0
    for mark in SEPARATORS:
        counts = Counter(n for line in lines if (n := _QUOTED.sub("", line).count(mark)))
        if counts and counts.most_common(1)[0][1] > most:
            best, most = mark, counts.most_common(1)[0][1]
    if best == "," and all(len(words := line.split()) > 1 and all(_is_number(word) for word in words) for line in lines):
        return None
    return best
