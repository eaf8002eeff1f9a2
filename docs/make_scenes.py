"""Write the page of a run with scenes, docs/results_{run}.md, from its tables of judging.

    python docs/make_scenes.py results/deepdisc_hsc
"""

import shutil
import sys
from pathlib import Path

import pandas

DOCS = Path(__file__).resolve().parent
EMBEDDED = "**Made on the embedded sky: it shows the software at work, not a survey's performance** ([sky](sky.md))."
RATES = ("shred_rate", "false_rate", "unrecognised_blend_rate", "missed_rate")
CLASSES = ("star_completeness", "star_purity", "galaxy_completeness", "galaxy_purity")
POINT = {"nmad 1.4826mad(1+z)|mode": "NMAD", "sigma_iqr iqr/1.349|mode": "sigma_IQR", "bias median(1+z)|mode": "bias",
         "outlier_fraction 0.15|mode": "> .15", "outlier_fraction max(0.06,3sigma)|mode": "> max(3 sigma, .06)",
         "cde_loss histogram": "CDE loss", "log_score floor=0.001": "NLL", "pit_ks D": "PIT-KS"}
FIGURES = ("completeness", "scene", "blends")


def read(folder: Path, name: str):
    """A table of a run's judging, nothing where the run has none; empty cells are empty words."""
    path = folder / "evaluation" / ("detection.csv" if name == "detection" else f"scenes_{name}.csv")
    if not path.exists():
        return None
    words = dict.fromkeys(("subset", "bin", "band", "low", "high", "share_low", "share_high"), str)
    return pandas.read_csv(path, dtype=words, keep_default_na=False, na_values={"value": [""], "lo95": [""], "hi95": [""]})


def number(value, low=None, high=None) -> str:
    """value [low, high] with three digits, n/a where there is none."""
    value, low, high = (pandas.to_numeric(x, errors="coerce") for x in (value, low, high))
    if pandas.isna(value):
        return "n/a"
    return f"{value:.3f}" + ("" if low is None or pandas.isna(low) else f" [{low:.3f}, {high:.3f}]")


def table(heads, rows) -> list[str]:
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *(f"| {' | '.join(map(str, row))} |" for row in rows)]


def edges(low: str, high: str) -> str:
    """A bin in words."""
    if not low and not high:
        return "all"
    if low in ("-inf", "") or float(low) == float("-inf"):
        return f"below {float(high):g}"
    return f"above {float(low):g}" if float(high) > 1e8 else f"{float(low):g} to {float(high):g}"


def across(found, metrics, where, label="") -> list[str]:
    """A line a bin, a column a detector and metric; `where` picks rows."""
    some = found[where & found["metric"].isin(metrics)]
    models, bins = list(dict.fromkeys(some["model"])), list(dict.fromkeys(zip(some["low"], some["high"], strict=True)))
    rows = []
    for low, high in bins:
        inside = some[(some["low"] == low) & (some["high"] == high)].set_index(["model", "metric"])
        cells = []
        for metric in metrics:
            for model in models:
                row = inside.loc[(model, metric)] if (model, metric) in inside.index else None
                row = row.iloc[0] if isinstance(row, pandas.DataFrame) else row
                cells.append("n/a" if row is None else number(row["value"], row["lo95"], row["hi95"]))
        rows.append((edges(low, high), *cells, int(inside["n"].max())))
    names = [f"{model}: {metric.replace('_', ' ')}" for metric in metrics for model in models]
    return table((label, *names, "n at most"), rows)


def bars(folder: Path) -> list[str]:
    """What was asked for and what was reached, of detection and of p(z)."""
    rows = []
    for name in ("bars", "redshift_bars"):
        found = read(folder, name)
        for row in [] if found is None else found.itertuples():
            met = "met" if str(row.met) == "True" else "**missed**"
            aim = {"True": ", aim met", "False": ", aim missed"}.get(str(row.aim_met), "")
            rows.append((row.bar, number(row.value, row.lo95, row.hi95), number(row.limit), met + aim))
    return table(("bar", "reached [95 %]", "limit", ""), rows)


