"""rank-sweep: the points of a grid of options, best first on validation (Mantis Shrimp's Table 3)."""

from __future__ import annotations

import numpy as np

from skyloom import store
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

    known = store.columns(args.data, ["object_id", "subset", "specz_redshift"])
    truth = {int(i): z for i, half, z in zip(*known.values(), strict=True) if half == "select"}
    rows = []
    for path in args.predictions:
        meta = store.attributes(path)
        with store.reading(path) as handle:
            ids, z, pz, edges = (handle[name][:] for name in ("object_id", "z", "pz", "edges"))
        at = np.array([k for k, i in enumerate(ids) if int(i) in truth], int)
        zs = np.array([truth[int(i)] for i in ids[at]])
        found = {row[:2]: row[2] for row in metrics.point_metrics(z[at], zs, 0)}
        rows.append({"model": meta["model"], "seed": int(meta["seed"]), **args.settings["points"][meta["model"]],
                     **{f"{name} {convention}": found[name, convention] for name, convention in comparison.METRICS},
                     "cde_loss histogram": metrics.mean_of(histogram.cde_terms(pz[at], edges, zs), 0)[0], "n": len(at)})
    frame = pandas.DataFrame(rows)
    store.write_csv(args.out, frame.sort_values(" ".join(comparison.METRICS[0]), kind="stable"))
