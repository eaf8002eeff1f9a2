"""pack: one split at one stamp size as HDF5 and CSV."""

from __future__ import annotations

import numpy as np

from skyloom import store
from skyloom.dataset import pack
from skyloom.errors import InputError
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--splits", required=True)
    parser.add_argument("--members", nargs="+", required=True)
    parser.add_argument("--cutouts", nargs="*", default=[])
    parser.add_argument("--morphology", nargs="*", default=[])
    parser.add_argument("--structure", nargs="*", default=[])
    parser.add_argument("--split", required=True)
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--hdf5", required=True)
    parser.add_argument("--csv", required=True)


def run(args) -> None:
    """Write the split's images (if any) and columns; InputError if a file lacks an object that another has."""
    import pandas

    chosen = store.read_parquet(args.splits).query("split == @args.split")
    members = pandas.concat([store.read_parquet(path) for path in args.members], ignore_index=True)
    measured = [pandas.concat([store.read_parquet(p) for p in paths]) for paths in (args.morphology, args.structure) if paths]
    places = _places(args.cutouts, chosen["object_id"]) if args.cutouts else None
    if places is not None:  # shard order: every shard is read once, front to back
        order = np.lexsort((places[1], places[0]))
        chosen, places = chosen.iloc[order], (places[0][order], places[1][order])
    try:
        table = pack.table_columns(members, chosen, *measured)
    except KeyError as error:
        raise InputError(f"an object of {args.splits} is missing from the shards ({error}); rerun from plan_shards") from None
    method = store.parquet_meta(args.splits).get("split_method", args.settings["method"])
    meta = common.provenance(args.settings) | {"split": args.split, "split_method": method,
                                               "magnitude_columns": ",".join(c for c in table if c.endswith("_mag"))}
    with store.writing(args.hdf5, meta) as handle:
        if places is not None:
            _pixels(handle, args, places)
        for name in table.columns:
            store.put(handle, name, table[name].to_numpy())
    store.write_csv(args.csv, table)


def _places(paths, ids):
    """(shard number, row) of every object id."""
    home = {}
    for number, path in enumerate(paths):
        with store.reading(path) as handle:
            home |= {int(i): (number, k) for k, i in enumerate(store.column(handle, "object_id"))}
    missing = [int(i) for i in ids if int(i) not in home]
    if missing:
        raise InputError(f"object {missing[0]} has no cutout in {len(paths)} shards; rerun download_cutouts")
    found = np.array([home[int(i)] for i in ids], int).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _pixels(handle, args, places) -> None:
    """Copy the stamps shard by shard, cropped and in counts of one zero point."""
    n, size, zero_point = len(places[0]), args.size, args.settings["zero_point"]
    out = None
    for number, path in enumerate(args.cutouts):
        with store.reading(path) as source:
            if out is None:
                out = _create(handle, source, n, size, zero_point)
            window = pack.centre_window(source["image"].shape[-1], size)
            for k in np.flatnonzero(places[0] == number):
                row = int(places[1][k])
                image, ivar = source["image"][row][:, window, window], source["ivar"][row][:, window, window]
                out["image"][k], out["ivar"][k] = pack.to_counts(image, ivar, zero_point)
                out["mask"][k] = source["mask"][row][:, window, window]
                for name in ("status", "psf", "pixel_scale", "cd"):
                    out[name][k] = source[name][row]
    scales = out["pixel_scale"][:] if n else np.zeros(0)
    if np.isfinite(scales).any():  # of images of one's own, each with its own: the dataset `pixel_scale` holds them
        handle.attrs["pixel_scale"] = float(np.nanmedian(scales))


def _create(handle, source, n, size, zero_point) -> dict:
    """The pixel datasets and the attributes that explain them."""
    bands, kernel = source["image"].shape[1], source["psf"].shape[-1]
    for name in ("bands", "pixel_scale", "status_names", "ivar_source"):
        handle.attrs[name] = source.attrs[name]
    handle.attrs["zero_point"], handle.attrs["unit"] = zero_point, "counts at AB zero_point"
    out = {name: store.create(handle, name, (n, bands, size, size), kind, compress=name != "image")
           for name, kind in (("image", "f4"), ("ivar", "f4"), ("mask", "u4"))}
    out["psf"] = store.create(handle, "psf", (n, bands, kernel, kernel), "f4", compress=True)
    out["status"] = store.create(handle, "status", (n, bands), "u1")
    out["pixel_scale"] = store.create(handle, "pixel_scale", (n, bands), "f8")
    out["cd"] = store.create(handle, "cd", (n, bands, 2, 2), "f8")
    return out
