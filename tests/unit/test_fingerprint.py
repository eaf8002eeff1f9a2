"""Fingerprints: what changes them and what doesn't."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from skyloom.provenance import fingerprint
from skyloom.surveys import imaging

ROOT = Path(__file__).resolve().parents[2]
ALL = "import json; from skyloom.provenance.fingerprint import fingerprint; from skyloom.__main__ import VERBS;" \
      "print(json.dumps({v: fingerprint(v) for v in VERBS}))"


def test_modules_are_found_through_imports():
    found = fingerprint.modules("measure")
    assert {"skyloom.verbs.measure", "skyloom.measure.sersic", "skyloom.profiles", "skyloom.store"} <= set(found)
    assert not any(m.startswith("skyloom.sky") for m in fingerprint.modules("download-cutouts"))


@pytest.fixture()
def edited(tmp_path):
    """All fingerprints of a copy of the package after an edit function."""
    import json

    def run(name, edit):
        folder = tmp_path / "src"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(ROOT / "src", folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        path = folder / "skyloom" / name
        path.write_text(edit(path.read_text()))
        out = subprocess.run([sys.executable, "-c", ALL], env={"PYTHONPATH": str(folder)}, text=True,
                             capture_output=True, check=True)
        return json.loads(out.stdout)

    return run


def test_a_comment_or_docstring_changes_nothing_and_a_formula_only_its_verbs(edited):
    before = edited("measure/sources.py", lambda text: text)
    comment = edited("measure/sources.py", lambda text: text.replace("PETRO_LIMIT,", "# a comment\nPETRO_LIMIT,", 1)
                     .replace('"""SExtractor\'s measurements', '"""Other words: measurements'))
    assert comment == before
    formula = edited("measure/sources.py", lambda text: text.replace("1 - b / a", "1 - b * b / a"))
    changed = {verb for verb in before if formula[verb] != before[verb]}
    assert "measure" in changed
    assert not changed & {"query", "cut", "plan-shards", "download-cutouts", "train", "predict", "assign-splits", "pack"}


def test_rules_name_the_modules_of_the_surveys_whose_facts_they_use():
    """What a registry adds by name is no import: a rule whose verb asks the registry names the modules of the run's surveys."""
    asking = set()
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        for rule in re.split(r"^ *(?=rule \w+:)", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
            verb = re.search(r"-m skyloom ([a-z-]+) ", rule)[1]
            if "skyloom.surveys.imaging" in fingerprint.modules(verb):
                assert re.search(r"code=[^=]*(SURVEY_MODULES|survey_modules)", rule), verb
                asking.add(verb)
    assert {"download-cutouts", "measure-photometry", "build-catalog"} <= asking


def test_a_surveys_module_counts_for_its_own_stamps_alone():
    own = {name: set(fingerprint.modules("download-cutouts", module)) for name, module in imaging.REGISTRY.modules.items()}
    assert "skyloom.archives.hsc_das" in own["hsc"] and "skyloom.archives.hsc_das" not in own["ps1"]
    assert "skyloom.archives.viewer" in own["galex"] & own["unwise"] and "skyloom.surveys.imaging.galex" not in own["unwise"]
