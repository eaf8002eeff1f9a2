"""The manifest of local images: a delimited text file with one row an object and band.

Read by the standard library alone, because the workflow asks for its bands and files while it plans its jobs.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from pathlib import Path

import numpy as np

from skyloom.archives import ids
from skyloom.archives.replies import file_digest
from skyloom.errors import InputError
from skyloom.provenance import memory
from skyloom.provenance.canonical import digest

REQUIRED = ("object_id", "band", "path")
NUMBERS = ("plane", "zero_point", "ra", "dec", "x", "y", "pixel_scale")
OTHER_PATHS = ("variance_path", "ivar_path", "mask_path", "psf_path")
OPTIONAL = ("hdu", *NUMBERS, "unit", *OTHER_PATHS, "variance_hdu", "ivar_hdu", "mask_hdu", "psf_hdu")
PATHS = ("path", *OTHER_PATHS)
BIG = 100_000_000  # bytes of a file beyond which PIECES of PIECE bytes stand for its content
PIECES, PIECE = 256, 65536
EMPTY = {"", "nan", "null", "none", "na", "n/a", "<na>", "-", "--"}


def entries(path) -> list[dict[str, str]]:
    """The rows of a manifest as text, every column there ("" where nothing is said); paths whole.

    A path is taken from the folder in which the manifest really lies; where the manifest is a link and that has no such
    file, from the folder of the link. InputError names a missing or unknown column, a cell or a row that can't be used.
    """
    lines = _lines(path)
    names = [name.strip() for name in lines[0][1]]
    absent = [name for name in REQUIRED if name not in names]
    unknown = [name for name in names if name not in REQUIRED + OPTIONAL]
    twice = [name for name in names if names.count(name) > 1]
    if absent or unknown or twice:
        what = (f"lacks column `{absent[0]}`" if absent else f"has an unknown column `{unknown[0]}`" if unknown else
                f"has the column `{twice[0]}` twice")
        raise InputError(f"the manifest {path} {what}; columns are {', '.join(REQUIRED + OPTIONAL)}")
    if len(lines) < 2:
        raise InputError(f"the manifest {path} names no image; give it a row for every object and band")
    folders = list(dict.fromkeys((Path(path).resolve().parent, Path(path).absolute().parent)))
    out = []
    for number, cells in lines[1:]:
        if len(cells) != len(names):
            raise InputError(f"the manifest {path} has {len(cells)} values but {len(names)} columns in line {number}; "
                             "put values with a separator in quotes")
        row = dict.fromkeys(REQUIRED + OPTIONAL, "") | {
            name: "" if cell.strip().lower() in EMPTY and name != "band" else cell.strip()
            for name, cell in zip(names, cells, strict=True)}
        _check(row, f"line {number} of the manifest {path}")
        out.append(row | {name: _placed(row[name], folders, path) for name in PATHS})
    return out


def _lines(path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of every line that holds something; the first is the header."""
    if not Path(path).is_file():
        raise InputError(f"the manifest {path} does not exist; name an existing CSV under `local.images`")
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"the manifest {path} is not UTF-8 text; save it as a CSV in UTF-8") from None
    first = next((line for line in text.splitlines() if line.strip(" #")), "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), skipinitialspace=True)
    out = []
    try:
        for cells in reader:
            if not any(cell.strip(" #") for cell in cells):
                continue
            if cells[0].startswith("#"):
                if out:
                    continue
                cells[0] = cells[0].lstrip("# ")
            out.append((reader.line_num, cells))
    except csv.Error as error:
        raise InputError(f"the manifest {path} can't be read as CSV ({error}, line {reader.line_num}); mend it") from None
    if not out:
        raise InputError(f"the manifest {path} is empty; columns are {', '.join(REQUIRED + OPTIONAL)}")
    return out


def _check(row: dict, where: str) -> None:
    """InputError for a row without object or band, for a number that is none, for two kinds of noise."""
    for name in ("object_id", "band"):
        if not row[name]:
            raise InputError(f"{where} has no `{name}`; fill it in or drop the row")
    for name in NUMBERS:
        try:
            value = float(row[name] or "nan")
        except ValueError:
            unit = " in degrees" if name in ("ra", "dec") else ""
            raise InputError(f"{where} has {row[name]!r} as `{name}`; give a number{unit} or leave it empty") from None
        if name == "pixel_scale" and value <= 0:
            raise InputError(f"{where} has {row[name]!r} as `pixel_scale`; give arcsec/px above 0 or leave it empty")
    for name in ("hdu", "variance_hdu", "ivar_hdu", "mask_hdu", "psf_hdu"):
        row[name] = re.sub(r"^(\d+)\.0*$", r"\1", row[name])  # 1.0: how a number is written beside empty cells
    if row["variance_path"] and row["ivar_path"]:
        raise InputError(f"{where} gives both `variance_path` and `ivar_path`; leave one empty")


def _placed(name: str, folders: list[Path], manifest) -> str:
    """A file of a manifest as a whole path; InputError where a link and what it points to mean two files."""
    if not name or len(folders) == 1:
        return str(folders[0] / name) if name else ""
    there = [found for found in (folder / name for folder in folders) if found.is_file()]
    if len(there) > 1 and not there[0].samefile(there[1]):
        raise InputError(f"the manifest {manifest} is a link, and `{name}` is one file beside the link ({there[1]}) and another "
                         f"beside what it points to ({there[0]}); give whole paths")
    return str(there[0] if there else folders[0] / name)


def identified(rows: list[dict], path) -> tuple[np.ndarray, np.ndarray | None]:
    """(object ids, their texts where one isn't a whole number), by the rule of all tables (`archives.ids`)."""
    return ids.canonical(np.array([row["object_id"] for row in rows], object), f"object_id of the manifest {path}")


def read_manifest(path):
    """The manifest as a DataFrame with object_id as int64 (text ids hashed, kept as source_id) and numbers as floats.

    InputError as `entries`, and for a row that repeats an object and band.
    """
    import pandas

    rows = entries(path)
    table = pandas.DataFrame(rows)
    for name in NUMBERS:
        table[name] = [float(row[name] or "nan") for row in rows]
    numbers, texts = identified(rows, path)
    if texts is not None:
        table["source_id"] = texts
    table["object_id"] = numbers
    twice = table.duplicated(["object_id", "band"])
    if twice.any():
        row = table[twice].iloc[0]
        name = row["source_id"] if texts is not None else row["object_id"]
        raise InputError(f"the manifest {path} names object {name}, band {row['band']} twice; drop one row")
    return table


def bands_of(table) -> list[str]:
    """Bands of a manifest's table (or column of bands) in the order of their first appearance."""
    return list(dict.fromkeys(table["band"]))


def named_bands(path) -> list[str]:
    """Bands of a manifest in the order of their first appearance, remembered as long as it stays the same file."""
    return memory.of_file("manifests", path, lambda path: bands_of({"band": [row["band"] for row in entries(path)]}))


def content(paths) -> str:
    """Digest of files' contents, missing ones too: of an image that is edited and gets its old time back, the content tells.

    A file is read again only when its size or times change; of one above BIG its size and pieces spread over it count.
    """
    found = []
    for path in paths:
        try:
            large = Path(path).stat().st_size > BIG
            found.append((path, memory.of_file("mosaics", path, _sampled) if large else
                          memory.of_file("images", path, file_digest)))
        except OSError:
            found.append((path, "missing"))
    return digest(found)


def _sampled(path) -> str:
    """sha256 of a large file's size and of pieces from its first byte to its last."""
    size = Path(path).stat().st_size
    found = hashlib.sha256(str(size).encode())
    with open(path, "rb") as handle:
        for k in range(PIECES):
            handle.seek(k * max(0, size - PIECE) // (PIECES - 1))
            found.update(handle.read(PIECE))
    return found.hexdigest()


def files(rows: list[dict], shards: list[str]) -> dict[str, list[str]]:
    """{shard: every file that the rows of its objects name, sorted}; shards that aren't by hash get the files of all."""
    from skyloom.sample.shards import bucket

    found: dict[str, set] = {shard: set() for shard in shards}
    numbers = identified(rows, "")[0]
    for count in {shard[1:].split("_")[0] for shard in shards if shard.startswith("h")}:
        for row, k in zip(rows, bucket(numbers, int(count)), strict=True):
            found.get(f"h{count}_{k}", set()).update(row[name] for name in PATHS if row[name])
    everything = {row[name] for row in rows for name in PATHS if row[name]}
    return {shard: sorted(own if shard.startswith("h") else everything) for shard, own in found.items()}
