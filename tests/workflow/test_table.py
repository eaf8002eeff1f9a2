"""A table from CSV to calibrated p(z): each step cached by itself, peers beside it, RAIL's where they are installed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest

from skyloom import store
from skyloom.__main__ import main
from skyloom.dataset.predictions import recalibrated
from skyloom.errors import InputError
from skyloom.models.families import tabular
from skyloom.release import zphot
from skyloom.release.catalog import BITS, combine_predictions
from skyloom.verbs import peer

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RAIL = Path(os.environ.get("SKYLOOM_RAIL_PYTHON", ROOT / ".venv-rail" / "bin" / "python"))
pytestmark = [pytest.mark.xdist_group("table"), pytest.mark.timeout(400)]


def toy(n, seed, first, faint=0.0):
    """Galaxies whose colours tell z, some undetected in g (99), one never observed there (-99), errors that grow."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.05, 1.1, n)
    r = rng.uniform(18, 22, n) + faint
    truth = {"g": r + 0.5 + 1.8 * z, "r": r, "i": r - 0.3 - 0.5 * z**2}
    out = {"id": np.arange(first, first + n), "z": z}
    for band, magnitude in truth.items():
        error = 0.01 + 0.05 * 10 ** (0.3 * (magnitude - 22))
        out |= {band: magnitude + error * rng.standard_normal(n), f"e{band}": error}
    frame = pandas.DataFrame(out)
    frame.loc[frame["g"] > 23.8, ["g", "eg"]] = 99.0
    frame.loc[0, ["g", "eg"]] = -99.0
    return frame


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    for name in ("Snakefile", "workflow", "profiles", "resources", "envs", "src"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "table.yaml").write_text((HERE / "table.yaml").read_text())
    toy(600, 1, 1000).to_csv(folder / "training.csv", index=False)
    later = pandas.concat([toy(200, 2, 5000), toy(40, 3, 9000, faint=5.0)], ignore_index=True)
    later.to_csv(folder / "evaluation.csv", index=False)
    later[10:].assign(zb=later["z"] + 0.1)[["id", "zb"]].to_csv(folder / "theirs.csv", index=False)  # an estimate for all but ten
    snakemake(folder)
    return folder


def snakemake(folder, *more):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "table.yaml", *more], cwd=folder,
                          env=environment, capture_output=True, text=True, timeout=380)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def small(folder):
    return folder / "results" / "small"


def test_catalog_carries_pz_intervals_and_support(small):
    catalog = store.read_parquet(small / "catalog" / "photoz_catalog.parquet").set_index("object_id")
    assert len(catalog) == 840 and set(catalog.loc[5000:, "split"]) == {"testing"}
    known = catalog[catalog["split"] == "testing"]
    assert np.isfinite(known["z_tabular"]).all() and np.isnan(known["z_galaxiesml_nn_std"]).sum() == 0
    for low, high in (("l95", "l68"), ("l68", "median"), ("median", "u68"), ("u68", "u95"), ("c95_low", "c68_low"),
                      ("c68_high", "c95_high")):
        assert (known[f"z_tabular_{low}"] <= known[f"z_tabular_{high}"] + 1e-9).all()
    assert known["z_tabular_outside"].between(-1e-9, 1).all()
    assert (known[["z_tabular_epistemic", "z_tabular_aleatoric"]] > 0).all(axis=None)
    far = catalog.index >= 9000  # 5 mag fainter than anything in training
    flagged = (catalog["flags"] & (1 << BITS["extrapolated"])) != 0
    assert flagged[far].mean() > 0.95 and flagged[(catalog["split"] == "testing") & ~far].mean() < 0.1
    meta = store.parquet_meta(small / "catalog" / "photoz_catalog.parquet")
    verdicts = json.loads((small / "models" / "tabular" / "calibration.json").read_text())
    assert meta["calibration_tabular"] == (verdicts["calibration"] or "none")
    assert [v["method"] for v in verdicts["verdicts"]] == ["temperature", "pit"] and all(v["why"] for v in verdicts["verdicts"])


