"""build-catalog: predictions and columns into one catalog, with the ledger of everything that is not in it."""

from __future__ import annotations

import fnmatch
import json

from skyloom import store, textfiles
from skyloom.dataset import predictions
from skyloom.dataset.table import Table
from skyloom.errors import InputError, SkyloomError
from skyloom.provenance import ledger
from skyloom.provenance.canonical import digest
from skyloom.provenance.fingerprint import fingerprint
from skyloom.pz import distribution
from skyloom.release import catalog, flags, publication, zphot
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
    parser.add_argument("--z-phot", default="", help="file of the verb choose-z-phot")
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
    calibrations = dict(predictions.recalibrated(path, models, args.predictions) for path in args.calibrated)
    choice = _choice(args, models)
    stands = choice and choice["model"]
    columns = catalog.build(table, status, bands, magnitudes, models, args.service,
                            distribution.grid(*args.settings["grid"]), surveys,
                            store.columns(args.support) if args.support else None, stands, _carried(args.settings, table))
    raw = [store.parquet_meta(path) for path in args.raw]
    code = digest([fingerprint("build-catalog"), *(store.attributes(path)["model_code"] for path in args.predictions)])
    meta = common.provenance(args.settings, code) | {"query_sha256": ",".join(m["query_sha256"] for m in raw),
                                                     "flag_bits": flags.flag_names(flags.flag_bits(surveys)),
                                                     **{f"calibration_{name}": one for name, one in calibrations.items()},
                                                     **_found(table, raw), **zphot.metadata(choice)}
    chain, lost = _ledger(args, raw)
    ends = chain.groupby("sample")["rows_out"].last().sum()
    if ends != len(columns["object_id"]):
        raise SkyloomError(f"the ledger ends with {ends} rows, the catalog has {len(columns['object_id'])}")
    named = {name: block["arrays"] for name, block in models.items() if "arrays" in block}
    if stands:
        named["phot"] = named[stands]
    publication.publish(args.folder, args.formats, table["object_id"], columns, named, meta, args.settings)
    store.write_csv(args.ledger, chain)
    store.write_parquet(args.all_lost, lost, meta)


def _prediction(path) -> dict:
    found = predictions.Prediction(path)
    about = {name: found.about[name] for name in ("model", "seed", "data_hash") if name in found.about}
    return {**about, "object_id": found.object_id, "z": found.z, "stored": found.pz, **store.arrays(path, ["std"])}


def _choice(args, models: dict) -> dict | None:
    """Which model stands for z_phot, with an empty name where none does; None if the catalog isn't to tell."""
    if args.settings["z_phot"] == "none":
        return None
    if not args.z_phot:
        return {"model": "", "why": zphot.NOBODY}
    found = json.loads(textfiles.read(args.z_phot))
    if "arrays" not in models.get(found["model"], {}):
        raise InputError(f"{args.z_phot} names {found['model']}, which gives no p(z) here; rerun choose-z-phot")
    return found


def _found(table, raw) -> dict:
    """What the metadata say of sources that were found in scenes: by which detector, and the names of its flags' bits."""
    if "detect_flags" not in table:
        return {}
    told = {name: raw[0][name] for name in ("detector", "detector_weights")}
    return told | {"detect_flag_bits": flags.flag_names(flags.DETECTED)}


def _carried(settings: dict, table) -> list[str]:
    """Columns of the dataset that stay in the catalog, in the table's order: those that the patterns `columns` name."""
    return [name for name in table if any(fnmatch.fnmatchcase(name, one) for one in settings.get("columns", ()))]


def _ledger(args, raw):
    """The checked chain of every sample and its lost rows."""
    samples = [{"sample": path.split("/")[-2], "asked": meta["archive_count"], "raw": store.parquet_rows(path),
                "rejected": store.read_parquet(rejected, ["object_id", "row", "cut", "value"]),
                "kept": store.parquet_rows(selected)}
               for meta, path, rejected, selected in zip(raw, args.raw, args.rejected, args.selected, strict=True)]
    return ledger.chained(samples, store.read_parquet(args.lost))
