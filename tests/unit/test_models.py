"""Networks, loss, scaling, training: sizes, closed forms, resume to the bit, and that shuffled redshifts ruin it."""

import dataclasses
import json
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch

from skyloom import store
from skyloom.__main__ import main
from skyloom.dataset import augment, read
from skyloom.models import families, galaxiesml, scaling
from skyloom.models.family import Training
from skyloom.train import loop
from skyloom.verbs.bench import synthetic


@pytest.mark.parametrize(("name", "size", "parameters"), [
    ("galaxiesml_nn", 64, 122_006), ("galaxiesml_cnn", 127, 7_151_073), ("galaxiesml_cnn", 64, 5_840_353)])
def test_published_sizes(name, size, parameters, capsys):
    assert main(["describe-model", name, "--size", str(size)]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == parameters


def test_tanh_after_pooling_is_the_same_function():
    x = torch.randn(3, 4, 8, 8)
    pool = torch.nn.MaxPool2d(2)
    assert torch.equal(torch.tanh(pool(x)), pool(torch.tanh(x)))


def test_the_loss_is_eq_1():
    assert galaxiesml.loss(torch.tensor([0.5]), torch.tensor([0.5])) == 0
    dz = 0.3 / 1.8 / 0.15
    assert galaxiesml.loss(torch.tensor([0.8]), torch.tensor([0.5])).item() == pytest.approx(1 - 1 / (1 + dz**2), rel=1e-6)
    assert torch.isfinite(galaxiesml.loss(torch.tensor([-1.0]), torch.tensor([0.5])))


def test_scaling_keeps_the_states_apart():
    train = {"g_mag": np.array([20.0, 22.0, 99.0, -99.0, 21.0]), "r_mag": np.array([19.0, 20.0, 21.0, 20.0, 20.0])}
    fitted = scaling.fit_table(train, "default", False)
    out = scaling.table(train, fitted)
    assert scaling.inputs(fitted) == out.shape[1] == 4  # two magnitudes, one indicator for each state of g
    assert out[2, 0] > out[1, 0] and out[3, 0] == 0  # undetected is fainter than the faintest, unobserved is the mean
    assert out[:, 2].tolist() == [0, 0, 1, 0, 0] and out[:, 3].tolist() == [0, 0, 0, 1, 0]
    assert np.isfinite(scaling.table({"g_mag": np.array([np.nan, np.inf]), "r_mag": np.array([20.0, -np.inf])}, fitted)).all()
    paper = scaling.fit_table({"r_mag": train["r_mag"]}, "paper", False)
    assert scaling.table(train, paper)[:, 0].tolist() == [0, 0.5, 1, 0.5, 0.5]
    assert scaling.image(np.full((1, 1, 2, 2), 255.0), {"kind": "paper"}).max() == 1


def test_ivar_channels_tell_depth_and_what_is_masked():
    ivar = np.full((3, 2, 8, 8), 0.25, np.float32)  # sigma 2
    fitted = {**scaling.fit_image(ivar, "default", True), "ivar": True}
    here = ivar[:1].copy()
    here[0, 0, 0, 0], here[0, 1] = 0.0, 2.5
    out = scaling.image(np.zeros((1, 2, 8, 8), np.float32), fitted, here)
    assert out.shape == (1, 4, 8, 8) and (out[0, :2] == 0).all()
    assert out[0, 2, 0, 0] == scaling.DARK and out[0, 2, 1, 1] == pytest.approx(0, abs=1e-5)
    assert out[0, 3, 0, 0] == pytest.approx(1.25)  # ten times the weight: 1.25 mag deeper
    assert scaling.channels(["g", "r"], fitted) == 4
    assert scaling.channels(["g", "r"], {**fitted, "ivar": False}) == 2
    paper = scaling.image(np.full((1, 2, 8, 8), 255.0), scaling.fit_image(ivar, "paper", True), here)
    assert paper.shape == (1, 4, 8, 8) and (paper[0, :2] == 1).all()


def test_a_weight_is_how_often_a_row_is_drawn():
    data = loop.Arrays(None, torch.zeros(1000, 1), torch.zeros(1000), weight=torch.cat([torch.zeros(500), torch.ones(500)]))
    order = loop._order(data, Training(), torch.Generator().manual_seed(0))
    assert len(order) == 1000 and order.min() >= 500 and len(order.unique()) > 250


def test_image_scaling_measures_the_noise_and_keeps_empty_pixels_at_zero():
    ivar = np.full((3, 2, 4, 4), 0.25)
    ivar[0] = 0
    fitted = scaling.fit_image(ivar, "default")
    assert fitted["sigma"] == [2.0, 2.0]
    out = scaling.image(np.array([0.0, 6.0]).reshape(1, 1, 1, 2).repeat(2, 1), fitted)
    assert out[0, 0, 0, 0] == 0 and out[0, 0, 0, 1] == pytest.approx(np.arcsinh(1.0))


def test_the_eight_symmetries_are_eight_and_lose_no_pixel():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    seen = {tuple(augment.symmetry(image, k).flatten().tolist()) for k in range(8)}
    assert len(seen) == 8 and all(sorted(s) == list(range(9)) for s in seen)


def dataset(folder, n=160):
    """Synthetic training and validation files."""
    folder.mkdir(parents=True, exist_ok=True)
    synthetic(folder / "training.hdf5", n, 64, seed=0)
    synthetic(folder / "validation.hdf5", 60, 64, seed=1)
    return folder


def train(folder, out, model="galaxiesml_nn", expect=0, more=(), **options):
    settings = {"run": "t", "release": "", "model": model, "seed": 3, "threads": 1, "device": "cpu", "precision": "fp32",
                "options": {"max_epochs": 6, "batch_size": 32, **options}}
    arguments = ["train", "--settings", json.dumps(settings), "--training", str(folder / "training.hdf5"), "--validation",
                 str(folder / "validation.hdf5"), "--state", str(out / "state"), "--weights", str(out / "model.safetensors"),
                 "--card", str(out / "model.json"), "--history", str(out / "history.csv"), *more]
    assert main(arguments) == expect
    return out


def outputs(folder):
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "history.csv", "model.json")}


