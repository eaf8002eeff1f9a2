"""Pack one split into GalaxiesML's layout: one array of images, one dataset a column."""

from __future__ import annotations

import numpy as np

from skyloom.flux import njy_per_count


def centre_window(size: int, packed: int) -> slice:
    """The central `packed` of `size` px; of an even window the target lies on pixel packed // 2."""
    start = (size - packed) // 2
    return slice(start, start + packed)


def to_counts(image, ivar, zero_point: float):
    """(image, ivar) in counts of an AB `zero_point` from nJy and nJy^-2, float32."""
    scale = njy_per_count(zero_point)
    return (image / scale).astype(np.float32), (ivar * scale**2).astype(np.float32)


def table_columns(members, splits, *measured):
    """One DataFrame of every table column of a split's objects, in the order of `splits`.

    `splits` decides rows and order; members and what was measured are joined by object id. KeyError names an id
    that one of them lacks.
    """
    keys = splits["object_id"]
    out = splits[["object_id", "split", "subset"]].reset_index(drop=True)
    drop = [c for c in ("object_id", "split", "subset", "part", "isprimary") if c in members]
    out = out.join(members.set_index("object_id", drop=False).drop(columns=drop).loc[keys].reset_index(drop=True))
    for table in measured:
        out = out.join(table.set_index("object_id", verify_integrity=True).loc[keys].reset_index(drop=True))
    front = [c for c in ("object_id", "ra", "dec", "split", "subset") if c in out]
    return out[front + [c for c in out.columns if c not in front]]
