"""build-catalog: predictions and columns into one catalog, with the ledger of everything that is not in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from skyloom import store
from skyloom.dataset import read
from skyloom.dataset.predictions import Prediction
from skyloom.dataset.table import Table
from skyloom.errors import InputError, SkyloomError
from skyloom.provenance import ledger
from skyloom.provenance.canonical import digest
from skyloom.provenance.fingerprint import fingerprint
from skyloom.pz import distribution
from skyloom.release import catalog, exporters, flags
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--data", nargs="+", required=True, help="one packed file a split, in the order of predict")
    parser.add_argument("--predictions", nargs="+", required=True)
    parser.add_argument("--raw", nargs="+", required=True)
    parser.add_argument("--rejected", nargs="+", required=True)
    parser.add_argument("--selected", nargs="+", required=True)
    parser.add_argument("--lost", required=True, help="dataset/lost.parquet")
    parser.add_argument("--calibrated", nargs="*", default=[], help="files of the verb calibrate")
    parser.add_argument("--support", default="", help="file of the verb support")
    parser.add_argument("--service", default="hsc")
    parser.add_argument("--formats", nargs="+", required=True, help="names of exporters")
    for name in ("folder", "ledger", "all-lost"):
        parser.add_argument(f"--{name}", required=True)


def run(args) -> None:
    """Write the catalog and p(z) in all formats, ledger.csv and lost.parquet; SkyloomError if the ledger doesn't add up."""
    data = Table(args.data)
    table, (status, bands), surveys = data.columns(), data.status(), data.surveys()
    magnitudes = [] if surveys else data.magnitudes  # forced photometry has its own columns `{survey}_{band}_detected`
    models = catalog.combine_predictions([_prediction(path) for path in args.predictions])
    calibrations = {}
    for path in args.calibrated:
        calibrations |= _calibrated(path, models, args.predictions)
    columns = catalog.build(table, status, bands, magnitudes, models, args.service,
                            distribution.grid(*args.settings["grid"]), surveys,
                            store.columns(args.support) if args.support else None)
    raw = [store.parquet_meta(path) for path in args.raw]
    code = digest([fingerprint("build-catalog"), *(store.attributes(path)["model_code"] for path in args.predictions)])
    meta = common.provenance(args.settings, code) | {"query_sha256": ",".join(m["query_sha256"] for m in raw),
                                                     "flag_bits": flags.flag_names(flags.flag_bits(surveys)),
                                                     **calibrations}
    chain, lost = _ledger(args, raw)
    ends = chain.groupby("sample")["rows_out"].last().sum()
    if ends != len(columns["object_id"]):
        raise SkyloomError(f"the ledger ends with {ends} rows, the catalog has {len(columns['object_id'])}")
    _export(args, table["object_id"], columns, models, meta)
    store.write_csv(args.ledger, chain)
    store.write_parquet(args.all_lost, lost, meta)


def _export(args, ids, columns: dict, models: dict, meta: dict) -> None:
    """The files of the folder; InputError before the first if the disk has no room for them."""
    order = np.argsort(ids, kind="stable")
    files = [(f"photoz_catalog.{one.suffix}", one, exporters.blocks_of(columns), meta) for one in _formats(args, "catalog")]
    for name, block in models.items():
        if "arrays" in block:
            arrays, error = _stored(block["arrays"], args.settings)
            rows = exporters.pz_blocks(ids, arrays, order)
            files += [(f"pz_{name}.{one.suffix}", one, rows, meta | error) for one in _formats(args, "pz")]
    exporters.room(args.folder, [(one, rows) for _, one, rows, _ in files])
    for name, one, rows, about in files:
        exporters.export(one, Path(args.folder) / name, rows, about)


def _formats(args, kind: str) -> list:
    return [one for one in map(exporters.REGISTRY.__getitem__, args.formats) if one.kind == kind]


def _prediction(path) -> dict:
    found = Prediction(path)
    about = {name: found.about[name] for name in ("model", "seed", "data_hash") if name in found.about}
    return {**about, "object_id": found.object_id, "z": found.z, "stored": found.pz}


def _calibrated(path, models: dict, predictions) -> dict:
    """Put a model's calibrated p(z) and conformal half-widths in place; what the metadata say of it."""
    found = Prediction(path)
    about, own = found.about, models[found.model]
    of = [one for one in predictions if store.attributes(one)["model"] == about["model"]]
    if about["predictions_hash"] != read.file_hash(of):
        raise InputError(f"{path} was made from other predictions of {about['model']} than {of[0]}; rerun calibrate")
    if not np.array_equal(found.object_id, own["object_id"]):
        raise InputError(f"{path} holds other objects than the predictions of {about['model']}; rerun calibrate")
    own["conformal"] = own["arrays"], {level: float(half) for level, half in json.loads(about["conformal"]).items()}
    if about["calibration"]:
        own["arrays"] = found.pz
    return {f"calibration_{about['model']}": about["calibration"] or "none"}


def _stored(arrays: dict, settings) -> tuple[dict, dict]:
    """p(z) in the form in which it is kept, and what the file says of the change."""
    if settings["pz"] == "native":
        return arrays, {}
    levels, locs, error = distribution.compressed(arrays, distribution.grid(*settings["grid"]))
    return {"levels": levels, "locs": locs}, {"largest_cdf_error": float(np.nanmax(error, initial=0.0)),
                                              "median_cdf_error": float(np.nanmedian(error)) if len(error) else 0.0}


def _ledger(args, raw):
    """The checked chain of every sample and its lost rows."""
    samples = [{"sample": path.split("/")[-2], "asked": meta["archive_count"], "raw": store.parquet_rows(path),
                "rejected": store.read_parquet(rejected, ["object_id", "row", "cut", "value"]),
                "kept": store.parquet_rows(selected)}
               for meta, path, rejected, selected in zip(raw, args.raw, args.rejected, args.selected, strict=True)]
    return ledger.chained(samples, store.read_parquet(args.lost))
