"""`snakemake --cores 16` against a stand-alone server, and what a user is told when something is wrong."""

import json
import subprocess
import sys
import zipfile

import pytest
import requests
import yaml

from tests.conftest import environment, plan_of, snakemake, workplace

pytestmark = pytest.mark.timeout(600)
RATE = 8.0


@pytest.fixture()
def stand_alone(tmp_path):
    """`serve-sky` as a process of its own, with a rate limit and a limit of two streams."""
    command = [sys.executable, "-m", "skyloom", "serve-sky", "--rate", str(RATE), "--streams", "2",
               "--footprint", "150.0", "150.16", "2.0", "2.16"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as server:
        yield json.loads(server.stdout.readline())
        server.terminate()


def test_sixteen_cores_are_two_streams_at_the_allowed_rate(tmp_path, stand_alone):
    folder = workplace(tmp_path / "polite")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config |= {"run": "polite", "shards": {"least": 6}}
    config["query"]["region"] = config["embedded"]["footprint"] = [150.0, 150.16, 2.0, 2.16]
    config["embedded"] |= {"faults": [], "hole_rate": 0.3, "gap_rate": 0.004}
    config["services"]["hsc"] |= {"rpm": int(RATE * 60)} | stand_alone["services"]["hsc"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    plan_of(folder)
    done = snakemake(folder, "--cores", "16", "cutouts")
    assert done.returncode == 0, done.stderr[-4000:]
    stats = json.loads(requests.get(stand_alone["url"] + "/_stats", timeout=10).text)
    assert stats["requests"]["hsc.cutout"] >= 4 and stats["rows"]["cutout"] > 50
    assert 1 <= stats["peak_streams"] <= 2
    assert stats["peak_rate"] <= RATE + 1
    assert stats["statuses"].get("429", 0) == 0 and stats["statuses"].get("503", 0) == 0


def test_the_run_verb_ends_with_the_sentence_and_exit_2(tmp_path):
    folder = workplace(tmp_path / "wrong")
    template = folder / "resources" / "sql" / "hsc_specz.sql"
    template.write_text(template.read_text().replace("skymap_id", "skymap_idd"))
    env = environment() | {"PYTHONPATH": str(folder / "src")}
    done = subprocess.run([sys.executable, "-m", "skyloom", "run", "--", "--cores", "2"], cwd=folder, env=env,
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("skyloom: the HSC archive rejected the SQL") and "skymap_idd" in last
    assert not (folder / "results" / "tiny" / "specz" / "raw.parquet").exists()


def test_a_config_typo_stops_the_parse_with_a_sentence(tmp_path):
    folder = workplace(tmp_path / "typo")
    with open(folder / "config.yaml", "a") as handle:
        handle.write("morfology: {}\n")
    done = snakemake(folder, "-n")
    assert done.returncode == 1
    assert "skyloom: unknown key `morfology` in the config; did you mean `morphology`?" in done.stdout + done.stderr


def test_without_a_plan_the_sentence_names_the_command(tmp_path):
    folder = workplace(tmp_path / "noplan")
    (folder / "resources" / "shards" / "tiny.tsv").unlink()
    done = snakemake(folder, "-n")
    assert done.returncode == 1 and "make it with `snakemake plan`" in done.stdout + done.stderr
    assert snakemake(folder, "-n", "plan").returncode == 0


@pytest.mark.xdist_group("tiny")
def test_snakemakes_own_report_works(tiny_run, tmp_path):
    done = snakemake(tiny_run, "--report", str(tmp_path / "report.zip"))
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        assert any(name.endswith("report.html") for name in archive.namelist())
