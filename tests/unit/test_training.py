"""The training state and the loop where little or nothing counts: what decides a key, dropout, losses that aren't numbers."""

import copy
import json
import math
import re
import shutil
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from skyloom import store
from skyloom.__main__ import main
from skyloom.errors import InputError
from skyloom.models import convnext, families, galaxiesml, tabular
from skyloom.models.card import Card
from skyloom.models.families._mantis import Options
from skyloom.models.family import Arrays, Training
from skyloom.models.heads import Head
from skyloom.train import ensemble, loop, tuning
from skyloom.train.state import State, key
from skyloom.verbs.bench import synthetic

CPU = torch.device("cpu")


@pytest.fixture()
def folder(tmp_path):
    """Training and validation of magnitudes; tiny stamps that no test looks at."""
    for k, (split, n) in enumerate((("training", 60), ("validation", 30))):
        synthetic(tmp_path / f"{split}.hdf5", n, 8, seed=k)
    return tmp_path


def change(path, **columns):
    """Overwrite columns of a packed file by functions of their values."""
    with h5py.File(path, "a") as handle:
        for name, edit in columns.items():
            values = store.column(handle, name)
            del handle[name]
            store.put(handle, name, edit(values))


def train(folder, out, model="tabular", expect=0, more=(), **options):
    settings = {"run": "t", "release": "", "model": model, "seed": 3, "threads": 1, "device": "cpu", "precision": "fp32",
                "options": {"max_epochs": 4, "batch_size": 16, **({"width": 16} if model == "tabular" else {}), **options}}
    assert main(["train", "--settings", json.dumps(settings), "--training", str(folder / "training.hdf5"), "--validation",
                 str(folder / "validation.hdf5"), "--state", str(out / "state"), "--weights", str(out / "model.safetensors"),
                 "--card", str(out / "model.json"), "--history", str(out / "history.csv"), *more]) == expect
    return out


def sentence(capsys) -> str:
    text = capsys.readouterr().err.splitlines()[-1]
    assert text.startswith("skyloom: ") and "Traceback" not in text
    return text


def outputs(folder):
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "history.csv", "model.json")}


class Killed(BaseException):
    """As a signal would."""


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_killed_training_with_dropout_ends_with_the_same_bytes(folder, monkeypatch, epoch):
    """A new process draws other random numbers than the old one would have: the state keeps where they stand."""
    whole = outputs(train(folder, folder / "whole", dropout=0.4))
    saved = State.save

    def save(self, state):
        saved(self, state)
        if state["epoch"] == epoch:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(State, "save", save)
        with pytest.raises(Killed):
            train(folder, folder / "killed", dropout=0.4)
    torch.rand(7)
    assert outputs(train(folder, folder / "killed", dropout=0.4)) == whole


def test_a_run_killed_before_it_had_a_best_epoch_goes_on_with_its_weights():
    model, states = torch.nn.Linear(1, 1), []
    data = Arrays(None, torch.ones(8, 1), torch.ones(8))

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, image, table):
            return self.inner(table)[:, 0]

    def loss(out, z):
        return ((out - z) ** 2).mean() if out.requires_grad else out.mean() * math.nan

    given = Training(lr=0.1, batch_size=4, max_epochs=2)
    with pytest.raises(InputError, match="the loss on `select` was finite in none of 2 epochs"):
        loop.fit(Net(), loss, data, data, given, 1, CPU, "fp32", save=lambda state: states.append(copy.deepcopy(state)),
                 tell=lambda text: None)
    after = model.weight.item()
    torch.nn.init.zeros_(model.weight)
    with pytest.raises(InputError, match="finite in none"):
        loop.fit(Net(), loss, data, data, given, 1, CPU, "fp32", load=lambda: states[0], tell=lambda text: None)
    assert model.weight.item() == after


def test_the_key_holds_the_content_of_files_and_torch(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"one")

    def now():
        return key({"run": "t"}, {"lr": 1}, "", CPU, {"pretrained": str(path)}, data="d")

    first = now()
    assert now() == first
    path.write_bytes(b"two")
    second = now()
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    assert len({first, second, now()}) == 3
    path.unlink()
    with pytest.raises(InputError, match="`pretrained` is .*weights.safetensors, which does not exist"):
        now()


def test_another_file_of_published_weights_starts_a_new_training(tmp_path):
    """Same path, same config, other content."""
    from tests.unit.test_fusion import write

    for k, (split, n) in enumerate((("training", 12), ("validation", 8))):
        write(tmp_path / f"{split}.hdf5", n, k + 1, split, surveys=("unwise",))
    options = {"encoder": "atto", "bins": 4, "hidden": 8, "batches": 1, "batch_size": 4, "max_epochs": 1, "view": 15,
               "augment": False, "surveys": ["unwise"], "pretrained_small": str(tmp_path / "p.safetensors")}
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        save_file({k: v.contiguous() for k, v in convnext.ConvNeXt("atto", 3, patch=1).state_dict().items()},
                  tmp_path / "p.safetensors")
        out = train(tmp_path, tmp_path / "m", "mantis_late", **options)
        found.append(((out / "model.safetensors").read_bytes(), json.loads((out / "model.json").read_text())["pretrained"]))
    assert found[0][0] != found[1][0] and found[0][1]["p.safetensors"] != found[1][1]["p.safetensors"]
    assert len(list((tmp_path / "m" / "state").glob("*.pt"))) == 1  # the earlier state is gone


