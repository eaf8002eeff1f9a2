"""From boxes and the chances of their cells to pixels and fluxes of sources on a tile."""

from __future__ import annotations

import numpy as np

CELLS = 28  # a side of a box's mask
HALF = 1.1774  # half-light radius of a Gaussian, in its standard deviations


def chances(mask: np.ndarray, box: np.ndarray, shape: tuple[int, int]):
    """(x0, y0, (h, w) float32): chances of the pixels whose centres lie in a box, from its cells (28, 28), bilinear; pixels
    outside the tile of `shape` are left out. Empty arrays where the box holds no pixel's centre."""
    def line(low, high, most):
        first, last = max(int(np.ceil(low - 0.5)), 0), min(int(np.floor(high - 0.5)), most - 1)
        at = (np.arange(first, max(last + 1, first)) + 0.5 - low) / max(high - low, 1e-6) * CELLS - 0.5
        at = at.clip(0, CELLS - 1)
        below = np.minimum(at.astype(int), CELLS - 2)
        return first, below, (at - below).astype(np.float32)

    x0, x, right = line(box[0], box[2], shape[1])
    y0, y, down = line(box[1], box[3], shape[0])
    rows = mask[y] * (1 - down)[:, None] + mask[y + 1] * down[:, None]
    return x0, y0, rows[:, x] * (1 - right) + rows[:, x + 1] * right


def owners(masks, boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(y, x) int32: the source (row of boxes (n, 4)) to which each pixel most likely belongs, -1 where none has a chance above
    a half. `masks` (n, 28, 28)."""
    best, owner = np.full(shape, 0.5, np.float32), np.full(shape, -1, np.int32)
    for k, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        x0, y0, chance = chances(mask, box, shape)
        here = (slice(y0, y0 + chance.shape[0]), slice(x0, x0 + chance.shape[1]))
        mine = chance > best[here]
        best[here][mine], owner[here][mine] = chance[mine], k
    return owner


def windows(owner: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """Masks of n sources as their smallest windows: `x0, y0, w, h, offset` (n,) and flat `bits` uint8; w = h = 0 for a source
    without pixels."""
    out = {name: np.zeros(n, np.int64) for name in ("x0", "y0", "w", "h", "offset")}
    y, x = np.nonzero(owner >= 0)
    own, bits, done = owner[y, x], [], 0
    order = np.argsort(own, kind="stable")
    edges = np.searchsorted(own[order], np.arange(n + 1))
    for k in range(n):
        rows = order[edges[k]:edges[k + 1]]
        out["offset"][k] = done
        if not len(rows):
            continue
        x0, y0 = x[rows].min(), y[rows].min()
        part = owner[y0:y[rows].max() + 1, x0:x[rows].max() + 1] == k
        out["x0"][k], out["y0"][k], (out["h"][k], out["w"][k]) = x0, y0, part.shape
        bits.append(part.ravel().astype(np.uint8))
        done += part.size
    return {**out, "bits": np.concatenate(bits) if bits else np.zeros(0, np.uint8)}


def photometry(owner: np.ndarray, n: int, image: np.ndarray, ivar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(flux, error), each (n, band), nJy: sums over a source's pixels with data of image (band, y, x) and, squared, of the noise
    that ivar tells; NaN in a band in which none of its pixels has data."""
    own, good = owner[owner >= 0], (ivar > 0)[:, owner >= 0]
    light = np.where(good, image[:, owner >= 0], 0.0)
    noise = np.where(good, 1.0 / np.where(good, ivar[:, owner >= 0], 1.0), 0.0)
    flux, variance, pixels = (np.stack([np.bincount(own, band, n) for band in values]).T if len(values) else np.zeros((n, 0))
                              for values in (light, noise, good))
    seen = pixels > 0
    return np.where(seen, flux, np.nan), np.where(seen, np.sqrt(variance), np.nan)


def radii(owner: np.ndarray, n: int, light: np.ndarray) -> np.ndarray:
    """(n,) px: half-light radius of the Gaussian of the light's (y, x) second moments over a source's pixels, of its pixels
    alone where their light isn't positive; NaN without pixels."""
    y, x = np.nonzero(owner >= 0)
    own, weight = owner[y, x], np.clip(light[y, x], 0, None).astype(float)
    total, number = np.bincount(own, weight, n), np.bincount(own, minlength=n)
    weight = np.where(total[own] > 0, weight, 1.0)
    total = np.where(total > 0, total, number)
    with np.errstate(all="ignore"):
        mean = [np.bincount(own, weight * a, n) / total for a in (x, y)]
        second = sum(np.bincount(own, weight * (a - m[own]) ** 2, n) for a, m in zip((x, y), mean, strict=True)) / total
    return np.where(number > 0, HALF * np.sqrt(second / 2 + 1 / 12), np.nan)