def detection(folder: Path) -> list[str]:
    """Completeness, purity, failures, classes, fluxes, masks."""
    found, lines = read(folder, "detection"), []
    whole, gold = found["bin"] == "", found["subset"] == "gold"
    lines += ["", "## Thresholds and groups", "", *plain(folder, "thresholds"), "", *plain(folder, "groups")]
    lines += ["", "## All", "", *across(found, ["completeness"], whole & gold, "gold"), "",
              *across(found, ["purity", "purity_findable"], whole, "detections"), "", *across(found, RATES, whole, "a source")]
    for name in [name for name in dict.fromkeys(found["bin"]) if name]:
        here = found["bin"] == name
        lines += ["", f"## By {name.replace('_', ' ')}", ""]
        for subset, metric in (("findable", "completeness"), ("gold", "completeness"), ("stars", "completeness"),
                               ("detections", "purity")):
            some = here & (found["subset"] == subset)
            if (some & (found["metric"] == metric)).any():
                lines += [*across(found, [metric], some, f"{subset}, {name}"), ""]
        if (here & gold & found["metric"].isin(CLASSES)).any():
            lines += across(found, CLASSES[:2], here & gold, name)
    lines += ["", "## Classes of gold sources that were found", "", *across(found, CLASSES, whole & gold)]
    lines += ["", "## Fluxes of gold sources that every detector found", ""]
    for band in [band for band in dict.fromkeys(found["band"]) if band]:
        lines += [*across(found, [m for m in ("flux_nmad", "flux_bias", "flux_pull_nmad", "colour_nmad")
                                  if ((found["metric"] == m) & (found["band"] == band)).any()],
                          (found["band"] == band) & found["bin"].isin(["", "within_arcsec"]), band), ""]
    masks = list(dict.fromkeys(found.loc[found["metric"].str.startswith("mask_iou"), "metric"]))
    lines += ["## Masks: IoU, isophote in sigma of the sky", "", *across(found, masks, gold, "neighbour")] if masks else []
    return lines


def plain(folder: Path, name: str) -> list[str]:
    """A table as it is."""
    found = read(folder, name)
    rows = ([f"{x:.4g}" if isinstance(x, float) else x for x in row] for row in found.itertuples(index=False))
    return table(found.columns, rows)


def redshifts(folder: Path) -> list[str]:
    """p(z): everything, then by bins; second peaks."""
    found = read(folder, "redshifts")
    if found is None or not len(found):
        return []
    found["key"] = found["metric"] + " " + found["convention"]
    lines = ["", "## p(z) of gold galaxies that every detector found"]
    for name in dict.fromkeys(found["bin"]):
        rows = []
        for (low, high, model), block in found[found["bin"] == name].groupby(["low", "high", "model"], sort=False):
            block = block.set_index("key")
            rows.append((edges(low, high), model, block["n"].iloc[0], *(number(*block.loc[key, ["value", "lo95", "hi95"]])
                                                                        if key in block.index else "n/a" for key in POINT)))
        lines += ["", f"### {name.replace('_', ' ') or 'All'}", "", *table((name or "", "model", "n", *POINT.values()), rows)]
    peaks = read(folder, "second_peak")
    rows = [(row.model, edges(row.share_low, row.share_high), row.n, number(row.value, row.lo95, row.hi95))
            for row in peaks.itertuples()]
    return lines + ["", "### Outliers that are none by their second peak, by its probability", "",
                    *table(("model", "probability", "outliers", "recovered"), rows)]


def page(folder: Path) -> str:
    """The whole page; figures are copied beside it."""
    lines = [f"# Scenes of run {folder.name}", "",
             f"Written by `python docs/make_scenes.py {folder}` from the tables of [scenes](scenes_judging.md). Testing tiles;",
             "intervals of 95 % by bootstrap over tiles, paired where two are compared.", "", EMBEDDED, "", "## Bars", "",
             *bars(folder)]
    for name in FIGURES:
        path = folder / "evaluation" / f"scenes_{name}.png"
        if path.exists():
            shutil.copy(path, DOCS / f"{folder.name}_scenes_{name}.png")
            lines += ["", f"![{name}]({folder.name}_scenes_{name}.png)"]
    return "\n".join([*lines, *detection(folder), *redshifts(folder)]) + "\n"


if __name__ == "__main__":
    for given in map(Path, sys.argv[1:]):
        (DOCS / f"results_{given.name}.md").write_text(page(given), encoding="utf-8")
