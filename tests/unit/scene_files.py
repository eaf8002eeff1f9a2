"""Small files of scenes and labels with a place on the sky, for tests that need no archive."""

import h5py
import numpy as np

from tests.unit.test_scene_training import SCALE, TINY, make

__all__ = ["TINY", "placed"]
EDGE = 8  # px around a core


def placed(stem, n=4, side=96, **more):
    """([files of scenes], [files of labels]): n tiles side by side in right ascension, their cores without overlap."""
    paths = make(stem, n=n, side=side, **more)
    with h5py.File(paths[0][0], "a") as out:
        step = (side - 2 * EDGE) * SCALE / 3600
        out["tile_id"] = np.arange(n) + (1 << 40)
        out["crval"] = np.stack([150 + step * np.arange(n), np.full(n, 2.0)], axis=1)
        out["crpix"] = np.full((n, 2), (side + 1) / 2)
        out["cd"] = np.tile(np.diag([-SCALE, SCALE]) / 3600, (n, 1, 1))
        out["core"] = np.tile([EDGE, side - EDGE, EDGE, side - EDGE], (n, 1))
    return paths
