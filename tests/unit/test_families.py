"""The registry of model families: names, typed options, cards, fingerprints, a family of another package."""

import dataclasses
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from skyloom import config, schema, store, trainings, typed
from skyloom.errors import InputError
from skyloom.models import artefact, families
from skyloom.models.card import Card
from skyloom.provenance import fingerprint
from skyloom.verbs.bench import synthetic
from tests.unit import toy_family

ROOT = Path(__file__).resolve().parents[2]
OURS = ["deepdisc", "deepdisc_mvit", "galaxiesml_cnn", "galaxiesml_nn", "hybrid", "mantis_early", "mantis_late", "mantis_optical",
        "tabular"]
LEAST = {"run": "x", "archive": "embedded"}
PUBLISHED = {  # as the papers state them
    "galaxiesml_nn": {"lr": 5e-4, "batch_size": 100, "max_epochs": 1000, "patience": 10, "optimiser": "adam", "head": "point"},
    "galaxiesml_cnn": {"lr": 1e-4, "batch_size": 256, "max_epochs": 200, "patience": 10, "size": 64, "augment": False},
    "mantis_late": {"lr": 3e-4, "batch_size": 16, "max_epochs": 150, "patience": 20, "optimiser": "nadam", "plateau": 6,
                    "batches": 1000, "weight_decay": 1e-7, "bins": 400, "hidden": 2048, "patch_small": 1, "gamma": 1e-6,
                    "surveys": ("galex", "ps1", "unwise")},
    "mantis_optical": {"surveys": ("ps1",), "augment": "rotations"},
    "tabular": {"lr": 4e-3, "batch_size": 128, "max_epochs": 120, "optimiser": "adamw", "schedule": "onecycle", "noise": 0.7,
                "head": "mixture", "outputs": 8, "width": 128, "depth": 3, "weight_decay": 1e-4}}


@pytest.fixture()
def with_toy(monkeypatch):
    """The registry with a family of another package, whose name begins as one of ours does."""
    found = {**families.REGISTRY._found, "tabular_toy": (toy_family.FAMILY, "tests.unit.toy_family")}
    monkeypatch.setitem(families.REGISTRY.__dict__, "_found", dict(sorted(found.items())))
    monkeypatch.setitem(families.REGISTRY.__dict__, "modules", {name: module for name, (_, module) in found.items()})


