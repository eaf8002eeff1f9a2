"""Configuration: defaults, unknown keys, impossible values."""

from pathlib import Path

import pytest

from skyloom import config, trainings
from skyloom.errors import InputError
from skyloom.sample import plan
from skyloom.verbs.plan import from_region

ROOT = Path(__file__).resolve().parents[2]
LEAST = {"run": "x", "archive": "embedded"}


def test_the_shipped_configs_are_valid(monkeypatch):
    assert config.load([ROOT / "config.yaml"])["run"] == "demo"
    assert config.load([ROOT / "resources" / "recipes" / "galaxiesml.yaml"])["run"] == "galaxiesml"
    monkeypatch.setenv("SKYLOOM_TEST_DATA", "/data")
    recipes = ROOT / "resources" / "recipes"
    for table in (recipes / "tables").glob("*.yaml"):
        assert config.load([recipes / "table.yaml", table, recipes / "final.yaml"])["run"] == table.stem
    with pytest.raises(InputError, match=r"evaluation\.final: true"):
        config.load([recipes / "table.yaml", recipes / "tables" / "dc2.yaml"])


def test_every_recipe_with_positions_ships_its_plan():
    """So that one bare `snakemake` call works from an empty folder: the plan follows from the config alone."""
    whole = [config.load([path]) for path in (ROOT / "config.yaml", *(ROOT / "resources" / "recipes").glob("*.yaml"))
             if "\narchive: embedded" in path.read_text()]
    assert len(whole) >= 6
    for found in (one for one in whole if not one["scenes"]["survey"]):  # tiles are known from the config alone
        shipped = (ROOT / "resources" / "shards" / f"{found['run']}.tsv").read_text()
        assert shipped == plan.write_plan(from_region(found)), found["run"]


def test_nested_defaults_are_filled():
    whole = config.complete(LEAST)
    assert whole["stamps"]["size"] == 127 and whole["services"]["hsc"]["streams"] == 2
    assert whole["models"] == {"galaxiesml_nn": {"scaling": "default"}}  # the rest: each model's published settings


@pytest.mark.parametrize(("change", "words"), [
    ({"querry": {}}, ["unknown key `querry`", "did you mean `query`"]),
    ({"query": {"regoin": [1, 2, 3, 4]}}, ["`query.regoin`", "did you mean `region`"]),
    ({"stamps": {"size": "big"}}, ["`stamps.size`", "'big'", "integer"]),
    ({"stamps": {"size": 64}}, ["`stamps.packed`", "127"]),
    ({"archive": "tape"}, ["`archive`", "'tape'", "embedded"]),
    ({"split": {"fractions": [0.5, 0.2, 0.2]}}, ["`split.fractions`", "add up to 1"]),
    ({"query": {"region": [1, 2, 3, 2]}}, ["`query.region`"]),
    ({"cuts": {"z_min": 5}}, ["`cuts.z_min`"]),
    ({"structure": {"annuli_arcsec": [1.0, 0.5]}}, ["`structure.annuli_arcsec`", "ascend"]),
    ({"structure": {"psf_fwhm_arcsec": 0}}, ["`structure.psf_fwhm_arcsec`"]),
    ({"models": {"galaxyml": {}}}, ["galaxyml"]),
    ({"archive": "local"}, ["`local.tables.training`"]),
    ({"services": {"hsc": {"streams": 5}}}, ["`services.hsc.streams`"]),
])
def test_bad_values_get_one_sentence(change, words):
    with pytest.raises(InputError) as error:
        config.complete(config.merge(LEAST, change))
    text = str(error.value)
    assert all(word in text for word in words), text
    assert "\n" not in text


def test_the_final_file_must_be_meant():
    local = {"tables": {"training": "a.csv", "evaluation": "set/final.hdf5:g"}, "columns": {}}
    base = {**LEAST, "archive": "local", "local": local, "evaluation": {"final_files": ["final.hdf5"]}}
    with pytest.raises(InputError, match="`evaluation.final: true`"):
        config.complete(base)
    config.complete(config.merge(base, {"evaluation": {"final": True}}))


def test_paths_may_hold_environment_variables(monkeypatch):
    base = {**LEAST, "archive": "local", "local": {"tables": {"training": "$SKY_TEST_FOLDER/a.csv"}}}
    monkeypatch.setenv("SKY_TEST_FOLDER", "/data")
    assert config.complete(base)["local"]["tables"]["training"] == "/data/a.csv"
    monkeypatch.delenv("SKY_TEST_FOLDER")
    with pytest.raises(InputError, match="local.tables.training.*not set"):
        config.complete(base)