def test_states_of_a_model_whose_name_goes_on_stay(tmp_path):
    for model, digits in (("tabular", "a" * 16), ("tabular", "b" * 16), ("tabular_seed1_b", "c" * 16)):
        (tmp_path / f"{model}_seed1_{digits}.pt").write_bytes(b"")
    State(tmp_path, "tabular", 1, "a" * 16).forget_others()
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == [
        f"tabular_seed1_{'a' * 16}.pt", f"tabular_seed1_b_seed1_{'c' * 16}.pt"]


def test_a_full_disk_is_told_as_one(tmp_path, monkeypatch):
    def fail(value, path):
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", fail)
    state = State(tmp_path, "m", 1, "k")
    with pytest.raises(RuntimeError):
        state.save({"best": 1.0})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(OSError, match="failed writing"):
        state.save({"best": 1.0})


@pytest.mark.parametrize(("model", "options"), [
    ("galaxiesml_nn", {"head": "mixture"}), ("tabular", {}), ("tabular", {"refit": True})])
def test_a_training_that_diverges_is_one_sentence(folder, capsys, model, options):
    train(folder, folder / "m", model, 2, lr=1e30, schedule="constant", **options)
    assert "the training loss is " in sentence(capsys)
    assert not (folder / "m" / "model.safetensors").exists() and not (folder / "m" / "model.json").exists()


def test_a_training_that_diverges_late_keeps_its_best_weights_and_says_so():
    """Epoch 3 loses its way; the weights are those of before."""
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(1, 1)

        def forward(self, image, table):
            return self.head(table)[:, 0]

    calls, told, data = [], [], Arrays(None, torch.ones(8, 1), torch.ones(8))

    def loss(out, z):
        calls.append(out.requires_grad)
        value = ((out - z) ** 2).mean()
        return value * math.nan if sum(calls) > 4 else value

    net = Net()
    history, best = loop.fit(net, loss, data, data, Training(lr=0.1, batch_size=4, max_epochs=9), 1, CPU, "fp32",
                             tell=told.append)
    assert best == 1 and len(history) == 3 and math.isnan(history[-1]["train_loss"]) and "is nan: the training ends" in told[-1]
    assert all(torch.isfinite(p).all() for p in net.parameters())


def test_tuning_passes_over_losses_that_are_no_numbers():
    best, rows = tuning.search(lambda s: [s["a"] * 1.0] * 3 if s["a"] < 3 else [math.nan] * 3, (("a", (4, 3, 2, 1)),))
    assert best == {"a": 4} and len(rows) == 2  # two in a row: the path ends
    best, _ = tuning.search(lambda s: [s["a"] * 1.0] * 3 if s["a"] < 3 else [math.nan] * 3, (("a", (3, 2, 5, 1)),))
    assert best == {"a": 2}
    with pytest.raises(InputError, match="the training loss is"):
        columns = {"g": np.linspace(18, 22, 50), "r": np.linspace(17, 22, 50)}
        ensemble.fit(columns, ensemble.Columns(["g", "r"], {}, []), np.linspace(0.1, 1, 50),
                     {"lr": 1e30, "max_epochs": 3, "schedule": "constant"}, [1])


def test_a_mean_is_taken_over_the_rows_that_count():
    """Two batches, in one of which nothing counts, and one with a single row that does."""
    head = Head("binned", 4, 0.0, 1.0)
    z = torch.tensor([5.0] * 4 + [0.1, 0.3, 0.6, 0.9] + [7.0, 7.0, 7.0, 0.2] + [0.4])
    data = Arrays(None, torch.arange(13.0)[:, None], z, counts=head.counts(z))

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(1, 4)

        def forward(self, image, table):
            return self.head(table)

    torch.manual_seed(0)
    net = Net()
    found = loop.evaluate(net, head.loss, data, 4, CPU, "fp32")
    good = data.counts
    with torch.no_grad():
        assert found == pytest.approx(head.loss(net(None, data.table[good]), z[good]).item(), rel=1e-5)
    assert math.isnan(loop.evaluate(net, head.loss, Arrays(None, data.table[:4], z[:4], counts=good[:4]), 4, CPU, "fp32"))
    history, _ = loop.fit(net, head.loss, data, data, Training(lr=1e-3, batch_size=1, max_epochs=2), 1, CPU, "fp32",
                          tell=lambda text: None)
    assert all(math.isfinite(row["train_loss"]) and math.isfinite(row["select_loss"]) for row in history)


