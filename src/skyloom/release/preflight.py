"""What would kill the last steps of a run is tried before the first: folders, disk, formats with the oddest of names."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from skyloom.errors import InputError, disk_is_full
from skyloom.pz import distribution
from skyloom.release import exporters

LEAST = 50e6  # bytes that must be free
_NAMES = np.array(["J1000\u2212020001", "\u661f caf\u00e9 \\ "], object)


def check(folders, settings: dict) -> None:
    """InputError if a run can't write into its folders, if their disk is as good as full, or if a format of its catalog fails."""
    for folder in map(Path, folders):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            hint = "free some space" if disk_is_full(error) else "make the folder writable or start the run elsewhere"
            raise InputError(f"nothing can be written into {folder} ({error.strerror}); {hint}") from None
        free = shutil.disk_usage(folder).free
        if free < LEAST:
            raise InputError(f"only {free / 1e6:.0f} MB are free for {folder}; free some space")
    if settings["models"]:
        rehearse(exporters.chosen(settings["release"]["formats"]))


def rehearse(names) -> None:
    """InputError if an exporter can't write and read back a table of no row, and one of two rows with names beyond ASCII."""
    for name in names:
        for rows in (0, 2):
            blocks = exporters.blocks_of(_toy(exporters.REGISTRY[name].kind, rows), shared=distribution.SHARED)
            with tempfile.TemporaryDirectory() as folder:
                try:
                    exporters.export(exporters.REGISTRY[name], Path(folder) / "toy", blocks, {"run": _NAMES[0]})
                except Exception as error:  # whatever somebody else's package raises
                    if disk_is_full(error):
                        raise
                    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                    raise InputError(f"the format {name} can't hold a table of {rows} rows ({reason}); mend it or drop it from "
                                     "`release.formats`") from None


def _toy(kind: str, rows: int) -> dict:
    ids = np.arange(rows) + 2**62
    if kind == "pz":
        return {"object_id": ids, "pz": np.full((rows, 2), 0.5), "edges": np.arange(3.0)}
    return {"object_id": ids, "ra": np.full(rows, np.nan), "flags": np.zeros(rows, np.int32),
            "split": np.array(["testing"] * rows, object), "source_id": _NAMES[:rows],
            "z_phot_model": np.array([""] * rows, object)}
