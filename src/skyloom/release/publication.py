"""The catalog and p(z) as files of a folder, in all formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skyloom.pz import distribution
from skyloom.release import exporters


def publish(folder, formats, ids, columns: dict, named: dict, meta: dict, settings: dict) -> None:
    """Write photoz_catalog.* and, of p(z) {name: arrays of a form, rows as `ids`}, pz_{name}.*, sorted by id.

    `settings`: pz (`native`, or `quantiles` to keep few numbers an object), grid. InputError before the first file if the disk
    has no room for them.
    """
    order = np.argsort(ids, kind="stable")
    files = [(f"photoz_catalog.{one.suffix}", one, exporters.blocks_of(columns), meta) for one in _formats(formats, "catalog")]
    kept: dict = {}
    for name, arrays in named.items():
        if id(arrays) not in kept:  # the model that stands for z_phot comes twice
            kept[id(arrays)] = _stored(arrays, settings)
        stored, error = kept[id(arrays)]
        rows = exporters.pz_blocks(ids, stored, order)
        files += [(f"pz_{name}.{one.suffix}", one, rows, meta | error) for one in _formats(formats, "pz")]
    exporters.room(folder, [(one, rows) for _, one, rows, _ in files])
    for name, one, rows, about in files:
        exporters.export(one, Path(folder) / name, rows, about)


def _formats(names, kind: str) -> list:
    return [one for one in map(exporters.REGISTRY.__getitem__, names) if one.kind == kind]


def _stored(arrays, settings) -> tuple[dict, dict]:
    """p(z) in the form in which it is kept, and what the file says of the change."""
    if settings["pz"] == "native":
        return arrays, {}
    levels, locs, error = distribution.compressed(arrays, distribution.grid(*settings["grid"]))
    return {"levels": levels, "locs": locs}, {"largest_cdf_error": float(np.nanmax(error, initial=0.0)),
                                              "median_cdf_error": float(np.nanmedian(error)) if len(error) else 0.0}
