"""Files: HDF5 and tables with provenance, written to a temporary name and renamed.

The only module that opens HDF5. pandas, pyarrow and astropy are imported inside the functions that need
them, because a GPU box may have none of them.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import h5py
import numpy as np

from skyloom.errors import InputError, SkyloomError

GAP = 64  # rows that are rather read and dropped than skipped


@contextlib.contextmanager
def replacing(path: str | Path):
    """A temporary path beside `path` that takes its name if the block succeeds and vanishes if it fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_csv(path, frame) -> None:
    """Write a DataFrame as CSV, atomically, floats with 10 significant digits."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.10g", lineterminator="\n")


def arrow(frame, meta: dict | None = None):
    """A DataFrame as an Arrow table with `meta` as JSON under the schema key `skyloom`."""
    import pyarrow

    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    known = dict(table.schema.metadata or {})
    known[b"skyloom"] = json.dumps(meta or {}, sort_keys=True).encode()
    return table.replace_schema_metadata(known)


def write_parquet(path, frame, meta: dict | None = None) -> None:
    """Write a DataFrame as Parquet, atomically, with `meta` as in `arrow`."""
    import pyarrow.parquet

    with replacing(path) as temporary:
        pyarrow.parquet.write_table(arrow(frame, meta), temporary)


def read_parquet(path, columns=None):
    """DataFrame of a Parquet file, of some columns if named; InputError if it can't be read."""
    import pandas
    import pyarrow

    try:
        return pandas.read_parquet(path, columns=columns)
    except (pyarrow.ArrowInvalid, FileNotFoundError, OSError) as error:
        raise unreadable(path, error) from None


def parquet_names(path) -> list[str]:
    """Names of a Parquet file's columns."""
    import pyarrow.parquet

    return pyarrow.parquet.read_schema(path).names


def parquet_meta(path) -> dict:
    """The `meta` that `write_parquet` stored."""
    import pyarrow.parquet

    return json.loads((pyarrow.parquet.read_schema(path).metadata or {}).get(b"skyloom", b"{}"))


def parquet_rows(path) -> int:
    """Number of rows of a Parquet file."""
    import pyarrow.parquet

    return pyarrow.parquet.read_metadata(path).num_rows


def unreadable(path, error, remedy: str = "delete it and rerun") -> InputError:
    """The sentence for a file that is missing, truncated or of another kind."""
    text = " ".join(str(error).split())[:120]
    return InputError(f"{path} can't be read ({text}); {remedy}")


@contextlib.contextmanager
def reading(path, remedy: str = "delete it and rerun"):
    """An open h5py.File; InputError, which ends in `remedy`, if the file is missing or corrupt."""
    try:
        handle = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise unreadable(path, error, remedy) from None
    with handle:
        yield handle


@contextlib.contextmanager
def writing(path, meta: dict | None = None):
    """A new h5py.File under a temporary name, its attributes set from `meta`, renamed at the end."""
    with replacing(path) as temporary, h5py.File(temporary, "w", libver="v110", track_order=False, locking=False) as handle:
        for key, value in sorted((meta or {}).items()):
            handle.attrs[key] = value
        yield handle


def create(handle, name: str, shape, dtype, compress: bool = False, fill=None):
    """A dataset chunked by object (one row a chunk for arrays), gzip-1 with shuffle where that pays.

    Float pixels are sky noise and don't compress; masks, variances and flags do.
    """
    options = {"track_times": False}
    if fill is not None:
        options["fillvalue"] = fill
    if len(shape) > 1 and shape[0] > 0:
        options["chunks"] = (1, *shape[1:])
        if compress:
            options |= {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    return handle.create_dataset(name, shape, dtype, **options)


def put(handle, name: str, values) -> None:
    """Store a column: numbers as they are, strings as variable-length UTF-8."""
    values = np.asarray(values)
    if values.dtype.kind in "OUST":
        kind = h5py.string_dtype()
        handle.create_dataset(name, data=np.array([str(v) for v in values], object), dtype=kind, track_times=False)
    else:
        handle.create_dataset(name, data=values, track_times=False)


def column(handle, name: str) -> np.ndarray:
    """A column as numpy; strings as str objects. InputError if the file lacks it."""
    if name not in handle:
        raise InputError(f"{handle.filename} has no dataset `{name}`; it holds {', '.join(sorted(handle))[:200]}")
    data = handle[name]
    return data.asstr()[:] if h5py.check_string_dtype(data.dtype) else data[:]


def names(path) -> list[str]:
    """Names of what lies at the top of an HDF5 file."""
    with reading(path) as handle:
        return list(handle)


def arrays(path, wanted) -> dict[str, np.ndarray]:
    """Those of the named datasets that an HDF5 file has, of any dimension."""
    with reading(path) as handle:
        return {name: column(handle, name) for name in wanted if name in handle}


def columns(path, names=None) -> dict[str, np.ndarray]:
    """All one-dimensional columns of an HDF5 file (or those named)."""
    with reading(path) as handle:
        names = [n for n in handle if getattr(handle[n], "ndim", 0) == 1] if names is None else names
        return {name: column(handle, name) for name in names}


def rows(path, wanted, at) -> dict[str, np.ndarray]:
    """Some rows of the named datasets: a slice, or row numbers in any order."""
    with reading(path) as handle:
        return {name: _picked(handle[name], at) for name in wanted}


def _picked(data, at) -> np.ndarray:
    """Rows of a dataset; numbers are read as runs of neighbours, because lists are slow in HDF5."""
    if isinstance(at, slice):
        return data[at]
    order = np.argsort(at, kind="stable")
    ascending = np.asarray(at)[order]
    out = np.empty((len(at), *data.shape[1:]), data.dtype)
    ends = np.flatnonzero(np.diff(ascending) > GAP) + 1
    for first, last in zip([0, *ends], [*ends, len(at)], strict=True):
        if last > first:
            low = ascending[first]
            out[order[first:last]] = data[low:ascending[last - 1] + 1][ascending[first:last] - low]
    return out


@contextlib.contextmanager
def streaming(path, n: int, meta: dict | None = None, shared=()):
    """A function append({name: block}) that fills the columns of a new HDF5 file of n rows block by block, arrays of `shared`
    names, which all rows have together, once; renamed at the end. SkyloomError if the blocks have other rows than n."""
    filled = 0

    def append(block: dict) -> None:
        nonlocal filled
        size = next(len(values) for name, values in block.items() if name not in shared)
        for name, values in block.items():
            values = np.asarray(values)
            if name in shared:
                if name not in handle:
                    put(handle, name, values)
                continue
            text = values.dtype.kind in "OUST"
            if name not in handle:
                kind = h5py.string_dtype() if text else values.dtype
                handle.create_dataset(name, (n, *values.shape[1:]), kind, track_times=False)
            handle[name][filled:filled + size] = np.array([str(v) for v in values], object) if text else values
        filled += size

    with writing(path, meta) as handle:
        yield append
        if filled != n:
            raise SkyloomError(f"{path} got {filled} rows; expected {n}")


def write_columns(path, table: dict, meta: dict | None = None) -> None:
    """Write a mapping of equal-length columns as a flat HDF5 file."""
    with writing(path, meta) as handle:
        for name, values in table.items():
            put(handle, name, values)


def attributes(path) -> dict:
    """Attributes of an HDF5 file as plain Python values."""
    with reading(path) as handle:
        return {k: v.item() if hasattr(v, "item") and np.ndim(v) == 0 else v for k, v in handle.attrs.items()}
