"""evaluate: metrics of every model and seed on the testing split, overall and in redshift bins, with figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skyloom import store
from skyloom.pz import metrics
from skyloom.release import figures
from skyloom.verbs import common

COLUMNS = ("model", "seed", "split", "subset", "z_min", "z_max", "metric", "convention", "value", "lo68", "hi68", "n")


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--predictions", nargs="+", required=True)
    parser.add_argument("--metrics", required=True)
    parser.add_argument("--figures", required=True, help="folder")


def run(args) -> None:
    """Write metrics.csv and one figure of z_phot against z_spec and one of metrics in bins (the paper's Fig. 6)."""
    import pandas

    catalog = store.read_parquet(args.catalog)
    tested = catalog[(catalog["split"] == "testing") & np.isfinite(catalog["z_spec"])].set_index("object_id")
    rows, points = [], {}
    for model, seeds in sorted(_by_model(args.predictions).items()):
        z = {seed: _aligned(block, tested.index) for seed, block in sorted(seeds.items())}
        per_seed = {seed: _rows(values, tested["z_spec"], args.settings) for seed, values in z.items()}
        points[model] = np.mean(list(z.values()), axis=0)
        for seed, block in [*per_seed.items(), ("all", _mean(list(per_seed.values()))),
                            ("ensemble", _rows(points[model], tested["z_spec"], args.settings))]:
            rows += [(model, seed, "testing", "", *row) for row in block]
    frame = pandas.DataFrame(rows, columns=COLUMNS)
    store.write_csv(args.metrics, frame)
    folder = Path(args.figures)
    for model, zp in points.items():
        with store.replacing(folder / f"z_{model}.png") as path:
            figures.z_against_z(zp, tested["z_spec"].to_numpy(), model, path)
    with store.replacing(folder / "binned.png") as path:
        figures.binned_metrics(frame, path)


def _by_model(paths) -> dict:
    out: dict = {}
    for path in paths:
        meta = store.attributes(path)
        out.setdefault(meta["model"], {})[int(meta["seed"])] = store.columns(path, ["object_id", "z"])
    return out


def _aligned(block, index) -> np.ndarray:
    order = {int(i): k for k, i in enumerate(block["object_id"])}
    return block["z"][[order[int(i)] for i in index]]


def _rows(zp, zs, settings) -> list[tuple]:
    """Overall rows (empty bin edges) and binned rows; conventions carry the point estimate."""
    overall = [("", "", *row) for row in metrics.point_metrics(zp, zs, settings["bootstrap"], settings["seed"])]
    inside = metrics.binned(zp, zs, settings["bin_width"], settings["z_max"], min(settings["bootstrap"], 200),
                            settings["seed"])
    return [(low, high, name, f"{convention}|mean", *rest) for low, high, name, convention, *rest in overall + inside]


def _mean(blocks: list[list[tuple]]) -> list[tuple]:
    """Mean value and mean interval over seeds, row by row."""
    out = []
    for rows in zip(*blocks, strict=True):
        values = np.mean([row[4:7] for row in rows], axis=0)
        out.append((*rows[0][:4], *values, rows[0][7]))
    return out
