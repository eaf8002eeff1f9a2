"""skyloom's stages in RAIL's own harness: inform, estimate, evaluate; optional, because RAIL is no dependency."""

import h5py
import numpy as np
import pytest

from skyloom.pz import histogram

pytest.importorskip("rail.core", reason="RAIL isn't installed beside skyloom: pip install 'skyloom[rail]'")

EDGES = np.linspace(0, 1.5, 301)


def table(n, seed):
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.1, 1.0, n)
    r = rng.uniform(18, 22, n)
    out = {"object_id": np.arange(n) + 7_000_000_000, "redshift": z, "g": r + 2 * z, "r": r, "i": r - z}
    for band in "gri":
        out |= {band: out[band] + 0.02 * rng.standard_normal(n), f"e{band}": np.full(n, 0.02)}
    out["g"][:3] = 99.0
    return out


@pytest.mark.filterwarnings("default")
def test_inform_estimate_evaluate(tmp_path, monkeypatch):
    from rail.core.data import TableHandle
    from rail.estimation.estimator import CatEstimator
    from rail.evaluation.dist_to_point_evaluator import DistToPointEvaluator

    from rail.estimation.algos.skyloom_pz import SkyloomEstimator, SkyloomInformer

    monkeypatch.chdir(tmp_path)
    assert set(CatEstimator.config_options) <= set(SkyloomEstimator.config_options)
    shared = {"bands": list("gri"), "err_bands": ["eg", "er", "ei"], "hdf5_groupname": ""}
    inform = SkyloomInformer.make_stage(name="inform", model="model.pkl", n_seeds=2,
                                        options={"max_epochs": 15, "width": 32, "batch_size": 64}, **shared)
    model = inform.inform(TableHandle("training", data=table(800, 1)))
    estimate = SkyloomEstimator.make_stage(name="estimate", model=model, output="output.hdf5", id_col="object_id", zmax=1.5,
                                           **shared)
    test = table(300, 2)
    output = estimate.estimate(TableHandle("testing", data=test))
    found = output.read()
    assert found.npdf == 300 and np.array_equal(np.ravel(found.ancil["id"]), test["object_id"])
    assert np.median(np.abs(np.ravel(found.ancil["zmode"]) - test["redshift"])[3:]) < 0.05
    below = found.cdf(test["redshift"][:, None])
    assert np.ravel(below).min() >= 0 and 0.2 < np.mean(below) < 0.8
    evaluate = DistToPointEvaluator.make_stage(name="evaluate", metrics=["cdeloss"], hdf5_groupname="", force_exact=True)
    results = evaluate.evaluate(output, TableHandle("truth", data=test))
    loss = float(np.ravel(results["summary"].read()["cdeloss"])[0])
    pz = np.diff(found.cdf(EDGES), axis=1)
    assert loss == pytest.approx(histogram.cde_terms(pz, EDGES, test["redshift"]).mean(), rel=0.05) and loss < -1


@pytest.mark.filterwarnings("default")
def test_stamps_of_an_hdf5_file(tmp_path, monkeypatch):
    """Galaxies whose colours say nothing and whose stamps say all: only a model that sees them can tell z."""
    from rail.core.data import TableHandle

    from rail.estimation.algos.skyloom_pz import SkyloomEstimator, SkyloomInformer

    monkeypatch.chdir(tmp_path)

    def stamps(n, seed, name):
        rng = np.random.default_rng(seed)
        z = rng.uniform(0.1, 1.0, n)
        y, x = np.mgrid[:32, :32] - 15.5
        image = 300 * np.exp(-0.5 * (x**2 + y**2) / (1.5 + 5 * z[:, None, None]) ** 2)[:, None] + rng.normal(0, 3, (n, 2, 32, 32))
        columns = {"image": image.astype(np.float32), "ivar": np.full((n, 2, 32, 32), 1 / 9, np.float32), "redshift": z,
                   "g": rng.normal(21, 0.1, n), "r": rng.normal(20, 0.1, n), "object_id": np.arange(n)}
        with h5py.File(name, "w") as handle:
            for key, values in columns.items():
                handle[key] = values
        return z

    stamps(400, 1, "training.hdf5")
    z = stamps(60, 2, "testing.hdf5")
    shared = {"bands": ["g", "r"], "err_bands": ["", ""], "hdf5_groupname": ""}
    inform = SkyloomInformer.make_stage(name="inform", model="model.pkl", n_seeds=1, image_col="image",
                                        options={"max_epochs": 8, "batch_size": 32, "lr": 1e-3}, **shared)
    model = inform.inform(TableHandle("training", path="training.hdf5"))
    estimate = SkyloomEstimator.make_stage(name="estimate", model=model, output="output.hdf5", id_col="object_id", zmax=1.5,
                                           chunk_size=25, **shared)
    found = estimate.estimate(TableHandle("testing", path="testing.hdf5")).read()
    assert found.npdf == 60 and np.array_equal(np.ravel(found.ancil["id"]), np.arange(60))
    assert np.corrcoef(np.ravel(found.ancil["zmode"]), z)[0, 1] > 0.9


