"""Raw replies as they came, one SQLite file per (service, shard), committed as they arrive.

A killed download asks only for what is missing; a changed parser reads them again without one request.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path

from skyloom.errors import InputError

OK, NO_COVERAGE, BAD = "ok", "no_coverage", "bad"


class Replies:
    """The replies of one shard; `identity` names the archive they came from, a foreign file is refused."""

    def __init__(self, path: str | Path, identity: str):
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.db = sqlite3.connect(path)
            self.db.execute("PRAGMA journal_mode = WAL")
            # what a killed process had committed is safe without a sync; only a power cut could lose it
            self.db.execute("PRAGMA synchronous = OFF")
            self.db.execute("CREATE TABLE IF NOT EXISTS replies (request TEXT PRIMARY KEY, state TEXT, cause TEXT,"
                            " sha256 TEXT, body BLOB)")
            self.db.execute("CREATE TABLE IF NOT EXISTS origin (identity TEXT)")
            found = self.db.execute("SELECT identity FROM origin").fetchone()
        except sqlite3.DatabaseError as error:
            raise InputError(f"the reply cache {path} is unreadable ({error}); delete it and rerun") from None
        if found is None:
            self.db.execute("INSERT INTO origin VALUES (?)", (identity,))
            self.db.commit()
        elif found[0] != identity:
            raise InputError(f"the reply cache {path} is from {found[0]}, not {identity}; "
                             "empty it with `python -m skyloom cache --prune`")
        self.pending = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.db.commit()
        self.db.close()

    def have(self) -> dict[str, str]:
        """State of every request that has a final reply."""
        return dict(self.db.execute("SELECT request, state FROM replies"))

    def put(self, request: str, state: str, body: bytes | None = None, cause: str = "") -> None:
        """Keep one reply; commits whenever some 8 MB wait, so that a kill loses little."""
        digest = hashlib.sha256(body).hexdigest() if body is not None else ""
        self.db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?)", (request, state, cause, digest, body))
        self.pending += len(body or b"") + 100
        if self.pending > 8_000_000:
            self.commit()

    def commit(self) -> None:
        """Make everything put so far survive a kill."""
        self.db.commit()
        self.pending = 0

    def get(self, request: str) -> tuple[str, str, str, bytes | None] | None:
        """(state, cause, sha256, body) of a request, None if it was never answered."""
        return self.db.execute("SELECT state, cause, sha256, body FROM replies WHERE request = ?", (request,)).fetchone()


def file_digest(path) -> str:
    """sha256 of a file's bytes, empty for a missing file."""
    if not os.path.isfile(path):
        return ""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
