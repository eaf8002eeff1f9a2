"""Local tables as an archive: text, FITS, Parquet, HDF5 (`file.h5:group`), brought to the common columns."""

from __future__ import annotations

import lzma
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from skyloom.archives import binary, cells, ids, paths, textfiles, values
from skyloom.archives.ids import text_id as text_id
from skyloom.archives.textheads import shown
from skyloom.errors import InputError

TARGETS_FROM = 10**12  # row numbers of targets begin here where a table of redshifts has row numbers for ids, too
READERS = {"parquet": binary.parquet, "fits": binary.fits, "hdf5": binary.hdf5}


@dataclass
class Table:
    """A table as it lies in its file; a column becomes numbers or ids only when it is asked for."""

    path: str
    names: list[str]
    columns: Mapping
    unusable: Mapping  # {name: why}
    lines: object = None  # of a text table: the line of each row

    def __contains__(self, name) -> bool:
        return name in self.names

    def __getitem__(self, name) -> np.ndarray:
        """A column as float64 (n,), NaN where it has no value; InputError as `numbers`."""
        return self.numbers(name)[0]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def raw(self, name):
        """A column as its file holds it. InputError where it is absent, stands twice or is no single value a row."""
        if name not in self.names:
            raise InputError(f"the table {self.path} has no column `{name}`; it has {', '.join(map(str, self.names))[:160]}")
        if name in self.unusable:
            raise InputError(f"column `{name}` of the table {self.path} {self.unusable[name]}; name a column of one value a row")
        if self.names.count(name) > 1:
            raise InputError(f"the table {self.path} has two columns `{name}`; rename one")
        return self.columns[name]

    def numbers(self, name, declared=()) -> tuple[np.ndarray, np.ndarray]:
        """(float64 (n,) with NaN where there is no value, mask of those that `declared` says are none).

        InputError for cells that are no numbers, with the line and the text of the first.
        """
        column = self.raw(name)
        if not _is_text(column):
            out, gone, bad = _floats(column, self.path, name), np.zeros(len(column), bool), None
        else:
            column = _strings(column)
            out, bad = cells.floats(column, self._comma(column))
            gone = cells.among(column, [str(one) for one in declared])
            bad &= ~gone
        for one in declared:
            number = cells.number(one)
            gone = gone | (out == number) | (out == np.float32(number)) if number is not None else gone
        if bad is not None and bad.any():
            self._refuse(name, column, bad, np.isfinite(out).any())
        return np.where(gone, np.nan, out), gone

    def _refuse(self, name, column, bad, some):
        """The sentence for cells that don't parse."""
        row = int(np.argmax(bad))
        where = f"line {self.lines[row]}" if self.lines is not None else f"row {row}"
        what = f"{int(bad.sum())} of {len(bad)} cells that are no numbers" if some else "no finite number"
        text = str(column[row])
        remedy = "mend them or declare them under `local.missing`" if some else "name another column"
        if "," in text:
            remedy = "a comma may stand for thousands or decimals there: write numbers with a point"
        raise InputError(f"column `{name}` of the table {self.path} holds {what} (first: {where}, `{shown(text)}`); {remedy}")

    def _comma(self, column) -> str:
        """What a comma in a number of this file means; looked up in all columns, once and where there is one."""
        import pyarrow.compute as compute

        if not compute.any(compute.match_substring(column, ",")).as_py():
            return "none"
        if "_comma_means" not in self.__dict__:
            self.__dict__["_comma_means"] = cells.comma_of(_strings(c) for c in self.columns.values() if _is_text(c))
        return self.__dict__["_comma_means"]

    def ids(self, name):
        """DataFrame object_id, and source_id where an id is text (see `ids`). InputError as `ids.canonical`."""
        import pandas
        import pyarrow.compute as compute

        column = self.raw(name)
        if _is_text(column):
            column = _strings(column)
            plain = compute.all(compute.match_substring_regex(column, r"^(0|-?[1-9]\d{0,17})$"), skip_nulls=False).as_py()
            column = compute.cast(column, "int64").to_numpy() if plain else np.array(column.to_pylist(), object)
        found, source = ids.canonical(_plain(column), f"column `{name}` of the table {self.path}")
        return pandas.DataFrame({"object_id": found} if source is None else {"object_id": found, "source_id": source})


def load(path: str, names=None, wanted=None) -> Table:
    """The table of a file; `names` stand for those of a text table's header, of columns that are not `wanted` only the name is
    kept. InputError if it is missing, of no known kind, or can't be read."""
    file, group = paths.split_path(path)
    if not os.path.isfile(file):
        what = "is a folder" if os.path.isdir(file) else "does not exist"
        raise InputError(f"the table {file} {what}; give an existing file under `local.tables`")
    kind = paths.kind(file)
    if not kind:
        raise InputError(f"the table {path} is of no known kind; use CSV, FITS, Parquet or HDF5 (file.h5:group)")
    if kind == "text" and group:
        raise InputError(f"the table {path} names a group, but a text table has none; drop `:{group}`")
    try:
        if kind == "text":
            found = textfiles.read(file, names, wanted)
            return Table(path, found.names, found.columns, {}, found.lines)
        return Table(path, *READERS[kind](file, group, wanted))
    except (ValueError, OSError, KeyError, TypeError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"the table {path} can't be read ({' '.join(str(error).split())[:120]}); mend the file") from None


def _is_text(column) -> bool:
    kind = str(getattr(column, "dtype", "string"))  # pyarrow's strings have none
    return kind in ("string", "str", "object", "category") or getattr(column.dtype, "kind", "") in "SUO"