def test_one_redshift_stands_right_after_the_position(small):
    path = small / "catalog" / "photoz_catalog.parquet"
    catalog, meta = store.read_parquet(path), store.parquet_meta(path)
    assert tuple(catalog)[:10] == ("object_id", "ra", "dec", *zphot.NAMES) and catalog["z_phot_flags"].dtype == np.int32
    told = json.loads((small / "evaluation" / "z_phot.json").read_text())
    model = told["model"]
    assert set(catalog["z_phot_model"]) == {model} == {meta["z_phot_model"]} and meta["z_phot_why"] == told["why"]
    assert {row["model"] for row in told["candidates"]} == {"tabular_s", "galaxiesml_nn_q", "stack"} >= {model}
    assert set(told["left_out"]) == {"tabular"} and "tabular was left out: it learned from `select`" in told["why"]
    assert catalog["z_phot"].to_numpy() == pytest.approx(catalog[f"z_{model}_median"].to_numpy(), nan_ok=True)
    known = catalog[np.isfinite(catalog["z_phot"])]
    for low, high in (("_l95", "_l68"), ("_l68", ""), ("", "_u68"), ("_u68", "_u95")):
        assert (known[f"z_phot{low}"] <= known[f"z_phot{high}"]).all()
    fresh = known[(known["split"] == "testing") & (known["object_id"] < 9000)]
    assert fresh["z_spec"].between(fresh["z_phot_l68"], fresh["z_phot_u68"]).mean() == pytest.approx(0.68, abs=0.15)
    far = known["object_id"] >= 9000
    assert ((known["z_phot_flags"] & (1 << zphot.BITS["extrapolated"])) != 0)[far].mean() > 0.95
    assert json.loads(meta["z_phot_flag_bits"]) == {str(bit): name for name, bit in zphot.BITS.items()}
    with store.reading(small / "catalog" / "pz_phot.hdf5") as phot, store.reading(
            small / "catalog" / f"pz_{model}.hdf5") as own:
        assert np.array_equal(phot["ancil/object_id"][:], catalog["object_id"])
        assert np.array_equal(phot["data/locs"][:], own["data/locs"][:], equal_nan=True)
    cuts, testing = (pandas.read_csv(small / "evaluation" / f"z_phot_{name}.csv") for name in ("cuts", "testing"))
    assert set(cuts["subset"]) == {"select"} and set(testing["subset"]) == {"testing"}
    assert cuts["cut"].tolist() == testing["cut"].tolist() and cuts["n"][0] < 100 < testing["n"][0] == 240
    page = (small / "report.html").read_text(encoding="utf-8")
    assert "One redshift to use" in page and f"median of p(z) of {model}" in page


def test_the_stack_is_one_more_model(small):
    told = json.loads((small / "models" / "stack" / "stack.json").read_text())
    assert told["members"] == ["tabular_s", "galaxiesml_nn_q"] and told["columns"] == ["r_mag"] and len(told["folds"]) == 5
    assert sum(told["mean_weight"].values()) == pytest.approx(1) and told["fitted_on"] == 79
    members = [told["log_density"][name] for name in told["members"]]
    assert told["log_density"]["stack, out of fold"] > max(members) - 0.05
    catalog = store.read_parquet(small / "catalog" / "photoz_catalog.parquet")
    assert np.isfinite(catalog[["z_stack", "z_stack_std", "z_stack_median"]]).all(axis=None)
    paths = [small / "models" / "stack" / f"{name}.h5" for name in ("predictions", "calibrated")]
    assert store.attributes(paths[0])["model"] == store.attributes(paths[1])["model"] == "stack"
    assert (small / "catalog" / "pz_stack.hdf5").exists() and (small / "evaluation" / "z_stack.png").exists()


def test_quantile_form_keeps_the_cdf(small):
    path = small / "catalog" / "pz_tabular.hdf5"
    with store.reading(path) as handle:
        assert handle["meta/pdf_name"][0] == b"quant" and handle["data/locs"].shape[1] <= 34
        assert (np.diff(handle["data/locs"][:], axis=1) >= 0).all()
        ids = handle["ancil/object_id"][:]
    assert np.array_equal(ids, store.read_parquet(small / "catalog" / "photoz_catalog.parquet")["object_id"])
    assert store.attributes(path)["largest_cdf_error"] <= 0.03  # what 32 levels promise


