"""Write docs/photoz_results.md from the results of several table runs.

    python docs/make_photoz.py results/dc2 results/boss_dr10 ...   # from the folder that holds results/ and logs/
"""

import json
import shutil
import sys
from pathlib import Path

import pandas

DOCS = Path(__file__).resolve().parent
SHOWN = [("sigma_iqr", "iqr/1.349|mode"), ("outlier_fraction", "0.15|mode"), ("bias", "median(1+z)|mode"),
         ("cde_loss", "histogram"), ("crps", "z"), ("pit_ks", "D"), ("coverage", "0.68")]
PEERS = ("knn", "flexzboost", "bpz", "random_forest", "trainz")  # `models` of the config's peers
PAIRED = [("sigma_iqr", "iqr/1.349|mode"), ("outlier_fraction", "0.15|mode"), ("cde_loss", "histogram")]


def cell(block, metric, convention) -> str:
    """value [interval] of a metric, of the mean for estimators with a point only."""
    for name in (convention, convention.replace("|mode", "|mean")):
        row = block[(block["metric"] == metric) & (block["convention"] == name)]
        if len(row):
            r = row.iloc[0]
            return f"{r['value']:.4f} [{r['lo68']:.4f}, {r['hi68']:.4f}]"
    return "n/a"


def versus(paired, ours, model, metric, convention) -> tuple[float, float, float] | None:
    """(difference, lower, upper bound of 95 %) of a model's metric from that of `ours`; None where there is none."""
    rows = paired[(paired["of"] == "ensemble") & (paired["metric"] == metric) & (paired["convention"] == convention)]
    for sign, a, b in ((-1, "model_a", "model_b"), (1, "model_b", "model_a")):
        found = rows[(rows[a] == ours) & (rows[b] == model)]
        if len(found):
            r = found.iloc[0]
            return sign * r["difference"], *sorted((sign * r["lo95"], sign * r["hi95"]))
    return None


def shown(found) -> str:
    return "n/a" if found is None else f"{found[0]:.4f} [{found[1]:.4f}, {found[2]:.4f}]"


def against_the_best(folder: Path) -> list:
    """Per metric of PAIRED: our value, the best peer's name, its value on the objects that ours has, the paired difference. Ours
    is the catalog's p(z): the calibrated one where a calibration passed the gate; where nothing was observed it has none."""
    table = pandas.read_csv(folder / "evaluation" / "metrics.csv")
    whole = table[table["subset"].isna() & table["z_min"].isna() & (table["seed"] == "ensemble")]
    paired = pandas.read_csv(folder / "evaluation" / "paired.csv")
    calibration = json.loads((folder / "models" / "tabular" / "calibration.json").read_text())["calibration"]
    ours = f"tabular+{calibration}" if calibration else "tabular"
    out = []
    for metric, convention in PAIRED:
        values = whole[(whole["metric"] == metric) & (whole["convention"] == convention)].set_index("model")["value"]
        peers = values[[name for name in values.index if name in PEERS]]
        best = peers.idxmin()
        difference = versus(paired, ours, best, metric, convention)
        out.append((values[ours], best, values[ours] + difference[0], difference))
    return out


def summary(folders: list[Path]) -> list[str]:
    """All tables against the best peer of each metric, and the averages over tables."""
    lines = ["", "## Against the best peer of each metric", "",
             "Ours: the catalog's p(z). Paired difference: the peer minus ours, 95 % over objects; positive: ours is better.", "",
             "| table | " + " | ".join(f"{m} `{c.split('|')[0]}`: ours / peer | difference" for m, c in PAIRED) + " |",
             "|---" * (2 * len(PAIRED) + 1) + "|"]
    averages = {metric: [] for metric, _ in PAIRED}
    for folder in folders:
        cells = []
        for (metric, _), (value, best, theirs, difference) in zip(PAIRED, against_the_best(folder), strict=True):
            cells.append(f"{value:.4f} / {theirs:.4f} {best} | {shown(difference)}")
            averages[metric].append(value / theirs if metric == "sigma_iqr" else value - theirs)
        lines.append(f"| {folder.name} | {' | '.join(cells)} |")
    return [*lines, "", "Averages over the tables: " + "; ".join(
        f"{metric} {'ours over peer' if metric == 'sigma_iqr' else 'ours minus peer'} {sum(found) / len(found):.4f}"
        for metric, found in averages.items()) + "."]


