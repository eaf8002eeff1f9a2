"""How a run is started: what parsing costs, what jobs find, odd locales, targets, paths, a disk that is full."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from skyloom import config, textfiles
from skyloom.__main__ import main
from skyloom.errors import InputError, disk_is_full
from skyloom.release import exporters, preflight
from skyloom.verbs import run

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "astropy", "pandas", "pyarrow", "h5py", "scipy", "matplotlib", "sep", "galsim")
TABLE = {"run": "t", "archive": "local", "models": {"tabular": {}},
         "local": {"columns": {"redshift": "z", "magnitudes": {"g": "g"}, "errors": {}}}}
PARSE = f"""
import atexit, json, os, sys
atexit.register(lambda: print("FOUND " + json.dumps(
    {{"heavy": [m for m in {HEAVY} if m in sys.modules], **{{k: os.environ.get(k) for k in ("PYTHONPATH", "PYTHONUTF8")}}}})))
import snakemake.cli
snakemake.cli.main()
"""


def dry_run(folder: Path, settings: dict, **environment) -> tuple[dict, str]:
    """(what the Snakefile left in its process, the plan with its commands) of `snakemake -n -p` in a folder."""
    data = folder / "my donn\u00e9es; & (1)"
    data.mkdir(parents=True)
    (data / "it's.csv").write_text("z,g\n0.1,20\n", encoding="utf-8")
    settings = config.merge(settings, {"local": {"tables": {"training": str(data / "it's.csv")}}})
    (folder / "c.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", PARSE, "-n", "-p", "--cores", "1", "-s", str(ROOT / "Snakefile"), "--directory",
                           str(folder), "--configfile", str(folder / "c.yaml")], capture_output=True, text=True, encoding="utf-8",
                          env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.split("FOUND ")[1].splitlines()[0]), done.stdout + done.stderr


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    return dry_run(tmp_path_factory.mktemp("a run"), TABLE, PYTHONPATH="/somewhere/else")


def test_parsing_imports_nothing_heavy(planned):
    assert planned[0]["heavy"] == []


def test_jobs_find_the_package_and_read_utf8(planned):
    """In an environment of --sdm conda, in a container, on a node: none of them has skyloom installed."""
    assert planned[0]["PYTHONPATH"] == f"{ROOT / 'src'}{os.pathsep}/somewhere/else" and planned[0]["PYTHONUTF8"] == "1"


def test_paths_of_the_config_are_single_words(planned, tmp_path):
    command = next(line for line in planned[1].splitlines() if "skyloom query" in line).split("skyloom", 1)[1]
    said = subprocess.run(["bash", "-c", f"printf '%s\\n' {command.split(' 2> ')[0]}"],
                          capture_output=True, text=True, encoding="utf-8", check=True).stdout.splitlines()
    assert said[said.index("--tables") + 1].endswith("/my donn\u00e9es; & (1)/it's.csv")


def test_a_gpu_is_asked_for_where_the_config_says_so(planned, tmp_path):
    """Case: a cluster without GPUs refused every training."""
    trainings = re.findall(r"resources: (.*training_slots=1.*)", planned[1])
    assert trainings and all("gpu=0" in line for line in trainings)
    _, text = dry_run(tmp_path, {**TABLE, "train": {"device": "cuda"}})
    trainings = re.findall(r"resources: (.*training_slots=1.*)", text)
    assert trainings and all("gpu=1" in line for line in trainings)


def test_the_slurm_profile_needs_no_accounting_database():
    profile = yaml.safe_load((ROOT / "profiles" / "slurm" / "profile.yaml").read_text(encoding="utf-8"))
    assert profile["slurm-status-command"] == "squeue"
    assert 3 * profile["slurm-init-seconds-before-status-checks"] <= 60  # else the plugin goes back to sacct on small MinJobAge


ODD = {"LC_ALL": "POSIX", "LANG": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_a_locale_without_utf8_kills_nothing(tmp_path):
    """Case: the report, the last step, died of a sign outside ASCII."""
    code = ("import sys\nfrom skyloom import locks, store, textfiles\nfrom skyloom.__main__ import main\n"
            "assert sys.getfilesystemencoding() == 'ascii'\n"
            "store.write_text('a.txt', 'z \\u2212 caf\\u00e9')\nassert textfiles.read('a.txt') == 'z \\u2212 caf\\u00e9'\n"
            "code = main(['check-config', 'c.yaml'])\nprint('\\u2212')\nsys.exit(code)\n")
    (tmp_path / "c.yaml").write_text("run: t\narchive: embedded  # caf\u00e9\ntargets: {table: donn\u00e9es}\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, **ODD}, capture_output=True, check=False)
    assert done.returncode == 0 and b"t: ok" in done.stdout and b"\\u2212" in done.stdout, done.stderr
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "z \u2212 caf\u00e9"


def test_text_of_another_encoding_is_one_sentence(tmp_path, capsys):
    (tmp_path / "c.yaml").write_bytes("run: t\narchive: embedded\n# caf\u00e9\n".encode("latin-1"))
    assert main(["check-config", str(tmp_path / "c.yaml")]) == 2
    assert re.search(r"c.yaml is not UTF-8 text \(line 3\); save it as UTF-8$", capsys.readouterr().err.strip())
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfrun: t\narchive: embedded\n")
    assert config.load([tmp_path / "c.yaml"])["run"] == "t"
    with pytest.raises(InputError, match="can't be read"):
        textfiles.read(tmp_path)


@pytest.mark.parametrize("change", [{"local": {"tables": {"training": "/d/{shard}.csv"}}},
                                    {"query": {"template": "my {sample}.sql"}}, {"evaluation": {"final_files": ["{x, .*}"]}}])
def test_wildcards_in_the_config_are_refused(change):
    with pytest.raises(InputError, match="a name in braces is a wildcard to Snakemake"):
        config.complete({"run": "t", "archive": "embedded", **change})


class Args:
    def __init__(self, word="", target="", configfile=()):
        self.word, self.target, self.configfile = word, target, list(configfile)


def test_run_takes_its_target_in_any_place():
    assert run._target(Args("dataset")) == run._target(Args(target="dataset")) == ("dataset", [])
    assert run._target(Args("dataset", "dataset")) == ("dataset", [])
    assert run._target(Args(configfile=["a.yaml", "plan"])) == ("plan", ["a.yaml"])
    assert run._target(Args()) == ("", [])
    with pytest.raises(InputError, match="did you mean dataset"):
        run._target(Args("datset"))
    with pytest.raises(InputError, match="two targets, plan and report"):
        run._target(Args("plan", "report"))


@pytest.mark.parametrize(("words", "calls", "says"), [
    (["dataset"], ["plan", "dataset"], ["dataset:"]), (["--target", "dataset"], ["plan", "dataset"], ["dataset:"]),
    (["plan"], ["plan"], []), (["catalog", "--", "--cores", "3"], ["plan", "catalog"], ["catalog:"]),
    ([], ["plan", "--cores"], ["catalog:", "report:"])])
def test_run_tells_of_nothing_that_is_not_there(tmp_path, monkeypatch, capsys, words, calls, says):
    """Case: `run --target dataset` printed a catalog that nobody had made."""
    seen = []

    def call(command, environment):
        words = command[command.index(str(ROOT / "Snakefile")) + 1:]
        seen.append(words[0])
        assert words[words.index("--cores") + 1] in ("all", "3") and environment["PYTHONUTF8"] == "1"
        if len(seen) == 2:
            for path in ("dataset/x", "catalog/photoz_catalog.parquet", "report.html"):
                if says and (len(says) == 2 or path.startswith(says[0][:-1])):
                    (tmp_path / "results" / "t" / path).parent.mkdir(parents=True, exist_ok=True)
                    (tmp_path / "results" / "t" / path).write_text("x", encoding="utf-8")
        return 0, ""

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "_call", call)
    monkeypatch.setattr(run.subprocess, "run", lambda *args, **options: None)
    monkeypatch.setattr(preflight, "rehearse", lambda names: None)
    settings = config.merge(TABLE, {"local": {"tables": {"training": "t.csv"}}})
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    end = words.index("--") if "--" in words else len(words)
    assert main(["run", *words[:end], "--configfile", "c.yaml", *words[end:]]) == 0
    assert seen == calls and [line.split()[0] for line in capsys.readouterr().out.splitlines()] == says


def test_what_would_kill_the_last_steps_is_tried_first(tmp_path, monkeypatch):
    settings = config.complete({"run": "t", "archive": "embedded"})
    preflight.check([tmp_path / "results"], settings)
    assert not list((tmp_path / "results").iterdir())
    good = exporters.REGISTRY["parquet"]

    def ascii_only(path, blocks, meta):
        for block in blocks:
            " ".join(map(str, block.get("source_id", []))).encode("ascii")
        good.write(path, blocks, meta)

    found = dict(exporters.REGISTRY._found)
    found["csv"] = exporters.Exporter("csv", "csv", "catalog", ascii_only, good.read), "x"
    monkeypatch.setitem(exporters.REGISTRY.__dict__, "_found", found)
    with pytest.raises(InputError, match="format csv can't hold a table of 2 rows .UnicodeEncodeError.*drop it from"):
        preflight.check([tmp_path], {**settings, "release": {"formats": ["csv"]}})
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1e6}))
    with pytest.raises(InputError, match="only 1 MB are free"):
        preflight.check([tmp_path], settings)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="nothing can be written into"):
        preflight.check([tmp_path / "file" / "results"], settings)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(122, "Disk quota exceeded"),
                                   RuntimeError("unable to write: errno = 28, error message = 'No space left on device'"),
                                   ValueError("database or disk is full"), RuntimeError("x.cc:672] . unexpected pos 576 vs 534")])
def test_a_full_disk_is_one_sentence_from_any_library(error, monkeypatch, capsys):
    def fail(args):
        try:
            raise error
        except Exception:
            raise RuntimeError("wrapped") from error

    assert disk_is_full(error) and not disk_is_full(OSError(2, "No such file"))
    monkeypatch.setattr("skyloom.verbs.describe_model.run", fail)
    assert main(["describe-model", "galaxiesml_nn"]) == 2
    assert capsys.readouterr().err == "skyloom: the disk is full (describe-model); free some space and run again\n"


def test_a_full_disk_leaves_at_once(monkeypatch):
    """HDF5 crashes at the end of a process in which it couldn't write: the code would be 139."""
    def fail(args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skyloom.verbs.describe_model.run", fail)
    monkeypatch.setattr(sys, "argv", ["skyloom", "describe-model", "galaxiesml_nn"])
    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    assert main() == 2 and left == [2] and main(sys.argv[1:]) == 2 and left == [2]
