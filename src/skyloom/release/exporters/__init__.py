"""REGISTRY of exporters: every module here holds an `EXPORTER`; other packages add theirs by the entry point
`skyloom.exporters`. A module imports pandas, pyarrow, astropy and h5py inside functions only: the Snakefile lists them all."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from skyloom.errors import InputError, SkyloomError
from skyloom.registry import Registry

ALWAYS = ("parquet", "qp")  # what evaluation, report and catalog readers rely on
ROWS = 100_000  # of a block


@dataclass(frozen=True)
class Blocks:
    """Rows in blocks, so that no writer holds them all: `make()` starts again at the first row and gives mappings of columns
    {name: (n, ...) array}, all with the same names and kinds, at least one (of no rows where there are none). Strings are
    object arrays. `rows` is their sum, `nbytes` about what they take."""

    rows: int
    nbytes: int
    make: Callable[[], Iterator[dict]]

    def __iter__(self) -> Iterator[dict]:
        return self.make()


@dataclass(frozen=True)
class Exporter:
    """A file format. `kind` is `catalog` (photoz_catalog.{suffix}: one-dimensional columns, the first `object_id`) or `pz`
    (pz_{model}.{suffix}: `object_id` and the arrays of a form of `skyloom.pz.distribution`).

    `write(path, blocks, meta)` writes `Blocks` to a path whose ending may be another, in memory that doesn't grow with the
    rows; `meta` holds str, int and float. `read(path)` gives the file back in blocks, as they were: the proof that it can be
    read. `size` is about how large the file is beside the rows in memory.
    """

    name: str
    suffix: str
    kind: str
    write: Callable[[Path, Blocks, dict], None]
    read: Callable[[Path], Iterator[dict]]
    size: float = 1.0


REGISTRY = Registry("skyloom.release.exporters", "EXPORTER", "skyloom.exporters", Exporter, "exporter")


def chosen(names) -> list[str]:
    """The formats of `release.formats` with those that are always written; InputError if two would write the same file."""
    wanted = list(dict.fromkeys([*ALWAYS, *names]))
    taken: dict = {}
    for name in wanted:
        exporter = REGISTRY[name]
        other = taken.setdefault((exporter.kind, exporter.suffix), name)
        if other != name:
            raise InputError(f"`release.formats` names {other} and {name}, which both write .{exporter.suffix}; drop one of them")
    return wanted


def suffixes(names, kind: str) -> list[str]:
    """Endings of the files that formats write of a kind."""
    return [REGISTRY[name].suffix for name in names if REGISTRY[name].kind == kind]


def by_suffix(path) -> Exporter:
    """The exporter of catalogs for a file name; InputError with the known endings for another."""
    known = {exporter.suffix: exporter for exporter in REGISTRY.values() if exporter.kind == "catalog"}
    suffix = Path(path).suffix.removeprefix(".").lower()
    if suffix not in known:
        raise InputError(f"{path} has no known suffix; end it in {' or '.join('.' + name for name in known)}")
    return known[suffix]


def blocks_of(columns: dict, order=None, rows: int = ROWS, shared=()) -> Blocks:
    """Blocks of arrays that lie in memory, in the order of the indices `order`; arrays of all rows together, `shared`, whole."""
    n = len(columns["object_id"])

    def make():
        for first in range(0, max(n, 1), rows):
            some = slice(first, first + rows) if order is None else order[first:first + rows]
            yield {name: values if name in shared else values[some] for name, values in columns.items()}

    return Blocks(n, sum(values.nbytes for values in columns.values()), make)


def pz_blocks(ids, arrays, order) -> Blocks:
    """Blocks of p(z), arrays of a form or `distribution.Stored`, with the ids of its rows, in the order of indices `order`."""
    from skyloom.pz import distribution

    one = distribution.take(arrays, slice(0, 1))
    size = sum(values.nbytes for values in one.values()) + ids[:1].nbytes

    def make():
        for part in distribution.blocks(len(ids)):
            yield {"object_id": ids[order[part]], **distribution.take(arrays, order[part])}

    return Blocks(len(ids), size * len(ids), make)


def room(folder, files: list[tuple[Exporter, Blocks]]) -> None:
    """InputError if a folder's disk has no room for files that are still to be written: sooner than half of them are."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    needed = sum(exporter.size * blocks.nbytes for exporter, blocks in files) + 1e6
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(f"the catalog needs about {needed / 1e6:.0f} MB in {folder}, where {free / 1e6:.0f} MB are free; free "
                         "some space and run again")


def export(exporter: Exporter, path, blocks: Blocks, meta: dict) -> None:
    """Write a file under a temporary name, read it back, and give it its name if rows, columns and ids are those that were
    meant; SkyloomError with got and expected otherwise."""
    from skyloom import store

    with store.replacing(path) as temporary:
        told = _Outline()
        exporter.write(temporary, replace(blocks, make=lambda: told.watching(blocks)), meta)
        # a writer that did not take all rows shows only in a pass of its own
        meant = told.facts() if told.rows == blocks.rows else _Outline().of(blocks)
        found = _Outline().of(exporter.read(temporary))
        if meant != found:
            raise SkyloomError(f"{path} was written as {exporter.name}, but reads back with {found[0]} rows of columns "
                               f"{', '.join(found[1])}; expected {meant[0]} rows of {', '.join(meant[1])} with the same ids")


class _Outline:
    """Rows, names of columns and digest of the ids of blocks that pass by, however they are cut; a second pass starts again."""

    rows = 0

    def of(self, blocks) -> tuple[int, list[str], str]:
        for _ in self.watching(blocks):
            pass
        return self.facts()

    def watching(self, blocks):
        self.rows, self.names, self.digest = 0, [], hashlib.sha256()
        for block in blocks:
            self.names = sorted(block)
            self.rows += len(block["object_id"])
            self.digest.update(block["object_id"].astype("<i8").tobytes())
            yield block

    def facts(self) -> tuple[int, list[str], str]:
        return self.rows, self.names, self.digest.hexdigest()
