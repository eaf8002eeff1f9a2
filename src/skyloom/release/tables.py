"""Tables in published layouts, made from metrics.csv."""

from __future__ import annotations

from skyloom.models import families

_DATA = {("ps1",): "Optical only", ("galex", "ps1"): "Optical and UV", ("ps1", "unwise"): "Optical and IR",
         ("galex", "ps1", "unwise"): "Optical, UV, and IR"}
# column, metric, convention, factor: Engel et al. (2025), tables 4 and 5
_COLUMNS = (("nmad_e2", "nmad", "1.4826mad(1+z)|mean", 100), ("bias_e2", "bias", "mean(1+z)|mean", 100),
            ("eta_percent", "outlier_fraction", "0.05|mean", 100), ("cde_loss", "cde_loss", "histogram", 1))


def _numbers(rows) -> dict:
    """Value and half the 68 % interval of every column, n of objects."""
    out = {}
    for column, metric, convention, factor in _COLUMNS:
        row = rows[(rows["metric"] == metric) & (rows["convention"] == convention)]
        if len(row):
            one = row.iloc[0]
            out |= {column: factor * one["value"], f"{column}_err": factor * (one["hi68"] - one["lo68"]) / 2, "n": int(one["n"])}
    return out


def ablations(frame, surveys: dict[str, list[str]]):
    """The paper's table 4: fusion, data included, NMAD, bias, outliers and CDE loss of every fusion model, means over seeds.
    `surveys` {model: what it sees}; the bias is z_phot - z_spec, of the other sign than the paper's."""
    import pandas

    overall = frame[(frame["seed"] == "all") & (frame["subset"] == "") & (frame["z_min"] == "")]
    rows = []
    for model, seen in surveys.items():
        fusion = "Neither" if len(seen) == 1 else families.of(model).fusion.capitalize()
        rows.append({"fusion": fusion, "data": _DATA.get(tuple(sorted(seen)), " + ".join(seen)), "model": model,
                     **_numbers(overall[overall["model"] == model])})
    order = list(_DATA.values())
    rows.sort(key=lambda row: (order.index(row["data"]) if row["data"] in order else 9, row["fusion"] != "Late", row["model"]))
    columns = ["fusion", "data", "model", *(c for name, *_ in _COLUMNS for c in (name, f"{name}_err")), "n"]
    return pandas.DataFrame(rows, columns=columns)


def subsets(frame):
    """The paper's table 5: the same numbers on every named subset, a row a subset and model."""
    import pandas

    named = frame[(frame["seed"] == "all") & (frame["subset"] != "")]
    rows = [{"sample": subset, "model": model, **_numbers(part)}
            for (subset, model), part in named.groupby(["subset", "model"], sort=False)]
    return pandas.DataFrame(rows, columns=["sample", "model", *(c for name, *_ in _COLUMNS for c in (name, f"{name}_err")), "n"])


def overall(frame):
    """Overall metrics: a row a metric, a column a model and kind of seed; the mean's point metrics and the scores of p(z)."""
    shown = frame[frame["z_min"].isna() & frame["subset"].isna() & frame["seed"].isin(["all", "ensemble"])]
    shown = shown[~shown["convention"].str.endswith(("|mode", "|median"))]
    several = frame["seed"].nunique() > 3  # with one seed its mean and its ensemble are the seed itself
    shown = shown if several else shown[shown["seed"] == "all"]
    name = shown["model"] + (" " + shown["seed"] if several else "")
    value = shown["value"].map("{:.4g}".format) + " ± " + ((shown["hi68"] - shown["lo68"]) / 2).map("{:.2g}".format)
    wide = shown.assign(name=name, text=value).pivot_table("text", ["metric", "convention"], "name", "first", sort=False)
    return wide.reset_index().fillna("n/a")
