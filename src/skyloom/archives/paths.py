"""Names of local tables: a file, or `file:group` for one table of several in a file."""

from __future__ import annotations

import os

TEXT = (".csv", ".txt", ".tsv", ".tab", ".dat", ".cat", ".train", ".bpz", ".asc", ".ascii", ".ecsv")
PARQUET = (".parquet", ".pq")
FITS = (".fits", ".fit", ".fts")
HDF5 = (".h5", ".hdf5", ".hdf")
PACKED = (".gz", ".bz2", ".xz")


def split_path(path: str) -> tuple[str, str]:
    """(file, group or HDU) of a table's name; a file that is there is never cut at a colon of its own name."""
    path = str(path)
    head, colon, group = path.rpartition(":")
    if not colon or os.path.exists(path) or not (os.path.exists(head) or kind(head)):
        return path, ""
    return head, group


def kind(name: str) -> str:
    """`text`, `parquet`, `fits` or `hdf5` by the suffix, empty for another; `.gz`, `.bz2` and `.xz` may follow text and FITS."""
    root, suffix = os.path.splitext(name.lower())
    packed = suffix in PACKED
    suffix = os.path.splitext(root)[1] if packed else suffix
    known = {"text": TEXT, "fits": FITS} | ({} if packed else {"parquet": PARQUET, "hdf5": HDF5})
    return next((name for name, suffixes in known.items() if suffix in suffixes), "")
