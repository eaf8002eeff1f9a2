"""Tables of detections as they lie in files, where some columns have names of their own."""

from __future__ import annotations

from skyloom import store

FILED = {"object_id": "detection_id", "half_light_radius": "size", "half_light_radius_err": "size_err", "detect_flags": "flags"}


def write(path, columns: dict, meta: dict) -> None:
    """Columns (n,) of sources as a detector gives them."""
    import pandas

    store.write_parquet(path, pandas.DataFrame(columns).rename(columns=FILED), meta)


def read(path, columns=None):
    """The frame of a file, or some of its columns, named as a detector gives them."""
    asked = None if columns is None else [FILED.get(name, name) for name in columns]
    return store.read_parquet(path, asked).rename(columns={filed: name for name, filed in FILED.items()})
