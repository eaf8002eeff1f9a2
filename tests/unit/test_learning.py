"""Learning curves: nested draws of training objects, the names of their trainings, what is told of them."""

import json
import shutil
from statistics import NormalDist

import h5py
import numpy as np
import pandas
import pytest
from safetensors.numpy import load_file

from skyloom import config as configuration
from skyloom import store, trainings
from skyloom.__main__ import main
from skyloom.errors import InputError
from skyloom.models import families, tabular
from skyloom.provenance import finals
from skyloom.pz import distribution, evaluation, learning
from skyloom.release import curves, figures
from skyloom.train import ensemble, fitting
from skyloom.verbs import learning as verb
from skyloom.verbs.bench import synthetic
from tests.unit.test_figures import quick


class Split:
    """As much of a packed split as a draw looks at."""

    path = "training.hdf5"

    def __init__(self, ids):
        self.columns = {"object_id": np.asarray(ids)}


def ids_of(split, objects, rows=None):
    rows = np.arange(len(split.columns["object_id"])) if rows is None else rows
    return split.columns["object_id"][fitting.drawn(split, rows, objects)]


def test_the_fewer_are_among_the_more_whatever_the_order_of_the_file():
    ids = np.random.default_rng(1).permutation(4_000).astype(np.int64) + (1 << 60)
    one, other = Split(ids), Split(np.sort(ids))
    draws = {n: set(ids_of(one, n)) for n in (50, 1_000, 3_000, 4_000)}
    assert draws[50] < draws[1_000] < draws[3_000] < draws[4_000]
    assert all(len(found) == n and found == set(ids_of(other, n)) for n, found in draws.items())
    # no stretch of ids is preferred: the mean rank of 1,000 of 4,000 scatters by 32
    assert abs(np.mean([i - (1 << 60) for i in draws[1_000]]) - 1999.5) < 130
    chosen = fitting.drawn(one, np.arange(4_000), 1_000)
    assert (np.diff(chosen) > 0).all()  # in the order of the file, as all rows are


def test_rows_that_nothing_is_learned_from_are_never_drawn():
    split = Split(np.arange(100))
    rows = np.arange(0, 100, 2)
    assert set(ids_of(split, 30, rows)) <= set(rows)
    assert np.array_equal(ids_of(split, None, rows), rows)


def test_fewer_objects_than_asked_are_a_sentence():
    with pytest.raises(InputError, match="has 100 objects with a redshift to learn from, fewer than the 101 of `objects`"):
        fitting.drawn(Split(np.arange(100)), np.arange(100), 101)


# the training and its settings


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    for k, (split, n) in enumerate((("training", 90), ("validation", 30))):
        synthetic(folder / f"{split}.hdf5", n, 8, seed=k)
    return folder


OPTIONS = {"max_epochs": 2, "batch_size": 16, "width": 16, "depth": 1}


def train(folder, out, expect=0, **options):
    settings = {"run": "t", "release": "", "model": "tabular_n40", "seed": 3, "threads": 1, "device": "cpu", "precision": "fp32",
                "options": {**OPTIONS, **options}}
    assert main(["train", "--settings", json.dumps(settings), "--training", str(folder / "training.hdf5"), "--validation",
                 str(folder / "validation.hdf5"), "--state", str(out / "state"), "--weights", str(out / "model.safetensors"),
                 "--card", str(out / "model.json"), "--history", str(out / "history.csv")]) == expect
    return out


def only(folder, out, objects):
    """A copy of packed files whose training file keeps the drawn objects alone."""
    shutil.copytree(folder, out)
    with h5py.File(out / "training.hdf5", "a") as handle:
        ids = handle["object_id"][:]
        rows = fitting.drawn(Split(ids), np.arange(len(ids)), objects)
        for name, values in [(name, one[:]) for name, one in handle.items() if len(one) == len(ids)]:
            attributes = dict(handle[name].attrs)
            del handle[name]
            handle[name] = values[rows]
            handle[name].attrs.update(attributes)
    return out


