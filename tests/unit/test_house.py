"""The doors of the house stay shut: which module may import what."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from skyloom.models import families

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "skyloom"
MODULES = {".".join(("skyloom", *path.relative_to(SOURCE).with_suffix("").parts)): path for path in SOURCE.rglob("*.py")}

REGISTRIES = ("skyloom.surveys.imaging", "skyloom.surveys.spectro", "skyloom.models.families", "skyloom.release.exporters")


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


def text_io(path: Path) -> list[str]:
    """Calls that read or write text without saying in which encoding, which the locale would then decide."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        words = {word.arg: word.value for word in node.keywords}
        if isinstance(node.func, ast.Name) and name == "open":
            mode = node.args[1] if len(node.args) > 1 else words.get("mode")
            modes = [part.value for part in ast.walk(mode) if isinstance(part, ast.Constant)] if mode else []
            asked = not any("b" in str(value) for value in modes)
        else:
            home = getattr(getattr(node.func, "value", None), "id", "")
            asked = (name in ("read_text", "write_text") and home != "store" or name in ("loadtxt", "genfromtxt")
                     or home == "subprocess" and "text" in words)
        if asked and "encoding" not in words:
            found.append(f"{path.name}:{node.lineno}")
    return found


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
                assert called or not compared & {*words, "mantis_", "galaxiesml_"}, f"{name}: {compared}"


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


def test_no_text_depends_on_the_locale():
    assert not [place for path in MODULES.values() for place in text_io(path)]
    rules = [*(ROOT / "workflow" / "rules").glob("*.smk"), ROOT / "Snakefile"]
    assert not [path.name for path in rules for call in re.findall(r"(?:read_text|write_text|\bopen)\(([^)]*)\)", path.read_text(
        encoding="utf-8")) if "encoding" not in call]


def test_what_a_survey_is_stays_above_the_rooms_that_work_for_it():
    """Surveys use archives and cutouts; archives, cutouts and the pure rooms get a survey's facts as arguments."""
    below = [n for n in users("skyloom.surveys") if inside(n, "archives", "cutouts", "measure", "models", "pz", "sky", "sample")]
    assert not below


def test_modules_of_registries_import_their_archive_inside_functions():
    """At their top they import plain facts alone: the Snakefile lists them all."""
    for name, path in MODULES.items():
        if inside(name, "surveys"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
            found = {getattr(node, "module", None) or node.names[0].name for node in top}
            heavy = [i for i in found if not i.startswith(("skyloom.surveys", "skyloom.registry", "skyloom.errors"))
                     and i.split(".")[0] not in sys.stdlib_module_names]
            assert not heavy, f"{name} imports {heavy} at its top"


def test_registries_are_listed_without_heavy_libraries():
    lists = "; ".join(f"from {package} import REGISTRY; list(REGISTRY)" for package in REGISTRIES)
    shows = "import sys; print(*(m for m in ('numpy', 'torch', 'astropy', 'pandas', 'scipy', 'h5py') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", f"{lists}; {shows}"], env={"PYTHONPATH": str(ROOT / "src")}, text=True,
                          capture_output=True, check=True)
    assert done.stdout.split() == []


def test_no_name_of_a_survey_decides_outside_its_own_file():
    """No comparison with a survey's name, no prefix of one; a published network may be defined for surveys, and the sky has its
    own."""
    from skyloom.surveys import imaging

    places = {path: path.read_text(encoding="utf-8") for path in (ROOT / "workflow").rglob("*.smk")}
    places |= {path: path.read_text(encoding="utf-8") for name, path in MODULES.items()
               if not inside(name, "surveys", "sky", "models")}
    for path, text in places.items():
        for survey in imaging.REGISTRY:
            found = re.findall(rf"""(?:==|!=|in|not in)\s*[\(\[{{]*["']{survey}["']|startswith\(["']{survey}""", text)
            assert not found, f"{path}: {found}"


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
        used |= set(re.findall(r"^\s+(\w+_slots|gpu)=", path.read_text(encoding="utf-8"), re.M))
    from skyloom.surveys import imaging

    slots = {f"{survey.service.name}_slots": survey.service.slots for survey in imaging.REGISTRY.values()}
    used |= set(slots)
    assert "hsc_slots" in used
    for path in (ROOT / "profiles").glob("*/profile.yaml"):
        caps = yaml.safe_load(path.read_text())["resources"]
        assert used <= set(caps), f"{path} lacks {used - set(caps)}"
        assert caps["hsc_slots"] <= 2
        assert all(caps[name] <= most for name, most in slots.items())


def rules() -> dict[str, str]:
    """{name of a rule, indented ones too: its text}."""
    found = {}
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        parts = re.split(r"^\s*rule (\w+):", path.read_text(encoding="utf-8"), flags=re.M)
        found |= dict(zip(parts[1::2], parts[2::2], strict=True))
    return found


def test_rule_verb_and_module_share_their_name():
    from skyloom.__main__ import VERBS

    assert {"pack", "pack_multi", "query_survey", "attribute", "freeze_plan"} <= set(rules())
    renamed = {"freeze_plan": "plan"}  # `plan` is the target that asks for it
    for rule, text in rules().items():
        assert re.findall(r"-m skyloom ([a-z-]+) ", text) == [renamed.get(rule, rule.replace("_", "-"))], rule
    assert {renamed.get(r, r.replace("_", "-")) for r in rules()} <= set(VERBS)
    for verb in VERBS:
        assert f"skyloom.verbs.{verb.replace('-', '_')}" in MODULES, verb


def test_every_rule_has_a_log_an_environment_and_a_fingerprint():
    for rule, text in rules().items():
        assert all(f"\n{' ' * 4}{word}:" in text or f"\n{' ' * 8}{word}:" in text for word in ("log", "conda", "shell")), rule
        assert re.search(r"code=(lambda wildcards: )?(fingerprint|model_code)\(", text) or rule == "freeze_plan", rule


def test_verbs_run_in_the_environment_of_their_rule():
    """Case of --sdm conda: networks are trained where neither pandas nor astropy is; what needs them names the other one."""
    verbs = [rule for rule, text in rules().items() if "envs/train.yaml" in text]
    assert {"train", "predict", "tune"} <= set(verbs)
    absent = {"pandas", "pyarrow", "astropy", "scipy", "yaml", "jsonschema", "matplotlib", "sep", "requests", "snakemake"}
    for verb in verbs:
        assert not {name.split(".")[0] for name in IMPORTS[f"skyloom.verbs.{verb}"]} & absent, verb
    code = (f"import importlib, sys; sys.modules.update(dict.fromkeys({sorted(absent)}))\n"
            f"for verb in {verbs}: importlib.import_module('skyloom.verbs.' + verb)")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_word_of_a_shell_command_is_quoted():
    """Case: spaces in a manifest's or a template's path broke the command line."""
    for rule, text in rules().items():
        command = "".join(re.findall(r'"([^"]*)"', text[text.rindex("shell:"):]))
        placeholders = re.findall(r"\{([^{}]+)\}", command)
        assert placeholders and not [one for one in placeholders if not one.endswith(":q")], rule