@pytest.mark.parametrize("moment", ["inside an epoch", "inside the checkpoint's write", "between two files"])
def test_a_killed_training_ends_with_the_same_bytes(tmp_path, monkeypatch, moment):
    folder = dataset(tmp_path / "data")
    whole = outputs(train(folder, tmp_path / "whole", "galaxiesml_cnn", max_epochs=3))

    class Killed(BaseException):
        pass

    calls = {"n": 0}
    with monkeypatch.context() as patch:
        if moment == "inside an epoch":
            real = galaxiesml.loss

            def loss(*args):
                calls["n"] += 1
                if calls["n"] == 9:
                    raise Killed
                return real(*args)

            patch.setattr(galaxiesml, "loss", loss)
        elif moment == "inside the checkpoint's write":
            real_save = torch.save

            def save(value, path):
                calls["n"] += 1
                if calls["n"] == 2:
                    path.write_bytes(b"half")
                    raise Killed
                real_save(value, path)

            patch.setattr(torch, "save", save)
        else:
            real_text = store.write_text

            def write_text(path, text):
                if str(path).endswith("history.csv"):
                    raise Killed
                real_text(path, text)

            patch.setattr(store, "write_text", write_text)
        with pytest.raises(Killed):
            train(folder, tmp_path / "killed", "galaxiesml_cnn", max_epochs=3)
    assert outputs(train(folder, tmp_path / "killed", "galaxiesml_cnn", max_epochs=3)) == whole


def test_the_seed_and_the_order_matter_but_nothing_else(tmp_path):
    folder = dataset(tmp_path / "data")
    first, again = (outputs(train(folder, tmp_path / name)) for name in "ab")
    assert first == again
    assert outputs(train(folder, tmp_path / "c", batch_size=31))["model.safetensors"] != first["model.safetensors"]


def test_shuffled_redshifts_ruin_the_score(tmp_path):
    folder = dataset(tmp_path / "data", 400)
    scores = {}
    for name, more in (("true", ()), ("shuffled", ("--shuffle-redshifts",))):
        out = train(folder, tmp_path / name, more=more, max_epochs=40, lr=2e-3)
        scores[name] = np.loadtxt(out / "history.csv", delimiter=",", skiprows=1)[:, 2].min()
    assert scores["true"] < 0.5 * scores["shuffled"]


def test_the_card_rebuilds_the_model_and_foreign_states_and_weights_are_refused(tmp_path, capsys):
    folder = dataset(tmp_path / "data")
    out = train(folder, tmp_path / "m")
    card = json.loads((out / "model.json").read_text())
    assert card["parameters"] == 122_006 and card["inputs"][0] == "g_cmodel_mag" and card["data_hash"]
    with h5py.File(folder / "validation.hdf5") as handle:
        n = len(handle["object_id"])
    arguments = ["predict", "--settings", '{"run": "t", "device": "cpu"}', "--model", str(out), "--data",
                 str(folder / "validation.hdf5"), "--out", str(tmp_path / "p.h5")]
    assert main(arguments) == 0
    predicted = store.columns(tmp_path / "p.h5")
    assert len(predicted["z"]) == n and np.isfinite(predicted["z"]).all()
    assert main(arguments) == 0 and np.array_equal(predicted["z"], store.columns(tmp_path / "p.h5")["z"])
    # a state with another key under this name
    state = next((out / "state").glob("*.pt"))
    torch.save({"key": "other", "state": {}}, state)
    train(folder, out, expect=2)
    assert "belongs to another configuration" in capsys.readouterr().err
    state.write_bytes(b"rubbish")
    train(folder, out, expect=2)
    assert "unreadable" in capsys.readouterr().err
    # weights of another shape
    card["model"] = "galaxiesml_cnn"
    card["bands"] = list("grizy")
    (out / "model.json").write_text(json.dumps(card))
    assert main(arguments) == 2
    assert "do not fit galaxiesml_cnn" in capsys.readouterr().err


