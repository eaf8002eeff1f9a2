"""VOTables as services send them: a table by its columns, and the descriptions of services that stand beside it."""

from __future__ import annotations

import io
import warnings

import numpy as np

from skyloom.archives import guard
from skyloom.errors import ReplyError


@guard.reading("the VOTable", "not_a_table")
def read(body: bytes):
    """The `astropy.io.votable` tree of a reply; ReplyError `not_a_table`, or `query_failed` where it says so itself."""
    from astropy.io import votable

    if b"<VOTABLE" not in body[:4096].upper():
        raise ReplyError("not_a_table", f"starts with {body[:40]!r}")
    with warnings.catch_warnings(action="ignore"):  # of spellings that the standard doesn't know
        tree = votable.parse(io.BytesIO(body), verify="ignore")
    status = {str(info.value).upper(): str(info.content or "") for info in _infos(tree) if info.name == "QUERY_STATUS"}
    if "ERROR" in status:
        raise ReplyError("query_failed", " ".join(status["ERROR"].split())[:200])
    return tree


def cut_off(tree) -> bool:
    """Whether the service says that there is more than it sent (DALI 1.1, 4.4.1)."""
    return any(info.name == "QUERY_STATUS" and str(info.value).upper() == "OVERFLOW" for info in _infos(tree))


def columns(tree, wanted) -> dict[str, np.ndarray]:
    """{name: column} of the first table; nulls of numbers are NaN or masked values, texts are str. ReplyError `wrong_columns`
    where one that is `wanted` is missing, `not_a_table` without a table."""
    table = next(iter(tree.iter_tables()), None)
    if table is None:
        raise ReplyError("not_a_table", "a VOTable without a table")
    names = {field.name: k for k, field in enumerate(table.fields)}
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ReplyError("wrong_columns", f"no column {missing[0]}; it has {', '.join(names)[:200]}")
    found = {name: table.array[table.array.dtype.names[names[name]]] for name in wanted}
    return {name: _plain(values) for name, values in found.items()}


def _plain(values) -> np.ndarray:
    if values.dtype.kind in "OSU":
        return np.array(["" if v is np.ma.masked or v is None else v.decode() if isinstance(v, bytes) else str(v)
                         for v in values], object)
    if values.dtype.kind == "f":
        return np.ma.filled(values, np.nan)
    return values if np.ma.is_masked(values) else np.asarray(values)


def _infos(tree):
    for resource in tree.resources:
        yield from resource.infos
        for table in resource.tables:
            yield from table.infos
