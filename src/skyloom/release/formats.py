"""The catalog in the formats that others read."""

from __future__ import annotations

import json

import numpy as np

from skyloom import store
from skyloom.pz import distribution, quantiles


def write_fits(path, table: dict, meta: dict) -> None:
    """Write the catalog as a FITS binary table; metadata as HISTORY-free keywords (long ones as CONTINUE cards)."""
    from astropy.io import fits
    from astropy.table import Table

    columns = {name: np.array([str(v) for v in values]) if values.dtype == object else values
               for name, values in table.items()}
    hdu = fits.BinTableHDU(Table(columns), name="PHOTOZ")
    for key, value in sorted(meta.items()):
        hdu.header[f"HIERARCH {key}" if len(key) > 8 else key] = value if isinstance(value, int | float) else str(value)
    with store.replacing(path) as temporary:
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(temporary, overwrite=True)


def write_qp(path, object_ids, arrays: dict, meta: dict) -> None:
    """Write p(z) (a form of `distribution.FORMS`) in qp's HDF5 layout: `hist`, `mixmod` or `quant`, the ids of the rows in
    `ancil/object_id`. A row without p(z) holds NaN."""
    kind = distribution.form(arrays)
    name, shared, rows = {"histogram": _hist, "mixture": _mixmod, "quantiles": _quant}[kind](arrays)
    with store.writing(path, meta) as handle:
        group = handle.create_group("meta")
        group.create_dataset("pdf_name", data=np.array([name.encode()]), track_times=False)
        store.put(group, "pdf_version", np.array([0]))
        for key, values in shared.items():
            store.put(group, key, values)
        data = handle.create_group("data")
        for key, values in rows.items():
            store.put(data, key, values)
        store.put(handle.create_group("ancil"), "object_id", np.asarray(object_ids))


def _hist(arrays):
    density = np.asarray(arrays["pz"], float) / np.diff(arrays["edges"])
    return "hist", {"bins": np.asarray(arrays["edges"], float)[None]}, {"pdfs": density}


def _mixmod(arrays):
    return "mixmod", {}, {name: np.asarray(arrays[name], float) for name in ("means", "stds", "weights")}


def _quant(arrays):
    """With the ends of the cdf written out, because qp would put its own there."""
    levels, locs = quantiles.ends(arrays["levels"], arrays["locs"])
    # qp takes its default for the shape between quantiles, straight lines of the cdf: it can't read the name back from a file
    return "quant", {"quants": levels[None], "ensure_extent": np.array([False])}, {"locs": locs}


def flag_names(bits: dict[str, int]) -> str:
    """Flag names by bit as JSON, for metadata."""
    return json.dumps({str(bit): name for name, bit in bits.items()})
