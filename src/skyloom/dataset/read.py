"""Read packed splits: columns at once, images whole where they fit in memory, else row by row."""

from __future__ import annotations

import hashlib

import numpy as np

from skyloom import store
from skyloom.errors import InputError

WHOLE = 4_000_000_000  # bytes of images that are loaded at once


class Split:
    """One packed split: `columns`, `attributes`, and batches of images by index."""

    def __init__(self, path: str, names, images: bool):
        self.path = str(path)
        self.attributes = store.attributes(path)
        self.columns = store.columns(path, ["object_id", "subset", "split", *names])
        self.n = len(self.columns["object_id"])
        self.pixels = self.shape = None
        if images:
            with store.reading(path) as handle:
                if "image" not in handle:
                    raise InputError(f"{path} holds no images, which the model needs; use a network without images")
                self.shape = handle["image"].shape
                if handle["image"].size * 4 <= WHOLE:
                    self.pixels = handle["image"][:]

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Pixels (m, band, y, x) of rows in any order."""
        if self.pixels is not None:
            return self.pixels[rows]
        return self._rows("image", rows)

    def ivar(self, rows: np.ndarray) -> np.ndarray:
        """Inverse variances (m, band, y, x) of rows in any order."""
        return self._rows("ivar", rows)

    def _rows(self, name: str, rows: np.ndarray) -> np.ndarray:
        with store.reading(self.path) as handle:  # a chunk an object: single rows read much faster than lists
            return np.stack([handle[name][int(k)] for k in rows])

    def ivar_sample(self, most: int = 256) -> np.ndarray:
        """ivar of up to `most` rows spread over the file."""
        with store.reading(self.path) as handle:
            rows = np.unique(np.linspace(0, self.n - 1, min(most, self.n)).astype(int))
            return np.stack([handle["ivar"][int(k)] for k in rows])


def magnitude_columns(path) -> list[str]:
    """Names of the input magnitudes that a dataset file declares."""
    return store.attributes(path)["magnitude_columns"].split(",")


def file_hash(paths) -> str:
    """sha256 over the bytes of files, in order (16 hex digits)."""
    together = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as handle:
            while block := handle.read(1 << 22):
                together.update(block)
    return together.hexdigest()[:16]