def test_one_table_of_all_models_and_the_floor(small):
    table = pandas.read_csv(small / "evaluation" / "metrics.csv")
    whole = table[table["subset"].isna() & table["z_min"].isna()]
    assert {"tabular", "trainz", "galaxiesml_nn", "galaxiesml_nn_q", "theirs"} <= set(whole["model"])
    theirs = whole[(whole["model"] == "theirs") & (whole["seed"] == "ensemble")].set_index(["metric", "convention"])
    assert theirs.loc[("mse", "unscaled|mean"), "value"] == pytest.approx(0.01) and set(theirs["n"]) == {230}
    with_pz = set(whole.loc[whole["metric"] == "cde_loss", "model"].str.split("+").str[0])
    assert with_pz == {"tabular", "trainz", "galaxiesml_nn_q", "tabular_s", "stack"}  # a head gives the paper's network p(z)
    assert set(whole.loc[whole["model"] == "tabular", "seed"]) == {"1", "2", "all", "ensemble"}
    best = whole[whole["seed"] == "ensemble"].set_index(["model", "metric", "convention"])["value"]
    assert best["tabular", "cde_loss", "histogram"] < best["trainz", "cde_loss", "histogram"]
    assert best["tabular", "nmad", "1.4826mad(1+z)|median"] < 0.3 * best["trainz", "nmad", "1.4826mad(1+z)|median"]
    paired = pandas.read_csv(small / "evaluation" / "paired.csv")
    rows = paired[(paired["model_a"] == "tabular") & (paired["model_b"] == "trainz") & (paired["metric"] == "cde_loss")]
    assert set(rows["of"]) == {"seeds", "ensemble"} and (rows["hi95"] < 0).all()
    assert set(paired.loc[paired["of"] == "ensemble", "convention"]) >= {"iqr/1.349|mode", "histogram"}
    assert (small / "evaluation" / "pit.png").stat().st_size > 5000


def test_weights_point_to_where_the_testing_objects_lie(small, tmp_path):
    data = {split: small / "dataset" / f"table_{split}.hdf5" for split in ("training", "testing")}
    training = store.columns(data["training"], ["object_id", "r_mag"])
    weights = store.columns(small / "dataset" / "weights_testing.h5")
    assert np.array_equal(weights["object_id"], training["object_id"]) and weights["weight"].mean() == pytest.approx(1)
    testing = store.columns(data["testing"])
    bright = testing["r_mag"] < 19.5
    store.write_columns(tmp_path / "bright.hdf5", {name: values[bright] for name, values in testing.items()},
                        store.attributes(data["testing"]))
    assert main(["weigh", "--settings", json.dumps({"run": "small"}), "--training", str(data["training"]), "--like",
                 str(tmp_path / "bright.hdf5"), "--out", str(tmp_path / "w.h5")]) == 0
    found = store.columns(tmp_path / "w.h5")["weight"]
    assert found[training["r_mag"] < 19.5].mean() > 2 and found[training["r_mag"] > 20.5].mean() < 0.1


def test_tuning_is_reported_and_used(small):
    tuned = json.loads((small / "models" / "tabular" / "tuned.json").read_text())
    assert set(tuned["chosen"]) == {"noise"}  # what the configuration gives is not touched
    assert 2 <= len(tuned["trials"]) <= len(tabular.NOISE[1]) and all(np.isfinite(t["loss"]) for t in tuned["trials"])
    assert tuned["chosen"]["noise"] == [t["noise"] for t in tuned["trials"] if t["chosen"]][-1]
    card = json.loads((small / "models" / "tabular" / "seed1" / "model.json").read_text())
    assert card["options"]["noise"] == tuned["chosen"]["noise"] and card["head"]["kind"] == "mixture"
    # `refit`: `select` is learned from, nothing watches, the last weights are the ones
    history = pandas.read_csv(small / "models" / "tabular" / "seed1" / "history.csv")
    assert history["select_loss"].isna().all() and len(history) == 20 and card["best_epoch"] == 19


