"""weigh: importance weights of the training objects toward another split's magnitudes and colours."""

from __future__ import annotations

import sys

from skyloom import store
from skyloom.dataset.table import Table
from skyloom.errors import InputError
from skyloom.pz import support
from skyloom.sample import weights
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--training", required=True, help="packed training split")
    parser.add_argument("--like", required=True, help="packed split whose distribution is wanted")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write object_id and `weight` of the training objects; tells how many objects they are worth."""
    training, like = (Table([path]) for path in (args.training, args.like))
    if not training.magnitudes:
        raise InputError(f"{args.training} holds no magnitudes to weigh its objects by; drop `reweight`")
    x, others = (support.features(table.stacked(training.magnitudes)) for table in (training, like))
    if not len(others):
        raise InputError(f"{args.like} holds no objects to be like; drop `reweight`")
    found, ids = weights.toward(x, others), training.columns(["object_id"])["object_id"]
    store.write_columns(args.out, {"object_id": ids, "weight": found}, common.provenance(args.settings))
    print(f"weigh: {len(x)} objects worth {weights.effective(found):.0f}", file=sys.stderr)
