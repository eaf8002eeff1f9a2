"""What is done in blocks of rows gives what the whole would; an ensemble's p(z) is one thing wherever it is asked for."""

import json
import tracemalloc

import numpy as np
import pandas
import pytest
from scipy.stats import norm

from skyloom import store
from skyloom.__main__ import main
from skyloom.dataset.predictions import Ensemble, Prediction
from skyloom.dataset.table import Table, align
from skyloom.errors import InputError, SkyloomError
from skyloom.pz import calibration, comparison, distribution, evaluation, histogram, metrics, scores, support
from skyloom.release import catalog, exporters

GRID = [-0.1, 2.5, 0.01]
EDGES = distribution.grid(*GRID)
N = 240


def form(kind: str, seed: int) -> dict:
    """p(z) of N objects around their redshifts, narrower than the scatter."""
    rng = np.random.default_rng(seed)
    middle = truth() + 0.08 * rng.standard_normal(N)
    if kind == "mixture":
        return {"weights": np.tile([0.8, 0.2], (N, 1)), "means": np.column_stack([middle, middle + 0.3]),
                "stds": np.full((N, 2), 0.03)}
    if kind == "quantiles":
        levels = (np.arange(16) + 0.5) / 16
        return {"levels": levels, "locs": middle[:, None] + 0.04 * norm.ppf(levels)}
    return {"pz": np.diff(norm.cdf(EDGES[None], middle[:, None], 0.04), axis=1).astype(np.float32), "edges": EDGES}


def truth() -> np.ndarray:
    return np.random.default_rng(9).uniform(0.2, 1.8, N)


def written(folder, kind: str, seeds=(1, 2, 3)):
    """Packed file (training, validation, testing in one), predictions of some seeds, the catalog's columns."""
    split = np.array(["training"] * 20 + ["validation"] * 120 + ["testing"] * 100, object)
    subset = np.where(split == "validation", "calibrate", "")
    ids = np.random.default_rng(3).permutation(N) * 7 + 1
    store.write_columns(folder / "data.h5", {"object_id": ids, "split": split, "subset": subset, "specz_redshift": truth(),
                                             "g_mag": 20 + truth()}, {"magnitude_columns": "g_mag"})
    paths = []
    for seed in seeds:
        arrays = form(kind, seed)
        paths.append(folder / f"p{seed}.h5")
        store.write_columns(paths[-1], {"object_id": ids, "split": split, "z": distribution.mean(arrays), **arrays},
                            {"model": "tabular", "seed": seed, "data_hash": "x", "model_code": "y"})
    store.write_parquet(folder / "catalog.parquet", pandas.DataFrame({"object_id": ids, "split": split, "z_spec": truth()}))
    return ids, paths