def test_the_registry_lists_its_families_without_torch_and_numpy():
    """Nor does the rest of what the Snakefile imports load torch."""
    code = ("import sys; from skyloom.models import families; [families.options(name, {}) for name in families.REGISTRY];"
            "print(list(families.REGISTRY));"
            "print([m for m in ('numpy', 'torch', 'pandas', 'astropy', 'h5py') if m in sys.modules]);"
            "from skyloom import schema, config, trainings; schema.schema();"
            "print([m for m in ('torch', 'pandas', 'astropy', 'h5py') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(OURS), "[]", "[]"]


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_defaults_are_the_published_settings(name):
    options = families.options(name, {})
    assert {key: getattr(options, key) for key in PUBLISHED[name]} == PUBLISHED[name]
    assert families.options("mantis_late", {"view": "code"}).patch_small == 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.lr = 1


def test_the_longest_name_wins(with_toy):
    assert families.of("tabular").name == families.of("tabular_b").name == families.of("tabular_toys").name == "tabular"
    assert families.of("tabular_toy").name == families.of("tabular_toy_2").name == "tabular_toy"
    assert families.module("tabular_toy_2") == "tests.unit.toy_family"
    for bad in ("tabula", "mantis", "mantis_lateral", "galaxiesml", ""):
        with pytest.raises(InputError, match="unknown model"):
            families.of(bad)
    whole = config.complete({**LEAST, "models": {"tabular_toy_2": {"components": 2}, "tabular_b": {"width": 8}}})
    assert whole["models"] == {"tabular_toy_2": {"components": 2}, "tabular_b": {"width": 8}}
    with pytest.raises(InputError, match="the options of tabular_toy are .*components"):
        config.complete({**LEAST, "models": {"tabular_toy": {"width": 8}}})


@pytest.mark.parametrize(("change", "words"), [
    ({"models": {"tabular": {"encoder": "atto"}}}, ["`models.tabular.encoder`", "the options of tabular are", "dropout"]),
    ({"models": {"galaxiesml_nn_b": {"size": 64}}}, ["`models.galaxiesml_nn_b.size`", "the options of galaxiesml_nn are"]),
    ({"models": {"galaxiesml_nn": {"batchsize": 5}}}, ["did you mean `batch_size`?"]),
    ({"models": {"galaxiesml_cnn": {"augment": "rotations"}}}, ["`models.galaxiesml_cnn.augment`", "'rotations'", "one of"]),
    ({"models": {"tabular": {"head": "point"}}}, ["`models.tabular.head`", "'binned'"]),
    ({"models": {"tabular": {"dropout": 2}}}, ["`models.tabular.dropout`"]),
    ({"models": {"tabular": {"lr": "fast"}}}, ["`models.tabular.lr`", "number"]),
    ({"models": {"tabular_B": {}}}, ["`models.tabular_B`", "lower-case"]),
    ({"models": {"tabular_": {}}}, ["`models.tabular_`", "lower-case"]),
    ({"models": {"tabulr": {}}}, ["'tabulr'", "did you mean `tabular`"]),
    ({"stamps": {"surveys": ["ps1"]}, "models": {"mantis_early": {"surveys": ["ps1"], "reweight": "testing"}}},
     ["`models.mantis_early.reweight`", "the options of mantis_early are"]),
    ({"stamps": {"surveys": ["ps1"]}, "models": {"mantis_early": {"surveys": ["ps1"], "head": "point"}}},
     ["`models.mantis_early.head`", "'mixture'"]),
    ({"sweep": [{"model": "mantis_late", "grid": {"width": [4]}}]}, ["`sweep.0.grid.width`", "the options of mantis_late"]),
    ({"sweep": [{"model": "mantis_late", "grid": {"lr": ["no"]}}]}, ["`sweep.0.grid`", "lr"]),
    ({"sweep": [{"model": "mantis_late", "options": {"bin": 4}, "grid": {"lr": [1e-3]}}]}, ["`sweep.0.options.bin`", "`bins`"]),
    ({"sweep": [{"model": "tabular", "grid": {"width": [4]}}]}, ["`sweep.0.model`", "mantis_late"]),
    ({"ablations": ["radio"]}, ["`ablations.0`", "optical_uv"]),
    ({"models": {"galaxiesml_cnn_mixture": {}}, "archive": "local", "local": {"tables": {"training": "a.csv"}}},
     ["galaxiesml_cnn_mixture, which needs images"])])
def test_what_a_family_does_not_have_is_one_sentence(change, words):
    with pytest.raises(InputError) as error:
        config.complete({**LEAST, **change})
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value), str(error.value)


def test_options_on_the_command_line_are_checked_without_a_schema(tmp_path):
    with pytest.raises(InputError, match="tabular has no option `encoder`.*its options are batch_size"):
        families.options("tabular", {"encoder": "atto"})
    for given in ({"width": 4.5}, {"head": "point"}, {"tune": 1}, {"columns": "g"}, {"batch_size": True}):
        with pytest.raises(InputError, match=f"`{next(iter(given))}` is .*; it must be"):
            families.options("tabular", given)


def test_the_schema_is_made_of_the_families():
    known = schema.schema()
    assert set(OURS) <= set(known["$defs"])
    for name in OURS:
        fields = {field.name for field in dataclasses.fields(families.REGISTRY[name].Options)}
        assert set(known["$defs"][name]["properties"]) == fields
        assert all(part["description"] for part in known["$defs"][name]["properties"].values())
    assert known["properties"]["sweep"]["items"]["properties"]["model"]["enum"] == ["mantis_early", "mantis_late",
                                                                                     "mantis_optical"]


def test_ablations_come_from_the_families():
    models = {"mantis_late": {"lr": 1.0}, "mantis_early": {"lr": 2.0}, "mantis_late_b": {}, "mantis_optical": {"lr": 3.0}}
    found = trainings.ablated(models, ["optical", "optical_uv"])
    assert set(found) - set(models) == {"mantis_late_optical_uv", "mantis_early_optical_uv"}
    assert found["mantis_optical"] == {"lr": 3.0}
    assert found["mantis_late_optical_uv"] == {"lr": 1.0, "surveys": ["ps1", "galex"]}
    del models["mantis_optical"]
    assert trainings.ablated(models, ["optical"])["mantis_optical"] == {"lr": 2.0, "surveys": ["ps1"]}  # early's, as in the paper


