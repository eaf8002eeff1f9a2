"""Packed files as one table: the columns of all splits one after another, in the order of the files."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from skyloom import store
from skyloom.sample import bands


class Table:
    """The packed files of one dataset, read column by column.

    `magnitudes`: the input magnitudes that the first file declares, from blue to red; `errors` {magnitude: column of its error};
    `dust`: columns of E(B-V).
    """

    def __init__(self, paths):
        self.paths = [str(path) for path in paths]

    @cached_property
    def _first(self) -> dict:
        return store.attributes(self.paths[0])

    @cached_property
    def names(self) -> list[str]:
        """What lies at the top of the first file."""
        return store.names(self.paths[0])

    @cached_property
    def magnitudes(self) -> list[str]:
        """Names of the magnitudes; empty without any."""
        return bands.by_wavelength([name for name in self._first["magnitude_columns"].split(",") if name])

    @property
    def errors(self) -> dict[str, str]:
        """Names of the magnitudes' errors."""
        return bands.errors_of(self.names, self.magnitudes)

    @property
    def dust(self) -> list[str]:
        """Names of the columns of E(B-V)."""
        return [name for name in self.names if name.startswith("ebv_")]

    def columns(self, names=None, optional=()) -> dict[str, np.ndarray]:
        """Columns (n,) by name, all one-dimensional ones without names; those of `optional` are NaN where a file lacks them.
        InputError names a file that lacks another."""
        parts = []
        for path in self.paths:
            held = None if names is None else [name for name in names if name not in optional]
            part = store.columns(path, held) | store.arrays(path, optional)
            size = len(part["object_id"]) if optional else 0
            parts.append({name: part[name] if name in part else np.full(size, np.nan) for name in (*part, *optional)})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def stacked(self, names=None) -> np.ndarray:
        """(n, band) magnitudes, its own or the named, NaN where a band was not detected or observed; of none (n, 0)."""
        names = self.magnitudes if names is None else names
        columns = self.columns(["object_id", *names])
        return bands.stacked(columns, names) if names else np.zeros((len(columns["object_id"]), 0))

    def status(self) -> tuple[np.ndarray | None, list[str]]:
        """(statuses (n, band) of the stamps or None, their bands)."""
        parts = [store.arrays(path, ["status"]) for path in self.paths]
        if not any(parts):
            return None, []
        return np.concatenate([part["status"] for part in parts if part]), self._first["bands"].split(",")

    def surveys(self) -> dict[str, np.ndarray]:
        """{survey: statuses (n, band)} of a multi-survey dataset, empty for another."""
        found = [name for name in self._first.get("surveys", "").split(",") if name]
        return {name: np.concatenate([store.rows(path, [f"{name}/status"], slice(None))[f"{name}/status"] for path in self.paths])
                for name in found}


def align(ids: np.ndarray, wanted) -> np.ndarray:
    """(m,) where each wanted id stands among `ids` (n,), -1 for one that doesn't."""
    ids, wanted = np.asarray(ids), np.asarray(wanted)
    if not len(ids):
        return np.full(len(wanted), -1)
    order = np.argsort(ids, kind="stable")
    at = order[np.clip(np.searchsorted(ids, wanted, sorter=order), 0, len(ids) - 1)]
    return np.where(ids[at] == wanted, at, -1)
