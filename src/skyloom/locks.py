"""File locks that vanish with their process: one run per folder, no verb of a killed run alive, few at a time at a service."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
import tempfile
import time
from pathlib import Path

from skyloom.errors import InputError

# What a file system without locks answers; opened for reading and writing because NFS wants that for an exclusive lock
UNKNOWN = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF}
_warned = set()


def _lock(handle, kind: int) -> bool:
    """Take a flock; False if another process has it. Where the file system knows no locks, one warning and True."""
    try:
        fcntl.flock(handle, kind)
    except OSError as error:
        if error.errno not in UNKNOWN:
            return False
        folder = str(Path(handle.name).parent)
        if folder not in _warned:
            _warned.add(folder)
            print(f"skyloom: warning: the file system of {folder} knows no locks ({error.strerror}); don't start two runs there "
                  "at a time", file=sys.stderr, flush=True)
    return True


def _opened(path: str | Path):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "a+", encoding="ascii", errors="replace")


@contextlib.contextmanager
def run_lock(path: str | Path):
    """Hold an exclusive flock on `path` for the block; InputError with the holder's pid if another run has it."""
    with _opened(path) as handle:
        if not _lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB):
            handle.seek(0)
            pid = handle.read().strip() or "unknown"
            raise InputError(f"another run (pid {pid}) is at work in {Path(path).parent}; wait for it or stop it") from None
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
    with _opened(path) as handle:
        _lock(handle, fcntl.LOCK_SH)
        yield


def wait_for_jobs(path: str | Path, seconds: float, tell=print) -> None:
    """Return once no process holds `job_lock(path)`; InputError after `seconds`."""
    deadline, told = time.monotonic() + seconds, False
    with _opened(path) as handle:
        while not _lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB):
            if time.monotonic() >= deadline:
                raise InputError(f"a job of an earlier run is still alive after {seconds:.0f} s ({path}); "
                                 "stop it or raise `run_wait_s`") from None
            if not told:
                tell("waiting for a job of an earlier run to end")
                told = True
            time.sleep(0.2)


@contextlib.contextmanager
def slot(name: str, many: int, folder: str | Path | None = None, tell=print):
    """Hold one of `many` places of a service for the block, waiting for one to come free.

    All processes of the user on this machine share them, whatever run or profile started them. Without a folder that can be
    written there are no places to share, and nothing is held.
    """
    folder = Path(folder or Path(tempfile.gettempdir()) / f"skyloom-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handles = [_opened(folder / f"{name}.{k}.slot") for k in range(many)]
    except OSError:
        yield
        return
    with contextlib.ExitStack() as stack:
        for handle in handles:
            stack.enter_context(handle)
        told = False
        while not any(_lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB) for handle in handles):
            if not told:
                tell(f"waiting for one of {many} places at {name}")
                told = True
            time.sleep(0.2)
        yield