def test_a_second_run_does_nothing_and_a_new_model_only_its_own(folder, small):
    assert "Nothing to be done" in snakemake(folder)
    text = (folder / "table.yaml").read_text()
    more = "models:\n  tabular_q: {head: quantile, outputs: 16, max_epochs: 2}\n"
    (folder / "table.yaml").write_text(text.replace("models:\n", more))
    planned = snakemake(folder, "-n")
    jobs = [line.split()[:2] for line in planned.splitlines() if line.startswith(("train ", "predict ", "calibrate ", "tune "))]
    assert dict(jobs) == {"train": "2", "predict": "2", "calibrate": "1"}, planned[-1500:]
    # other columns of the stack, another model for z_phot: no network is trained or asked again
    for old, new, rules in (("columns: [r_mag]", "columns: [i_mag]", {"stack", "calibrate", "choose_z_phot", "build_catalog",
                                                                       "evaluate", "report"}),
                            ("pz: quantiles", "pz: quantiles, z_phot: stack", {"choose_z_phot", "build_catalog", "evaluate",
                                                                               "report"})):
        (folder / "table.yaml").write_text(text.replace(old, new))
        planned = re.search(r"^job\s+count\n-+\s+-+\n(.*?)\ntotal", snakemake(folder, "-n"), re.M | re.S)[1]
        assert {line.split()[0] for line in planned.splitlines()} - {"all"} == rules
    (folder / "table.yaml").write_text(text)


def test_a_learning_curve_is_trained_at_its_sizes_and_neither_calibrated_nor_released(folder, small):
    text = (folder / "table.yaml").read_text()
    (folder / "table.yaml").write_text(text + "learning: {models: [tabular, galaxiesml_nn], sizes: [100, 300]}\n")
    planned = snakemake(folder, "-n")
    (folder / "table.yaml").write_text(text)
    counts = dict(re.findall(r"^(\w+) +(\d+)$", planned, re.M))
    assert counts["tune"] == "2" and counts["train"] == counts["predict"] == "8" and counts["learning"] == "1", counts
    assert "calibrate" not in counts and "pz_tabular_n100" not in planned
    assert "models/tabular_n300/seed2/predictions.h5" in planned


def test_bad_input_is_one_sentence(small, tmp_path, capsys):
    data = [str(small / "dataset" / f"table_{split}.hdf5") for split in ("training", "validation", "testing")]
    with store.reading(data[0]) as handle:
        attributes, five = dict(handle.attrs), {name: handle[name][:4] for name in handle}
    store.write_columns(tmp_path / "five.hdf5", five, attributes)
    settings = {"model": "tabular", "options": {}, "seed": 1, "threads": 1, "device": "cpu", "precision": "fp32"}
    out = [f"--{name}={tmp_path / name}" for name in ("weights", "card", "history", "state")]
    assert main(["train", "--settings", json.dumps(settings), "--training", str(tmp_path / "five.hdf5"), "--validation", data[1],
                 *out]) == 2
    assert "4 objects with a redshift to learn from" in capsys.readouterr().err
    settings = json.dumps({"peer": "knn", "seed": 1, "grid": [0, 2, 0.01], "points": 201, "options": {}})
    assert main(["peer", "--settings", settings, "--python", "/nowhere/python", "--training", data[0], "--testing", data[2],
                 "--out", str(tmp_path / "o.h5"), "--timing", str(tmp_path / "t.json")]) == 2
    assert "make rail" in capsys.readouterr().err and not (tmp_path / "o.h5").exists()
    predictions = str(small / "models" / "tabular" / "seed1" / "predictions.h5")
    settings = json.dumps({"methods": ["pit"], "levels": [0.9], "grid": [0, 2, 0.01], "seed": 1})
    assert main(["calibrate", "--settings", settings, "--predictions", predictions, "--data", data[0], data[2],
                 "--out", str(tmp_path / "c.h5"), "--verdicts", str(tmp_path / "v.json")]) == 2
    assert "rerun predict" in capsys.readouterr().err


