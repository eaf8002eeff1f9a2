"""summarize-attribution: mean Shapley value and MM-SHAP of every band in bins of redshift (Mantis Shrimp's Fig. 8)."""

from __future__ import annotations

import numpy as np

from skyloom import store
from skyloom.release import figures
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("tables", nargs="+", help="tables of attribute")
    parser.add_argument("--out", required=True)
    parser.add_argument("--figure", required=True)


def run(args) -> None:
    """Write attribution.csv (model, survey, band, z_min, z_max, n, means with standard errors) and its figure."""
    import pandas

    frames = [store.read_parquet(path).assign(model=store.parquet_meta(path)["model"]) for path in args.tables]
    width = args.settings["bin_width"]
    together = pandas.concat(frames, ignore_index=True)
    together["bin"] = np.floor(together["z_spec"] / width).astype(int)
    rows = []
    for (model, survey, band, k), part in together.groupby(["model", "survey", "band", "bin"], sort=False):
        row = {"model": model, "survey": survey, "band": band, "z_min": round(k * width, 6), "z_max": round((k + 1) * width, 6),
               "n": len(part)}
        for name in ("shapley", "mm_shap"):
            row |= {name: part[name].mean(), f"{name}_err": part[name].std(ddof=1) / np.sqrt(len(part))}
        rows.append(row)
    frame = pandas.DataFrame(rows).sort_values(["model", "z_min"], kind="stable")
    store.write_csv(args.out, frame)
    figures.drawn(figures.attribution, args.figure, frame)
