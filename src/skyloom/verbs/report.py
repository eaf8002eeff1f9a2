"""report: one page about the run, self-contained."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from skyloom import store
from skyloom.release import figures, page, report, tables
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--cuts", nargs="+", required=True)
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--lost", required=True)
    parser.add_argument("--metrics", required=True)
    parser.add_argument("--leaks", required=True)
    parser.add_argument("--figures", nargs="*", default=[], help="figures of the evaluation")
    parser.add_argument("--tables", nargs="*", default=[], help="tables of the evaluation besides the metrics")
    parser.add_argument("--z-phot", nargs="*", default=[], help="JSON of choose-z-phot, its cuts, the same cuts on testing")
    parser.add_argument("--stamps", default="", help="packed testing split with images")
    parser.add_argument("--histories", nargs="*", default=[])
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write report.html from the run's result files."""
    import pandas

    catalog = store.read_parquet(args.catalog, _shown(store.parquet_names(args.catalog)))
    chain = pandas.read_csv(args.ledger)
    sections = [("From archive to catalog", report.flow_chart(chain) + report.table(chain)), *_cuts(args.cuts)]
    lost = store.read_parquet(args.lost, ["sample", "step", "reason"])
    lost = lost.groupby(["sample", "step", "reason"]).size().rename("rows").reset_index()
    sections.append(("Lost on the way", report.table(lost)))
    with tempfile.TemporaryDirectory() as folder:
        sections += _sample(catalog, Path(folder))
        if args.stamps:
            sections += page.stamps(args.stamps, Path(folder))
        sections += _training(args.histories, Path(folder))
        if args.settings["z_phot"] != "none":
            sections = page.z_phot(args.z_phot, Path(folder)) + sections
    sections += _evaluation(args)
    sections.append(("Leaks between splits (pairs; all should be 0)", report.table(pandas.read_csv(args.leaks))))
    title = f"skyloom: run {args.settings['run']}, {len(catalog)} objects"
    note = f"Made on the {figures.NOTE}." if args.settings["archive"] == "embedded" else ""
    store.write_text(args.out, report.page(title, note, sections))


def _shown(names: list[str]) -> list[str]:
    """The columns of the catalog that the page shows: it has many more."""
    points = [name for name in names if name.startswith("z_") and f"{name}_std" in names]
    points += ["z_phot"] if "z_phot" in names else []
    return ["ra", "dec", "split", "z_spec", *points, *(name for name in names if name.startswith("status_"))]


def _cuts(paths):
    import pandas

    return [(f"Cuts: {Path(path).parent.name}", report.table(pandas.read_csv(path, keep_default_na=False))) for path in paths]


def _sample(catalog, folder):
    """n(z), sky map, states."""
    z = {name: catalog[name].to_numpy() for name in catalog if name.startswith("z_")}
    figures.drawn(figures.redshift_histogram, folder / "nz.png", z)
    text = report.figure(folder / "nz.png", "Redshift distribution of the catalog")
    if np.isfinite(catalog["ra"]).any():
        figures.drawn(figures.sky_map, folder / "sky.png", *(catalog[name].to_numpy() for name in ("ra", "dec", "split")))
        text += report.figure(folder / "sky.png", "Positions by split")
    counts = catalog.groupby(["split", *[c for c in catalog if c.startswith("status_")]]).size().rename("objects")
    return [("The sample", text + report.table(counts.reset_index()))]


def _training(paths, folder):
    import pandas

    histories = {f"{Path(p).parts[-3]} {Path(p).parts[-2]}": pandas.read_csv(p).to_numpy(float) for p in paths}
    figures.drawn(figures.losses, folder / "losses.png", histories)
    return [("Training", report.figure(folder / "losses.png", "Loss over epochs; the lowest dashed point is kept"))]


def _evaluation(args):
    import pandas

    text = report.table(tables.overall(pandas.read_csv(args.metrics)))
    text += "<p>Every seed, bin and subset, with intervals: metrics.csv.</p>"
    for path in map(Path, args.figures):
        model = path.stem.removeprefix("z_")
        text += report.figure(path, report.CAPTIONS.get(model, f"{model}: photo-z against spec-z"))
    sections = [("Evaluation on the testing split", text)]
    for path in map(Path, args.tables):
        table = pandas.read_csv(path)
        if len(table):
            sections.append((report.TITLES[path.stem], report.table(table)))
    return sections