def test_a_calibration_of_other_predictions_is_refused(small, tmp_path):
    found = sorted(map(str, (small / "models" / "tabular").glob("seed*/predictions.h5")))
    models = {"tabular": {"object_id": store.arrays(found[0], ["object_id"])["object_id"], "arrays": {}}}
    calibrated = small / "models" / "tabular" / "calibrated.h5"
    assert recalibrated(calibrated, models, found)
    with pytest.raises(InputError, match="rerun calibrate"):
        recalibrated(calibrated, models, found[:1])
    seeds = [{"model": "m", "seed": k, "object_id": np.arange(2), "z": np.zeros(2), "data_hash": str(k)} for k in (1, 2)]
    with pytest.raises(InputError, match="seeds 1 and 2 of m"):
        combine_predictions(seeds)


def test_bpz_without_filters_is_told_not_hidden(small, tmp_path):
    data = [str(small / "dataset" / f"table_{split}.hdf5") for split in ("training", "testing")]
    settings = json.dumps({"peer": "bpz", "seed": 1, "grid": [0, 2, 0.01], "points": 201, "options": {}})
    assert main(["peer", "--settings", settings, "--training", data[0], "--testing", data[1], "--out", str(tmp_path / "o.h5"),
                 "--timing", str(tmp_path / "t.json")]) == 0
    assert "no transmission curve for g_mag" in store.attributes(tmp_path / "o.h5")["reason"]
    assert len(store.columns(tmp_path / "o.h5", ["object_id"])["object_id"]) == 0


def test_a_peers_bands_and_what_it_says_when_it_fails(small, tmp_path, capsys):
    store.write_columns(tmp_path / "two.hdf5", {"g_mag": np.array([20.0, 99]), "y_mag": np.array([-99.0, -99])}, {})
    assert peer._known([tmp_path / "two.hdf5"], ["g_mag", "y_mag"]) == ["g_mag"]  # nobody was detected in y
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'xgboost.core.XGBoostError: Input holds inf' >&2; echo '[bt] (8) 0x1' >&2; exit 1\n")
    broken.chmod(0o755)
    data = [str(small / "dataset" / f"table_{split}.hdf5") for split in ("training", "testing")]
    settings = json.dumps({"peer": "flexzboost", "seed": 1, "grid": [0, 2, 0.01], "points": 201, "options": {}})
    assert main(["peer", "--settings", settings, "--python", str(broken), "--training", data[0], "--testing", data[1],
                 "--out", str(tmp_path / "o.h5"), "--timing", str(tmp_path / "t.json")]) == 2
    assert "XGBoostError: Input holds inf" in capsys.readouterr().err and not (tmp_path / "o.h5").exists()


@pytest.mark.skipif(not RAIL.exists(), reason="RAIL isn't installed: make rail compares its estimators with ours")
def test_rails_estimators_run_on_the_same_objects(small, tmp_path):
    data = [str(small / "dataset" / f"table_{split}.hdf5") for split in ("training", "testing")]
    found = {}
    for name in ("knn", "random_forest"):
        settings = json.dumps({"peer": name, "seed": 1, "grid": [0, 2, 0.01], "points": 201, "options": {}})
        assert main(["peer", "--settings", settings, "--python", str(RAIL), "--training", data[0], "--testing", data[1],
                     "--out", str(tmp_path / f"{name}.h5"), "--timing", str(tmp_path / "t.json")]) == 0
        found[name] = store.arrays(tmp_path / f"{name}.h5", ["object_id", "z", "pz"])
    catalog = store.read_parquet(small / "catalog" / "photoz_catalog.parquet").set_index("object_id")
    for block in found.values():
        near = block["object_id"] < 9000
        truth = catalog.loc[block["object_id"][near], "z_spec"]
        assert np.median(np.abs(block["z"][near] - truth)) < 0.1
        assert block["pz"][near].sum(axis=1) == pytest.approx(1, abs=0.05)
