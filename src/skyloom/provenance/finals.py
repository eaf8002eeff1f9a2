"""The list of final evaluations: every look at objects that are set aside for the end is counted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from skyloom import locks, store, textfiles
from skyloom.provenance.canonical import digest


def count(path: str | Path, settings: dict) -> None:
    """Append time, `run`, `table` and `config_hash` of an evaluation to a list, one job at a time."""
    path = Path(path)
    with locks.slot(f"final-{digest(str(path.resolve()))}", 1):
        old = textfiles.read(path) if path.exists() else "time,run,table,config_hash\n"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        store.write_text(path, f"{old}{now},{settings['run']},{settings['table']},{settings['config_hash']}\n")
