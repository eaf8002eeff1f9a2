"""Local tables as an archive: CSV, FITS, Parquet, HDF5 (`file.h5:group`), brought to the common columns."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np

from skyloom.errors import InputError


def load(path: str, names=None):
    """DataFrame of a table file; `names` stand for those of a text table's header. InputError if it is missing, of no known
    kind, or has rows of more values than names."""
    name, _, group = path.partition(":")
    if not Path(name).is_file():
        raise InputError(f"the table {name} does not exist; give an existing file under `local.tables`")
    kind = Path(name).suffix.lower()
    try:
        if kind in (".csv", ".txt", ".tsv", ".dat", ".cat", ".train", ".bpz"):
            return _text(name, names)
        if kind in (".parquet", ".pq"):
            import pandas

            return pandas.read_parquet(name)
        if kind in (".fits", ".fit"):
            return _fits(name)
        if kind in (".h5", ".hdf5"):
            return _hdf5(name, group)
    except (ValueError, OSError, KeyError) as error:
        raise InputError(f"the table {path} can't be read ({' '.join(str(error).split())[:120]}); mend the file") from None
    raise InputError(f"the table {path} is of no known kind; use CSV, FITS, Parquet or HDF5 (file.h5:group)")


def _text(name, given):
    """A delimited text file. Its names: `# 3 NAME` lines (SExtractor's and BPZ's), else the last of its leading `#` lines or its
    first line, else, where that line is all numbers, c1, c2, ..."""
    import pandas

    with open(name, encoding="utf-8") as handle:
        lines = []
        for line in handle:
            lines.append(line)
            if not line.startswith("#") and len(lines) > 1:
                break
    heads = [k for k, line in enumerate(lines) if line.startswith("#")]
    # ANNZ's tables separate names by `;` and values by `,`: each kind of line is looked at by itself
    values = _separator(lines[-1]) or r"\s+"
    numbered = [line.split() for line in lines if line.startswith("#")]
    numbered = {int(words[1]): words[2] for words in numbered if len(words) >= 3 and words[1].isdigit()}
    mark = _separator(lines[-1])
    columns = len(next(csv.reader(lines[-1:], delimiter=mark, skipinitialspace=True)) if mark else lines[-1].split())
    if given:
        comments = heads[-1] + 1 if heads else 0
        names, skip = list(given), comments or int(not all(_is_number(w) for w in lines[0].split(_separator(lines[0]))))
    elif set(numbered) == set(range(1, columns + 1)):
        names, skip = [numbered[k] for k in range(1, columns + 1)], heads[-1] + 1
    elif not heads and all(_is_number(word) for word in lines[0].split(_separator(lines[0]))):
        names, skip = [f"c{k}" for k in range(1, columns + 1)], 0
    else:
        header = lines[heads[-1]].lstrip("# ") if heads else lines[0]
        names, skip = [n.strip() for n in header.split(_separator(header))], heads[-1] + 1 if heads else 1
    if len(names) != columns:
        raise InputError(f"the table {name} has {columns} values a row but {len(names)} column names; "
                         "name them all under `local.columns.names`")
    return pandas.read_csv(name, sep=values, names=names, skiprows=skip, skipinitialspace=True, header=None)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _separator(line: str) -> str | None:
    """The one of `, ; tab` that a line has most of, None (any blanks) without any."""
    best = max(",;\t", key=line.count)
    return best if line.count(best) else None


def _fits(name):
    from astropy.table import Table

    table = Table.read(name)
    return table[[c for c in table.colnames if table[c].ndim == 1]].to_pandas()


def _hdf5(name, group):
    import pandas

    from skyloom import store

    with store.reading(name) as handle:
        node = handle[group] if group else handle
        return pandas.DataFrame({key: store.column(node, key) for key in node if getattr(node[key], "ndim", 0) == 1})


def read(path: str, columns: dict, part: str):
    """The common columns of a table: object_id, ra, dec, specz_redshift, specz_redshift_err, {band}_mag, {band}_magerr.

    `columns` maps id, ra, dec, redshift, redshift_err, magnitudes.<band>, errors.<band> to the table's names. A
    missing id is the row number. InputError if a named column, the redshift or every magnitude is absent.
    """
    import pandas

    table = load(path, columns.get("names"))
    if not columns.get("magnitudes"):
        raise InputError("`local.columns.magnitudes` is empty; name one column a band")
    if part != "target" and not columns.get("redshift"):
        raise InputError("`local.columns.redshift` is empty; name the column of the spectroscopic redshift")
    names = {"ra": "ra", "dec": "dec", "redshift": "specz_redshift", "redshift_err": "specz_redshift_err"}
    wanted = {new: columns[old] for old, new in names.items() if columns.get(old)}
    if part == "target":
        wanted = {new: old for new, old in wanted.items() if new in ("ra", "dec")}
    wanted |= {f"{band}_mag": name for band, name in columns["magnitudes"].items()}
    wanted |= {f"{band}_magerr": name for band, name in columns.get("errors", {}).items()}
    absent = [name for name in wanted.values() if name not in table]
    if absent:
        raise InputError(f"the table {path} has no column `{absent[0]}`; it has {', '.join(map(str, table.columns))[:160]}")
    out = pandas.DataFrame({new: pandas.to_numeric(table[old], errors="coerce") for new, old in wanted.items()})
    empty = [wanted[name] for name in out if len(out) and not np.isfinite(out[name]).any()]
    if empty:
        raise InputError(f"column `{empty[0]}` of the table {path} holds no finite number; name another column")
    out = pandas.concat([_ids(table, columns.get("id"), path), out.astype(float)], axis=1)
    out["part"] = part
    return out


def estimates(path: str, id_name: str, z_name: str) -> dict[str, np.ndarray]:
    """object_id and z (n,) of a table of redshifts that somebody else estimated. InputError if a column is absent or an id
    stands twice."""
    table = load(path)
    if z_name not in table:
        raise InputError(f"the table {path} has no column `{z_name}`; it has {', '.join(map(str, table.columns))[:160]}")
    ids = _ids(table, id_name, path)["object_id"].to_numpy()
    if len(np.unique(ids)) != len(ids):
        raise InputError(f"the table {path} holds an id of `{id_name}` twice; make ids unique")
    return {"object_id": ids, "z": table[z_name].to_numpy(float)}


def _ids(table, name, path):
    """object_id (int64), and source_id where the table's ids are text."""
    import pandas

    if not name:
        return pandas.DataFrame({"object_id": np.arange(len(table), dtype=np.int64)})
    if name not in table:
        raise InputError(f"the table {path} has no column `{name}`; it has {', '.join(map(str, table.columns))[:160]}")
    values = table[name]
    if pandas.api.types.is_integer_dtype(values.dtype):
        return pandas.DataFrame({"object_id": values.to_numpy(np.int64)})
    text = values.astype(str)
    return pandas.DataFrame({"object_id": [text_id(v) for v in text], "source_id": text})


def text_id(text: str) -> int:
    """The first 63 bits of the sha256 of a text id."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def together(frames):
    """One table of several parts; row numbers that stand for ids go on counting, ids that repeat are refused."""
    import pandas

    first = 0
    for frame in frames:
        if "source_id" not in frame and (frame["object_id"] == np.arange(len(frame))).all():
            frame["object_id"] += first
        first += len(frame)
    whole = pandas.concat(frames, ignore_index=True)
    repeated = whole["object_id"].duplicated()
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        name = whole["source_id"][row] if "source_id" in whole else whole["object_id"][row]
        raise InputError(f"object id {name} stands twice in the local tables (row {row}); make ids unique")
    return whole
