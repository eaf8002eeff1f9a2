"""Two file locks that vanish with their process: one run per folder, and no verb of a killed run alive."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from skyloom.errors import InputError


@contextlib.contextmanager
def run_lock(path: str | Path):
    """Hold an exclusive flock on `path` for the block; InputError with the holder's pid if another run has it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            pid = handle.read().strip() or "unknown"
            raise InputError(f"another run (pid {pid}) is at work in {path.parent}; wait for it or stop it") from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


@contextlib.contextmanager
def job_lock(path: str | None):
    """Hold a shared flock on `path` (nothing if empty) while a verb works."""
    if not path:
        yield
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield


def wait_for_jobs(path: str | Path, seconds: float, tell=print) -> None:
    """Return once no process holds `job_lock(path)`; InputError after `seconds`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline, told = time.monotonic() + seconds, False
    with open(path, "a", encoding="utf-8") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if time.monotonic() >= deadline:
                    raise InputError(f"a job of an earlier run is still alive after {seconds:.0f} s ({path}); "
                                     "stop it or raise `run_wait_s`") from None
                if not told:
                    tell("waiting for a job of an earlier run to end")
                    told = True
                time.sleep(0.2)