def _plain(column) -> np.ndarray:
    """A column of numpy, masked or not, or pandas, as numpy."""
    if hasattr(column, "to_numpy"):
        missing = bool(column.isna().any()) if hasattr(column, "isna") else False
        return column.astype(object).where(column.notna(), None).to_numpy() if missing and column.dtype.kind in "iu" else \
            column.to_numpy()
    return column


def _strings(column):
    """pyarrow strings without the blanks around them, null where there is none, of a column of text in any form."""
    import pyarrow
    import pyarrow.compute as compute

    if isinstance(column, pyarrow.ChunkedArray):
        return column
    column = _plain(column)
    if isinstance(column, np.ma.MaskedArray):
        column = np.where(np.ma.getmaskarray(column), None, column.data.astype(object))
    text = [None if v is None or v != v else ids.decoded(v) if isinstance(v, bytes) else str(v) for v in column.tolist()]
    return compute.utf8_trim_whitespace(pyarrow.chunked_array([pyarrow.array(text, pyarrow.string())]))


def _floats(column, path, name) -> np.ndarray:
    """A column of numbers as float64, NaN where it is masked. InputError for dates and complex numbers."""
    kind = getattr(column.dtype, "kind", "O")
    if kind not in "biuf":
        raise InputError(f"column `{name}` of the table {path} holds {column.dtype}, no numbers; name another column")
    if isinstance(column, np.ma.MaskedArray):
        return column.astype(float).filled(np.nan)
    return column.to_numpy(float, na_value=np.nan) if hasattr(column, "to_numpy") else np.asarray(column, float)


def read(path: str, columns: dict, part: str, missing: dict | None = None, limits: dict | None = None):
    """(the common columns of a table, what was found instead of values as `values.judged` counts it): object_id, ra, dec,
    specz_redshift, specz_redshift_err, {band}_mag, {band}_magerr.

    `columns` maps id, ra, dec, redshift, redshift_err, magnitudes.<band>, errors.<band> to the table's names. A
    missing id is the row number. `missing` and `limits` are `local.missing` and `local.max_undeclared`. InputError if the table
    has no row, if a named column, the redshift or every magnitude is absent, and as `values.judged`.
    """
    import pandas

    wanted = _wanted(columns, part)
    table = load(path, columns.get("names"), {*wanted.values(), columns.get("id")})
    absent = [name for name in wanted.values() if name not in table]
    if absent:
        table.raw(absent[0])
    missing = missing or {}
    found = {new: table.numbers(old, [*missing.get("*", ()), *missing.get(old, ())]) for new, old in wanted.items()}
    if not len(table):
        raise InputError(f"the table {path} has no row; give one with objects, or drop it from the config")
    data, counts = values.judged({new: one[0] for new, one in found.items()}, {new: one[1] for new, one in found.items()}, wanted,
                                 path, limits or {})
    empty = [wanted[name] for name, column in data.items() if not np.isfinite(column).any()]
    if empty:
        raise InputError(f"column `{empty[0]}` of the table {path} holds no finite number; name another column")
    given = columns.get("id")
    own = table.ids(given) if given else pandas.DataFrame({"object_id": np.arange(len(table), dtype=np.int64)})
    out = pandas.concat([own, pandas.DataFrame(data)], axis=1)
    out["part"] = part
    return out, counts


def _wanted(columns: dict, part: str) -> dict[str, str]:
    """{common name: the table's own} of the columns that a part needs."""
    if not columns.get("magnitudes"):
        raise InputError("`local.columns.magnitudes` is empty; name one column a band")
    if part != "target" and not columns.get("redshift"):
        raise InputError("`local.columns.redshift` is empty; name the column of the spectroscopic redshift")
    names = {"ra": "ra", "dec": "dec", "redshift": "specz_redshift", "redshift_err": "specz_redshift_err"}
    wanted = {new: columns[old] for old, new in names.items() if columns.get(old)}
    if part == "target":
        wanted = {new: old for new, old in wanted.items() if new in ("ra", "dec")}
    wanted |= {f"{band}_mag": name for band, name in columns["magnitudes"].items()}
    return wanted | {f"{band}_magerr": name for band, name in columns.get("errors", {}).items()}


def estimates(path: str, options: dict) -> dict[str, np.ndarray]:
    """z (n,), and object_id or ra, dec (n,), of a table of redshifts that somebody else estimated; NaN for a z that can't be one.

    `options` names its columns z and id, or ra and dec. InputError if a column is absent or an id stands twice.
    """
    table = load(path, wanted=set(options.values()))
    z = table[options["z"]]
    out = {"z": np.where((z > -1) & (z < 90), z, np.nan)}
    if not options.get("id"):
        return out | {"ra": table[options["ra"]], "dec": table[options["dec"]]}
    out["object_id"] = table.ids(options["id"])["object_id"].to_numpy()
    if len(np.unique(out["object_id"])) != len(z):
        raise InputError(f"the table {path} holds an id of `{options['id']}` twice; make ids unique")
    return out


def together(frames, given: bool, first: int = 0):
    """One table of several parts; where no ids are `given`, row numbers count from `first` through all of them. Ids that repeat
    are refused."""
    import pandas

    for frame in frames:
        frame["object_id"] += 0 if given else first
        first += len(frame)
    whole = pandas.concat(frames, ignore_index=True)
    if "source_id" in whole:
        whole["source_id"] = whole["source_id"].fillna(whole["object_id"].astype(str))
    repeated = whole["object_id"].duplicated()
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        name = whole["source_id"][row] if "source_id" in whole else whole["object_id"][row]
        raise InputError(f"object id {name} stands twice in the local tables (row {row}); make ids unique")
    return whole
