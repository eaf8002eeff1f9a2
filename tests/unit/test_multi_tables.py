"""A multi-survey dataset's photometry reaches calibration, support and peers; the recorded method of a split is the one used."""

import json
import sys

import numpy as np
import pandas
import pytest

from skyloom import store
from skyloom.__main__ import main
from skyloom.dataset.table import Table
from skyloom.peers import jobs
from skyloom.pz import calibration
from skyloom.sample import bands

BANDS = {"ps1": "g,r,i", "unwise": "w1,w2"}
N = 60


@pytest.fixture
def packed(tmp_path):
    """Three packed splits of N objects each in two surveys, made by the verb from shards."""
    rng = np.random.default_rng(0)
    ids = np.arange(1, 3 * N + 1)
    split = np.repeat(["training", "validation", "testing"], N)
    z = rng.uniform(0.1, 1, len(ids))
    members = pandas.DataFrame({"object_id": ids, "ra": 10.0, "dec": 0.0, "specz_redshift": z, "other_mag": 1.0})
    store.write_parquet(tmp_path / "m.parquet", members)
    subset = np.where(split == "validation", np.where(ids % 2, "select", "calibrate"), "")
    store.write_parquet(tmp_path / "s.parquet", pandas.DataFrame({"object_id": ids, "split": split, "subset": subset}),
                        {"split_method": "sky_block, hash for 2 without a position"})
    photometry = {"object_id": ids}
    for survey, names in BANDS.items():
        with store.writing(tmp_path / f"{survey}.h5", {"bands": names, "pixel_scale": 1.0, "status_names": "ok",
                                                      "ivar_source": "x", "request": "y"}) as handle:
            store.put(handle, "object_id", ids)
            store.put(handle, "offset", np.zeros((len(ids), 2)))
            for name, kind in (("image", "f4"), ("ivar", "f4"), ("mask", "u4"), ("psf", "f4")):
                store.create(handle, name, (len(ids), len(names.split(",")), 3, 3), kind)
            store.put(handle, "status", np.zeros((len(ids), len(names.split(","))), np.uint8))
        for k, band in enumerate(names.split(",")):
            name = f"{survey}_{band}"
            photometry |= {f"{name}_mag": 20 + (k + 1) * z, f"{name}_mag_err": 0.1, f"{name}_flux": 1.0}
    photometry["unwise_w2_mag"][:9] = np.nan
    store.write_parquet(tmp_path / "p.parquet", pandas.DataFrame(photometry))
    paths = []
    for name in ("training", "validation", "testing"):
        paths.append(str(tmp_path / f"{name}.hdf5"))
        assert main(["pack-multi", "--settings", '{"method": "sky_block"}', "--splits", str(tmp_path / "s.parquet"), "--members",
                     str(tmp_path / "m.parquet"), "--surveys", *BANDS, "--cutouts", *(str(tmp_path / f"{s}.h5") for s in BANDS),
                     "--photometry", str(tmp_path / "p.parquet"), "--split", name, "--hdf5", paths[-1], "--csv",
                     str(tmp_path / "c.csv")]) == 0
    return paths


def test_the_photometry_is_declared_and_the_method_is_the_one_that_was_used(packed):
    table = Table(packed)
    assert table.magnitudes == ["ps1_g_mag", "ps1_r_mag", "ps1_i_mag", "unwise_w1_mag", "unwise_w2_mag"]
    assert table.errors == {name: f"{name}_err" for name in table.magnitudes}
    assert store.attributes(packed[0])["split_method"] == "sky_block, hash for 2 without a position"
    assert set(table.surveys()) == set(BANDS) and table.surveys()["ps1"].shape == (3 * N, 3)
    assert bands.errors_of({"g_mag", "g_magsigma"}, ["g_mag"]) == {"g_mag": "g_magsigma"}


