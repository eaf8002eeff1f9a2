"""support: how unlike training each object is, for every model that reads magnitudes."""

from __future__ import annotations

import numpy as np

from skyloom import store
from skyloom.dataset import read
from skyloom.pz import support
from skyloom.sample import bands
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--data", nargs="+", required=True, help="the packed files, in the order of predict")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write object_id, `p_value` (NaN without magnitudes), `pattern_seen` and `in_range` (every magnitude inside training's) of
    all rows; the held-out objects are those of subset `calibrate`."""
    names = [name for name in bands.by_wavelength(read.magnitude_columns(args.data[0])) if name]
    tables = [store.columns(path, ["object_id", "split", "subset", *names]) for path in args.data]
    table = {name: np.concatenate([one[name] for one in tables]) for name in tables[0]}
    n = len(table["object_id"])
    out = {"object_id": table["object_id"], "p_value": np.full(n, np.nan), "pattern_seen": np.ones(n, bool),
           "in_range": np.ones(n, bool)}
    if names:
        magnitudes = bands.stacked(table, names)
        x = support.features(magnitudes)
        training = table["split"] == "training"
        out["p_value"], out["pattern_seen"] = support.p_values(x[training], x[table["subset"] == "calibrate"], x)
        if training.any():
            with np.errstate(invalid="ignore"):
                low, high = np.nanmin(magnitudes[training], axis=0), np.nanmax(magnitudes[training], axis=0)
                out["in_range"] = ~((magnitudes < low) | (magnitudes > high)).any(axis=1)
    store.write_columns(args.out, out, common.provenance(args.settings))