def test_a_dataset_without_images_or_selection_is_one_sentence(tmp_path, capsys):
    folder = dataset(tmp_path / "data")
    with h5py.File(folder / "training.hdf5", "a") as handle:
        del handle["image"]
    train(folder, tmp_path / "a", "galaxiesml_cnn", expect=2)
    assert "holds no images" in capsys.readouterr().err
    folder = dataset(tmp_path / "other")
    with h5py.File(folder / "validation.hdf5", "a") as handle:
        handle["subset"][...] = "calibrate"
    train(folder, tmp_path / "b", expect=2)
    assert "no object of subset `select`" in capsys.readouterr().err


def test_images_are_read_alike_whole_or_row_by_row(tmp_path, monkeypatch):
    synthetic(tmp_path / "a.hdf5", 20, 64)
    whole = read.Split(tmp_path / "a.hdf5", [], True)
    monkeypatch.setattr(read, "WHOLE", 0)
    rows = read.Split(tmp_path / "a.hdf5", [], True)
    assert rows.pixels is None and np.array_equal(whole.images(np.array([7, 3, 7])), rows.images(np.array([7, 3, 7])))


@pytest.mark.parametrize("verb", ["train", "predict", "tune", "attribute", "degrade", "bench", "describe_model"])
def test_a_gpu_box_imports_the_verbs_that_it_runs(verb):
    """What it lacks is blocked."""
    code = ("import sys\n"
            "for name in ('pandas', 'pyarrow', 'astropy', 'scipy', 'requests', 'stamina', 'yaml', 'matplotlib', 'sep',\n"
            "             'jsonschema', 'snakemake', 'galsim', 'astropy_healpix', 'speclite'):\n"
            "    sys.modules[name] = None\n"
            f"import skyloom.verbs.{verb}\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("model", "options"), [
    ("galaxiesml_cnn", {"max_epochs": 1, "batch_size": 32, "ivar": True}), ("tabular", {"max_epochs": 1, "width": 16}),
    ("galaxiesml_nn_pz", {"max_epochs": 1, "head": "mixture", "outputs": 3})])
def test_training_runs_where_only_torch_numpy_h5py_and_safetensors_are(tmp_path, model, options):
    """The rest is blocked: a GPU box may lack it."""
    folder = dataset(tmp_path / "data", 40)
    block = ("import sys\n"
             "for name in ('pandas', 'pyarrow', 'astropy', 'scipy', 'requests', 'stamina', 'yaml', 'matplotlib', 'sep',\n"
             "             'galsim', 'jsonschema', 'snakemake'):\n"
             "    sys.modules[name] = None\n"
             "from skyloom.__main__ import main\nsys.exit(main(sys.argv[1:]))\n")
    settings = {"run": "t", "release": "", "model": model, "seed": 1, "threads": 1, "device": "auto",
                "precision": "auto", "options": options}
    out = tmp_path / "m"
    commands = [["train", "--settings", json.dumps(settings), "--training", str(folder / "training.hdf5"), "--validation",
                 str(folder / "validation.hdf5"), "--state", str(out / "s"), "--weights", str(out / "model.safetensors"),
                 "--card", str(out / "model.json"), "--history", str(out / "history.csv")],
                ["predict", "--settings", '{"run": "t", "device": "auto"}', "--model", str(out), "--data",
                 str(folder / "validation.hdf5"), "--out", str(out / "p.h5")]]
    for command in commands:
        done = subprocess.run([sys.executable, "-c", block, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    shutil.rmtree(out)


def test_precision_and_device_are_chosen_as_documented():
    cpu = torch.device("cpu")
    gpu = torch.device("cuda")
    assert loop.choose_precision("auto", cpu, True) == "fp32" and loop.choose_precision("auto", gpu, True) == "bf16"
    assert loop.choose_precision("bf16", cpu, True) == "bf16"
    assert loop.choose_precision("auto", gpu, False) == loop.choose_precision("bf16", cpu, False) == "fp32"
    assert loop.choose_device("cpu") == cpu
    assert families.options("galaxiesml_nn", {}).lr == 5e-4 and families.options("galaxiesml_cnn", {}).batch_size == 256


@pytest.mark.parametrize("options", [{"schedule": "onecycle", "plateau": 1}, {"schedule": "constant", "plateau": 1}])
def test_a_schedule_and_a_plateau_do_not_mix(options):
    """One cycle follows the epochs alone; without it the plateau does its work."""
    given = Training(lr=0.1, max_epochs=10, **options)
    optimiser, scheduler = loop._optimiser(torch.nn.Linear(1, 1), given)
    assert isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau) == (options["schedule"] == "constant")
    arrays = loop.Arrays(None, torch.rand(8, 1), torch.rand(8))
    given = dataclasses.replace(given, batch_size=4, max_epochs=2)
    loop.run_epochs(galaxiesml.GalaxiesMLNN(1), galaxiesml.loss, arrays, given, 1, torch.device("cpu"))
