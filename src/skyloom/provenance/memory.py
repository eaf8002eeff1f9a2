"""Facts that cost much to work out and follow from bytes alone, kept beside the bytecode.

Parsing fifty modules and loading a schema validator takes most of a second at each call of snakemake.
Losing the file costs that second once.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from pathlib import Path

PLACE = Path(__file__).resolve().parents[1] / "__pycache__"
VERSION = f"3:{sys.version_info[0]}.{sys.version_info[1]}"


@functools.cache
def recall(name: str) -> dict:
    """The facts kept under a name; empty where there are none, or another Python's."""
    try:
        found = json.loads((PLACE / f"{name}.json").read_text(encoding="utf-8"))
        return found["facts"] if found.get("version") == VERSION else {}
    except (OSError, ValueError, KeyError, AttributeError):
        return {}


def remember(name: str, facts: dict) -> None:
    """Keep facts under a name; a folder that can't be written to is no error."""
    path = PLACE / f"{name}.json"
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        PLACE.mkdir(exist_ok=True)
        temporary.write_text(json.dumps({"version": VERSION, "facts": facts}), encoding="utf-8")
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)


def of_file(name: str, path, make):
    """`make(path)`, plain data, remembered as long as the file's size and times (its inode's too, which no tool sets back)
    stay."""
    stat = os.stat(path)
    key = json.dumps([os.path.realpath(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino])
    known = recall(name)
    if key not in known:
        made = make(path)
        stale = [old for old in known if json.loads(old)[0] == os.path.realpath(path)]
        for old in stale:
            del known[old]
        known[key] = made
        remember(name, known)
    return known[key]


def array(name: str, key: str, make):
    """The array that `make()` gives, kept under a name as long as `key` (whatever decides it) stays the same."""
    import numpy as np

    path = PLACE / f"{name}.{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError):
        made = make()
    temporary = path.with_name(f"{path.name}.{os.getpid()}.npy")
    try:
        PLACE.mkdir(exist_ok=True)
        np.save(temporary, made)
        os.replace(temporary, path)
        for old in PLACE.glob(f"{name}.*.npy"):
            if old.name != path.name and old.name.count(".") == 2:
                old.unlink(missing_ok=True)
    except OSError:
        temporary.unlink(missing_ok=True)
    return made
