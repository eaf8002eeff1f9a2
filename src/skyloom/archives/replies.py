"""Raw replies as they came, one SQLite file per (service, shard), committed as they arrive.

A killed download asks only for what is missing; a changed parser reads them again without one request.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import sqlite3
from pathlib import Path

from skyloom.errors import InputError

OK, NO_COVERAGE, BAD = "ok", "no_coverage", "bad"
# File systems over a network: they share no memory between machines, which SQLite's write-ahead log needs
SHARED = ("nfs", "lustre", "gpfs", "cifs", "smb", "fuse", "beegfs", "ceph", "gluster", "afs", "9p", "panfs", "pvfs", "orangefs",
          "ocfs", "gfs")


class Replies:
    """The replies of one shard; `identity` names the archive they came from, a foreign file is refused."""

    def __init__(self, path: str | Path, identity: str):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._told():
            self.db = sqlite3.connect(self.path, timeout=60)
            _journal(self.db, self.path)
            self.db.execute("CREATE TABLE IF NOT EXISTS replies (request TEXT PRIMARY KEY, state TEXT, cause TEXT,"
                            " sha256 TEXT, body BLOB)")
            found = self.db.execute("SELECT identity FROM origin").fetchone()
            if found is None:
                self.db.execute("INSERT INTO origin VALUES (?)", (identity,))
                self.db.commit()
        if found is not None and found[0] != identity:
            self.db.close()
            raise InputError(f"the reply cache {path} is from {found[0]}, not {identity}; "
                             "empty it with `python -m skyloom cache --prune`")
        self.pending = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self._told():
            self.db.commit()
        self.db.close()

    @contextlib.contextmanager
    def _told(self):
        """SQLite's errors as the one sentence, or the OSError, that they are."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path)) from None
            raise InputError(f"the reply cache {self.path} can't be used ({error}); its folder must be writable and its file "
                             "system know locks: make `cache` a link to one that does") from None
        except sqlite3.DatabaseError as error:
            raise InputError(f"the reply cache {self.path} is unreadable ({error}); delete it and rerun") from None

    def have(self) -> dict[str, str]:
        """State of every request that has a final reply."""
        with self._told():
            return dict(self.db.execute("SELECT request, state FROM replies"))

    def put(self, request: str, state: str, body: bytes | None = None, cause: str = "") -> None:
        """Keep one reply; commits whenever some 8 MB wait, so that a kill loses little."""
        digest = hashlib.sha256(body).hexdigest() if body is not None else ""
        with self._told():
            self.db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?)", (request, state, cause, digest, body))
        self.pending += len(body or b"") + 100
        if self.pending > 8_000_000:
            self.commit()

    def commit(self) -> None:
        """Make everything put so far survive a kill."""
        with self._told():
            self.db.commit()
        self.pending = 0

    def get(self, request: str) -> tuple[str, str, str, bytes | None] | None:
        """(state, cause, sha256, body) of a request, None if it was never answered."""
        asked = "SELECT state, cause, sha256, body FROM replies WHERE request = ?"
        with self._told():
            return self.db.execute(asked, (request,)).fetchone()


def forget_failed(path: str | Path) -> int:
    """Take the failed replies out of a cache, so that they are asked for again; their number. Good ones stay."""
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as db, db:
            return db.execute("DELETE FROM replies WHERE state = ?", (BAD,)).rowcount
    except sqlite3.DatabaseError as error:
        raise InputError(f"the reply cache {path} can't be changed ({error}); is a run at work, or the file damaged?") from None


def _journal(db: sqlite3.Connection, path: Path) -> None:
    """Make the table of the origin under a write-ahead log where that works, else under a rollback journal."""
    table = "CREATE TABLE IF NOT EXISTS origin (identity TEXT)"
    if not file_system(path).startswith(SHARED):
        with contextlib.suppress(sqlite3.OperationalError):
            if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal":
                # what a killed process had committed is safe without a sync; only a power cut could lose it
                db.execute("PRAGMA synchronous = OFF")
                db.execute(table)
                return
    db.execute("PRAGMA journal_mode = TRUNCATE")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(table)


def file_system(path: str | Path, mounts: str = "/proc/mounts") -> str:
    """Type of the file system that `path` lies on (`ext4`, `nfs4`, ...), empty where the system doesn't tell."""
    try:
        lines = [line.split() for line in Path(mounts).read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return ""
    real, best = Path(path).resolve(), ("", "")
    for line in lines:
        # a blank in a mount point is written as its octal number
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), line[1]) if len(line) > 2 else ""
        if point and (real == Path(point) or Path(point) in real.parents) and len(point) >= len(best[0]):
            best = (point, line[2])
    return best[1]


def file_digest(path) -> str:
    """sha256 of a file's bytes, empty for a missing file."""
    if not os.path.isfile(path):
        return ""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
