"""The doors of the house stay shut: which module may import what."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from skyloom.models import families

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "skyloom"
MODULES = {".".join(("skyloom", *path.relative_to(SOURCE).with_suffix("").parts)): path for path in SOURCE.rglob("*.py")}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


IMPORTS = {name: imports(path) for name, path in MODULES.items()}


def users(package: str) -> set[str]:
    """Modules that import a package or a part of it."""
    return {name for name, found in IMPORTS.items() if any(i == package or i.startswith(package + ".") for i in found)}


def inside(name: str, *rooms: str) -> bool:
    return any(name == f"skyloom.{room}" or name.startswith(f"skyloom.{room}.") for room in rooms)


def test_archives_and_sky_never_meet():
    assert not [n for n in users("skyloom.sky") if inside(n, "archives")]
    assert not [n for n in users("skyloom.archives") if inside(n, "sky")]
    both = users("skyloom.sky") & users("skyloom.archives")
    assert both <= {"skyloom.verbs.common"}


def test_only_the_sky_and_the_verbs_know_the_sky():
    assert all(inside(n, "sky", "verbs") for n in users("skyloom.sky"))


def test_nothing_imports_snakemake():
    assert not users("snakemake")


def test_models_and_dataset_never_meet():
    """Pixels are read in one room and scaled in the other; train/ brings them together."""
    assert not [n for n in users("skyloom.models") if inside(n, "dataset")]
    assert not [n for n in users("skyloom.dataset") if inside(n, "models")]
    assert not [n for n in users("skyloom.train") if inside(n, "dataset", "models", "measure", "pz")]


def test_no_model_is_known_by_its_name():
    """What a model is, its family says: no other room compares names."""
    words = tuple(families.REGISTRY)
    for name, path in MODULES.items():
        if inside(name, "models", "train.ensemble") or name == "skyloom.schema":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare | ast.Call):
                compared = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
                called = isinstance(node, ast.Call) and getattr(node.func, "attr", "") != "startswith"
                assert called or not compared & {*words, "galaxiesml", "mantis_", "galaxiesml_"}, f"{name}: {compared}"


def test_only_http_makes_requests_and_only_servers_listen():
    assert users("requests") | users("urllib3") | users("urllib.request") | users("httpx") == {"skyloom.archives.http"}
    assert all(inside(n, "sky.servers") for n in users("http.server") | users("socketserver"))


def test_only_store_opens_hdf5():
    assert users("h5py") == {"skyloom.store"}


def test_torch_only_where_training_lives():
    allowed = ("models", "train", "measure.sersic", "pz.calibration", "pz.umnn", "dataset.augment",
               "verbs.train", "verbs.measure", "verbs.bench", "verbs.attribute")
    assert all(inside(n, *allowed) for n in users("torch")), users("torch")


@pytest.mark.parametrize("room", ["models", "pz", "measure"])
def test_pure_rooms_know_no_files_and_no_config(room):
    forbidden = ("skyloom.store", "skyloom.config", "skyloom.verbs", "skyloom.archives", "skyloom.sky")
    for name, found in IMPORTS.items():
        if inside(name, room) and name != "skyloom.models.artefact":
            assert not [i for i in found if i.startswith(forbidden)], name
            assert "open(" not in MODULES[name].read_text(), name


def test_nothing_imports_upward():
    """verbs sit on top: no other room knows them."""
    assert all(inside(n, "verbs", "__main__") for n in users("skyloom.verbs"))


def test_modules_and_functions_stay_small():
    for name, path in MODULES.items():
        text = path.read_text()
        assert len(text.splitlines()) <= 320, f"{name} has {len(text.splitlines())} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno <= 48, f"{name}.{node.name} has {node.end_lineno - node.lineno} lines"


def test_public_functions_say_what_they_do():
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and node.name != "arguments":
                assert ast.get_docstring(node), f"{name}.{node.name} has no docstring"


def pins(lines) -> dict[str, str]:
    found = (re.match(r"\s*-?\s*([A-Za-z0-9._-]+)==?([0-9][^\s#]*)", line) for line in lines)
    return {m[1].lower().replace("_", "-"): m[2] for m in found if m}


@pytest.mark.parametrize("name", ["core", "train"])
def test_conda_environments_hold_the_constraints_versions(name):
    constraints = pins((ROOT / "constraints.txt").read_text().splitlines())
    environment = yaml.safe_load((ROOT / "envs" / f"{name}.yaml").read_text())["dependencies"]
    found = pins([d for d in environment if isinstance(d, str) and not d.startswith("python")])
    found |= pins([line for d in environment if isinstance(d, dict) for line in d["pip"]])
    assert len(found) >= 4
    renamed = {"pytorch": "torch"}
    for package, version in found.items():
        assert constraints[renamed.get(package, package)] == version, f"envs/{name}.yaml: {package}"


def test_every_profile_caps_every_slot():
    used = set()
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        used |= set(re.findall(r"^\s+(\w+_slots|gpu)=", path.read_text(), re.M))
    assert "hsc_slots" in used
    for path in (ROOT / "profiles").glob("*/profile.yaml"):
        caps = yaml.safe_load(path.read_text())["resources"]
        assert used <= set(caps), f"{path} lacks {used - set(caps)}"
        assert caps["hsc_slots"] <= 2


def test_rule_verb_and_module_share_their_name():
    from skyloom.__main__ import VERBS

    rules = set()
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        text = path.read_text()
        rules |= set(re.findall(r"^rule (\w+):", text, re.M))
        called = dict(re.findall(r"^rule (\w+):.*?-m skyloom ([a-z-]+) ", text, re.M | re.S))
        for rule in re.findall(r"^rule (\w+):", text, re.M):
            assert called[rule] == rule.replace("_", "-")
    assert {r.replace("_", "-") for r in rules} <= set(VERBS)
    for verb in VERBS:
        assert f"skyloom.verbs.{verb.replace('-', '_')}" in MODULES, verb
