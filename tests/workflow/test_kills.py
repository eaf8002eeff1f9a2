"""kill -9 at five moments, then the same catalog as an undisturbed run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas
import psutil
import pytest

from tests.conftest import environment, workplace

pytestmark = [pytest.mark.xdist_group("kills"), pytest.mark.timeout(900)]


def start(folder: Path, log) -> subprocess.Popen:
    """`python -m skyloom run` in a process group of its own."""
    env = environment() | {"PYTHONPATH": str(folder / "src")}
    return subprocess.Popen([sys.executable, "-m", "skyloom", "run", "--", "--cores", "2"], cwd=folder, env=env, stdout=log,
                            stderr=log, start_new_session=True)


def children(pid: int) -> list[int]:
    """Process ids of snakemake below a run."""
    return [p.pid for p in psutil.Process(pid).children() if any("snakemake" in word for word in p.cmdline())]


def kill_at(folder: Path, sign, group: bool, log) -> None:
    """Run until `sign()` holds, then kill -9: the whole group, or snakemake alone (its job lives on)."""
    run = start(folder, log)
    deadline = time.monotonic() + 240
    while not sign():
        assert run.poll() is None, f"the run ended before its moment: {Path(log.name).read_text()[-3000:]}"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.7)
    if group:
        os.killpg(run.pid, signal.SIGKILL)
    else:
        for pid in children(run.pid):
            os.kill(pid, signal.SIGKILL)
        os.kill(run.pid, signal.SIGKILL)
    run.wait()


def exists(folder: Path, pattern: str):
    return lambda: any(folder.glob(pattern))


def test_five_kills_later_the_catalog_is_the_same(tiny_run, tmp_path):
    folder = workplace(tmp_path / "killed")
    logs = folder / "logs" / "tiny"
    moments = [("query", exists(logs, "query/*.log"), True), ("download", exists(folder, "cache/tiny/hsc/*.sqlite"), False),
               ("measure", exists(logs, "measure/*.log"), True), ("pack", exists(logs, "pack/*.log"), False),
               ("train", exists(folder, "cache/tiny/train/galaxiesml_cnn*.pt"), False)]
    with open(tmp_path / "log", "w") as log:
        for _, sign, group in moments:
            kill_at(folder, sign, group, log)
        last = start(folder, log)
        assert last.wait(timeout=600) == 0, Path(log.name).read_text()[-4000:]
    same(tiny_run / "results" / "tiny", folder / "results" / "tiny")
    left = [p.name for p in (folder / "results" / "tiny").rglob("*.tmp")]
    assert not [name for name in left if not name.startswith(".")]


def same(a: Path, b: Path) -> None:
    """Equal content: catalog, ledger, metrics, weights, pixels."""
    left, right = (pandas.read_parquet(x / "catalog" / "photoz_catalog.parquet") for x in (a, b))
    pandas.testing.assert_frame_equal(left, right, check_exact=True)
    for name in ("ledger.csv", "evaluation/metrics.csv", "models/galaxiesml_cnn/seed1/model.safetensors",
                 "models/galaxiesml_cnn/seed1/history.csv", "dataset/leaks.csv"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    for path in (a / "dataset").glob("5x64x64_*.hdf5"):
        with h5py.File(path) as one, h5py.File(b / "dataset" / path.name) as two:
            assert set(one) == set(two)
            for key in one:
                x, y = one[key][()], two[key][()]
                assert np.array_equal(x, y, equal_nan=x.dtype.kind == "f"), (path.name, key)


def test_two_runs_in_one_folder_are_told_apart(tmp_path):
    folder = workplace(tmp_path / "two")
    with open(tmp_path / "log", "w") as log:
        first = start(folder, log)
        lock = folder / "results" / "tiny" / ".run.lock"
        while not (lock.exists() and lock.read_text()):
            time.sleep(0.05)
        env = environment() | {"PYTHONPATH": str(folder / "src")}
        second = subprocess.run([sys.executable, "-m", "skyloom", "run"], cwd=folder, env=env, capture_output=True, text=True,
                                timeout=60, check=False)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert second.returncode == 2
    assert second.stderr.strip().splitlines()[-1].startswith(f"skyloom: another run (pid {first.pid})")
