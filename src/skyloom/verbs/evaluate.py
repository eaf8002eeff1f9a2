"""evaluate: metrics of every model and seed on the testing split, overall, in redshift bins and subsets, with figures."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from skyloom import store, textfiles
from skyloom.errors import InputError
from skyloom.pz import comparison, distribution, histogram, metrics, scores, tomography
from skyloom.release import figures, tables
from skyloom.sample import subsets
from skyloom.verbs import common

COLUMNS = ("model", "seed", "split", "subset", "z_min", "z_max", "metric", "convention", "value", "lo68", "hi68", "n")
STACKS = ("model", "bin", "z_phot_min", "z_phot_max", "n", "mean_stack", "mean_true", "difference", "lo68", "hi68")
PAIRED = ("of", "model_a", "model_b", "metric", "convention", "difference", "lo68", "hi68", "lo95", "hi95", "n", "seeds")
FEWER = 200  # resamples of what isn't the headline: single seeds, bins of z


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--data", required=True, help="packed testing file: columns for the subsets")
    parser.add_argument("--predictions", nargs="+", required=True)
    parser.add_argument("--calibrated", nargs="*", default=[], help="files of the verb calibrate")
    parser.add_argument("--final", default="", help="CSV that counts the evaluations on files set aside")
    parser.add_argument("--folder", required=True, help="where metrics.csv, the tables and the figures go")


def run(args) -> None:
    """Write metrics.csv, ablations.csv, subsets.csv, paired.csv and the figures: z_phot against z_spec of every model (with
    90 % regions where there is p(z)), metrics in redshift bins."""
    import pandas

    catalog, folder = store.read_parquet(args.catalog), Path(args.folder)
    tested = catalog[(catalog["split"] == "testing") & np.isfinite(catalog["z_spec"])].set_index("object_id")
    parts = _subsets(args.data, tested.index, {**args.settings["subsets"], **subsets.binned(args.settings["bins"])},
                     args.settings["subsets"])
    zs = tested["z_spec"].to_numpy()
    found, rows = _applicable(_by_model(args.predictions))
    scored = _scored(_one_grid(found | _by_model(args.calibrated), args.settings["grid"]), tested.index)
    for model, seeds in scored.items():
        fewer = {**args.settings, "bootstrap": min(args.settings["bootstrap"], FEWER)}
        whole = _rows(seeds["ensemble"], zs, parts, args.settings)
        alone = [seed for seed in seeds if seed != "ensemble"]  # one seed is its own ensemble
        blocks = {seed: _rows(seeds[seed], zs, parts, fewer) if len(alone) > 1 else whole for seed in alone} | {"ensemble": whole}
        trained = [block for seed, block in blocks.items() if seed != "ensemble"]
        named = [*blocks.items(), *([("all", _mean(trained))] if trained else [])]
        rows += [(model, seed, "testing", *row) for seed, block in named for row in block]
    frame = pandas.DataFrame(rows, columns=COLUMNS)
    store.write_csv(folder / "metrics.csv", frame)
    store.write_csv(folder / "ablations.csv", tables.ablations(frame, args.settings["surveys"]))
    store.write_csv(folder / "subsets.csv", tables.subsets(frame))
    store.write_csv(folder / "paired.csv", pandas.DataFrame(_paired(scored, zs, args.settings), columns=PAIRED))
    together = {model: seeds["ensemble"] for model, seeds in scored.items() if "pz" in seeds["ensemble"]}
    numbers = [args.settings[name] for name in ("tomography", "bootstrap", "seed")]
    stacks = [(model, *row) for model, block in together.items()
              for row in tomography.stacks(block["pz"], block["edges"], block["z"], zs, *numbers)]
    store.write_csv(folder / "nz.csv", pandas.DataFrame(stacks, columns=STACKS))
    _draw(scored, zs, frame, folder)
    if args.final:
        _count_final(Path(args.final), args.settings)


def _count_final(path: Path, settings: dict) -> None:
    """Append this evaluation's time, run, table and configuration to the list of final runs."""
    old = textfiles.read(path) if path.exists() else "time,run,table,config_hash\n"
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    store.write_text(path, f"{old}{now},{settings['run']},{settings['table']},{settings['config_hash']}\n")