def test_files_merge_deeply(tmp_path):
    (tmp_path / "a.yaml").write_text("run: a\narchive: embedded\nquery: {limit: 3, release: pdr2}\n")
    (tmp_path / "b.yaml").write_text("query: {limit: 4}\n")
    whole = config.load([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    assert whole["query"]["limit"] == 4 and whole["query"]["release"] == "pdr2"


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "bad.yaml").write_text("run: [")
    for name in ("bad.yaml", "absent.yaml"):
        with pytest.raises(InputError, match=name):
            config.load([tmp_path / name])


TWO = {"models": {"tabular": {}, "tabular_b": {}, "galaxiesml_nn": {}}}


@pytest.mark.parametrize(("change", "words"), [
    ({"release": {"z_phot": "tabula"}}, "`release.z_phot` names tabula, which is no model of the run; name one of tabular"),
    ({"release": {"z_phot": "galaxiesml_nn"}}, "names galaxiesml_nn, which gives a point without p"),
    ({"release": {"z_phot": "stack"}}, "names stack, which is no model of the run"),
    ({"stack": {"models": ["tabular", "tabular_c"]}}, "names tabular_c, which is no model of the run; there are galaxiesml_nn"),
    ({"stack": {"models": ["tabular", "galaxiesml_nn"]}}, "`stack.models` names galaxiesml_nn, which gives a point"),
    ({"stack": {"models": ["tabular"]}}, "names tabular alone; a stack needs two models or more"),
    ({"stack": {"columns": ["i_mag"]}}, "`stack.columns` names columns, but `stack.models` no models"),
    ({"stack": {"models": ["tabular", "tabular_b"]}, "models": {"tabular_b": {"refit": True}}}, "learns from `select`"),
    ({"models": {"stack": {}}}, "`models.stack`: the name stack is `stack`'s own; rename it"),
    ({"models": {"phot": {}}}, "`models.phot`: the name phot is `z_phot`'s own; rename it"),
    ({"peers": {"tables": {"stack": {}}}}, "`peers.tables.stack`: the name stack is `stack`'s own")])
def test_what_can_be_no_stack_and_no_z_phot_gets_one_sentence(change, words):
    with pytest.raises(InputError) as error:
        config.complete(config.merge({**LEAST, **TWO}, change))
    assert words in str(error.value) and "\n" not in str(error.value)
    whole = config.complete({**LEAST, **TWO, "stack": {"models": ["tabular", "tabular_b"]}, "release": {"z_phot": "stack"}})
    assert whole["release"]["z_phot"] == "stack"


def test_who_can_stand_for_z_phot():
    assert trainings.stands("auto", ["a"], ["a"]) and trainings.stands("auto", ["a", "b"], ["a"])
    assert not trainings.stands("auto", ["a", "b"], ["a", "b"]) and not trainings.stands("auto", [], [])
    assert trainings.stands("a", ["a", "b"], ["a", "b"]) and not trainings.stands("none", ["a"], [])


@pytest.mark.parametrize(("change", "words"), [
    ({"models": {"mantis_late": {}}}, "`models.mantis_late` needs several imaging surveys"),
    ({"stamps": {"surveys": ["ps1"]}}, "`models.galaxiesml_nn` needs `stamps.surveys: .hsc.` or local data"),
    ({"stamps": {"surveys": ["ps1"]}, "models": {"mantis_early": {}}}, "sees galex, which `stamps.surveys` doesn't fetch")])
def test_models_must_fit_the_surveys(change, words):
    with pytest.raises(InputError, match=words):
        config.complete({"run": "a", "archive": "embedded", **change})
    config.complete({"run": "a", "archive": "embedded", "stamps": {"surveys": ["ps1"]},
                     "models": {"mantis_early": {"surveys": ["ps1"]}}})


def test_local_files_must_be_there_when_a_run_begins(tmp_path):
    (tmp_path / "a:b.csv").write_text("z\n", encoding="utf-8")
    for block, key in (({"images": "m.csv"}, "local.images"), ({"tables": {"training": "t.h5:group"}}, "local.tables.training"),
                       ({"tables": {"training": str(tmp_path)}}, "local.tables.training")):
        whole = config.complete({"archive": "local", "run": "x", "models": {}, "local": block})
        with pytest.raises(InputError, match=f"`{key}` is .*, which does not exist; give an existing file"):
            config.check_files(whole)
    local = {"tables": {"training": str(tmp_path / "a:b.csv")}}
    config.check_files(config.complete({"archive": "local", "run": "x", "models": {}, "local": local}))


@pytest.mark.parametrize(("change", "words"), [
    ({"scenes": {"detectors": {"sep": {}, "tabular": {}}, "detector": "sep"}}, ["names tabular, which finds no sources"]),
    ({"scenes": {"detectors": {"deepdisc": {"stepz": 3}}}}, ["stepz", "deepdisc"]),
    ({"scenes": {"detectors": {"deepdisk": {}}, "detector": "deepdisk"}}, ["deepdisk", "deepdisc"]),
    ({"models": {"deepdisc": {}}}, ["`models` names deepdisc", "`scenes.detectors`"]),
    ({"models": {"galaxiesml_cnn": {}}}, ["galaxiesml_cnn", "sources of scenes have none"]),
])
def test_detectors_of_scenes_are_checked_before_anything_runs(change, words):
    parts = {"training": [150, 150.1, 2, 2.1], "validation": [150.2, 150.3, 2, 2.1], "testing": [150.4, 150.5, 2, 2.1]}
    given = {**LEAST, "models": {"tabular": {}}, **change}
    given["scenes"] = {"survey": "hsc", "parts": parts, "labels": "truth", **change.get("scenes", {})}
    with pytest.raises(InputError) as error:
        config.complete(given)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_detector_may_stand_for_z_phot_and_in_a_stack():
    parts = {"training": [150, 150.1, 2, 2.1], "validation": [150.2, 150.3, 2, 2.1], "testing": [150.4, 150.5, 2, 2.1]}
    given = {**LEAST, "models": {"tabular": {}}, "release": {"z_phot": "deepdisc"}, "stack": {"models": ["tabular", "deepdisc"]},
             "scenes": {"survey": "hsc", "parts": parts, "labels": "truth"}}
    assert config.complete(given)["release"]["z_phot"] == "deepdisc"
    given["scenes"]["detector"] = "sep"  # whose sources have no p(z) of their own
    with pytest.raises(InputError, match="deepdisc, which is no model of the run"):
        config.complete(given)