@pytest.mark.filterwarnings("default")
def test_scenes_of_a_file_become_pz_of_every_source(tmp_path, monkeypatch):
    from rail.core.data import TableHandle
    from rail.evaluation.dist_to_point_evaluator import DistToPointEvaluator

    from rail.estimation.algos.skyloom_scenes import SkyloomSceneEstimator, SkyloomSceneInformer
    from skyloom.errors import InputError
    from tests.unit.scene_files import TINY, placed

    monkeypatch.chdir(tmp_path)
    (training,), (labels,) = placed("a", n=3)
    (held,), (held_labels,) = placed("b", n=2, seed=1)
    inform = SkyloomSceneInformer.make_stage(
        name="inform", model="model.pkl", hdf5_groupname="", labels=labels, validation=held, validation_labels=held_labels,
        options={**TINY, "steps": 30, "purity": 0.05, "lr": 4e-3}, gold_mag=27.0, seed=1)
    model = inform.inform(TableHandle("training", path=training))
    estimate = SkyloomSceneEstimator.make_stage(name="estimate", model=model, output="output.hdf5", hdf5_groupname="", zmax=3.0)
    output = estimate.estimate(TableHandle("testing", path=held))
    found = output.read()
    about = {name: np.ravel(found.ancil[name]) for name in ("id", "ra", "dec", "class", "p_star", "score")}
    assert found.npdf > 5 and all(len(values) == found.npdf for values in about.values())
    assert len(np.unique(about["id"])) == found.npdf and set(about["class"]) <= {0, 1}
    assert np.array_equal(about["class"], about["p_star"] > 0.5) and np.all(np.abs(about["ra"] - 150) < 0.1)
    truth = {"redshift": np.full(found.npdf, 0.7)}
    evaluate = DistToPointEvaluator.make_stage(name="evaluate", metrics=["cdeloss"], hdf5_groupname="", force_exact=True)
    results = evaluate.evaluate(output, TableHandle("truth", data=truth))
    loss = float(np.ravel(results["summary"].read()["cdeloss"])[0])
    edges = np.linspace(-1, 8, 1801)
    pz = np.diff(found.cdf(edges), axis=1)
    assert np.isfinite(loss) and loss == pytest.approx(histogram.cde_terms(pz, edges, truth["redshift"]).mean(), rel=0.2, abs=0.1)
    again = SkyloomSceneEstimator.make_stage(name="again", model=model, output="again.hdf5", hdf5_groupname="")
    with pytest.raises(InputError, match="reads them from a file"):
        again.estimate(TableHandle("memory", data=truth))


def test_a_file_of_another_group_is_one_sentence(tmp_path):
    from skyloom.errors import InputError
    from skyloom.train import ensemble

    with pytest.raises(InputError, match="no column `g`"):
        ensemble.fit({"photometry": np.zeros(3)}, ensemble.Columns(["g"], {}, []), np.zeros(3), {}, [1])
    with pytest.raises(InputError, match="no model of skyloom"):
        ensemble.predict({"kde": 1}, {})
