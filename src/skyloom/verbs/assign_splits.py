"""assign-splits: which object trains, validates, tests; who is lost on the way; what could leak."""

from __future__ import annotations

import sys

import numpy as np

from skyloom import store
from skyloom.cutouts import stamps
from skyloom.dataset.table import align
from skyloom.errors import InputError
from skyloom.provenance import ledger
from skyloom.sample import assignment, splits
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

    settings = args.settings
    frame = pandas.concat([store.read_parquet(path) for path in args.members], ignore_index=True)
    usable, detail, sides = _stamps(args.cutouts, frame, settings) if args.cutouts else (np.ones(len(frame), bool), None, None)
    lost = [ledger.lost(frame[~usable], "cutouts", "no_usable_band", None if detail is None else detail[~usable])]
    found = assignment.assign(frame[usable], settings, None if sides is None else sides[usable])
    lost.append(ledger.lost(found.dropped, "assign_splits", found.dropped["reason"]))
    _refuse_empty(found.kept, sorted(set(frame["sample"])), settings)
    if found.told:
        print(f"assign-splits: {found.told}", file=sys.stderr)
    columns = ["sample", "object_id", "row", "split", "subset"] + [c for c in ("ra", "dec") if c in frame]
    meta = common.provenance(settings) | {"split_method": found.method}
    store.write_parquet(args.splits, found.kept[columns], meta)
    store.write_parquet(args.lost, pandas.concat(lost, ignore_index=True), meta)
    store.write_csv(args.leaks, pandas.DataFrame(found.leaks, columns=assignment.LEAKS))


def _stamps(paths, frame, settings) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Objects with at least one band of status ok, what their bands say, the side in arcsec of each one's largest stamp, where a
    file tells its pixels' scale object by object and `split.overlap_arcsec` doesn't decide."""
    good, causes = np.zeros(len(frame), bool), [[] for _ in range(len(frame))]
    sides, told = np.zeros(len(frame)), False
    for path in paths:
        with store.reading(path) as handle:
            at = align(frame["object_id"], store.column(handle, "object_id"))
            good[at] |= (handle["status"][:] == stamps.STATUS.index("ok")).any(axis=1)
            for k, cause in zip(at, store.column(handle, "cause"), strict=True):
                causes[k] += [cause] if cause else []
            if "pixel_scale" in handle and settings.get("overlap_arcsec") is None:
                told, scale = True, np.nan_to_num(handle["pixel_scale"][:]).reshape(len(at), -1).max(axis=1, initial=0.0)
                sides[at] = np.maximum(sides[at], scale * handle["image"].shape[-1])
    sides[sides == 0] = settings["stamp_arcsec"]
    return good, np.array(["; ".join(cause) for cause in causes], object), sides if told else None


def _refuse_empty(frame, samples, settings) -> None:
    """InputError for a sample that is gone, and for a split that should have objects."""
    gone = [sample for sample in samples if not (frame["sample"] == sample).any()]
    if gone:
        raise InputError(f"assign-splits left no object of {gone[0]}: none has a usable cutout or stands apart from the others; "
                         "look at the causes in cutouts/, and mend the images or `split.overlap_arcsec`")
    known = int(frame["sample"].isin(assignment.KNOWN).sum())
    shares = [*settings["fractions"][:2], max(settings["fractions"][2], settings.get("evaluation", False))]
    for name, share in zip(splits.NAMES, shares, strict=True):
        if share and known and not (frame["split"] == name).any():
            raise InputError(f"assign-splits left no object for {name} of {known} with redshifts; give more objects, or change "
                             "`split`")
