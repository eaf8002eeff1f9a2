"""cut: the quality cuts, with a count and a reason for every row."""

from __future__ import annotations

from skyloom import store
from skyloom.sample import cuts
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("raw")
    parser.add_argument("--known", help="selected.parquet of the sample with redshifts, whose objects are dropped here")
    for name in ("selected", "rejected", "counts"):
        parser.add_argument(f"--{name}", required=True)


def run(args) -> None:
    """Apply the cuts of `settings` to raw rows; targets also lose what the spec-z sample already has."""
    frame = store.read_parquet(args.raw)
    meta = store.parquet_meta(args.raw)
    frame.insert(0, "row", range(len(frame)))
    magnitudes = [c for c in frame.columns if c.endswith("_cmodel_mag")]
    chosen = cuts.masks(args.settings, magnitudes)
    if args.known:
        known = store.read_parquet(args.known)
        positions = (known["ra"], known["dec"]) if "ra" in known else ((), ())
        chosen.append(("has_specz", ("object_id",),
                       lambda f: cuts.without(f, known["object_id"], *positions)))
    kept, rejected, counts = cuts.apply_cuts(frame, chosen)
    store.write_parquet(args.selected, kept, meta)
    store.write_parquet(args.rejected, rejected, meta)
    store.write_csv(args.counts, counts)