def test_support_calibration_and_peers_see_it(packed, tmp_path, monkeypatch):
    assert main(["support", "--settings", "{}", "--data", *packed, "--out", str(tmp_path / "support.h5")]) == 0
    found = store.columns(tmp_path / "support.h5")
    assert np.isfinite(found["p_value"]).all() and found["pattern_seen"].all() and found["p_value"].std() > 0.1
    known = Table(packed).columns(["object_id", "split", "specz_redshift"])
    edges = np.arange(-0.1, 2, 0.02)
    pz = np.diff(np.clip((edges - known["specz_redshift"][:, None]) / 0.1 + 0.5, 0, 1), axis=1)
    store.write_columns(tmp_path / "p.h5", {"object_id": known["object_id"], "split": known["split"], "pz": pz, "edges": edges,
                                            "z": known["specz_redshift"]}, {"model": "mantis_late", "seed": 1})
    seen = []
    settings = {"methods": ["local"], "levels": [0.68], "grid": [-0.1, 2, 0.02], "seed": 1}
    monkeypatch.setattr(calibration, "gate", lambda name, pz, edges, z, x, seed: seen.append(x) or {"kept": False})
    assert main(["calibrate", "--settings", json.dumps(settings), "--predictions", str(tmp_path / "p.h5"), "--data", *packed,
                 "--out", str(tmp_path / "c.h5"), "--verdicts", str(tmp_path / "v.json")]) == 0
    assert seen[0].shape == (N // 2, 2 * 5 - 1) and seen[0].std() > 0
    settings = {"peer": "trainz", "seed": 1, "grid": [0, 2, 0.1], "points": 21, "options": {}}
    assert main(["peer", "--settings", json.dumps(settings), "--training", *packed[:2], "--testing", packed[2], "--out",
                 str(tmp_path / "t.h5"), "--timing", str(tmp_path / "t.json")]) == 0
    assert store.arrays(tmp_path / "t.h5", ["pz"])["pz"].shape == (N, 20)
    table = Table(packed[:2])
    names, errors = table.magnitudes, table.errors
    arrays = jobs.table(table.columns([*names, *errors.values(), "specz_redshift", "object_id"]), names, errors)
    told = jobs.job({**settings, "peer": "knn"}, names, arrays["magnitudes"], edges)
    assert told["reference"] == "ps1_i_mag" and arrays["errors"].min() == 0.1 and len(told["limits"]) == 5
    assert 20 < told["limits"]["unwise_w2_mag"] < 23  # NaN is no faintest magnitude


def test_a_table_without_magnitudes_has_no_peers(packed, tmp_path, capsys):
    bare = {"object_id": np.arange(3), "specz_redshift": np.ones(3)}
    store.write_columns(tmp_path / "bare.hdf5", bare, {"magnitude_columns": ""})
    settings = {"peer": "knn", "seed": 1, "grid": [0, 2, 0.1], "points": 21, "options": {}}
    assert main(["peer", "--settings", json.dumps(settings), "--training", packed[0], "--testing", str(tmp_path / "bare.hdf5"),
                 "--out", str(tmp_path / "t.h5"), "--timing", str(tmp_path / "t.json")]) == 2
    assert "holds no magnitudes for knn" in capsys.readouterr().err


def test_a_peers_pz_comes_in_pieces(packed, tmp_path):
    """RAIL's interpreter by a stand-in that runs the job with an estimator of ours, seven objects at a time."""
    stub = tmp_path / "python"
    stub.write_text(f"""#!{sys.executable}
import runpy, sys
module = runpy.run_path(sys.argv[1])
space = module["main"].__globals__
space["CHUNK"] = 7
space["forest"] = lambda job, training, folder: lambda table, chunk: module["np"].tile(
    table["z"][:, None], (1, len(job["edges"]) - 1)) / 100 + chunk / 1000
module["main"](sys.argv[2])
""")
    stub.chmod(0o755)
    settings = {"peer": "random_forest", "seed": 1, "grid": [0, 2, 0.1], "points": 21, "options": {}}
    assert main(["peer", "--settings", json.dumps(settings), "--python", str(stub), "--training", *packed[:2], "--testing",
                 packed[2], "--out", str(tmp_path / "t.h5"), "--timing", str(tmp_path / "t.json")]) == 0
    found, known = store.arrays(tmp_path / "t.h5", ["object_id", "pz", "z"]), store.columns(packed[2])
    assert np.array_equal(found["object_id"], known["object_id"])
    expected = known["specz_redshift"] / 100 + np.arange(N) // 7 / 1000
    assert found["pz"] == pytest.approx(np.tile(expected[:, None], (1, 20)), rel=1e-6)
    told = json.loads((tmp_path / "t.json").read_text())
    assert told["objects"] == N and told["training"] == 2 * N and {"training_s", "estimating_s"} <= set(told)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
