"""support: how unlike training each object is, for every model that reads magnitudes."""

from __future__ import annotations

from skyloom import store
from skyloom.dataset.table import Table
from skyloom.pz import support
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--data", nargs="+", required=True, help="the packed files, in the order of predict")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write object_id, `p_value` (NaN without magnitudes), `pattern_seen` and `in_range` (every magnitude inside training's) of
    all rows; the held-out objects are those of subset `calibrate`."""
    table = Table(args.data)
    known, magnitudes = table.columns(["object_id", "split", "subset"]), table.stacked()
    found = support.judged(magnitudes, known["split"] == "training", known["subset"] == "calibrate")
    store.write_columns(args.out, {"object_id": known["object_id"], **found}, common.provenance(args.settings))
