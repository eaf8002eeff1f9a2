"""What the user's own files hold, as one digest: a file whose time was set back after an edit isn't what it was.

A file is read again only when its size, its times or its inode's time (which no tool sets back) change.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
from pathlib import Path

from skyloom.provenance.canonical import digest

BIG = 1 << 26  # bytes: of larger files samples, the size and the time stand for the content
SAMPLES, BLOCK = 64, 1 << 16
SETTLED = 2.0  # s: what changed later may change again within the same tick of the clock


def state(paths, memo: Path) -> str:
    """Digest of what files hold, in order, one that can't be read as such. `memo` is a JSON file of digests known from before;
    losing it costs the reading, and so does a folder that can't be written to."""
    known, found, new = _recalled(memo), [], False
    for path in paths:
        try:
            facts = os.stat(path)
            key = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
            if known.get(path, [])[:4] != key:
                known[path], new = [*key, _content(path, facts)], True
            found.append(known[path][4])
            if time.time() - facts.st_ctime < SETTLED:
                del known[path]
        except OSError as error:
            found.append(type(error).__name__)
    if new:
        _keep(memo, known)
    return digest(found)


def _content(path: str, facts) -> str:
    with open(path, "rb") as handle:
        if facts.st_size <= BIG:
            return hashlib.file_digest(handle, "sha256").hexdigest()
        together = hashlib.sha256(f"{facts.st_size} {facts.st_mtime_ns}".encode())
        for k in range(SAMPLES):
            handle.seek((facts.st_size - BLOCK) * k // (SAMPLES - 1))
            together.update(handle.read(BLOCK))
        return together.hexdigest()


@functools.cache
def _recalled(memo: Path) -> dict[str, list]:
    try:
        found = json.loads(memo.read_text(encoding="utf-8"))
        return {path: facts for path, facts in found.items() if len(facts) == 5}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _keep(memo: Path, known: dict) -> None:
    temporary = memo.with_name(f"{memo.name}.{os.getpid()}")
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known), encoding="utf-8")
        os.replace(temporary, memo)
    except OSError:
        temporary.unlink(missing_ok=True)
