"""A tabular estimator made ready to train: its columns, its network, its arrays. Shared by train and tune."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch

from skyloom import store
from skyloom.dataset import read
from skyloom.errors import InputError
from skyloom.models import registry, tabular
from skyloom.models.heads import Head
from skyloom.sample import bands
from skyloom.train import loop

LEAST = 5  # objects from which anything is learned at all


@dataclass
class Columns:
    """What a tabular estimator reads of a packed file: magnitudes from blue to red, their errors, other columns."""

    magnitudes: list[str]
    errors: dict[str, str]
    extra: list[str]

    @property
    def inputs(self) -> list[str]:
        """All of them."""
        return [*self.magnitudes, *self.errors.values(), *self.extra]


def columns(path, options: dict) -> Columns:
    """The columns of a packed file that `options` let a tabular estimator read."""
    magnitudes = bands.by_wavelength(read.magnitude_columns(path))
    if magnitudes == [""]:
        raise InputError(f"{path} holds no magnitudes, which a tabular estimator reads; drop the model or add photometry")
    return Columns(magnitudes, bands.errors_of(store.names(path), magnitudes) if options["errors"] else {}, options["columns"])


def rows_of(split: read.Split, chosen) -> np.ndarray:
    """Rows of a split that are `chosen` and have a redshift; InputError if they are too few."""
    rows = np.flatnonzero(np.isfinite(split.columns["specz_redshift"]) & chosen)
    if len(rows) < LEAST:
        raise InputError(f"{split.path} has {len(rows)} objects with a redshift to learn from, fewer than {LEAST}; "
                         "give a larger sample")
    return rows


def joined(split: read.Split, more: read.Split, chosen: np.ndarray) -> SimpleNamespace:
    """A split's columns with the `chosen` rows of another behind them, both read with the same names."""
    return SimpleNamespace(path=split.path, columns={name: np.concatenate([values, more.columns[name][chosen]])
                                                     for name, values in split.columns.items()})


def network(split: read.Split, rows: np.ndarray, options: dict, read_columns: Columns):
    """(untrained network, head, description of the inputs, arrays) for the training rows of a split."""
    table = tabular.fit({n: split.columns[n][rows] for n in read_columns.inputs}, read_columns.magnitudes, read_columns.errors,
                        read_columns.extra)
    z = split.columns["specz_redshift"][rows]
    head = Head(options["head"], options["outputs"], float(z.min()), float(z.max()) + 1e-6)
    model = registry.build_tabular(options, table, head)
    out = arrays(split, rows, table)
    model.features.fit(out.table)
    if options["noise"]:
        out.jitter = lambda raw, generator: tabular.jitter(raw, len(table["columns"]), options["noise"], generator)
    return model, head, table | {"features": model.features.constants()}, out


def arrays(split: read.Split, rows: np.ndarray, table: dict) -> loop.Arrays:
    """Training arrays of some rows of a split for a network with these inputs."""
    raw = tabular.raw({name: values[rows] for name, values in split.columns.items()}, table)
    return loop.Arrays(None, torch.from_numpy(raw), torch.tensor(split.columns["specz_redshift"][rows], dtype=torch.float32))
