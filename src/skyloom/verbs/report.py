"""report: one page about the run, self-contained."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from skyloom import store
from skyloom.release import figures, report
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
    parser.add_argument("--stamps", default="", help="packed testing split with images")
    parser.add_argument("--histories", nargs="+", required=True)
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write report.html from the run's result files."""
    import pandas

    catalog = store.read_parquet(args.catalog)
    chain = pandas.read_csv(args.ledger)
    sections = [("From archive to catalog", report.flow_chart(chain) + report.table(chain)), *_cuts(args.cuts)]
    lost = store.read_parquet(args.lost, ["sample", "step", "reason"])
    lost = lost.groupby(["sample", "step", "reason"]).size().rename("rows").reset_index()
    sections.append(("Lost on the way", report.table(lost)))
    with tempfile.TemporaryDirectory() as folder:
        sections += _sample(catalog, Path(folder))
        if args.stamps:
            sections += _stamps(args.stamps, Path(folder))
        sections += _training(args.histories, Path(folder))
    sections += _evaluation(args)
    sections.append(("Leaks between splits (pairs; all should be 0)", report.table(pandas.read_csv(args.leaks))))
    title = f"skyloom: run {args.settings['run']}, {len(catalog)} objects"
    note = f"Made on the {figures.NOTE}." if args.settings["archive"] == "embedded" else ""
    store.write_text(args.out, report.page(title, note, sections))


def _cuts(paths):
    import pandas

    return [(f"Cuts: {Path(path).parent.name}", report.table(pandas.read_csv(path, keep_default_na=False))) for path in paths]


def _sample(catalog, folder):
    """n(z), sky map, states."""
    z = {"z_spec": catalog["z_spec"].to_numpy()}
    z |= {name: catalog[name].to_numpy() for name in catalog if name.startswith("z_") and f"{name}_std" in catalog}
    figures.drawn(figures.redshift_histogram, folder / "nz.png", z)
    text = report.figure(folder / "nz.png", "Redshift distribution of the catalog")
    if np.isfinite(catalog["ra"]).any():
        figures.drawn(figures.sky_map, folder / "sky.png", *(catalog[name].to_numpy() for name in ("ra", "dec", "split")))
        text += report.figure(folder / "sky.png", "Positions by split")
    counts = catalog.groupby(["split", *[c for c in catalog if c.startswith("status_")]]).size().rename("objects")
    return [("The sample", text + report.table(counts.reset_index()))]


def _stamps(path, folder):
    """Example stamps over redshift, and the morphology of one of them."""
    with store.reading(path) as handle:
        z, bands = handle["specz_redshift"][:], handle.attrs["bands"].split(",")
        b = bands.index("i") if "i" in bands else 0
        good = np.flatnonzero((handle["status"][:, b] == 0) & np.isfinite(z))
        if not len(good):
            return []
        order = good[np.argsort(z[good])]
        chosen = order[np.unique(np.linspace(0, len(order) - 1, 7).astype(int))]
        images = [handle["image"][int(k), b] for k in chosen]
        figures.drawn(figures.stamps_over_redshift, folder / "stamps.png", images, z[chosen])
        text = report.figure(folder / "stamps.png", f"{bands[b]} stamps over redshift, linear above, logarithmic below")
        text += _overlay(handle, bands[b], b, good, folder)
    return [("Stamps", text)]


def _overlay(handle, band, b, good, folder) -> str:
    """The largest well-measured galaxy with its ellipse."""
    names = ("isophotal_area", "ellipticity", "sersic_index", "major_axis", "minor_axis", "pos_angle", "half_light_radius")
    table = {name: handle[f"{band}_{name}"][:] for name in names}
    whole = np.all([np.isfinite(table[name]) for name in names], axis=0)
    whole &= handle[f"{band}_morphology_flags"][:] == 0
    use = np.intersect1d(good, np.flatnonzero(whole))
    if not len(use):
        return ""
    k = int(use[np.argmax(table["isophotal_area"][use])])
    figures.drawn(figures.morphology_overlay, folder / "overlay.png", handle["image"][k, b],
                  {name: table[name][k] for name in names}, f"object {handle['object_id'][k]}, {band}")
    return report.figure(folder / "overlay.png", "Isophotal ellipse (1 and 3 times) and half-light radius")


def _training(paths, folder):
    import pandas

    histories = {f"{Path(p).parts[-3]} {Path(p).parts[-2]}": pandas.read_csv(p).to_numpy(float) for p in paths}
    figures.drawn(figures.losses, folder / "losses.png", histories)
    return [("Training", report.figure(folder / "losses.png", "Loss over epochs; the lowest dashed point is kept"))]


TITLES = {"ablations": "Fusion models by the surveys they see (Mantis Shrimp's Table 4)",
          "subsets": "Named subsets (Mantis Shrimp's Table 5)",
          "paired": "Differences between models on the same objects; intervals over objects and seeds",
          "nz": "Mean redshift of the stacked p(z) of tomographic bins against the truth",
          "degradation": "One model when surveys are hidden from it", "sweep": "Grid of options on validation, best first",
          "attribution": "Shapley values and MM-SHAP of every band in bins of z_spec"}


def _evaluation(args):
    import pandas

    text = report.table(_wide(pandas.read_csv(args.metrics))) + "<p>Every seed, bin and subset, with intervals: metrics.csv.</p>"
    for path in map(Path, args.figures):
        model = path.stem.removeprefix("z_")
        text += report.figure(path, CAPTIONS.get(model, f"{model}: photo-z against spec-z"))
    sections = [("Evaluation on the testing split", text)]
    for path in map(Path, args.tables):
        table = pandas.read_csv(path)
        if len(table):
            sections.append((TITLES[path.stem], report.table(table)))
    return sections


def _wide(frame):
    """Overall metrics: a row a metric, a column a model and kind of seed; the mean's point metrics and the scores of p(z)."""
    shown = frame[frame["z_min"].isna() & frame["subset"].isna() & frame["seed"].isin(["all", "ensemble"])]
    shown = shown[~shown["convention"].str.endswith(("|mode", "|median"))]
    several = frame["seed"].nunique() > 3  # with one seed its mean and its ensemble are the seed itself
    shown = shown if several else shown[shown["seed"] == "all"]
    name = shown["model"] + (" " + shown["seed"] if several else "")
    value = shown["value"].map("{:.4g}".format) + " ± " + ((shown["hi68"] - shown["lo68"]) / 2).map("{:.2g}".format)
    wide = shown.assign(name=name, text=value).pivot_table("text", ["metric", "convention"], "name", "first", sort=False)
    return wide.reset_index().fillna("n/a")


CAPTIONS = {"binned": "Metrics in redshift bins", "attribution": "What each band does to the redshift: a positive Shapley value "
            "means that the target's light in this band raises it"}