@pytest.mark.parametrize("kind", ["mixture", "histogram", "quantiles"])
def test_evaluation_calibration_and_catalog_agree_on_an_ensemble(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(distribution, "ROWS", 50)
    monkeypatch.setattr(distribution.blocks, "__defaults__", (50,))
    ids, paths = written(tmp_path, kind)
    whole = Ensemble([Prediction(path) for path in paths])
    expected = np.mean([distribution.probabilities(form(kind, seed), EDGES) for seed in (1, 2, 3)], axis=0)
    # the catalog's p(z) file
    models = catalog.combine_predictions([{"model": "tabular", "seed": k, "object_id": ids, "z": one.z, "stored": one.pz}
                                          for k, one in enumerate(whole.members)])
    order = np.argsort(ids, kind="stable")
    qp, rows = exporters.REGISTRY["qp"], exporters.pz_blocks(ids, models["tabular"]["arrays"], order)
    exporters.export(qp, tmp_path / "pz.hdf5", rows, {})
    back = list(qp.read(tmp_path / "pz.hdf5"))
    kept = np.concatenate([distribution.probabilities(block, EDGES) for block in back])
    # calibration
    settings = {"methods": [], "levels": [0.9], "grid": GRID, "seed": 1}
    assert main(["calibrate", "--settings", json.dumps(settings), "--predictions", *map(str, paths), "--data",
                 str(tmp_path / "data.h5"), "--out", str(tmp_path / "c.h5"), "--verdicts", str(tmp_path / "v.json")]) == 0
    half = json.loads((tmp_path / "v.json").read_text())["conformal_half_widths"]["0.9"]
    # evaluation
    block = evaluation.objects(whole.z, whole.pz, np.arange(N), truth(), EDGES)
    assert kept == pytest.approx(distribution.probabilities(whole.pz.read(order), EDGES), abs=1e-9)
    terms = histogram.cde_terms(kept, EDGES, truth()[order])
    assert block["terms"]["cde_loss", "histogram"][order] == pytest.approx(terms, abs=1e-7)
    held = np.isin(ids[order], ids[20:140])
    assert half == pytest.approx(calibration.conformal(kept[held], EDGES, truth()[order][held], 0.9), abs=1e-9)
    assert store.columns(tmp_path / "c.h5", ["z"])["z"] == pytest.approx(block["points"]["mean"], abs=1e-12)
    found = catalog.build(Table([tmp_path / "data.h5"]).columns(), None, [], [], models, "", EDGES)
    assert found["z_tabular_median"] == pytest.approx(block["points"]["median"][order], abs=1e-9)
    assert found["z_tabular_mean"] == pytest.approx(block["points"]["mean"][order], abs=1e-9)
    assert found["z_tabular"] == pytest.approx(block["points"]["mean"][order], abs=1e-9 if kind != "quantiles" else 3e-3)
    # and it is the mean of the members' p(z): for quantiles at their levels
    error = np.abs(np.cumsum(kept, axis=1) - np.cumsum(expected[order], axis=1)).max()
    assert error < (1e-6 if kind != "quantiles" else 0.04)


def test_pooled_quantiles_are_those_of_the_mean_cdf_not_the_mean_of_quantiles():
    levels = (np.arange(40) + 0.5) / 40
    apart = [{"levels": levels, "locs": at + 0.02 * norm.ppf(levels)[None]} for at in (0.5, 1.5)]
    found = distribution.combined(apart)
    below = np.mean([distribution.probabilities(one, EDGES).cumsum() for one in apart], axis=0)
    assert np.interp(found["locs"][0], EDGES[1:], below) == pytest.approx(levels, abs=0.012)
    assert not ((found["locs"] > 0.7) & (found["locs"] < 1.3)).any()  # where no member puts any
    assert np.array_equal(distribution.combined(apart[:1])["locs"], apart[0]["locs"])
    hole = {"levels": levels, "locs": np.full((1, 40), np.nan)}
    assert np.isnan(distribution.combined([apart[0], hole])["locs"]).all()


def test_a_calibrated_file_in_blocks_is_the_whole(tmp_path, monkeypatch):
    ids, paths = written(tmp_path, "histogram", (1,))
    out = {}
    for size in (1000, 37):
        monkeypatch.setattr(distribution.blocks, "__defaults__", (size,))
        settings = {"methods": ["temperature", "pit"], "levels": [0.68], "grid": GRID, "seed": 1}
        words = [f"--{name}={tmp_path / file}" for name, file in (("out", f"c{size}.h5"), ("verdicts", "v.json"))]
        assert main(["calibrate", "--settings", json.dumps(settings), "--predictions", *map(str, paths), "--data",
                     str(tmp_path / "data.h5"), *words]) == 0
        out[size] = store.arrays(tmp_path / f"c{size}.h5", ["object_id", "z", "pz", "edges"])
    assert json.loads((tmp_path / "v.json").read_text())["calibration"] in ("temperature", "pit")
    assert np.array_equal(out[1000]["object_id"], ids) and out[1000]["pz"].shape == (N, len(EDGES) - 1)
    assert out[37]["pz"] == pytest.approx(out[1000]["pz"], abs=1e-7) and out[37]["z"] == pytest.approx(out[1000]["z"], abs=1e-9)


def test_metrics_from_terms_are_those_of_whole_histograms(monkeypatch):
    arrays, zs = form("mixture", 1), truth()
    arrays["weights"][5] = np.nan
    stored = distribution.Stored(N, "mixture", {}, lambda rows: distribution.take(arrays, rows))
    monkeypatch.setattr(distribution.blocks, "__defaults__", (33,))
    block = evaluation.objects(distribution.mean(arrays), stored, np.arange(N), zs, EDGES)
    whole = distribution.probabilities(arrays, EDGES)
    assert repr(scores.of_terms(block["terms"], 40, 1)) == repr(scores.pz_metrics(whole, EDGES, zs, 40, 1))
    settings = {"seed": 1, "bin_width": 0.5, "z_max": 2.0}
    rows = evaluation.rows(block, zs, {"low": zs < 1}, settings, 40)
    low = next(row for row in rows if row[0] == "low" and row[3] == "crps")
    good = (zs < 1) & np.isfinite(whole).all(axis=1)
    assert low[5] == pytest.approx(scores.crps_terms(whole[good], EDGES, zs[good]).mean()) and low[-2:] == (good.sum(), 40)
    assert {row[3] for row in rows} >= {"second_peak_recovery", "pit_ks", "nmad"}


def test_deepdiscs_outliers_are_beyond_three_of_their_own_sigma():
    zs = np.zeros(1000)
    narrow = np.concatenate([np.linspace(-0.001, 0.001, 990), np.full(10, 0.05)])  # 3 sigma is far below 0.06
    wide = np.concatenate([np.linspace(-0.2, 0.2, 990), np.full(10, 0.25)])
    key = "outlier_fraction", "max(0.06,3sigma)"
    assert metrics.POINT[key](narrow, zs) == 0 and metrics.POINT[key](narrow * 2, zs) == 0.01
    sigma = metrics.POINT["sigma_iqr", "iqr/1.349"](wide, zs)
    assert metrics.POINT[key](wide, zs) == np.mean(np.abs(wide) > 3 * sigma) and 3 * sigma > 0.25
    both = metrics.POINT[key](np.stack([narrow * 2, wide]), zs)
    assert both.tolist() == [0.01, 0.0]
    assert ("outlier_fraction", "max(0.06,3sigma)") in [row[:2] for row in metrics.point_metrics([0.1], [0.1], 5)]


def test_large_samples_get_fewer_resamples_and_say_so(monkeypatch):
    assert metrics.resamples(20_000, 1000) == 1000 and metrics.resamples(1_000_000, 1000) == 50
    assert metrics.resamples(0, 1000) == 1000 and metrics.resamples(100, 0) == 0
    monkeypatch.setattr(metrics, "DRAWS", 20_000)
    assert sum(len(rows) for rows in metrics.drawn(200, 1000, np.random.default_rng(0))) == 100
    block = {"points": {"mean": truth() + 0.01}}
    rows = evaluation.rows(block, truth(), {}, {"seed": 1, "bin_width": 1.0, "z_max": 2.0}, 1000)
    assert {row[-1] for row in rows if row[1] == ""} == {83} and {row[-1] for row in rows if row[1] != ""} == {152, 183}
    pair = evaluation.paired({"a": {"seeds": [{"mean": truth()}], "ensemble": {"mean": truth()}},
                              "b": {"seeds": [{"mean": truth()}], "ensemble": {"mean": truth()}}}, truth(), 1000, 1)
    assert {row[-1] for row in pair} == {83} and len(pair) == 2 * len(comparison.METRICS)


def test_calibration_is_fitted_on_a_bounded_number_of_objects(monkeypatch):
    monkeypatch.setattr(calibration, "MOST", 10)
    assert len(calibration.some(np.arange(1000))) == 10 and calibration.some(np.arange(5)).tolist() == [0, 1, 2, 3, 4]


def test_support_in_blocks_is_the_whole():
    rng = np.random.default_rng(0)
    magnitudes = rng.normal(20, 1, (500, 3))
    magnitudes[::9, 1] = np.nan
    training, held = np.arange(500) < 200, (np.arange(500) >= 200) & (np.arange(500) < 300)
    whole, parts = (support.judged(magnitudes, training, held, block) for block in (1000, 61))
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)
    assert np.isnan(support.judged(np.zeros((4, 0)), training[:4], held[:4])["p_value"]).all()


