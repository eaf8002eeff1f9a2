"""pack-multi: one split of a multi-survey run: a group of stamps a survey, one dataset a column."""

from __future__ import annotations

import json

import numpy as np

from skyloom import store
from skyloom.dataset import pack
from skyloom.errors import InputError
from skyloom.flux import NJY_ZERO_POINT
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--splits", required=True)
    parser.add_argument("--members", nargs="+", required=True)
    parser.add_argument("--surveys", nargs="+", required=True, help="names of the surveys")
    parser.add_argument("--cutouts", nargs="+", required=True, help="shards of the first survey, then of the second, ...")
    parser.add_argument("--dust", nargs="*", default=[])
    parser.add_argument("--photometry", nargs="*", default=[])
    parser.add_argument("--structure", nargs="*", default=[], help="shards of every survey that has some, each names its own")
    parser.add_argument("--split", required=True)
    parser.add_argument("--hdf5", required=True)
    parser.add_argument("--csv", required=True)


def run(args) -> None:
    """Write one split; see `split_file`. The cutouts come as shards of the first survey, then of the second, ..."""
    shards = np.array_split(np.array(args.cutouts, object), len(args.surveys))
    split_file(args.settings, args.split, args.splits, args.members,
               {survey: list(paths) for survey, paths in zip(args.surveys, shards, strict=True)}, args.dust, args.photometry,
               args.hdf5, args.csv, args.structure)


def split_file(settings: dict, split: str, splits, members, cutouts: dict[str, list], dust, photometry, hdf5, csv,
               structure=()) -> None:
    """Write a split's groups and columns, its columns as `csv`, too: the rows that `splits` names from the files of members,
    cutouts {survey: files}, dust, photometry and structure. InputError if a shard lacks an object that another has.
    """
    import pandas

    chosen = store.read_parquet(splits).query("split == @split").sort_values("object_id", kind="stable")
    rows = pandas.concat([store.read_parquet(path) for path in members], ignore_index=True)
    try:
        table = pack.table_columns(rows, chosen, *_measured(dust, photometry), *_structure(structure))
    except KeyError as error:
        raise InputError(f"an object of {splits} is missing from the shards ({error}); rerun from plan_shards") from None
    method = store.parquet_meta(splits).get("split_method", settings["method"])
    meta = common.provenance(settings) | {"split": split, "surveys": ",".join(cutouts), "split_method": method,
                                          "magnitude_columns": ",".join(_magnitudes(table, cutouts))}
    if dust:
        meta["dust_maps"] = json.dumps(store.parquet_meta(dust[0])["dust_maps"])
    with store.writing(hdf5, meta) as handle:
        for survey, paths in cutouts.items():
            _group(handle.create_group(survey), paths, chosen["object_id"].to_numpy())
        for name in table.columns:
            store.put(handle, name, table[name].to_numpy())
    store.write_csv(csv, table)


def _magnitudes(table, surveys) -> list[str]:
    """The photometry's magnitudes, `{survey}_{band}_mag`: what calibration, support and peers read."""
    return [name for name in table if name.endswith("_mag") and name.split("_")[0] in surveys]


def _measured(*kinds) -> list:
    """One table of every kind of measurement that there is: its shards below each other."""
    import pandas

    return [pandas.concat([store.read_parquet(path) for path in paths], ignore_index=True) for paths in kinds if paths]


def _structure(paths) -> list:
    """One table of every survey whose structure was measured, its columns named `{survey}_...`."""
    surveys: dict[str, list] = {}
    for path in paths:
        surveys.setdefault(store.parquet_meta(path)["survey"], []).append(path)
    return [_measured(files)[0].rename(columns=lambda name, survey=survey: name if name == "object_id" else f"{survey}_{name}")
            for survey, files in surveys.items()]


def _group(group, paths, ids) -> None:
    """Copy one survey's stamps in nJy, shard by shard, to the rows of their objects."""
    place = {int(i): k for k, i in enumerate(ids)}
    out, found = None, 0
    for path in paths:
        with store.reading(path) as source:
            if out is None:
                out = _create(group, source, len(ids))
            for row, i in enumerate(store.column(source, "object_id")):
                k = place.get(int(i))
                if k is None:
                    continue
                found += 1
                for name in out:
                    out[name][k] = source[name][row]
    if found != len(ids):
        raise InputError(f"{len(ids) - found} of {len(ids)} objects have no cutout in {paths[0]} and its siblings; "
                         "rerun download_cutouts")


def _create(group, source, n) -> dict:
    """The pixel datasets of a group and the attributes that explain them."""
    for name in ("bands", "pixel_scale", "status_names", "ivar_source", "request"):
        group.attrs[name] = source.attrs[name]
    group.attrs["zero_point"], group.attrs["unit"] = NJY_ZERO_POINT, "nJy"
    kinds = {"image": "f4", "ivar": "f4", "mask": "u4", "psf": "f4", "status": "u1", "offset": "f8"}
    return {name: store.create(group, name, (n, *source[name].shape[1:]), kind, compress=name in ("ivar", "mask", "psf"))
            for name, kind in kinds.items()}