@pytest.mark.parametrize("more", [{}, {"refit": True}])
def test_a_training_of_objects_is_one_of_a_file_with_those_alone(packed, tmp_path, more):
    """With `refit` it learns from those objects to the end, and from nothing else."""
    drawn = train(packed, tmp_path / "a", objects=40, **more)
    alone = train(only(packed, tmp_path / "files", 40), tmp_path / "b", objects=40, **more)
    weights = [load_file(out / "model.safetensors") for out in (drawn, alone)]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert (drawn / "history.csv").read_bytes() == (alone / "history.csv").read_bytes()
    assert json.loads((drawn / "model.json").read_text())["options"]["objects"] == 40
    whole = load_file(train(packed, tmp_path / "c", **more) / "model.safetensors")
    assert any(not np.array_equal(weights[0][name], whole[name]) for name in whole)


def test_a_card_says_from_how_many_objects_was_learned(packed, tmp_path):
    select = int((store.columns(packed / "validation.hdf5", ["subset"])["subset"] == "select").sum())
    for name, options, n in (("a", {"objects": 40}, 40), ("b", {}, 90), ("c", {"refit": True}, 90 + select)):
        out = train(packed, tmp_path / name, max_epochs=1, **options)
        assert json.loads((out / "model.json").read_text())["n_train"] == n


def test_too_few_objects_are_a_sentence(packed, tmp_path, capsys):
    train(packed, tmp_path / "a", 2, objects=3)
    assert "`objects` is 3, but from fewer than 5 objects nothing is learned" in capsys.readouterr().err


def test_an_estimator_of_columns_in_memory_draws_its_rows():
    rng = np.random.default_rng(0)
    z = rng.uniform(0.1, 1.0, 80)
    columns, read = {"g": 20 + z, "r": 19 + rng.normal(size=80)}, tabular.Columns(["g", "r"], {}, [])
    options = {"max_epochs": 1, "width": 16, "noise": 0.0, "objects": 40}
    rows = fitting.drawn(Split(np.arange(80)), np.arange(80), 40)
    some = ensemble.fit(columns, read, z, options, [1])
    alone = ensemble.fit({name: values[rows] for name, values in columns.items()}, read, z[rows], options, [1])
    assert some["members"] == alone["members"] != ensemble.fit(columns, read, z, {**options, "objects": None}, [1])["members"]


def test_the_verb_train_says_in_a_sentence_that_objects_lack(packed, tmp_path, capsys):
    train(packed, tmp_path / "a", 2, objects=91)
    assert "fewer than the 91 of `objects`" in capsys.readouterr().err
    assert not (tmp_path / "a" / "model.safetensors").exists()


def test_tune_sees_the_drawn_objects_alone(packed, tmp_path):
    def trials(folder, **options):
        given = {"noise": 0.0, "max_epochs": 2, "width": 16, "batch_size": 16, "depth": 1, **options}
        settings = {"run": "t", "release": "", "model": "tabular_n40", "options": given, "seed": 1, "threads": 1, "folds": 2,
                    "share": 1.0, "device": "cpu"}
        assert main(["tune", "--settings", json.dumps(settings), "--training", str(folder / "training.hdf5"), "--out",
                     str(tmp_path / "tuned.json")]) == 0
        return json.loads((tmp_path / "tuned.json").read_text())["trials"]

    alone = trials(only(packed, tmp_path / "files", 40))
    assert trials(packed, objects=40) == alone != trials(packed)


# names


def test_names_of_a_learning_curve_map_to_their_family():
    models = {"tabular": {"width": 32}, "tabular_b": {}, "galaxiesml_cnn": {}, "galaxiesml_nn": {}}
    found = trainings.learning(models, {"models": ["tabular", "tabular_b", "galaxiesml_cnn"], "sizes": [1000, 3000]})
    assert list(found) == ["tabular_n1000", "tabular_n3000", "tabular_b_n1000", "tabular_b_n3000", "galaxiesml_cnn_n1000",
                           "galaxiesml_cnn_n3000"]
    assert found["tabular_n3000"] == {"width": 32, "objects": 3000} and models["tabular"] == {"width": 32}
    assert [families.of(name).name for name in found] == ["tabular"] * 4 + ["galaxiesml_cnn"] * 2
    assert families.of("tabular_n3000").options(found["tabular_n3000"]).objects == 3000
    assert trainings.learning(models, {"models": [], "sizes": []}) == {}