def test_rows_are_read_in_any_order_and_written_block_by_block(tmp_path):
    values = np.random.default_rng(0).normal(size=(500, 3))
    with store.streaming(tmp_path / "s.h5", 500, {"a": 1}, ("edges",)) as append:
        for first in range(0, 500, 200):
            part = values[first:first + 200]
            append({"edges": np.arange(4.0), "x": part, "name": np.array([f"é{k}" for k in range(len(part))], object)})
    at = np.array([499, 3, 3, 250, 0, 120])
    assert np.array_equal(store.rows(tmp_path / "s.h5", ["x"], at)["x"], values[at])
    assert np.array_equal(store.rows(tmp_path / "s.h5", ["x"], slice(5, 9))["x"], values[5:9])
    assert store.rows(tmp_path / "s.h5", ["x"], at[:0])["x"].shape == (0, 3)
    assert store.columns(tmp_path / "s.h5", ["name"])["name"][201] == "é1"
    with pytest.raises(SkyloomError, match="got 2 rows; expected 3"), store.streaming(tmp_path / "t.h5", 3) as append:
        append({"x": np.zeros(2)})
    assert not (tmp_path / "t.h5").exists()


def test_one_table_of_several_files(tmp_path):
    for k, more in enumerate(({"specz_redshift": np.array([0.5, 0.6])}, {})):
        store.write_columns(tmp_path / f"{k}.h5", {"object_id": np.arange(2) + 10 * k, "ps1_g_mag": np.array([20.0, 99.0]),
                                                  "ps1_g_mag_err": np.ones(2), "ebv_csfd": np.zeros(2), **more},
                            {"magnitude_columns": "ps1_g_mag"})
    table = Table([tmp_path / "0.h5", tmp_path / "1.h5"])
    found = table.columns(["object_id"], ["specz_redshift"])
    assert found["object_id"].tolist() == [0, 1, 10, 11]
    assert np.isnan(found["specz_redshift"]).tolist() == [False, False, True, True]
    assert table.errors == {"ps1_g_mag": "ps1_g_mag_err"} and table.dust == ["ebv_csfd"] and table.status() == (None, [])
    assert np.isnan(table.stacked()[:, 0]).tolist() == [False, True, False, True] and table.surveys() == {}
    with pytest.raises(InputError, match="no dataset `specz_redshift`"):
        table.columns(["specz_redshift"])
    assert align([5, 3, 9], [9, 4, 5]).tolist() == [2, -1, 0] and align([], [1]).tolist() == [-1]