def _scored(models: dict, index) -> dict:
    """{model: {seed: what it says of the objects of `index`}}, of models with seeds also their `ensemble`."""
    out = {}
    for model, seeds in sorted(models.items()):
        out[model] = {seed: _aligned(block, index) for seed, block in sorted(seeds.items())}
        out[model].setdefault("ensemble", _ensemble(list(out[model].values())))
    return out


def _draw(scored, zs, frame, folder) -> None:
    for model in frame.loc[frame["metric"] == "not_applicable", "model"]:
        figures.drawn(figures.z_against_z, folder / f"z_{model}.png", np.zeros(0), np.zeros(0), model)
    for model, seeds in scored.items():
        block = seeds["ensemble"]
        if "+" in model:
            continue
        if "pz" in block:
            regions = [histogram.quantile(block["pz"], block["edges"], level) for level in (0.05, 0.95)]
            figures.drawn(figures.regions, folder / f"z_{model}.png", block["z"], zs, *regions, model)
        else:
            figures.drawn(figures.z_against_z, folder / f"z_{model}.png", block["z"], zs, model)
    values = {model: scores.pit(seeds["ensemble"]["pz"], seeds["ensemble"]["edges"], zs)
              for model, seeds in scored.items() if "pz" in seeds["ensemble"]}
    figures.drawn(figures.pit, folder / "pit.png", values)
    figures.drawn(figures.binned_metrics, folder / "binned.png", frame[frame["subset"] == ""])


def _subsets(path, index, expressions: dict, asked=()) -> dict[str, np.ndarray]:
    """{name: (n,) bool} for the rows of `index`."""
    if not expressions:
        return {}
    columns = store.columns(path)
    order = {int(i): k for k, i in enumerate(columns["object_id"])}
    at = np.array([order[int(i)] for i in index], int)
    out = {name: subsets.select(name, text, columns)[at] for name, text in expressions.items()}
    for name, chosen in out.items():
        if not chosen.any() and name in asked:
            raise InputError(f"`evaluation.subsets.{name}` holds for no testing object; loosen it or leave it out")
    return {name: chosen for name, chosen in out.items() if chosen.any()}


def _by_model(paths) -> dict:
    out: dict = {}
    for path in paths:
        meta = store.attributes(path)
        block = store.arrays(path, ("object_id", "z", *distribution.NAMES))
        if not meta.get("calibration", "none"):
            continue  # no calibration passed the gate
        if "calibration" in meta:
            out[f"{meta['model']}+{meta['calibration']}"] = {"ensemble": block}
        else:
            out.setdefault(meta["model"], {})[int(meta["seed"])] = block | {"reason": meta.get("reason", "")}
    return out


def _applicable(models: dict) -> tuple[dict, list[tuple]]:
    """The models that gave z, and a row of metrics.csv with the reason for each that could not be applied."""
    reasons = {model: {block.pop("reason") for block in seeds.values()} for model, seeds in models.items()}
    rows = [(model, "all", "testing", "", "", "", "not_applicable", " ".join(sorted(why)), *[np.nan] * 3, 0)
            for model, why in sorted(reasons.items()) if any(why)]
    return {model: seeds for model, seeds in models.items() if not any(reasons[model])}, rows


def _one_grid(models: dict, grid) -> dict:
    """Every p(z) as a histogram with the same edges: those of the models where they agree, else those of `evaluation.grid`."""
    forms = [block for seeds in models.values() for block in seeds.values() if distribution.form(block)]
    edges = distribution.grid(*grid)
    if forms and all("edges" in block and np.array_equal(block["edges"], forms[0]["edges"]) for block in forms):
        edges = forms[0]["edges"]
    for block in forms:
        distribution.check(block)
        pz = distribution.probabilities(block, edges)
        for name in distribution.NAMES:
            block.pop(name, None)
        block |= {"pz": pz, "edges": edges}
    return models