def test_short_epochs_grow_in_number_where_steps_are_asked_for():
    models = {"galaxiesml_cnn": {"batch_size": 50, "max_epochs": 20}, "tabular": {}}
    block = {"models": list(models), "sizes": [1000, 3000], "steps": {"galaxiesml_cnn": 1000}}
    found = trainings.learning(models, block)  # 20 steps an epoch: 50 epochs; of 3,000 objects 20 epochs are 1,200 steps
    assert found["galaxiesml_cnn_n1000"] == {"batch_size": 50, "max_epochs": 50, "patience": 25, "objects": 1000}
    assert found["galaxiesml_cnn_n3000"] == {"batch_size": 50, "max_epochs": 20, "objects": 3000}
    assert found["tabular_n1000"] == {"objects": 1000}
    config(models=models, learning=block)
    with pytest.raises(InputError, match="`learning.steps` names tabular_b, which is no training of `learning.models`"):
        config(models=models | {"tabular_b": {}}, learning={**block, "steps": {"tabular_b": 9}})


def test_a_stack_is_a_point_of_the_curve_and_no_training():
    block = {"models": ["tabular", "tabular_b", "stack"], "sizes": [9]}
    models = {"tabular": {}, "tabular_b": {}}
    assert trainings.points(block)["stack_n9"] == ("stack", 9)
    assert list(trainings.learning(models, block)) == ["tabular_n9", "tabular_b_n9"]
    config(models=models, learning=block, stack={"models": ["tabular", "tabular_b"]})
    with pytest.raises(InputError, match="names stack, which is no model"):
        config(models=models, learning=block)
    with pytest.raises(InputError, match="names stack, but not its member tabular_b"):
        config(models=models, learning={**block, "models": ["tabular", "stack"]}, stack={"models": ["tabular", "tabular_b"]})


def config(**more):
    return configuration.complete({"run": "t", "archive": "embedded", "models": {"tabular": {}}, **more})


def test_a_learning_curve_that_can_not_be_made_is_a_sentence():
    assert config()["learning"] == {"models": [], "sizes": []}
    for block, words in (({"models": ["tabular"]}, "names models but no sizes"), ({"sizes": [9]}, "names sizes but no models"),
                         ({"models": ["tabulr"], "sizes": [9]}, "no model of `models` .did you mean `tabular`"),
                         ({"models": ["tabular"], "sizes": [0]}, "learning.sizes.0")):
        with pytest.raises(InputError, match=words):
            config(learning=block)
    with pytest.raises(InputError, match="`models.tabular_n9` has the name of a model of `learning`"):
        config(models={"tabular": {}, "tabular_n9": {}}, learning={"models": ["tabular"], "sizes": [9]})


# what is told of them


def block(z, sigma, edges, zs):
    """What `evaluation.objects` says of Gaussian p(z) around z (n,), one width for all, as far as curves look at it."""
    pz = np.diff(np.array([[NormalDist(m, sigma).cdf(e) for e in edges] for m in z]), axis=1)
    return learning.said(evaluation.objects(z, distribution.Stored(len(z), "histogram", {"edges": edges}, lambda rows: {
        "pz": pz[rows], "edges": edges}), np.arange(len(z)), zs, edges))


def test_metrics_of_known_errors_are_closed_forms():
    """e is +-0.02 for most, 0.1 for every tenth and 0.3 for one in a hundred, with p(z) of one width everywhere."""
    n, sigma, edges = 400, 0.05, np.linspace(-1, 4, 1251)
    zs = np.linspace(0.3, 1.2, n)
    e = np.where(np.arange(n) % 2, 0.02, -0.02)
    e[::10], e[5::100] = 0.1, 0.3
    one = block(zs + e * (1 + zs), sigma, edges, zs)
    got = {(subset, metric, convention.split("|")[0]): (value, lo, hi, count) for subset, metric, convention, value, lo, hi, count
           in learning.rows(one, zs, {"faint": zs > 0.9}, 200)}
    middle = np.median(e)
    assert got["", "nmad", "1.4826mad(1+z)"][0] == pytest.approx(1.4826 * np.median(np.abs(e - middle)), abs=2e-3)
    assert got["", "bias", "mean(1+z)"][0] == pytest.approx(e.mean(), abs=1e-4)
    assert got["", "outlier_fraction", "0.05"][0] == pytest.approx(0.11)
    assert got["", "outlier_fraction", "0.15"][0] == pytest.approx(0.01)
    miss = e * (1 + zs) / sigma  # integral of p^2 is 1 / (2 sigma sqrt(pi)), the density at the truth a Gaussian's
    cde = 1 / (2 * sigma * np.sqrt(np.pi)) - 2 * np.mean(np.exp(-miss**2 / 2)) / (sigma * np.sqrt(2 * np.pi))
    assert got["", "cde_loss", "histogram"][0] == pytest.approx(cde, rel=2e-3)
    pit = np.sort([NormalDist().cdf(-m) for m in miss])
    ks = max((np.arange(1, n + 1) / n - pit).max(), (pit - np.arange(n) / n).max())
    assert got["", "pit_ks", "D"][0] == pytest.approx(ks, abs=2e-3)
    assert got["faint", "bias", "mean(1+z)"][3] == (zs > 0.9).sum() and got["", "nmad", "1.4826mad(1+z)"][3] == n
    value, lo, hi, _ = got["", "outlier_fraction", "0.05"]
    assert lo < value < hi and hi - lo == pytest.approx(2 * 1.96 * np.sqrt(0.11 * 0.89 / n), rel=0.3)


