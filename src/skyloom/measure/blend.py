"""Whose light a stamp's pixels hold: the target's, its neighbours', nobody's.

sep on the sum of all usable bands, each in units of its own noise, so that every band counts by what it can tell; the target is
the source nearest the stamp's centre. Neighbours are the other sources' segments, grown so that their skirts go, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sep

from skyloom.measure import noise

KERNEL = np.outer([1, 2, 1], [1, 2, 1]) / 16.0
THRESHOLD = 1.8  # of the smoothed stack, in sigma of its pixels before: 3 to 5 of what smoothing leaves
LEAST_AREA, CONTRAST = 5, 0.005  # px; sep's deblending
NEAR = 5.0  # px from the centre beyond which a source is not the target
GROWN = 2  # px by which a neighbour's segment is grown
BRIDGE = 1.5  # px
START_RE, LEAST_SIGMA = 3.0, 0.6  # px: of a target that isn't detected; of one as small as its PSF


@dataclass
class Blend:
    """A stamp taken apart: the target's centre (x, y) and half-light radius freed of the PSF in px, `own` and `others` (y, x)
    bool, whether it was detected, whether sep could cope."""

    x: float
    y: float
    re: float
    own: np.ndarray
    others: np.ndarray
    detected: bool
    failed: bool = False


def stacked(image, ivar, lost) -> tuple[np.ndarray, np.ndarray]:
    """((y, x) sum of the bands in units of their noise, of variance 1 where the sky is empty; (y, x) pixels that no band has).

    image, ivar (band, y, x), lost (band, y, x) bool.
    """
    good = ~lost & (ivar > 0)
    total, count = np.zeros(image.shape[1:]), np.zeros(image.shape[1:])
    for b in range(len(image)):
        if good[b].any():
            weight = np.sqrt(np.median(ivar[b][good[b]][::4]))
            total += image[b] * (good[b] * weight)
            count += good[b]
    empty = count == 0
    stack = total / np.sqrt(np.maximum(count, 1))
    return (_bridged(stack, empty) if empty.any() else stack).astype(np.float32), empty


def _bridged(stack, empty):
    """The stack with empty pixels filled by their good neighbours' mean, weighted as a Gaussian, so that a dead column doesn't
    cut a source in two."""
    from scipy.ndimage import gaussian_filter

    near = gaussian_filter((~empty).astype(float), BRIDGE, mode="constant")
    light = gaussian_filter(np.where(empty, 0.0, stack), BRIDGE, mode="constant")
    return np.where(empty, np.where(near > 0.05, light / np.maximum(near, 0.05), 0), stack)


def find(image, ivar, lost, centre: tuple[float, float], psf_sigma: float) -> Blend:
    """The target nearest `centre` (x, y) px of usable bands' pixels and its neighbours.

    image, ivar (band, y, x), lost (band, y, x) bool; psf_sigma the PSF's width in px. Without a source near the centre the
    target is taken to lie there, and all sources are neighbours.
    """
    stack, empty = stacked(image, ivar, lost)
    nothing = np.zeros(stack.shape, bool)
    out = Blend(*centre, START_RE, nothing, nothing, False)
    if empty.all():
        return out
    try:
        found, segments = sep.extract(stack, THRESHOLD, minarea=LEAST_AREA, filter_kernel=KERNEL, filter_type="conv",
                                      segmentation_map=True, deblend_cont=CONTRAST)
    except Exception as error:  # sep raises bare Exceptions when its buffers or deblending levels overflow
        if "overflow" not in str(error) and "buffer" not in str(error):
            raise
        out.failed = True
        return out
    if not len(found):
        return out
    distance = np.hypot(found["x"] - centre[0], found["y"] - centre[1])
    k = int(np.argmin(distance))
    if distance[k] <= NEAR:
        out.detected, out.own = True, segments == k + 1
        out.x, out.y = float(found["x"][k]), float(found["y"][k])
        out.re = 1.1774 * float(np.sqrt(max(found["a"][k] * found["b"][k] - psf_sigma**2, LEAST_SIGMA**2)))  # as if Gaussian
    others = (segments != 0) & ~out.own
    out.others = grown(others) & ~out.own
    return out


def grown(mask: np.ndarray) -> np.ndarray:
    """(y, x) bool grown by GROWN px, along rows and columns in turn."""
    for _ in range(GROWN):
        out = mask.copy()
        out[1:] |= mask[:-1]
        out[:-1] |= mask[1:]
        out[:, 1:] |= mask[:, :-1]
        out[:, :-1] |= mask[:, 1:]
        mask = out
    return mask


def correlations(stamps, bands: int) -> np.ndarray:
    """(bands, r, r) autocorrelation of each band's noise, as of `noise.correlation`, from an iterable of stamps (image, ivar,
    unusable, psf, ok), each (band, y, x) and (band,), their sources cut out."""
    taken: list[list] = [[] for _ in range(bands)]
    for image, ivar, unusable, _, ok in stamps:
        if not np.any(ok):
            continue
        use = np.flatnonzero(ok)
        middle = ((image.shape[2] - 1) / 2, (image.shape[1] - 1) / 2)
        seen = find(image[use], ivar[use], unusable[use], middle, 0.0)
        sources = grown(seen.own) | seen.others
        for b in use:
            taken[b].append((image[b], ivar[b], unusable[b] | sources))
    return np.stack([noise.correlation(*(zip(*one, strict=True) if one else ((), (), ()))) for one in taken])