@pytest.mark.parametrize("weight", [[0.0] * 4, [1.0, math.nan, 1.0, 1.0], [1.0, -1.0, 1.0, 1.0]])
def test_weights_that_tell_nothing_are_one_sentence(weight):
    data = Arrays(None, torch.zeros(4, 1), torch.zeros(4), weight=torch.tensor(weight))
    with pytest.raises(InputError, match="no object to learn from has a class or a weight above 0"):
        loop._order(data, Training(), torch.Generator())


def test_classes_of_which_none_occurs_are_one_sentence():
    data = Arrays(None, torch.zeros(4, 1), torch.full((4,), -1))
    with pytest.raises(InputError, match="no object to learn from has a class"):
        loop._order(data, Options(batches=2, batch_size=3), torch.Generator())


@pytest.mark.parametrize("model", ["galaxiesml_nn", "tabular"])
def test_objects_without_a_redshift_teach_nothing(folder, tmp_path, model):
    """They used to make every weight of GalaxiesML's networks a NaN."""
    whole = train(folder, folder / "whole", model)
    for split in ("training", "validation"):
        change(folder / f"{split}.hdf5", specz_redshift=lambda z: np.where(np.arange(len(z)) < 3, np.nan, z))
    out = train(folder, folder / "some", model)
    assert np.isfinite(np.loadtxt(out / "history.csv", delimiter=",", skiprows=1)).all()
    assert (out / "model.safetensors").read_bytes() != (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("columns", "options", "words"), [
    ({"validation": {"specz_redshift": lambda z: z * np.nan}}, {}, "has 0 objects with a redshift to learn from"),
    ({"training": {"specz_redshift": lambda z: z * np.nan}}, {}, "has 0 objects with a redshift to learn from"),
    ({"validation": {"specz_redshift": lambda z: z + 9}}, {"head": "binned"}, r"has a redshift that lies in 0.0\d* <= z <"),
    ({"validation": {"subset": lambda s: np.full(len(s), "calibrate", object)}}, {}, "no object of subset `select`")])
@pytest.mark.parametrize("model", ["galaxiesml_nn", "tabular"])
def test_a_split_of_which_nothing_counts_is_one_sentence(folder, capsys, model, columns, options, words):
    for split, edits in columns.items():
        change(folder / f"{split}.hdf5", **edits)
    train(folder, folder / "m", model, 2, **options)
    assert re.search(words, sentence(capsys))


def test_a_file_without_magnitudes_is_one_sentence(folder, capsys):
    with h5py.File(folder / "training.hdf5", "a") as handle:
        handle.attrs["magnitude_columns"] = ""
    for model in ("galaxiesml_nn", "tabular"):
        train(folder, folder / "m", model, 2)
        assert "holds no magnitudes" in sentence(capsys)


def test_a_wrong_option_is_one_sentence(folder, capsys):
    train(folder, folder / "m", "tabular", 2, encoder="atto")
    assert "the model family tabular has no option `encoder`" in sentence(capsys)


@pytest.mark.parametrize("size", [1, 59])
def test_batches_of_one_object(folder, size):
    """60 rows in batches of 59 leave one alone."""
    out = train(folder, folder / "m", "galaxiesml_nn", batch_size=size, max_epochs=1)
    assert np.isfinite(np.loadtxt(out / "history.csv", delimiter=",", skiprows=1)).all()


def test_all_redshifts_alike(folder):
    """Nothing to learn, but nothing to die of."""
    for split in ("training", "validation"):
        change(folder / f"{split}.hdf5", specz_redshift=lambda z: np.full(len(z), 0.5))
    for head in ("binned", "mixture", "quantile"):
        out = train(folder, folder / head, "tabular", head=head, max_epochs=1)
        assert np.isfinite(np.loadtxt(out / "history.csv", delimiter=",", skiprows=1)).all()


def test_no_row_to_predict_gives_an_empty_form(folder):
    from skyloom.train import data, estimation

    for model, names in (("galaxiesml_nn", {"z"}), ("tabular", {"z", "weights", "means", "stds"})):
        out = train(folder, folder / model, model, max_epochs=1)
        card = Card.read(json.loads((out / "model.json").read_text()))
        family = families.of(model)
        split = data.of_card(folder / "validation.hdf5", card)
        split.columns, split.n = {name: values[:0] for name, values in split.columns.items()}, 0
        found = estimation.predicted(family, family.build(card), card, split, CPU)
        assert set(found) == names and len(found["z"]) == 0


def test_the_papers_loss_is_the_point_networks(folder):
    card = Card("galaxiesml_nn", families.options("galaxiesml_nn", {}))
    assert families.of("galaxiesml_nn").loss(card) is galaxiesml.loss


def test_noise_follows_the_batch_to_its_device():
    """A training of `tabular` on CUDA died: its noise stayed on the CPU. Torch's device without memory stands for any other."""
    raw = torch.zeros(5, 12, device="meta")
    assert tabular.jitter(raw, 2, 0.7, torch.Generator().manual_seed(0)).device.type == "meta"
