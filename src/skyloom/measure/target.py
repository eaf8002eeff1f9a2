"""The target of a stamp as Engel et al. (2025) find it: sep at 2 sigma, the source nearest the centre within 5 px."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sep

from skyloom.measure import sources

THRESHOLD, REACH, SEARCH = 2.0, 5.0, 6.0  # sigma; px; radius of the Kron sums in units of A


@dataclass
class Target:
    """A detected target: background-subtracted stamp, sep's row, Kron radius in units of A."""

    net: np.ndarray
    row: np.void
    kron: float

    @property
    def ellipse(self) -> list:
        """x, y, a, b, theta as sep's functions take them."""
        return sources.ellipse(self.row)


def find(image: np.ndarray, bad: np.ndarray) -> tuple[np.ndarray, Target | None]:
    """(background-subtracted stamp, its target or None where nothing lies within 5 px of the centre).

    image (y, x) float32, bad (y, x) bool. A stamp without a good pixel comes back as it is.
    """
    image = np.ascontiguousarray(image, np.float32)
    if bad.all():
        return image, None
    net = image
    try:
        background = sep.Background(image, mask=bad)
        net = image - background.back()
        found = sep.extract(net, THRESHOLD, err=background.globalrms, mask=bad) if background.globalrms > 0 else []
    except Exception as error:  # sep raises bare Exceptions when its buffers overflow
        if "overflow" not in str(error) and "buffer" not in str(error):
            raise
        return net, None
    if not len(found):
        return net, None
    cy, cx = (np.array(image.shape) - 1) / 2
    distance = np.hypot(found["x"] - cx, found["y"] - cy)
    k = int(np.argmin(distance))
    if distance[k] > REACH:
        return net, None
    target = Target(net, found[k], 1.0)
    kron, _ = sep.kron_radius(net, *target.ellipse, SEARCH, mask=bad)
    target.kron = float(kron[0]) if np.isfinite(kron[0]) and kron[0] > 0 else 1.0
    return net, target
