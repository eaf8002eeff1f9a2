"""Fixtures: the test data folder, a served sky, and one shared tiny run for every test that only reads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real survey data; skips without SKYLOOM_TEST_DATA."""
    folder = os.environ.get("SKYLOOM_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real survey data are not here: set SKYLOOM_TEST_DATA to a folder laid out as docs/testing.md says")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def sky():
    """A small embedded survey."""
    from skyloom.sky.hsc import Sky

    return Sky(seed=1, footprint=(150.0, 150.3, 2.0, 2.3))


@pytest.fixture(scope="session")
def served(sky):
    """A running server of that survey without limits or faults."""
    from skyloom.sky.servers import hsc

    with hsc.server(sky).running() as server:
        yield server


def environment() -> dict:
    """The environment of a user with an activated virtual environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}


def workplace(folder: Path) -> Path:
    """A copy of the workflow (not of results) in which a test may run and edit."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("Snakefile", "workflow", "resources", "profiles", "src", "envs"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, folder / name)
    shutil.copy(ROOT / "tests" / "workflow" / "config.yaml", folder / "config.yaml")
    plan_of(folder)
    return folder


def plan_of(folder: Path) -> None:
    """Ship a plan for the workplace's config, as the recipes do."""
    from skyloom import config
    from skyloom.sample import plan
    from skyloom.verbs.plan import from_region

    whole = config.load([folder / "config.yaml"])
    path = folder / "resources" / "shards" / f"{whole['run']}.tsv"
    path.write_text(plan.write_plan(from_region(whole)))


def snakemake(folder: Path, *arguments, timeout: float = 600, packages: Path | None = None) -> subprocess.CompletedProcess:
    """Run snakemake in a workplace with the package of that workplace, and with other packages where they are."""
    trace = folder / "trace"
    trace.mkdir(exist_ok=True)
    places = [folder / "src", ROOT / "tests" / "tracing", *([packages] if packages else [])]
    env = environment() | {"PYTHONPATH": os.pathsep.join(map(str, places)),
                           "SKYLOOM_TEST_TRACE": str(trace)}
    return subprocess.run([sys.executable, "-m", "snakemake", *arguments], cwd=folder, env=env, text=True,
                          capture_output=True, timeout=timeout, check=False)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, worker_id) -> Path:
    """The finished tiny run: made once for all workers, read-only for tests."""
    from filelock import FileLock

    base = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        base = base.parent
    folder = base / "tiny"
    with FileLock(str(base / "tiny.lock")):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            workplace(folder)
            done = snakemake(folder, "--cores", "2", timeout=900)
            assert done.returncode == 0, done.stderr[-4000:]
            (folder / "done").write_text(done.stderr)
    return folder


if "PYTEST_XDIST_WORKER" not in os.environ:

    @pytest.fixture(scope="session")
    def worker_id():
        """Stands in where pytest-xdist is not at work."""
        return "master"