def test_a_card_is_json_and_old_ones_are_read():
    options = families.options("galaxiesml_nn", {"head": "binned"})
    card = Card("galaxiesml_nn_b", options, inputs=("g", "r"), table={"columns": ["g", "r"]}, seed=3)
    again = Card.read(json.loads(json.dumps(card.plain())))
    assert again == card and {"table", "image", "head"} <= set(card.plain()) and "frames" not in card.plain()
    old = {"model": "mantis_late", "seed": 1, "options": {"encoder": "atto", "uses_image": True, "batch_size": 8}, "ebv": [],
           "surveys": ["ps1"], "bands": {"ps1": ["g", "r", "i", "z", "y"]}, "bin_edges": [0, 1.6], "something": "of then"}
    read = Card.read(old)  # from before there was a choice of heads
    assert read.options.head == "binned" and read.surveys == ("ps1",)
    assert families.of("mantis_late").head(read).size == 400
    with pytest.raises(InputError, match="unknown model"):
        Card.read({**old, "model": "mantid"})


def test_two_files_of_one_name_keep_their_checksums(tmp_path):
    from safetensors.torch import save_file

    from skyloom.models import convnext, mantis, pretrained

    paths = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        paths.append(str(tmp_path / place / "model.safetensors"))
        save_file({k: v.contiguous() for k, v in convnext.ConvNeXt("atto", 3).state_dict().items()}, paths[-1])
    used = pretrained.start_from(mantis.MantisLate("atto", bins=4), *paths)
    assert len(used) == 2 and len(set(used.values())) == 2


def test_a_network_sees_surveys_that_nobody_of_us_knows():
    """Any imaging survey of a packed file: the bands are counted there."""
    options = families.options("mantis_late", {"encoder": "atto", "surveys": ["ps1", "toyscope"], "hidden": 8, "bins": 4})
    card = Card("mantis_late", options, surveys=("ps1", "toyscope"), ebv=[], bands={"ps1": list("grizy"), "toyscope": ["a"] * 3})
    assert families.of("mantis_late").build(card).encoders["toyscope"].stem[0].weight.shape[1] == 3


def test_one_family_edited_reruns_its_own_models(tmp_path):
    """And base code imports none of them."""
    for verb in ("train", "predict", "tune", "attribute", "degrade"):
        assert not [m for m in fingerprint.modules(verb) if ".families." in m], verb
    code = ("import json; from skyloom.provenance.fingerprint import fingerprint; from skyloom.models import families;"
            "print(json.dumps({n: fingerprint('train', families.module(n)) for n in families.REGISTRY}))")

    def prints(name, old="", new=""):
        folder = tmp_path / "src"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(ROOT / "src", folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        text = (folder / "skyloom" / name).read_text()
        assert old in text
        (folder / "skyloom" / name).write_text(text.replace(old, new))
        done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(folder)}, text=True, capture_output=True)
        return json.loads(done.stdout)

    before = prints("models/families/tabular.py")
    changed = [{name for name, value in prints(*edit).items() if value != before[name]} for edit in (
        ("models/families/tabular.py", "least = 5", "least = 6"),
        ("models/families/mantis_late.py", "fusion = \"late\"", "fusion = 1"),
        ("models/families/_mantis.py", "batch = 64", "batch = 65"), ("models/convnext.py", "1e-6", "1e-5"))]
    several = {"mantis_early", "mantis_late", "mantis_optical"}
    assert changed == [{"tabular"}, {"mantis_late"}, several, several]


