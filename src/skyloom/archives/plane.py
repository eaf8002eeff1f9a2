"""What every image archive's parser returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Plane:
    """One band of one object as it came: counts, mask and bad pixels, variance in counts^2 (None where the archive
    gives none), AB zero point, TAN WCS."""

    image: np.ndarray
    mask: np.ndarray
    bad: np.ndarray
    variance: np.ndarray | None
    zero_point: float
    crval: tuple[float, float]
    crpix: tuple[float, float]
    cd: np.ndarray