def points_of(z):
    return {"point": "mean", "z": np.asarray(z, float)}


def test_pairs_hold_what_two_models_share():
    """Errors that are the same but for a factor: the ratio is exact, and its interval narrow though each NMAD's is wide."""
    rng = np.random.default_rng(2)
    zs = rng.uniform(0.2, 1.0, 500)
    e = rng.normal(0, 0.03, 500)
    b, a = points_of(zs + e * (1 + zs)), points_of(zs + 0.8 * e * (1 + zs))
    got = {row[1]: row[3:] for row in learning.compared(a, b, zs, {}, 300) if row[1] != "outlier_fraction"}
    difference, lo, hi, ratio, ratio_lo, ratio_hi, n = got["nmad"]
    assert ratio == pytest.approx(0.8) and ratio_lo == pytest.approx(0.8) and ratio_hi == pytest.approx(0.8) and n == 500
    assert lo < difference < hi < 0
    assert np.isnan(got["bias"][3:6]).all() and "cde_loss" not in got


def test_nine_of_ten_paired_intervals_and_more_hold_the_truth():
    """Two estimators with independent errors of 0.030 and 0.027: over fresh samples the difference of their true NMAD, 0.003,
    lies in nearly all 95 % intervals."""
    rng, inside = np.random.default_rng(3), 0
    for k in range(100):
        zs = rng.uniform(0.2, 1.0, 300)
        a, b = (points_of(zs + rng.normal(0, s, 300) * (1 + zs)) for s in (0.027, 0.030))
        row = next(row for row in learning.compared(a, b, zs, {}, 200, seed=k) if row[1] == "nmad")
        inside += row[4] <= -0.003 <= row[5]
    assert 90 <= inside <= 100


def seeds_of(zs, rng, sigma, count=3, between=0.0):
    """`said` of trainings whose errors scatter by sigma over objects and whose bias scatters `between` them."""
    return [points_of(zs + (rng.normal(0, sigma, len(zs)) + rng.normal(0, between)) * (1 + zs)) for _ in range(count)]


def test_intervals_over_seeds_hold_the_scatter_of_trainings():
    """Trainings that differ by a bias of 0.01: the objects alone would know the difference of biases to 0.001."""
    rng, inside, narrow = np.random.default_rng(7), 0, 0
    for k in range(40):
        zs = rng.uniform(0.2, 1.0, 150)
        a, b = (seeds_of(zs, rng, 0.01, 6, 0.01) for _ in range(2))
        row = next(row for row in learning.over_seeds(a, b, zs, {}, 100, k) if row[1] == "bias")
        inside += row[4] <= 0 <= row[5]
        one = next(row for row in learning.compared(a[0], b[0], zs, {}, 100, k) if row[1] == "bias")
        narrow += one[4] <= 0 <= one[5]
        values = [np.mean((said["z"] - zs) / (1 + zs)) for said in (*a, *b)]
        assert row[3] == pytest.approx(np.mean(values[:6]) - np.mean(values[6:]))
    assert inside >= 34 and narrow < 20, (inside, narrow)  # six seeds of each: a little fewer than 95 %
    same = seeds_of(zs, rng, 0.02, 1)
    other = points_of(zs + 0.01)
    assert str(learning.over_seeds(same, [other], zs, {}, 50)) == str(learning.compared(same[0], other, zs, {}, 50))


