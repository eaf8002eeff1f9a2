"""Write the page of a run with learning curves, docs/results_{run}.md, from its result files.

    python docs/make_learning.py results/pixels_pay
"""

import json
import shutil
import sys
from pathlib import Path

import pandas

DOCS = Path(__file__).resolve().parent
SHOWN = {"cde_loss histogram": "CDE loss", "nmad 1.4826mad(1+z)": "NMAD", "outlier_fraction 0.05": "> .05",
         "outlier_fraction 0.15": "> .15", "bias mean(1+z)": "bias", "pit_ks D": "PIT-KS"}
EMBEDDED = "**Made on the embedded sky: it shows the software at work, not a survey's performance. Sky 2** ([sky](sky.md))."
FEWER = 0.80  # of the first model's outliers beyond .05, the bar at the two largest sizes


def read(folder: Path, name: str):
    """A table of a run's evaluation; a subset's name is empty for all objects."""
    table = pandas.read_csv(folder / "evaluation" / f"{name}.csv")
    if "subset" in table:
        table["subset"] = table["subset"].fillna("")
    if "convention" in table:
        table["key"] = table["metric"] + " " + table["convention"].str.split("|").str[0]
    return table


def interval(row, name: str, low: str, high: str) -> str:
    """value [low, high], the value alone where there are no limits."""
    if pandas.isna(row[name]):
        return "n/a"
    return f"{row[name]:.4f}" + ("" if pandas.isna(row[low]) else f" [{row[low]:.4f}, {row[high]:.4f}]")


def heads(*first: str) -> list[str]:
    return [f"| {' | '.join((*first, *SHOWN.values()))} |", "|---" * (len(first) + len(SHOWN)) + "|"]


def embedded(folder: Path) -> bool:
    """Whether a run is on the embedded sky: its report says so, or, of a run that was not made to the end, its recipe."""
    report, recipe = folder / "report.html", DOCS.parent / "resources" / "recipes" / f"{folder.name}.yaml"
    if report.exists():
        return "embedded sky" in report.read_text(encoding="utf-8")
    return recipe.exists() and "\narchive: embedded" in recipe.read_text(encoding="utf-8")


def curves(table, subset: str) -> list[str]:
    """Ensembles of one subset: a line a size and model."""
    lines = heads("training objects", "model", "n")
    some = table[(table["seed"] == "ensemble") & (table["subset"] == subset)]
    for (size, model), block in some.sort_values("n_train", kind="stable").groupby(["n_train", "model"], sort=False):
        block = block.set_index("key")
        cells = [interval(block.loc[key], "value", "lo95", "hi95") if key in block.index else "n/a" for key in SHOWN]
        lines.append(f"| {size:,} | {model} | {block['n'].iloc[0]} | {' | '.join(cells)} |")
    return lines


def among(table) -> list[str]:
    """Differences of models but the first from one another: a line a size, pair and bin."""
    lines = heads("training objects", "models", "bin")
    for (size, a, b, subset), block in table.groupby(["n_train", "model_a", "model_b", "subset"], sort=False):
        block = block.set_index("key")
        cells = [interval(block.loc[key], "difference", "difference_lo95", "difference_hi95") if key in block.index else "n/a"
                 for key in SHOWN]
        lines.append(f"| {size:,} | {a} - {b} | {subset or 'all'} | {' | '.join(cells)} |")
    return lines


def pairs(table, subset: str) -> list[str]:
    """Differences, and below them ratios, from the first model: a line a size and model."""
    lines = heads("training objects", "model", "")
    some = table[table["subset"] == subset].sort_values("n_train", kind="stable")
    for (size, model), block in some.groupby(["n_train", "model_a"], sort=False):
        block = block.set_index("key")
        for what in ("difference", "ratio"):
            cells = [interval(block.loc[key], what, f"{what}_lo95", f"{what}_hi95") if key in block.index else "n/a"
                     for key in SHOWN]
            lines.append(f"| {size:,} | {model} | {what} | {' | '.join(cells)} |")
    return lines


def bars(table) -> list[str]:
    """Of every model against the first: which bars are met, at which sizes and bins they are not."""
    lines = ["| model | CDE loss lower, interval excludes 0, at every size | outliers > .05 at most .80, two largest sizes | "
             "NMAD no worse by the interval at any size and bin | NMAD lower overall | PIT-KS no worse by the interval |",
             "|---" * 6 + "|"]
    sizes = sorted(table["n_train"].unique())
    for model, block in table.groupby("model_a", sort=False):
        whole = block[block["subset"] == ""]
        of = {name: whole[whole["metric"] == name] for name in ("cde_loss", "pit_ks", "nmad")}
        far = whole[(whole["key"] == "outlier_fraction 0.05") & whole["n_train"].isin(sizes[-2:])]
        nmad = block[block["metric"] == "nmad"]
        cells = [missed(of["cde_loss"], ~(of["cde_loss"]["difference_hi95"] < 0)), missed(far, ~(far["ratio"] <= FEWER)),
                 missed(nmad, ~(nmad["difference_lo95"] <= 0)), missed(of["nmad"], ~(of["nmad"]["difference"] < 0)),
                 missed(of["pit_ks"], ~(of["pit_ks"]["difference_lo95"] <= 0))]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return lines


def missed(rows, fails) -> str:
    """`met`, or where not."""
    if not len(rows):
        return "n/a"
    places = [f"{row.n_train:,}{f' {row.subset}' if row.subset else ''}" for row in rows[fails].itertuples()]
    return f"missed: {', '.join(places)}" if places else "met"


