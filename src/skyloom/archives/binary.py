"""Tables in FITS, HDF5 and Parquet: the one that was named, or the only one there is, never another.

Each reader returns the names of all columns, {name: column (n,)} of those that are `wanted` (None: of all), and {name: why} of
those that can't be used.
"""

from __future__ import annotations

import warnings

import numpy as np

from skyloom import store
from skyloom.errors import InputError

_META = "__table_column_meta__"  # what astropy keeps beside its tables in HDF5


def parquet(name: str, group: str, wanted=None) -> tuple[list, dict, dict]:
    """Columns of a Parquet file, pandas' index among them. InputError for a group: there is none."""
    import pandas
    import pyarrow.parquet as files

    if group:
        raise InputError(f"the table {name}:{group} names a group, but Parquet has none; drop `:{group}`")
    names = files.read_schema(name).names
    frame = pandas.read_parquet(name, columns=None if wanted is None else [c for c in names if c in wanted])
    found = {str(c): frame[c] for c in frame}
    for level, called in enumerate(frame.index.names):
        if called is not None or not isinstance(frame.index, pandas.RangeIndex):
            found.setdefault(str(called or "index"), frame.index.get_level_values(level))
    lists = {c: "holds lists" for c, v in found.items() if v.dtype == object and len(v) and np.ndim(v.to_numpy()[0])}
    return list(dict.fromkeys([*names, *found])), {c: v for c, v in found.items() if c not in lists}, lists


def fits(name: str, group: str, wanted=None) -> tuple[list, dict, dict]:
    """Columns of a FITS table by extension name or number. InputError where it isn't one, or several are there without a name."""
    from astropy.io import fits as files
    from astropy.table import Table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of units and keywords, which nobody reads here
        with files.open(name, memmap=True) as hdus:
            number = _table_hdu(name, group, hdus)
            table = Table.read(hdus[number], unit_parse_strict="silent", mask_invalid=False)
            shapes = {c: _several(table[c]) for c in table.colnames if table[c].ndim > 1}
            found = {c: _plain(table[c]) for c in table.colnames if c not in shapes and (wanted is None or c in wanted)}
    return table.colnames, found, shapes


def _several(column) -> str:
    return f"has {' x '.join(map(str, column.shape[1:]))} values a row"


def _plain(column) -> np.ndarray:
    """A column of astropy as numpy (masked where it has nulls), free of the file."""
    return np.ma.array(column.data, mask=column.mask, copy=True) if hasattr(column, "mask") else np.array(column)


def _table_hdu(name, group, hdus) -> int:
    from astropy.io import fits as files

    tables = {k: hdu for k, hdu in enumerate(hdus)
              if isinstance(hdu, (files.BinTableHDU, files.TableHDU)) and not isinstance(hdu, files.CompImageHDU)
              and hdu.name != "LDAC_IMHEAD"}
    listed = ", ".join(f"{k} ({hdu.name or 'no name'}, {hdu.header['NAXIS2']} rows)" for k, hdu in tables.items()) or "none"
    if group:
        number = int(group) if group.isdigit() else None
        found = [k for k, hdu in tables.items() if k == number or (number is None and hdu.name.lower() == group.lower())]
        if len(found) != 1:
            what = "several tables" if found else "no table"
            raise InputError(f"{name} has {what} {group}; its tables are {listed}")
    else:
        found = [k for k, hdu in tables.items() if hdu.name == "LDAC_OBJECTS"] if len(tables) > 1 else list(tables)
        if len(found) != 1:
            raise InputError(f"{name} holds {len(tables)} tables and none is named; write {name}:NAME or {name}:NUMBER; they are "
                             f"{listed}" if tables else f"{name} holds no table, but images or nothing; name another file")
    if "ZTABLE" in tables[found[0]].header:
        raise InputError(f"table {found[0]} of {name} is compressed by fpack, which can't be read; unpack it with funpack")
    return found[0]


def hdf5(name: str, group: str, wanted=None) -> tuple[list, dict, dict]:
    """Columns of an HDF5 group of datasets (`/`: those at the root), or of a compound dataset as astropy writes it. InputError as
    `fits`."""
    with store.reading(name, "mend the file") as handle:
        tables = _tables_within(handle)
        path = group.strip("/") if group else next(iter(tables), "")
        if path not in tables or (not group and len(tables) > 1):
            what = f"has no table {group}" if group else f"holds {len(tables) or 'no'} tables and none is named"
            listed = ", ".join(f"{name}:{path or '/'}" for path in tables)
            raise InputError(f"{name} {what}; " + (f"name one of {listed}" if tables else "name another file"))
        if tables[path] == "pandas":
            raise InputError(f"{name}:{path} is what pandas' to_hdf writes, which only PyTables reads; write the table with "
                             "to_parquet")
        return (_compound if tables[path] == "compound" else _group)(handle[path or "/"], wanted)


def _tables_within(handle) -> dict[str, str]:
    """{path: `compound`, `columns` or `pandas`} of everything in an open file that may be a table; "" is the root."""
    found = {}

    def look(path, node):
        if any(path == p or path.startswith(p + "/") for p, kind in found.items() if kind == "pandas"):
            return
        if "pandas_type" in node.attrs:
            found[path] = "pandas"
        elif hasattr(node, "dtype"):
            if node.dtype.names and node.ndim == 1:
                found[path] = "compound"
        elif _columns(node):
            found[path] = "columns"

    look("", handle)
    handle.visititems(look)
    return found


def _columns(node) -> list[str]:
    """Names of a group's datasets that may be columns."""
    return [key for key in node if getattr(node[key], "ndim", 0) and not node[key].dtype.names and not key.endswith(_META)]


def _compound(node, wanted) -> tuple[list, dict, dict]:
    rows = node[:]
    names = list(rows.dtype.names)
    shapes = {c: _several(rows[c]) for c in names if rows[c].ndim > 1}
    shapes |= {c: "holds records" for c in names if rows.dtype[c].names}
    return names, {c: rows[c] for c in names if c not in shapes and (wanted is None or c in wanted)}, shapes


def _group(node, wanted) -> tuple[list, dict, dict]:
    """Columns of a group: its datasets of one axis and of the length that most of them have."""
    names = _columns(node)
    lengths = [len(node[key]) for key in names if node[key].ndim == 1]
    length = max(sorted(set(lengths), reverse=True), key=lengths.count) if lengths else 0
    others = {key: f"has the shape {node[key].shape}, not {length} values" for key in names if node[key].shape != (length,)}
    found = {key: store.column(node, key) for key in names if key not in others and (wanted is None or key in wanted)}
    return names, found, others