def _aligned(block, index) -> dict:
    order = {int(i): k for k, i in enumerate(block["object_id"])}
    missing = [int(i) for i in index if int(i) not in order]
    if missing:
        raise InputError(f"predictions lack {len(missing)} objects of the catalog (the first: {missing[0]}); rerun predict")
    at = np.array([order[int(i)] for i in index], int)
    return {name: values if name == "edges" else values[at] for name, values in block.items()}


def _ensemble(blocks: list[dict]) -> dict:
    """The mean prediction, and the mean p(z), of all seeds."""
    out = {"z": np.mean([block["z"] for block in blocks], axis=0)}
    if "pz" in blocks[0]:
        out |= {"pz": np.mean([block["pz"].astype(float) for block in blocks], axis=0), "edges": blocks[0]["edges"]}
    return out


def _rows(block, zs, parts, settings) -> list[tuple]:
    """Rows from `subset` on: overall, in bins of z, in subsets; conventions carry the point estimate."""
    points = _points(block)
    out = []
    for subset, chosen in {"": np.ones(len(zs), bool), **parts}.items():
        for name, zp in points.items():
            found = metrics.point_metrics(zp[chosen], zs[chosen], settings["bootstrap"], settings["seed"])
            out += [(subset, "", "", metric, f"{convention}|{name}", *rest) for metric, convention, *rest in found]
        if "pz" in block:
            found = scores.pz_metrics(block["pz"][chosen], block["edges"], zs[chosen], settings["bootstrap"], settings["seed"])
            out += [(subset, "", "", *row) for row in found]
            second = tomography.recovered(block["pz"][chosen], block["edges"], zs[chosen])
            out.append((subset, "", "", "second_peak_recovery", "0.15|mode",
                        *metrics.mean_of(second, settings["bootstrap"], settings["seed"])))
    inside = metrics.binned(block["z"], zs, settings["bin_width"], settings["z_max"], min(settings["bootstrap"], FEWER),
                            settings["seed"])
    return out + [("", low, high, name, f"{convention}|mean", *rest) for low, high, name, convention, *rest in inside]


def _mean(blocks: list[list[tuple]]) -> list[tuple]:
    """Mean value and mean interval over seeds, row by row."""
    out = []
    for rows in zip(*blocks, strict=True):
        values = np.mean([row[5:8] for row in rows], axis=0)
        out.append((*rows[0][:5], *values, rows[0][8]))
    return out


def _paired(scored, zs, settings) -> list[tuple]:
    """Differences of all pairs: of single seeds' means, with the scatter of trainings; of the ensembles' modes."""
    seeds = {model: [block for seed, block in blocks.items() if seed != "ensemble"] or [blocks["ensemble"]]
             for model, blocks in scored.items()}
    out = []
    for of, point, models in (("seeds", "mean", seeds), ("ensemble", "mode", {m: [b["ensemble"]] for m, b in scored.items()})):
        points = {model: [block["z"] if of == "seeds" else _points(block).get(point, block["z"]) for block in blocks]
                  for model, blocks in models.items()}
        terms = {model: [histogram.cde_terms(block["pz"], block["edges"], zs) for block in blocks]
                 for model, blocks in models.items() if "pz" in blocks[0]}
        found = comparison.paired(points, zs, terms, settings["bootstrap"], settings["seed"])
        out += [(of, a, b, metric, convention if metric == "cde_loss" else f"{convention}|{point}", *rest)
                for a, b, metric, convention, *rest in found]
    return out


def _points(block) -> dict[str, np.ndarray]:
    """{name: (n,)} of the point estimates that a block gives: its mean, with p(z) mode and median."""
    if "pz" not in block:
        return {"mean": block["z"]}
    return {"mean": block["z"], "mode": histogram.mode(block["pz"], block["edges"]),
            "median": histogram.quantile(block["pz"], block["edges"], 0.5)}
