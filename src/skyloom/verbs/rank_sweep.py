"""rank-sweep: the points of a grid of options, best first on validation (Mantis Shrimp's Table 3)."""

from __future__ import annotations

import numpy as np

from skyloom import store
from skyloom.dataset.predictions import Prediction
from skyloom.dataset.table import Table, align
from skyloom.pz import comparison, histogram, metrics
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--predictions", nargs="+", required=True)
    parser.add_argument("--data", required=True, help="packed validation split")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write model, seed, the options that vary, NMAD, bias, outliers and CDE loss on the `select` half; sorted by NMAD."""
    import pandas

    known = Table([args.data]).columns(["object_id", "subset", "specz_redshift"])
    rows = []
    for one in (Prediction(path) for path in args.predictions):
        where = align(known["object_id"], one.object_id)
        at = np.flatnonzero((where >= 0) & (known["subset"][where] == "select"))
        z, zs, meta = one.z[at], known["specz_redshift"][where[at]], one.about
        pz, edges = one.pz.read(at)["pz"], one.pz.shared["edges"]
        found = {row[:2]: row[2] for row in metrics.point_metrics(z, zs, 0)}
        rows.append({"model": meta["model"], "seed": int(meta["seed"]), **args.settings["points"][meta["model"]],
                     **{f"{name} {convention}": found[name, convention] for name, convention in comparison.METRICS},
                     "cde_loss histogram": metrics.mean_of(histogram.cde_terms(pz, edges, zs), 0)[0], "n": len(at)})
    frame = pandas.DataFrame(rows)
    store.write_csv(args.out, frame.sort_values(" ".join(comparison.METRICS[0]), kind="stable"))