def test_objects_without_a_point_and_empty_subsets_are_counted_as_such():
    zs = np.linspace(0.2, 1, 50)
    z = zs + 0.01
    z[:20] = np.nan
    low = zs < zs[20]
    got = {(row[0], row[1]): row for row in learning.rows(points_of(z), zs, {"low": low}, 50)}
    assert got["", "bias"][-1] == 30 and got["low", "bias"][-1] == 0 and np.isnan(got["low", "bias"][3:6]).all()
    pair = learning.compared(points_of(z), points_of(zs), zs, {}, 50)
    assert {row[-1] for row in pair} == {30} and np.isnan(pair[0][6])  # nothing to divide by: the other is perfect


# cells of colour


def sky(n, seed):
    """(colours (n, 2), z): z scatters by 0.1 about a function of the colours."""
    rng = np.random.default_rng(seed)
    colours = rng.normal(size=(n, 2))
    return colours, 1 + 0.2 * colours[:, 0] + rng.normal(0, 0.1, n)


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0])
def test_the_slope_is_how_far_an_estimator_is_pulled_to_the_mean_of_a_cell(factor):
    training, (colours, zs) = sky(2_000, 1)[0], sky(1_500, 2)
    cell = learning.cells(training, colours)
    means = np.bincount(cell, zs) / np.bincount(cell)
    z = means[cell] + factor * (zs - means[cell])
    slope, lo, hi, n, count = learning.attenuation(z, zs, cell, 200)  # z_spec far from its cell isn't looked at
    assert slope == pytest.approx(factor, abs=1e-9) and lo == pytest.approx(factor) and hi == pytest.approx(factor)
    far = np.abs(zs - np.array([np.median(zs[cell == k]) for k in range(cell.max() + 1)])[cell])
    assert n == (far <= 3 * 1.4826 * np.median(far)).sum() > 1_470 and count == cell.max() + 1 > 10
    rng, inside = np.random.default_rng(4), 0
    for _ in range(20):
        noisy, lo, hi, *_ = learning.attenuation(z + rng.normal(0, 0.05, 1_500), zs, cell, 200)
        inside += lo < factor < hi
        assert hi - lo == pytest.approx(2 * 1.96 * 0.05 / ((zs - means[cell]).std() * np.sqrt(1_500)), rel=0.3)
    assert inside >= 16


def test_wrong_spectroscopic_redshifts_do_not_pass_for_attenuation():
    """One in a hundred anywhere: perfect redshifts keep the slope 1, halved ones one half."""
    training, (colours, zs) = sky(8_000, 1)[0], sky(3_000, 2)
    rng = np.random.default_rng(8)
    told = np.where(rng.random(3_000) < 0.01, rng.uniform(0, 2.5, 3_000), zs)
    cell = learning.cells(training, colours)
    means = np.bincount(cell, zs) / np.bincount(cell)
    for factor in (1.0, 0.5):
        slope, lo, hi, n, _ = learning.attenuation(means[cell] + factor * (zs - means[cell]), told, cell, 200)
        assert slope == pytest.approx(factor, abs=0.02) and lo <= factor + 0.01 and 2_850 < n < 3_000
    x, y = told - means[cell], zs - means[cell]
    assert (x * y).sum() / (x**2).sum() < 0.9  # what all of them would give


def test_the_finer_the_cells_the_less_is_left_of_an_estimator_that_knows_colours_alone():
    training, (colours, zs) = sky(8_000, 6)[0], sky(3_000, 5)
    z = 1 + 0.2 * colours[:, 0]
    assert np.polyfit(zs, z, 1)[0] > 0.7
    slopes = [learning.attenuation(z, zs, learning.cells(training, colours, least), 0)[0] for least in (2_000, 250, 30)]
    assert 0.7 > slopes[0] > slopes[1] > slopes[2] > 0 and slopes[2] < 0.15, slopes


def test_cells_hold_many_training_objects_and_lack_those_without_a_colour():
    training, colours = sky(1_000, 1)[0], sky(300, 2)[0]
    colours[:7, 1] = np.nan
    cell = learning.cells(training, colours, 50)
    assert (cell[:7] == -1).all() and (cell[7:] >= 0).all()
    counts = np.bincount(learning.cells(training, training, 50))
    assert counts.min() >= 50 and counts.max() < 110 and counts.sum() == 1_000
    assert (learning.cells(training[:80], colours, 50)[7:] == 0).all()  # too few to halve
    assert (learning.cells(np.ones((500, 2)), np.ones((9, 2))) == 0).all()  # nothing to cut
    assert (learning.cells(np.zeros((500, 0)), np.zeros((9, 0))) == 0).all()  # one band
    assert np.isnan(learning.attenuation(np.ones(9), np.ones(9), np.full(9, -1), 10)[:3]).all()
    assert np.isnan(learning.attenuation(np.ones(9), np.ones(9), np.zeros(9, int), 10)[0])  # all at one redshift


