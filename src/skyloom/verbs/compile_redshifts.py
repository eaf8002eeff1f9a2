"""compile-redshifts: all surveys' rows normalised, cut, matched across surveys: one redshift an object."""

from __future__ import annotations

import hashlib

import numpy as np

from skyloom import store
from skyloom.archives.ids import text_id
from skyloom.errors import InputError
from skyloom.sample import compilation, cuts, redshifts, regions
from skyloom.surveys.spectro import REGISTRY
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
    metas = [store.parquet_meta(path) for path in args.tables]
    surveys = [REGISTRY[meta["survey"]] for meta in metas]
    parts = [_normalised(survey, path, meta["release"]) for survey, path, meta in zip(surveys, args.tables, metas, strict=True)]
    frame = pandas.concat(parts, ignore_index=True)
    frame = _identified(compilation.override(frame, _overrides(args.overrides)))
    about = sorted((m["survey"], m["release"], m["source"]) for m in metas)
    meta = common.provenance(options) | {
        "archive_count": len(frame), "surveys": metas, "query": str(about),
        "query_sha256": hashlib.sha256(str(about).encode()).hexdigest()}
    raw = frame.copy()
    frame.insert(0, "row", range(len(frame)))
    chosen = [*redshifts.first_cuts(regions.of(options.get("region"))),
              ("override_drop", ("override",), lambda f: f["override"] != "drop"),
              *redshifts.quality_cuts(surveys, options["dec_min"], options["z_min"], options["z_max"])]
    frame, lost, counts = cuts.apply_cuts(frame, chosen)
    keep, conflicts = compilation.best(frame, options["match_arcsec"], surveys)
    kept, doubles, last = cuts.apply_cuts(frame, [("cross_survey", ("survey", "survey_id"), lambda f: keep)])
    rejected = pandas.concat([lost, doubles], ignore_index=True)
    cuts.refuse_empty(kept, rejected, [], "compile-redshifts", f"the surveys {', '.join(survey.name for survey in surveys)}")
    store.write_parquet(args.raw, raw, meta)
    store.write_parquet(args.selected, kept.drop(columns=["z", "z_err", "override", "repeat_key"]), meta)
    store.write_parquet(args.rejected, rejected, meta)
    store.write_csv(args.counts, pandas.concat([counts, last], ignore_index=True))
    store.write_csv(args.conflicts, conflicts)


def _normalised(survey, path, release):
    """A survey's table in common columns; InputError for one that isn't as its survey publishes it."""
    try:
        return redshifts.normalise(survey, store.read_parquet(path), release)
    except KeyError as error:
        raise InputError(f"{path} lacks the column {error}; delete it and rerun") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} holds text where {survey.name} publishes numbers ({str(error)[:100]}); look at its source, "
                         "delete it and rerun") from None


def _overrides(path):
    import pandas

    try:
        return pandas.read_csv(path, dtype={"survey_id": str}) if path else None
    except (ValueError, OSError) as error:
        raise InputError(f"the override table {path} can't be read ({' '.join(str(error).split())[:100]}); mend it") from None


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
