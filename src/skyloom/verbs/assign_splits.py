"""assign-splits: which object trains, validates, tests; who is lost on the way; what could leak."""

from __future__ import annotations

import numpy as np

from skyloom import store
from skyloom.cutouts import stamps
from skyloom.errors import InputError
from skyloom.provenance.ledger import LOST_COLUMNS
from skyloom.sample import splits
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--members", nargs="+", required=True)
    parser.add_argument("--cutouts", nargs="*", default=[], help="shard files of every survey; none for tables")
    for name in ("splits", "lost", "leaks"):
        parser.add_argument(f"--{name}", required=True)


def run(args) -> None:
    """Write the split of every object kept, the objects lost with their reason, and the leak report.

    InputError where a sample or a split is left without objects.
    """
    import pandas

    frame = pandas.concat([store.read_parquet(path) for path in args.members], ignore_index=True)
    samples = sorted(set(frame["sample"]))
    usable, detail = _usable(args.cutouts, frame) if args.cutouts else (np.ones(len(frame), bool), None)
    lost = [_lost(frame[~usable], "cutouts", "no_usable_band", None if detail is None else detail[~usable])]
    frame = frame[usable].reset_index(drop=True)
    frame, overlap, leaks = _split(frame, args.settings)
    _refuse_empty(frame, samples, args.settings)
    lost.append(_lost(overlap, "assign_splits", "split_overlap", None))
    columns = ["sample", "object_id", "row", "split", "subset"] + [c for c in ("ra", "dec") if c in frame]
    meta = common.provenance(args.settings)
    store.write_parquet(args.splits, frame[columns], meta)
    store.write_parquet(args.lost, pandas.concat(lost, ignore_index=True), meta)
    store.write_csv(args.leaks, pandas.DataFrame(leaks, columns=["check", "pairs"]))


def _usable(paths, frame):
    """Objects with at least one band of status ok, and what their bands say."""
    place = {int(i): k for k, i in enumerate(frame["object_id"])}
    good, causes = np.zeros(len(frame), bool), [[] for _ in range(len(frame))]
    for path in paths:
        with store.reading(path) as handle:
            at = [place[int(i)] for i in store.column(handle, "object_id")]
            good[at] |= (handle["status"][:] == stamps.STATUS.index("ok")).any(axis=1)
            for k, cause in zip(at, store.column(handle, "cause"), strict=True):
                causes[k] += [cause] if cause else []
    return good, np.array(["; ".join(cause) for cause in causes], object)


def _refuse_empty(frame, samples, settings) -> None:
    """InputError for a sample that is gone, and for a split that should have objects."""
    gone = [sample for sample in samples if not (frame["sample"] == sample).any()]
    if gone:
        raise InputError(f"assign-splits left no object of {gone[0]}: none has a usable cutout or stands apart from the others; "
                         "look at the causes in cutouts/, and mend the images or `split.overlap_arcsec`")
    shares = [*settings["fractions"][:2], max(settings["fractions"][2], settings.get("evaluation", False))]
    for name, share in zip(splits.NAMES, shares, strict=True):
        if share and "specz" in samples and not (frame["split"] == name).any():
            raise InputError(f"assign-splits left no object for {name} of {int((frame['sample'] == 'specz').sum())} with "
                             "redshifts; give more objects, or change `split`")


def _lost(frame, step, reason, detail):
    import pandas

    out = pandas.DataFrame({"object_id": frame["object_id"], "row": frame["row"], "sample": frame["sample"],
                            "step": step, "reason": reason, "detail": "" if detail is None else detail})
    return out[list(LOST_COLUMNS)]


def _split(frame, settings):
    """(kept rows with split and subset, rows dropped as overlaps, leak report)."""
    labelled = (frame["sample"] == "specz").to_numpy()
    given = frame["part"].to_numpy() if "part" in frame else np.full(len(frame), "")
    split = np.where(labelled, "", "target").astype(object)
    free = labelled & (given != "evaluation")
    split[labelled & (given == "evaluation")] = "testing"
    fractions = settings["fractions"]
    if settings.get("evaluation") or (given == "evaluation").any():
        # the testing objects are given: the others share the rest in the same proportion
        known = sum(fractions[:2])
        fractions = [fractions[0] / known, fractions[1] / known, 0.0]
    part = frame[free]
    has_sky = "ra" in frame and np.isfinite(part["ra"]).all()
    method = settings["method"] if has_sky or settings["method"] != "sky_block" else "hash"
    sky = (part["ra"], part["dec"]) if has_sky else (None, None)
    if len(part):
        split[free] = splits.assign_splits(part["object_id"], *sky, method, fractions, settings["seed"],
                                           settings["order"], settings["group_arcsec"])
    frame = frame.assign(split=split)
    frame["subset"] = np.where(frame["split"] == "validation", splits.halves(frame["object_id"], settings["seed"]), "")
    stamp = settings["stamp_arcsec"]
    overlap = np.zeros(len(frame), bool)
    if has_sky and stamp:
        overlap[labelled] = splits.overlapping(frame["split"][labelled], frame["ra"][labelled], frame["dec"][labelled], stamp)
    kept = frame[~overlap].reset_index(drop=True)
    known = kept[kept["sample"] == "specz"]
    sky = (known["ra"], known["dec"]) if has_sky else (None, None)
    report = splits.leaks(known["split"], known["object_id"], *sky, stamp, settings["group_arcsec"])
    return kept, frame[overlap], report