def attenuation(folder: Path) -> list[str]:
    """A line a model, a column a size."""
    table = read(folder, "learning_attenuation")
    sizes = list(dict.fromkeys(table["n_train"]))
    lines = [f"| model | {' | '.join(f'{size:,}' for size in sizes)} |", "|---" * (1 + len(sizes)) + "|"]
    for model, block in table.groupby("model", sort=False):
        block = block.set_index("n_train")
        lines.append(f"| {model} | {' | '.join(interval(block.loc[size], 'slope', 'lo95', 'hi95') for size in sizes)} |")
    return [*lines, "", f"{int(table['n'].max())} testing objects in {int(table['cells'].max())} cells."]


def steps(folder: Path) -> list[str]:
    """Steps made and the step of the lowest loss on select, mean over seeds."""
    table = read(folder, "learning_steps")
    lines = ["| model | training objects | steps | step of the lowest loss on select | that loss |", "|---" * 5 + "|"]
    for (model, size), block in table.groupby(["model", "n_train"], sort=False):
        made = block.groupby("seed")["step"].max().mean()
        known = block.dropna(subset="select_loss")
        best = known.loc[known.groupby("seed")["select_loss"].idxmin()]
        told = f"{best['step'].mean():,.0f} | {best['select_loss'].mean():.4f}" if len(best) else "n/a | n/a"
        lines.append(f"| {model} | {size:,} | {made:,.0f} | {told} |")
    return lines


def ceilings(folder: Path, paired) -> list[str]:
    """What the truth in place of the fit gains over the first model, and which share of that the other models gain."""
    if not (folder / "evaluation" / "ceilings.csv").exists():
        return []
    table = read(folder, "ceilings")
    gains = {"cde_loss histogram": "difference", "nmad 1.4826mad(1+z)": "ratio", "outlier_fraction 0.05": "ratio"}
    lines = ["", "## Ceilings", "", "`hybrid` with the group `bulge_disk` made of the true light of bulge and disc (`python "
             "benchmarks/ceilings.py`): `ideal` with noise by the covariance of the fit, `noiseless` without. Shares are gains "
             "over those of `ideal`, the gain of a ratio being what it lacks to 1.", "",
             "| training objects | | CDE loss, difference | NMAD, ratio | > .05, ratio |", "|---" * 5 + "|"]
    for size, block in table.groupby("n_train"):
        of = {name: rows.set_index("key") for name, rows in block.groupby("model_a", sort=False)}
        lines += [f"| {size:,} | {name} | " + " | ".join(
            interval(rows.loc[key], what, f"{what}_lo95", f"{what}_hi95") for key, what in gains.items()) + " |"
            for name, rows in of.items()]
        whole = paired[(paired["n_train"] == size) & (paired["subset"] == "")]
        for model, rows in whole.groupby("model_a", sort=False):
            rows = rows.set_index("key")
            shares = [(rows.loc[key, what] - (what == "ratio")) / (of["ideal"].loc[key, what] - (what == "ratio"))
                      for key, what in gains.items()]
            lines.append(f"| {size:,} | {model}, share | {' | '.join(f'{share:.2f}' for share in shares)} |")
    return lines


def chosen(folder: Path) -> list[str]:
    """What cross-validation chose at each size."""
    found = [(path.parent.name, json.loads(path.read_text(encoding="utf-8"))["chosen"])
             for path in sorted(folder.glob("models/*_n[0-9]*/tuned.json"))]
    lines = [f"- `{name}`: {', '.join(f'{key} {value}' for key, value in settings.items())}" for name, settings in found]
    return ["", "## Chosen by cross-validation on training", "", *lines] if lines else []


def page(folder: Path) -> str:
    """The whole page; figures are copied beside it."""
    table, paired = read(folder, "learning"), read(folder, "learning_paired")
    first = table["model"].iloc[0] if not len(paired) else paired["model_b"].iloc[0]
    others = paired[(paired["of"] == "ensemble") & (paired["model_b"] != first)]
    trained, paired = (paired[(paired["of"] == of) & (paired["model_b"] == first)] for of in ("seeds", "ensemble"))
    seeds = table.loc[table["seed"] != "ensemble", "seed"].nunique()
    lines = [f"# Learning curves of run {folder.name}", "",
             f"Written by `python docs/make_learning.py {folder}` from the files of [learning](learning.md).",
             f"Ensembles of {seeds}, not calibrated, on testing; intervals of 95 % over objects."]
    lines += ["", EMBEDDED] if embedded(folder) else []
    for name in ("learning", "learning_steps"):
        shutil.copy(folder / "evaluation" / f"{name}.png", DOCS / f"{folder.name}_{name}.png")
    lines += ["", f"![learning curves]({folder.name}_learning.png)", "", "## All objects", "", *curves(table, "")]
    if len(paired):
        lines += ["", f"## Against {first} on the same objects", "", *pairs(paired, ""), "", "## Bars", "", *bars(paired)]
        lines += ["", "Means of single seeds, resampled too, so that intervals hold the scatter of trainings:", "",
                  *pairs(trained, "")] if len(trained) else []
        lines += ["", "## The others against one another", "", *among(others)] if len(others) else []
    lines += ceilings(folder, paired)
    for subset in [name for name in dict.fromkeys(table["subset"]) if name]:
        lines += ["", f"## {subset}", "", *curves(table, subset)]
        lines += ["", f"Against {first}:", "", *pairs(paired, subset)] if len(paired) else []
    lines += ["", "## Slope of z_phot on z_spec inside cells of colour", "", *attenuation(folder)]
    lines += ["", "## Training steps", "", *steps(folder), "", f"![steps]({folder.name}_learning_steps.png)", *chosen(folder)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        (DOCS / f"results_{path.name}.md").write_text(page(path), encoding="utf-8")