# the verb


EDGES = np.linspace(0, 2, 201)


def results(folder, sizes=(40, 80), seeds=(1, 2), models=("tabular", "galaxiesml_nn")):
    """Files of a learning curve on 60 testing objects: errors shrink with the size, and `galaxiesml_nn` gives a point alone."""
    for k, (split, n) in enumerate((("training", 300), ("testing", 60))):
        synthetic(folder / f"{split}.hdf5", n, 8, seed=k)
    known = store.columns(folder / "testing.hdf5", ["object_id", "specz_redshift"])
    zs, shape = known["specz_redshift"], {"predictions": [], "cards": [], "histories": []}
    for model in models:
        for size in sizes:
            for seed in seeds:
                place = folder / f"{model}_n{size}" / f"seed{seed}"
                place.mkdir(parents=True)
                z = zs + np.random.default_rng(seed).normal(0, 1 / size, len(zs)) * (1 + zs)
                arrays = {"object_id": known["object_id"], "split": np.array(["testing"] * len(zs)), "z": z}
                if model == "tabular":
                    pz = np.diff(np.array([[NormalDist(m, 0.03).cdf(e) for e in EDGES] for m in z]), axis=1)
                    arrays |= {"pz": pz.astype(np.float32), "edges": EDGES}
                store.write_columns(place / "predictions.h5", arrays, {"model": f"{model}_n{size}", "seed": seed})
                options = {"batch_size": 16, **({"batches": 7} if model == "galaxiesml_nn" else {})}
                card = {"model": f"{model}_n{size}", "seed": seed, "options": options}
                (place / "model.json").write_text(json.dumps(card), encoding="utf-8")
                (place / "history.csv").write_text("epoch,train_loss,select_loss\n0,1,0.5\n1,0.9,0.25\n", encoding="utf-8")
                for name, file in zip(shape, ("predictions.h5", "model.json", "history.csv"), strict=True):
                    shape[name].append(str(place / file))
    return shape


def learn(folder, files, expect=0, sizes=(40, 80), more=(), **settings):
    settings = {"run": "t", "release": "", "models": ["tabular", "galaxiesml_nn"], "sizes": list(sizes), "seed": 1,
                "bootstrap": 60, "bins": {"specz_redshift": [0.0, 0.5, 9.0]}, "grid": [0, 2, 0.01], **settings}
    given = [word for name, paths in files.items() for word in (f"--{name}", *paths)]
    assert main(["learning", "--settings", json.dumps(settings), *given, "--training", str(folder / "training.hdf5"), "--testing",
                 str(folder / "testing.hdf5"), "--folder", str(folder / "out"), *more]) == expect


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curves")
    files = results(folder)
    final = ("--final", str(folder / "final_runs.csv"))
    learn(folder, files, more=final, table="testing (learning)", config_hash="abc")
    return folder, files


def test_the_tables_hold_every_model_size_and_seed(told):
    folder, _ = told
    frame = pandas.read_csv(folder / "out" / "learning.csv", keep_default_na=False, na_values=["NaN"])
    assert list(frame) == ["model", "n_train", "seed", "split", "subset", "metric", "convention", "value", "lo95", "hi95", "n"]
    whole = frame[(frame["subset"] == "") & (frame["metric"] == "nmad")]
    assert {tuple(row) for row in whole[["model", "n_train", "seed"]].astype(str).to_numpy()} == {
        (model, size, seed) for model in ("tabular", "galaxiesml_nn") for size in ("40", "80") for seed in ("1", "2", "ensemble")}
    assert set(frame["subset"]) == {"", "specz_redshift [0, 0.5)", "specz_redshift [0.5, 9)"}
    parts = frame[(frame["seed"] == "ensemble") & (frame["metric"] == "bias") & (frame["n_train"] == 40)].groupby("model")["n"]
    assert (parts.sum() == 120).all()  # all, and the two bins that share them
    assert set(frame.loc[frame["model"] == "galaxiesml_nn", "convention"].str.split("|").str[-1]) == {
        "mean"} and "cde_loss" not in set(frame.loc[frame["model"] == "galaxiesml_nn", "metric"])
    nmad = whole[(whole["seed"] == "1") & (whole["model"] == "galaxiesml_nn")].set_index("n_train")["value"].astype(float)
    assert nmad[40] == pytest.approx(2 * nmad[80], rel=1e-6)
    assert (frame["seed"][:8] == "ensemble").all() and (frame["subset"][:8] == "").all()


