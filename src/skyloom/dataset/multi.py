"""Read packed multi-survey splits: columns at once, stamps whole where they fit in memory, else row by row."""

from __future__ import annotations

import numpy as np

from skyloom import store
from skyloom.dataset.read import WHOLE
from skyloom.errors import InputError


class MultiSplit:
    """One packed split of a multi-survey run: `columns`, and by survey `bands`, `scale` (arcsec/px), `stamp` (px), `status`
    (n, band), whose values are places in `names`."""

    def __init__(self, path: str, surveys, names=()):
        self.path, self.surveys = str(path), tuple(surveys)
        self.ebv_names = sorted(name for name in self._names() if name.startswith("ebv_"))
        self.columns = store.columns(path, ["object_id", "subset", "split", *self.ebv_names, *names])
        self.n = len(self.columns["object_id"])
        self.scale, self.stamp, self.bands, self.status, self.pixels = {}, {}, {}, {}, {}
        with store.reading(path) as handle:
            missing = [name for name in self.surveys if name not in handle]
            if missing:
                held = [name for name in handle if hasattr(handle[name], "keys")]
                raise InputError(f"{path} holds no stamps of {missing[0]}, which the model was made for; it holds "
                                 f"{', '.join(held) or 'none'}: add the survey to `stamps.surveys` or take it from the model")
            small = sum(handle[name]["image"].size for name in self.surveys) * 4 <= WHOLE
            for name in self.surveys:
                group = handle[name]
                self.scale[name], self.bands[name] = float(group.attrs["pixel_scale"]), group.attrs["bands"].split(",")
                self.stamp[name] = group["image"].shape[-1]
                self.names = group.attrs["status_names"].split(",")
                self.status[name] = group["status"][:]
                self.pixels[name] = group["image"][:] if small else None

    def _names(self):
        with store.reading(self.path) as handle:
            return [name for name in handle if not hasattr(handle[name], "keys")]

    def read(self, name: str, rows: np.ndarray, what: str = "image") -> np.ndarray:
        """Pixels (m, band, y, x) of one survey, or its `ivar` or `mask`."""
        if what == "image" and self.pixels[name] is not None:
            return self.pixels[name][rows]
        with store.reading(self.path) as handle:
            return np.stack([handle[name][what][int(k)] for k in rows])

    def ebv(self) -> np.ndarray:
        """(n, maps) float32 E(B-V), 0 where a map has no value."""
        if not self.ebv_names:
            return np.zeros((self.n, 0), np.float32)
        return np.nan_to_num(np.stack([self.columns[name] for name in self.ebv_names], axis=1)).astype(np.float32)

    def ivar_sample(self, most: int = 128) -> dict[str, np.ndarray]:
        """{survey: ivar} of up to `most` rows spread over the file."""
        rows = np.unique(np.linspace(0, self.n - 1, min(most, self.n)).astype(int))
        with store.reading(self.path) as handle:
            return {name: np.stack([handle[name]["ivar"][int(k)] for k in rows]) for name in self.surveys}