def test_a_family_of_an_installed_package_trains_and_predicts(tmp_path):
    """By its entry point, through the verbs; nothing of ours is touched."""
    package, about = tmp_path / "site" / "toy_family", tmp_path / "site" / "toy_family-1.dist-info"
    package.mkdir(parents=True)
    about.mkdir()
    shutil.copy(Path(toy_family.__file__), package / "__init__.py")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-family\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[skyloom.models]\ntoy = toy_family:FAMILY\n")
    for k, split in enumerate(("training", "validation")):
        synthetic(tmp_path / f"{split}.h5", 80, 8, seed=k)
    settings = {"run": "t", "release": "", "model": "tabular_toy_a", "seed": 1, "threads": 1, "device": "cpu",
                "precision": "fp32", "options": {"max_epochs": 3, "components": 2}}
    code = ("import sys, json; from skyloom import config; from skyloom.__main__ import main;"
            "from skyloom.models import families; from skyloom.provenance.fingerprint import modules;"
            "config.complete({'run': 'x', 'archive': 'embedded', 'models': {'tabular_toy_a': {'components': 2}}});"
            "assert 'toy_family' in modules('train', families.module('tabular_toy_a'));"
            "sys.exit(any(main(words) for words in json.loads(sys.argv[1])))")
    words = [["train", "--settings", json.dumps(settings), "--training", str(tmp_path / "training.h5"), "--validation",
              str(tmp_path / "validation.h5"), "--state", str(tmp_path / "state"), "--weights",
              str(tmp_path / "m" / "model.safetensors"), "--card", str(tmp_path / "m" / "model.json"), "--history",
              str(tmp_path / "m" / "history.csv")],
             ["predict", "--settings", '{"device": "cpu"}', "--model", str(tmp_path / "m"), "--data",
              str(tmp_path / "validation.h5"), "--out", str(tmp_path / "p.h5")], ["describe-model", "tabular_toy"]]
    done = subprocess.run([sys.executable, "-c", code, json.dumps(words)], text=True, capture_output=True,
                          env={"PYTHONPATH": f"{tmp_path / 'site'}:{ROOT / 'src'}"})
    assert done.returncode == 0, done.stderr[-2000:]
    found = store.arrays(tmp_path / "p.h5", ["z", "weights", "means"])
    assert found["weights"].shape == (80, 2) and np.isfinite(found["z"]).all()
    assert json.loads((tmp_path / "m" / "model.json").read_text())["facts"]["mean"] and '"model": "tabular_toy"' in done.stdout


def test_another_files_bands_and_size_are_one_sentence(tmp_path):
    from skyloom.train import data

    synthetic(tmp_path / "a.h5", 6, 64)
    options = families.options("galaxiesml_cnn", {})
    card = Card("galaxiesml_cnn", options, image={"kind": "paper"}, bands=["g", "r", "i", "z", "y"])
    assert data.of_card(tmp_path / "a.h5", card).n == 6
    with pytest.raises(InputError, match="holds the bands .*; use the dataset"):
        data.of_card(tmp_path / "a.h5", dataclasses.replace(card, bands=["r", "g", "i", "z", "y"]))
    with pytest.raises(InputError, match="holds stamps of 64 px"):
        data.of_card(tmp_path / "a.h5", dataclasses.replace(card, options=dataclasses.replace(options, size=127)))


def test_settings_of_a_verb_are_typed():
    @dataclasses.dataclass(frozen=True)
    class Settings:
        seed: int
        grid: tuple = ()

    assert typed.read(Settings, {"seed": 1, "grid": [1, 2], "more": 3}, "--settings", strict=False) == Settings(1, (1, 2))
    with pytest.raises(InputError, match="--settings lacks `seed`"):
        typed.read(Settings, {}, "--settings")


def test_every_family_can_be_described():
    found = {name: artefact.describe(name, {"size": 64, "encoder": "atto"}) for name in OURS}
    assert found["galaxiesml_cnn"]["parameters"] == 5_840_353 and found["galaxiesml_cnn"]["size"] == 64
    assert found["mantis_late"]["encoder"] == "atto" and all(one["head_parameters"] > 0 for one in found.values())
    with pytest.raises(InputError, match="`encoder` is 'huge'; it must be one of 'atto'"):
        artefact.describe("mantis_late", {"encoder": "huge"})


def test_the_docs_tables_are_those_of_the_families():
    spec = importlib.util.spec_from_file_location("make_tables", ROOT / "docs" / "make_tables.py")
    make_tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_tables)
    page = (ROOT / "docs" / "models.md").read_text()
    assert make_tables.renewed(page, make_tables.MARKS, make_tables.model_families()) == page, "run python docs/make_tables.py"