def test_every_model_is_set_against_those_named_before_it(monkeypatch):
    monkeypatch.setattr(verb.learning, "over_seeds", lambda ours, theirs, *rest: [(ours, theirs)])
    said = {(model, size): f"{model}{size}" for model in "abc" for size in (10, 20) if (model, size) != ("a", 20)}
    rows = verb._pairs(said, ["a", "b", "c"], None, {}, 1, 0)
    assert rows == [("b", "a", 10, "b10", "a10"), ("c", "a", 10, "c10", "a10"), ("c", "b", 10, "c10", "b10"),
                    ("c", "b", 20, "c20", "b20")]


def test_pairs_are_with_the_first_model_at_the_same_size(told):
    frame = pandas.read_csv(told[0] / "out" / "learning_paired.csv", keep_default_na=False, na_values=["NaN", ""])
    assert set(frame["model_a"]) == {"galaxiesml_nn"} and set(frame["model_b"]) == {"tabular"}
    assert set(frame["n_train"]) == {40, 80}
    assert {tuple(row) for row in frame[["of", "n_train"]].to_numpy()} == {
        (of, size) for of in ("ensemble", "seeds") for size in (40, 80)}
    row = frame[(frame["metric"] == "nmad") & (frame["n_train"] == 40)].iloc[0]
    assert row["convention"] == "1.4826mad(1+z)|mean-median" and row["n"] == 60
    assert row["difference_lo95"] <= row["difference"] <= row["difference_hi95"]
    cells = pandas.read_csv(told[0] / "out" / "learning_attenuation.csv")
    assert len(cells) == 4 and (cells["cells"] >= 1).all() and cells["slope"].between(0.8, 1.2).all()


def test_steps_are_epochs_times_batches(told):
    frame = pandas.read_csv(told[0] / "out" / "learning_steps.csv")
    got = {(row.model, row.n_train, row.seed): [] for row in frame.itertuples()}
    for row in frame.itertuples():
        got[row.model, row.n_train, row.seed].append((row.step, row.select_loss))
    assert got["tabular", 40, 1] == [(3, 0.5), (6, 0.25)] and got["tabular", 80, 2] == [(5, 0.5), (10, 0.25)]
    assert got["galaxiesml_nn", 80, 1] == [(7, 0.5), (14, 0.25)] and len(got) == 8


def test_a_final_look_is_counted(told):
    lines = (told[0] / "final_runs.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "time,run,table,config_hash" and len(lines) == 2
    assert lines[1].split(",")[1:] == ["t", "testing (learning)", "abc"]
    finals.count(told[0] / "final_runs.csv", {"run": "t", "table": "other", "config_hash": "d"})
    assert (told[0] / "final_runs.csv").read_text(encoding="utf-8").splitlines()[:2] == lines


def test_figures_are_drawn_whatever_the_tables_hold(told, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "_save", quick)
    for name in ("learning", "learning_steps"):
        assert (told[0] / "out" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    frame = pandas.read_csv(told[0] / "out" / "learning.csv", keep_default_na=False, na_values=["NaN"])
    history = pandas.read_csv(told[0] / "out" / "learning_steps.csv")
    for k, (one, other) in enumerate(((frame.assign(value=np.nan), history.assign(select_loss=np.nan)),
                                      (frame.assign(lo95=np.nan), history.head(1)), (frame.head(0), history.head(0)))):
        curves.learning(one, tmp_path / f"a{k}.png")
        curves.steps(other, tmp_path / f"b{k}.png")


def test_predictions_that_lack_or_are_too_many_are_a_sentence(told, tmp_path, capsys):
    folder, files = told
    learn(folder, files, 2, sizes=(40, 80, 160))
    assert "there are no predictions of tabular_n160, which `learning` names" in capsys.readouterr().err
    learn(folder, files, 2, sizes=(40,))
    assert "holds predictions of tabular_n80, which is none of `learning`" in capsys.readouterr().err
