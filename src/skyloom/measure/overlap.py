"""Whether a detector's masks are those of the true sources: intersection over union.

Whose a pixel is, is said by the noise-free light alone: the source's whose own light is brightest there, if that is above FLOORS
sigma of the sky in the sum of bands. No detector learned this: shares of light and thresholds of noisy pixels are other rules.
"""

from __future__ import annotations

import numpy as np

COUNTS = 1.0  # sigma of the sum's sky: the isophote that counts
FLOORS = (0.5, COUNTS, 2.0)


def owners(stamps, shape, floor: float) -> np.ndarray:
    """(y, x) row of the stamp (x0, y0, values (h, w)) whose light is brightest in a pixel and above `floor`, -1 for none."""
    best, owner = np.full(shape, floor, np.float32), np.full(shape, -1)
    for k, (x0, y0, values) in enumerate(stamps):
        h, w = np.shape(values)
        y, x = slice(max(y0, 0), max(y0 + h, 0)), slice(max(x0, 0), max(x0 + w, 0))
        part = values[max(-y0, 0):, max(-x0, 0):][:shape[0] - y.start, :shape[1] - x.start]
        above = part > best[y, x]
        best[y, x][above], owner[y, x][above] = part[above], k
    return owner


def iou(owner, rows, boxes) -> np.ndarray:
    """(n,) intersection over union of the pixels that belong to stamps `rows` (n,) with boxes (x0, y0, bits (h, w) bool), None
    for one that has no mask: 0. NaN for a source that owns no pixel."""
    area = np.bincount(owner[owner >= 0], minlength=int(np.max(rows, initial=-1)) + 1)
    out = np.full(len(rows), np.nan)
    for k, (row, box) in enumerate(zip(rows, boxes, strict=True)):
        if not area[row]:
            continue
        if box is None:
            out[k] = 0.0
            continue
        x0, y0, bits = box
        both = int((bits & (owner[y0:y0 + bits.shape[0], x0:x0 + bits.shape[1]] == row)).sum())
        out[k] = both / (area[row] + int(bits.sum()) - both)
    return out