def page(folder: Path) -> list[str]:
    """One run: all models, paired differences from the tabular ensemble, calibration's verdicts, seconds."""
    table = pandas.read_csv(folder / "evaluation" / "metrics.csv")
    whole = table[table["subset"].isna() & table["z_min"].isna()]
    objects = int(whole["n"].max())
    seeds = whole.loc[(whole["model"] == "tabular") & whole["seed"].str.isdigit(), "seed"].nunique()
    lines = ["", f"## {folder.name}: {objects} testing objects, ensembles of {seeds}", "",
             "| model | " + " | ".join(f"{m} `{c.replace('|', ', ')}`" for m, c in SHOWN) + " |", "|---" * (len(SHOWN) + 1) + "|"]
    for model, block in whole.groupby("model"):
        why = block[block["metric"] == "not_applicable"]
        if len(why):
            lines.append(f"| {model} | n/a: {why.iloc[0]['convention']} |" + " |" * (len(SHOWN) - 1))
            continue
        block = block[block["seed"] == "ensemble"]
        lines.append(f"| {model} | {' | '.join(cell(block, *which) for which in SHOWN)} |")
    paired = pandas.read_csv(folder / "evaluation" / "paired.csv")
    lines += ["", "Other models minus the ensemble `tabular` on the same objects, 95 %, of the mode of p(z) (positive: worse "
              "than tabular):", "", "| model | sigma_iqr | outlier_fraction 0.15 | cde_loss |", "|---|---|---|---|"]
    for model in sorted({*paired["model_a"], *paired["model_b"]} - {"tabular"}):
        found = [shown(versus(paired, "tabular", model, metric, convention)) for metric, convention in PAIRED]
        lines.append(f"| {model} | {' | '.join(found)} |")
    for path in sorted(folder.glob("models/*/calibration.json")):
        found = json.loads(path.read_text())
        lines += ["", f"Calibration of {found['model']}: **{found['calibration'] or 'none passed the gate'}**"
                  f" ({found['objects']} objects). " + "; ".join(f"{v['method']}: {v['why']}" for v in found["verdicts"]) + "."]
    for path in sorted(folder.glob("models/*/tuned.json")):
        found = json.loads(path.read_text())["chosen"]
        lines += ["", f"Chosen by cross-validation: {', '.join(f'{k} {v}' for k, v in found.items())}."]
    for name in ("pit", "z_tabular", "binned"):
        shutil.copy(folder / "evaluation" / f"{name}.png", DOCS / f"photoz_{folder.name}_{name}.png")
        lines += ["", f"![{name}](photoz_{folder.name}_{name}.png)"]
    return lines + seconds(folder)


def seconds(folder: Path) -> list[str]:
    """Training and estimating times of the run's jobs."""
    rows = []
    for path in sorted(Path("logs", folder.name, "peer").glob("*.json")):
        found = json.loads(path.read_text())
        if "training_s" in found:
            rows.append(f"{path.stem}: {found['training_s']:.0f} s training, "
                        f"{1e6 * found['estimating_s'] / found['objects']:.0f} us an object")
    for path in sorted(Path("logs", folder.name, "train").glob("tabular_seed*.benchmark.tsv")):
        rows.append(f"{path.name.split('.')[0]}: {pandas.read_csv(path, sep=chr(9))['s'].iloc[0]:.0f} s training")
    return ["", "Seconds, with other jobs beside them on the same core: " + "; ".join(rows) + "."] if rows else []


if __name__ == "__main__":
    head = ["# p(z) on tables: every model and peer on the same objects", "",
            "Written by `python docs/make_photoz.py` from `metrics.csv`, `paired.csv`, `calibration.json` of each run.",
            "Intervals: 68 %, bootstrap over testing objects (those of PIT statistics lie high: a resample holds objects twice).",
            "Our models: the ensemble over the run's seeds; the peers: one seed."]
    tables = [Path(path) for path in sys.argv[1:]]
    body = summary(tables) + [line for path in tables for line in page(path)]
    (DOCS / "photoz_results.md").write_text("\n".join(head + body) + "\n")
