"""compile-redshifts: all surveys' rows normalised, cut, matched across surveys: one redshift an object."""

from __future__ import annotations

import hashlib

import numpy as np

from skyloom import store
from skyloom.archives.ids import text_id
from skyloom.errors import InputError
from skyloom.sample import compilation, cuts, redshifts
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("tables", nargs="+", help="one Parquet file a survey, of query-survey")
    parser.add_argument("--overrides", default="")
    for name in ("raw", "selected", "rejected", "counts", "conflicts"):
        parser.add_argument(f"--{name}", required=True)


def run(args) -> None:
    """Write the normalised rows, those kept, those rejected with reasons, the counts of each cut, the conflicts."""
    import pandas

    options = args.settings
    parts, metas = [], []
    for path in args.tables:
        meta = store.parquet_meta(path)
        metas.append(meta)
        try:
            parts.append(redshifts.normalise(meta["survey"], store.read_parquet(path), meta["release"]))
        except KeyError as error:
            raise InputError(f"{path} lacks the column {error}; delete it and rerun") from None
    frame = pandas.concat(parts, ignore_index=True)
    overrides = pandas.read_csv(args.overrides, dtype={"survey_id": str}) if args.overrides else None
    frame = _identified(compilation.override(frame, overrides))
    about = sorted((m["survey"], m["release"], m["source"]) for m in metas)
    meta = common.provenance(options) | {
        "archive_count": len(frame), "surveys": metas, "query": str(about),
        "query_sha256": hashlib.sha256(str(about).encode()).hexdigest()}
    store.write_parquet(args.raw, frame, meta)
    frame.insert(0, "row", range(len(frame)))
    surveys = [m["survey"] for m in metas]
    chosen = [("override_drop", ("override",), lambda f: f["override"] != "drop"),
              *redshifts.quality_cuts(surveys, options["dec_min"], options["z_min"], options["z_max"])]
    frame, lost, counts = cuts.apply_cuts(frame, chosen)
    cuts.refuse_empty(frame, lost, [], "compile-redshifts", "the surveys")
    keep, conflicts = compilation.best(frame, options["match_arcsec"])
    kept, doubles, last = cuts.apply_cuts(frame, [("cross_survey", ("survey", "survey_id"), lambda f: keep)])
    store.write_parquet(args.selected, kept.drop(columns=["z", "z_err", "override", "repeat_key"]), meta)
    store.write_parquet(args.rejected, pandas.concat([lost, doubles], ignore_index=True), meta)
    store.write_csv(args.counts, pandas.concat([counts, last], ignore_index=True))
    store.write_csv(args.conflicts, conflicts)


def _identified(frame):
    """The frame with `object_id` (63 bits of the sha256 of survey and id) and GalaxiesML's names for redshift and source.

    InputError if two different sources share an id. A repeated row of a survey shares it: the id is the source's.
    """
    source = frame["survey"] + ":" + frame["survey_id"]
    ids = np.array([text_id(text) for text in source], np.int64)
    if len(set(ids.tolist())) != source.nunique():
        raise InputError("two sources have the same 63-bit id; name one of them in the override table with the action drop")
    return frame.assign(object_id=ids, source_id=source, specz_name=source, specz_redshift=frame["z"],
                        specz_redshift_err=frame["z_err"])
