"""What users of somebody else's package see when it is broken: one sentence, whatever its modules do."""

import os
import subprocess
import sys

import pytest

from skyloom.errors import InputError
from skyloom.registry import Registry
from skyloom.surveys import imaging
from tests.conftest import ROOT

GOOD = (ROOT / "tests" / "workflow" / "toy" / "imaging.py").read_text()


def check(tmp_path, module, points="[skyloom.imaging]\ntoy = mine:SURVEY\n", config="run: x\narchive: embedded\n"):
    """The verb check-config where a package of one module is installed."""
    (tmp_path / "mine.py").write_text(module)
    about = tmp_path / "mine-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text(points)
    (tmp_path / "config.yaml").write_text(config)
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{tmp_path}"}
    return subprocess.run([sys.executable, "-m", "skyloom", "check-config", str(tmp_path / "config.yaml")], env=env, text=True,
                          capture_output=True, cwd=ROOT, check=False)


def test_an_installed_survey_is_in_the_schema(tmp_path):
    done = check(tmp_path, GOOD, config="run: x\narchive: embedded\nmodels: {}\nstamps: {surveys: [toy], sizes: {toy: 30}}\n"
                                        "services: {toy: {rpm: 5}}\n")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("module", "points", "words"), [
    ("1 / 0", None, "the plug-in toy (mine:SURVEY) can't be loaded: ZeroDivisionError division by zero"),
    ("import no_such_library", None, "can't be loaded: ModuleNotFoundError"),
    ("raise SystemExit('go away')", None, "can't be loaded: SystemExit go away"),
    ("SURVEY = 1", None, "mine holds no imaging survey (SURVEY is int, not ImagingSurvey)"),
    ("OTHER = 1", None, "the plug-in toy (mine:SURVEY) can't be loaded: AttributeError"),
    (GOOD.replace('name="toy"', 'name="ps1"'), None,
     "the imaging survey ps1 is defined twice, in skyloom.surveys.imaging.ps1 and mine"),
    (GOOD.replace('name="toy"', 'name="local"'), None, "the imaging survey 'local' needs a name"),
    (GOOD.replace('"toy", {"url"', '"viewer", {"url"'), None, "toy describes the service viewer otherwise"),
    (GOOD.replace("aperture=4.0,", "aperture=4.0, flag_bit=21,"), None, "toy gets the flag bit 21, which means extrapolated"),
    (GOOD, "[skyloom.imaging]\ntoy = mine:SURVEY\ntoy2 = mine:SURVEY\n", "the imaging survey toy is defined twice"),
    (GOOD, "[skyloom.models]\nx = mine:SURVEY\n", "mine holds no model family"),
    (GOOD, "[skyloom.exporters]\nx = mine:SURVEY\n", "mine holds no exporter"),
    (GOOD, "[skyloom.spectro]\nx = mine:SURVEY\n", "mine holds no spectroscopic survey")])
def test_a_broken_plug_in_is_one_sentence(tmp_path, module, points, words):
    done = check(tmp_path, module, points or "[skyloom.imaging]\ntoy = mine:SURVEY\n")
    assert done.returncode == 2 and done.stderr.startswith("skyloom: ") and done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr, done.stderr


def test_a_mapping_by_name():
    found = Registry("skyloom.surveys.imaging", "SURVEY", "no.such.group", imaging.ImagingSurvey, "imaging survey")
    assert list(found) == sorted(found) and len(found) == len(found.values()) and "ps1" in found
    assert found.modules["ps1"] == "skyloom.surveys.imaging.ps1"
    with pytest.raises(InputError, match="unknown imaging survey 'galax'; did you mean galex"):
        found["galax"]
    with pytest.raises(InputError, match="unknown imaging survey 'xyz'; known: galex, hsc"):
        found["xyz"]
