"""Learning curves: nested draws of training objects, the names of their trainings, what is told of them."""

import json
import shutil

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file

from skyloom import config as configuration
from skyloom import trainings
from skyloom.__main__ import main
from skyloom.errors import InputError
from skyloom.models import families
from skyloom.train import fitting
from skyloom.verbs.bench import synthetic


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
