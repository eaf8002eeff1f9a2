"""The catalog in the formats that others read."""

from __future__ import annotations

import json

import numpy as np

from skyloom import store


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


def write_qp_histograms(path, object_ids, pz, edges, meta: dict) -> None:
    """Write p(z) (n, bins) in qp's HDF5 layout for histograms (`hist`): densities in `data/pdfs`, edges in `meta/bins`, the
    ids of the rows in `ancil/object_id`. A row without p(z) holds NaN."""
    with store.writing(path, meta) as handle:
        group = handle.create_group("meta")
        group.create_dataset("pdf_name", data=np.array([b"hist"]), track_times=False)
        store.put(group, "pdf_version", np.array([0]))
        store.put(group, "bins", np.asarray(edges, float)[None])
        store.put(handle.create_group("data"), "pdfs", np.asarray(pz, float) / np.diff(edges))
        store.put(handle.create_group("ancil"), "object_id", np.asarray(object_ids))


def flag_names(bits: dict[str, int]) -> str:
    """Flag names by bit as JSON, for metadata."""
    return json.dumps({str(bit): name for name, bit in bits.items()})
