"""forced-scenes: class, deblended fluxes and p(z) at given positions in scenes, by a network that was trained on such."""

from __future__ import annotations

import sys

import numpy as np

from skyloom import store
from skyloom.errors import InputError
from skyloom.models import artefact, families
from skyloom.pz import distribution
from skyloom.release import catalog, exporters, flags, zphot
from skyloom.train import loop, sources
from skyloom.verbs import common
from skyloom.verbs.forced_photoz import positions
from skyloom.verbs.predict_scenes import FORM


def arguments(parser) -> None:
    parser.add_argument("--model", required=True, help="folder with model.safetensors and model.json")
    parser.add_argument("--scenes", nargs="+", required=True, help="files of scenes, as fetch-scenes writes them")
    parser.add_argument("--ra", type=float, help="deg, ICRS")
    parser.add_argument("--dec", type=float, help="deg, ICRS")
    parser.add_argument("--table", default="", help="CSV, FITS, Parquet or HDF5 with ra, dec and, optional, object_id")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", required=True, help="the suffix of an exporter: .csv, .fits, .parquet")


def run(args) -> None:
    """Write the catalog's columns for the given positions; one that lies in no tile has NaN and flags."""
    model, card = artefact.load(args.model)
    if families.of(card.model).reads != "scenes":
        raise InputError(f"{args.model} holds {card.model}, which doesn't look at scenes; use forced-photoz for it")
    exporter = exporters.by_suffix(args.out)
    members = positions(args)
    ra, dec = members["ra"].to_numpy(float), members["dec"].to_numpy(float)
    loop.prepare(card.seed, card.threads)
    device, home = loop.choose_device(args.device), _homes(args.scenes, ra, dec)
    columns: dict = {}
    for path, k in sorted(set(home) - {None}):
        rows = np.array([row for row, one in enumerate(home) if one == (path, k)])
        with store.reading(path) as handle:
            seen, place = sources.tile(handle, k)
        out = sources.forced(model, card, seen, *(v for v in place.pixel(ra[rows], dec[rows])), card.precision, device)
        for name, values in (sources.table(out, place, seen.bands, card.model) | sources.pz(out)).items():
            blank = np.full((len(ra), *values.shape[1:]), np.nan if values.dtype.kind == "f" else 0, values.dtype)
            columns.setdefault(name, blank)[rows] = values
    if not columns:
        raise InputError(f"none of the {len(ra)} positions lies in a tile of {args.scenes[0]} and its siblings; give the scenes "
                         "that hold them")
    outside = sum(one is None for one in home)
    if outside:
        print(f"forced-scenes: {outside} of {len(ra)} positions lie in no tile (flag no_z_phot)", file=sys.stderr)
    exporters.export(exporter, args.out, exporters.blocks_of(_catalog(card, members, columns)), _meta(card))


def _homes(paths, ra, dec) -> list:
    """(file, tile) that each position is read from, the one whose core holds it where there is one; None for those in no tile."""
    out, owned = [None] * len(ra), np.zeros(len(ra), bool)
    for path in paths:
        with store.reading(path) as handle:
            for k in range(len(handle["tile_id"])):
                place = sources.place(handle, k)
                x, y = place.pixel(ra, dec)
                rows, side = handle["image"].shape[-2:]
                inside = (x > -0.5) & (x < side - 0.5) & (y > -0.5) & (y < rows - 0.5)
                mine = inside & place.owns(x, y)
                for row in np.flatnonzero((inside & ~owned) | mine):
                    if mine[row] or out[row] is None:
                        out[row] = (str(path), k)
                owned |= mine
    return out


def _catalog(card, members, columns: dict) -> dict:
    """The columns of a catalog at the positions that were asked for."""
    n = len(members)
    mixture = {name: columns.pop(own).astype(float) for name, own in FORM.items()}
    table = columns | {name: members[name].to_numpy() for name in ("object_id", "ra", "dec")}
    table |= {"split": np.full(n, "target", object), "subset": np.full(n, "", object)}
    table |= {"source_id": members["source_id"].to_numpy()} if "source_id" in members else {}
    one = {"model": card.model, "seed": card.seed, "object_id": table["object_id"], "z": distribution.mean(mixture), **mixture}
    carried = [name for name in columns if name not in ("ra", "dec", "x", "y")]
    return catalog.build(table, None, [], [], catalog.combine_predictions([one]), "", distribution.grid(-0.1, 6.0, 0.005),
                         stands=card.model, carried=carried)


def _meta(card) -> dict:
    """What the file tells of itself."""
    return common.provenance({"run": card.run, "release": card.release}) | {
        "model": card.model, "seed": card.seed, "data_hash": card.data_hash, "flag_bits": flags.flag_names(flags.flag_bits()),
        "detect_flag_bits": flags.flag_names(flags.DETECTED),
        **zphot.metadata({"model": card.model, "why": "it is the model that was asked"})}
