"""weigh: importance weights of the training objects toward another split's magnitudes and colours."""

from __future__ import annotations

import sys

from skyloom import store
from skyloom.dataset import read
from skyloom.errors import InputError
from skyloom.pz import support
from skyloom.sample import bands, weights
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--training", required=True, help="packed training split")
    parser.add_argument("--like", required=True, help="packed split whose distribution is wanted")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write object_id and `weight` of the training objects; tells how many objects they are worth."""
    names = [name for name in bands.by_wavelength(read.magnitude_columns(args.training)) if name]
    if not names:
        raise InputError(f"{args.training} holds no magnitudes to weigh its objects by; drop `reweight`")
    training, like = (store.columns(path, ["object_id", *names]) for path in (args.training, args.like))
    x, others = (support.features(bands.stacked(table, names)) for table in (training, like))
    if not len(others):
        raise InputError(f"{args.like} holds no objects to be like; drop `reweight`")
    found = weights.toward(x, others)
    store.write_columns(args.out, {"object_id": training["object_id"], "weight": found}, common.provenance(args.settings))
    print(f"weigh: {len(x)} objects worth {weights.effective(found):.0f}", file=sys.stderr)
