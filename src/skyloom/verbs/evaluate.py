"""evaluate: metrics of every model and seed on the testing split, overall, in redshift bins and subsets, with figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skyloom import store
from skyloom.dataset.predictions import Ensemble, Prediction, by_model
from skyloom.dataset.table import Table, align
from skyloom.provenance import finals
from skyloom.pz import evaluation
from skyloom.release import figures, tables, zphot
from skyloom.sample import subsets
from skyloom.verbs import common

COLUMNS = ("model", "seed", "split", "subset", "z_min", "z_max", "metric", "convention", "value", "lo68", "hi68", "n")
STACKS = ("model", "bin", "z_phot_min", "z_phot_max", "n", "mean_stack", "mean_true", "difference", "lo68", "hi68", "resamples")
PAIRED = ("of", "model_a", "model_b", "metric", "convention", "difference", "lo68", "hi68", "lo95", "hi95", "n", "seeds",
          "resamples")


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--data", required=True, help="packed testing file: columns for the subsets")
    parser.add_argument("--predictions", nargs="+", required=True)
    parser.add_argument("--calibrated", nargs="*", default=[], help="files of the verb calibrate")
    parser.add_argument("--z-phot-cuts", default="", help="cuts of the verb choose-z-phot")
    parser.add_argument("--final", default="", help="CSV that counts the evaluations on files set aside")
    parser.add_argument("--folder", required=True, help="where metrics.csv, the tables and the figures go")


def run(args) -> None:
    """Write metrics.csv, ablations.csv, subsets.csv, paired.csv, nz.csv, where there is a z_phot what its cuts leave of testing,
    and the figures: z_phot against z_spec of every model (with 90 % regions where there is p(z)), metrics in redshift bins."""
    import pandas

    settings, folder = args.settings, Path(args.folder)
    own = zphot.NAMES if args.z_phot_cuts else ()
    catalog = store.read_parquet(args.catalog, ["object_id", "split", "z_spec", *own])
    tested = catalog[(catalog["split"] == "testing") & np.isfinite(catalog["z_spec"])]
    ids, zs = tested["object_id"].to_numpy(), tested["z_spec"].to_numpy()
    parts = _subsets(args.data, ids, settings)
    models, reasons = by_model([Prediction(path) for path in (*args.predictions, *args.calibrated)])
    rows = [(model, "all", "testing", "", "", "", "not_applicable", why, *[np.nan] * 3, 0, 0) for model, why in reasons.items()]
    stored = [one.pz for members in models.values() for one in members if one.pz]
    edges, kept = evaluation.one_grid(stored, settings["grid"]), {}
    for model, members in sorted(models.items()):
        found, kept[model] = evaluation.scored(Ensemble(members), ids, zs, edges, parts, settings)
        rows += [(model, seed, "testing", *row) for seed, block in found for row in block]
    frame = pandas.DataFrame(rows, columns=(*COLUMNS, "resamples")).drop(columns="resamples")  # they follow from n
    store.write_csv(folder / "metrics.csv", frame)
    store.write_csv(folder / "ablations.csv", tables.ablations(frame, settings["surveys"]))
    store.write_csv(folder / "subsets.csv", tables.subsets(frame))
    numbers = settings["bootstrap"], settings["seed"]
    store.write_csv(folder / "paired.csv", pandas.DataFrame(evaluation.paired(kept, zs, *numbers), columns=PAIRED))
    stacks = evaluation.stacks(kept, zs, settings["tomography"], *numbers)
    store.write_csv(folder / "nz.csv", pandas.DataFrame(stacks, columns=STACKS))
    if own:
        rows = pandas.read_csv(args.z_phot_cuts).to_dict("records")
        rows = zphot.cuts({name: tested[name].to_numpy() for name in own}, zs, rows)
        store.write_csv(folder / "z_phot_testing.csv", pandas.DataFrame(rows).assign(subset="testing")[["subset", *rows[0]]])
    _draw(kept, zs, frame, folder)
    if args.final:
        finals.count(args.final, settings)


def _draw(kept: dict, zs, frame, folder) -> None:
    for model in frame.loc[frame["metric"] == "not_applicable", "model"]:
        figures.drawn(figures.z_against_z, folder / f"z_{model}.png", np.zeros(0), np.zeros(0), model)
    for model, blocks in kept.items():
        block = blocks["ensemble"]
        if blocks["calibrated"]:
            continue
        if "low" in block:
            figures.drawn(figures.regions, folder / f"z_{model}.png", block["mean"], zs, block["low"], block["high"], model)
        else:
            figures.drawn(figures.z_against_z, folder / f"z_{model}.png", block["mean"], zs, model)
    values = {model: blocks["ensemble"]["pit"] for model, blocks in kept.items() if "pit" in blocks["ensemble"]}
    figures.drawn(figures.pit, folder / "pit.png", values)
    figures.drawn(figures.binned_metrics, folder / "binned.png", frame[frame["subset"] == ""])


def _subsets(path, ids, settings) -> dict[str, np.ndarray]:
    """{name: (n,) bool} of the named subsets and bins for the objects of `ids`."""
    expressions = {**settings["subsets"], **subsets.binned(settings["bins"])}
    if not expressions:
        return {}
    columns = Table([path]).columns()
    return subsets.masks(expressions, columns, align(columns["object_id"], ids), settings["subsets"])
