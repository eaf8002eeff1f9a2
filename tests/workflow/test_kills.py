"""kill -9 at five moments in two manners, then the same catalog as an undisturbed run."""

import contextlib
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


def jobs(folder: Path) -> list[int]:
    """Process ids of verbs at work in a folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if process.cwd() == str(folder) and "skyloom" in words and "run" not in words:
                found.append(process.pid)
    return found


def kill_at(folder: Path, pattern: str, ready, group: bool, log, command=start) -> bool:
    """Kill -9 a run once a log of `pattern` has begun and `ready()` holds; True if a job outlived it.

    `group`: the whole process group; else snakemake and its parent alone, so that the job lives on.
    """
    for old in folder.glob(pattern):
        old.unlink()
    run = command(folder, log)
    deadline = time.monotonic() + 400
    while not (any(folder.glob(pattern)) and ready()):
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
    patience = time.monotonic() + 5  # what was killed takes a moment to vanish
    while group and jobs(folder) and time.monotonic() < patience:
        time.sleep(0.1)
    return bool(jobs(folder))


def kill_everywhere(folder: Path, name: str, log, command=start) -> dict:
    """Kill at five moments, each time the group and then snakemake alone: {moment: did its orphan live on?}."""
    def begun(pattern):
        return lambda: any(folder.glob(pattern))

    moments = {"query": begun("results"), "download_cutouts": begun(f"cache/{name}/hsc/*.sqlite"), "measure": begun("results"),
               "pack": begun("results"), "train": begun(f"cache/{name}/train/galaxiesml_cnn*.pt")}
    orphans = {}
    for moment, ready in moments.items():
        inner = {"train": "galaxiesml_cnn", "download_cutouts": "hsc/"}.get(moment, "")
        pattern = f"logs/{name}/{moment}/{inner}*.log"
        assert not kill_at(folder, pattern, ready, True, log, command), "a job outlived the kill of its group"
        orphans[moment] = kill_at(folder, pattern, ready, False, log, command)
    return orphans


def test_ten_kills_later_the_catalog_is_the_same(tiny_run, tmp_path):
    folder = workplace(tmp_path / "killed")
    with open(tmp_path / "log", "w") as log:
        orphans = kill_everywhere(folder, "tiny", log)
        last = start(folder, log)
        assert last.wait(timeout=600) == 0, Path(log.name).read_text()[-4000:]
    assert sum(orphans.values()) >= 3, orphans
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
