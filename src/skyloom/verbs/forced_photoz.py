"""forced-photoz: redshifts of any positions with a trained fusion model, through the functions of the run's own verbs.

Every step is the one that made the training set: download-cutouts, measure-dust, measure-photometry, pack-multi, then the
model; nothing is fetched or scaled in another way.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from skyloom import acquisition, config, store
from skyloom.archives import tables
from skyloom.errors import InputError
from skyloom.models import artefact, families
from skyloom.pz import distribution
from skyloom.release import catalog, exporters, flags, zphot
from skyloom.surveys import imaging
from skyloom.train import data, estimation, loop
from skyloom.verbs import common, download_cutouts, download_map, measure_dust, measure_photometry, pack_multi


def arguments(parser) -> None:
    parser.add_argument("--model", required=True, help="folder with model.safetensors and model.json")
    parser.add_argument("--ra", type=float, help="deg, ICRS")
    parser.add_argument("--dec", type=float, help="deg, ICRS")
    parser.add_argument("--table", default="", help="CSV, FITS, Parquet or HDF5 with ra, dec and, optional, object_id")
    parser.add_argument("--config", nargs="*", default=[], help="config files whose `services` (rates, addresses) apply")
    parser.add_argument("--cache", default="cache/forced_photoz", help="folder of raw replies and dust maps")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", required=True, help="the suffix of an exporter: .csv, .fits, .parquet")


def run(args) -> None:
    """Write the catalog's columns for the given positions; a position that no survey of the model saw has NaN and flags."""
    model, card = artefact.load(args.model)
    made = card.acquisition
    if families.of(card.model).reads != "surveys" or not made:
        raise InputError(f"{args.model} holds {card.model}, whose inputs can't be made from a position alone; forced-photoz "
                         "is not supported for it: give a fusion model of a multi-survey run")
    exporter = exporters.by_suffix(args.out)
    members = positions(args)
    _environment(args, made)
    with tempfile.TemporaryDirectory() as folder:
        packed = _dataset(args, card, made, members, Path(folder))
        columns, meta = _columns(model, card, packed, loop.choose_device(args.device))
    blind = int(((columns["flags"] & (1 << flags.BITS["no_z_phot"])) != 0).sum())
    if blind:
        print(f"forced-photoz: {blind} of {len(members)} positions were seen by no survey of the model (flag no_z_phot)",
              file=sys.stderr)
    exporters.export(exporter, args.out, exporters.blocks_of(columns), meta)


def positions(args):
    """DataFrame object_id, ra, dec of the positions asked for; InputError for a bad one."""
    import pandas

    if bool(args.table) == (args.ra is not None or args.dec is not None):
        raise InputError("forced-photoz needs either --ra and --dec or --table; give one of them")
    if args.table:
        table = tables.load(args.table, wanted={"object_id", "ra", "dec"})
        absent = [name for name in ("ra", "dec") if name not in table]
        if absent:
            raise InputError(f"the table {args.table} has no column `{absent[0]}`; name the positions ra and dec (deg)")
        sky = pandas.DataFrame({name: table[name] for name in ("ra", "dec")})
        own = table.ids("object_id") if "object_id" in table else pandas.DataFrame({"object_id": np.arange(len(table))})
        frame = pandas.concat([own, sky], axis=1)
    else:
        if args.ra is None or args.dec is None:
            raise InputError("forced-photoz needs both --ra and --dec; give the other one")
        frame = pandas.DataFrame({"object_id": np.array([0]), "ra": [args.ra], "dec": [args.dec]})
    bad = ~(frame["ra"].between(-180, 360) & frame["dec"].between(-90, 90))
    if bad.any() or not len(frame):
        k = int(np.argmax(bad)) if len(frame) else 0
        what = f"row {k}: ra {frame['ra'].iloc[k]}, dec {frame['dec'].iloc[k]}" if len(frame) else "no row"
        raise InputError(f"forced-photoz got {what}; positions are -180 <= ra <= 360, -90 <= dec <= 90 in degrees")
    frame["ra"] %= 360
    if frame["object_id"].duplicated().any():
        raise InputError(f"{args.table} holds object_id {frame['object_id'][frame['object_id'].duplicated()].iloc[0]} twice; "
                         "make ids unique or leave the column out")
    return frame


def _environment(args, made) -> None:
    """Services as the model's run had them, with the rates and addresses of --config where given."""
    given = config.load(args.config) if args.config else config.complete({"run": "forced_photoz", "archive": made["archive"]})
    embedded = {**made["embedded"], "faults": []}
    os.environ["SKYLOOM_SERVICES"] = json.dumps(
        acquisition.services({**given, "archive": made["archive"], "embedded": embedded}))


def _dataset(args, card, made, members, folder: Path) -> Path:
    """The packed file of the positions, made by the functions behind the run's verbs."""
    base = {"run": "forced_photoz", "release": made["release"]}
    services = json.loads(os.environ["SKYLOOM_SERVICES"])

    def identity(name):
        return acquisition.identity(made["archive"], made["release"], made["embedded"], name, services.get(name))

    place = {name: folder / f"{name}.parquet" for name in ("members", "splits", "dust", "photometry")}
    store.write_parquet(place["members"], members)
    store.write_parquet(place["splits"], members[["object_id"]].assign(split="target", subset=""))
    cutouts = {survey: folder / f"{survey}.h5" for survey in card.surveys}
    for survey, out in cutouts.items():
        host = imaging.REGISTRY[survey].service.name
        asked = acquisition.stamp_settings(made["stamps"], survey, made["rerun"], identity(host)) | {"max_failed_fraction": 1.0}
        asked, rpm = base | asked, services[host]["rpm"]
        download_cutouts.fetch(asked, place["members"], survey, Path(args.cache) / survey / "positions.sqlite", rpm, out)
    maps = {column.removeprefix("ebv_"): folder / f"{column}.json" for column in card.ebv}
    for name, out in maps.items():
        asked = {**base, "archive": made["archive"], "identity": identity("dust")}
        download_map.fetch(asked, name, made["dust"]["files"][name], Path(args.cache) / "dust", out)
    if maps:
        measure_dust.reddening(base, place["members"], maps.values(), place["dust"])
    measure_photometry.magnitudes(base, cutouts.values(), place["photometry"])
    packed = folder / "multi_target.hdf5"
    pack_multi.split_file({**base, "method": "positions"}, "target", place["splits"], [place["members"]],
                          {survey: [path] for survey, path in cutouts.items()}, [place["dust"]] if maps else [],
                          [place["photometry"]], packed, packed.with_suffix(".csv"))
    return packed


def _columns(model, card, path, device):
    """(catalog columns, metadata) of a packed file."""
    loop.prepare(card.seed, card.threads)
    split = data.of_card(path, card)
    found = estimation.predicted(families.of(card.model), model, card, split, device)
    one = {"model": card.model, "seed": card.seed, "object_id": split.columns["object_id"], **found}
    edges = found.get("edges", distribution.grid(-0.1, 4.0, 0.005))
    models = catalog.combine_predictions([one])
    stands = card.model if "arrays" in models[card.model] else ""
    columns = catalog.build(store.columns(path), None, [], [], models, "", edges, split.status, stands=stands)
    meta = common.provenance({"run": card.run, "release": card.release}) | {
        "model": card.model, "seed": card.seed, "data_hash": card.data_hash,
        "flag_bits": flags.flag_names(flags.flag_bits(card.surveys)),
        **zphot.metadata({"model": stands, "why": "it is the model that was asked"})}
    return columns, meta