def test_predictions_of_other_objects_are_one_sentence(tmp_path):
    _, paths = written(tmp_path, "quantiles", (1,))
    one = Prediction(paths[0])
    with pytest.raises(InputError, match="predictions of tabular lack 1 objects of the catalog .the first: -5.; rerun predict"):
        Ensemble([one]).rows_of([one.object_id[0], -5])
    store.write_columns(tmp_path / "o.h5", {"object_id": one.object_id[::-1], "z": one.z}, one.about)
    with pytest.raises(InputError, match="holds other objects than"):
        Ensemble([one, Prediction(tmp_path / "o.h5")])


def test_memory_doesnt_grow_with_the_objects(tmp_path):
    """Three times the objects: what is held at once is the same block."""
    edges, peaks = distribution.grid(-0.1, 4.0, 0.005), []
    for n in (2_000, 6_000):
        arrays = {"weights": np.ones((n, 1)), "means": np.full((n, 1), 0.5), "stds": np.full((n, 1), 0.05)}
        stored = distribution.Stored(n, "mixture", {}, lambda rows, arrays=arrays: distribution.take(arrays, rows))
        tracemalloc.start()
        evaluation.objects(np.zeros(n), stored, np.arange(n), np.full(n, 0.5), edges)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.15 * peaks[0]
