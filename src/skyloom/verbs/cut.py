"""cut: the quality cuts, with a count and a reason for every row."""

from __future__ import annotations

import sys

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
    """Apply the cuts of `settings` to raw rows; targets also lose what the spec-z sample already has. InputError where nothing is
    left of the sample, or of one of its tables."""
    frame = store.read_parquet(args.raw)
    meta = store.parquet_meta(args.raw)
    frame.insert(0, "row", range(len(frame)))
    magnitudes = [c for c in frame.columns if c.endswith("_cmodel_mag")]
    chosen = cuts.masks(args.settings, magnitudes)
    if args.known:
        chosen.append(("has_specz", ("object_id",), _unknown(args.known, frame, meta)))
    kept, rejected, counts = cuts.apply_cuts(frame, chosen)
    parts = [part for part in meta.get("parts", []) if part in ("training", "evaluation")]
    cuts.refuse_empty(kept, rejected, parts, "cut", args.settings.get("sample", "the sample"))
    store.write_parquet(args.selected, kept, meta)
    store.write_parquet(args.rejected, rejected, meta)
    store.write_csv(args.counts, counts)


def _unknown(path, frame, meta):
    """The cut of what another sample has: by id where both have ids of their own (a row number is none), and by position."""
    known = store.read_parquet(path)
    positions = (known["ra"], known["dec"]) if "ra" in known else ((), ())
    numbered = "row numbers" in (meta.get("ids"), store.parquet_meta(path).get("ids"))
    if numbered and not ("ra" in frame and "ra" in known):
        print("cut: targets have neither ids nor positions, so that none can be known from the sample with redshifts",
              file=sys.stderr)
    return lambda f: cuts.without(f, () if numbered else known["object_id"], *positions)
