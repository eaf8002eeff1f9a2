"""Random numbers that depend on what they are for, never on the order of asking."""

from __future__ import annotations

import functools
import hashlib

import numpy as np

M1, M2, M3 = (np.uint64(v) for v in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def key(*parts) -> int:
    """A 63-bit key of any printable parts (blake2b)."""
    text = "/".join(str(p) for p in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def uniform(*parts) -> float:
    """One number in [0, 1) fixed by its parts."""
    return key(*parts) / 2.0**63


def generator(*parts) -> np.random.Generator:
    """A Philox generator (Salmon et al. 2011) keyed by its parts."""
    return np.random.Generator(np.random.Philox(key=np.array([key(*parts), key("b", *parts)], np.uint64)))


def splitmix(counter: np.ndarray) -> np.ndarray:
    """splitmix64 (Steele, Lea & Flood 2014) of uint64 counters."""
    with np.errstate(over="ignore"):
        z = counter * M1
        z = (z ^ (z >> np.uint64(30))) * M2
        z = (z ^ (z >> np.uint64(27))) * M3
        return z ^ (z >> np.uint64(31))


@functools.cache
def _normal_table() -> np.ndarray:
    from scipy.stats import norm

    return norm.ppf((np.arange(65536) + 0.5) / 65536).astype(np.float32)


def window_normals(seed: int, y0: np.ndarray, x0: np.ndarray, size: int) -> np.ndarray:
    """(n, size, size) float32: what `pixel_normals` gives for windows whose first pixels are (y0, x0), each (n,)."""
    steps = np.arange(size, dtype=np.int64)
    y = (np.asarray(y0, np.int64)[:, None] + steps).astype(np.uint64)[:, :, None]
    x = ((np.asarray(x0, np.int64)[:, None] + steps) & 0xFFFFFFFF).astype(np.uint64)[:, None, :]
    return _normals(seed, y, x)


def pixel_normals(seed: int, y0: int, x0: int, height: int, width: int) -> np.ndarray:
    """(height, width) float32 standard normals of absolute pixels (y0.., x0..), by table: no libm involved."""
    y = np.arange(y0, y0 + height, dtype=np.int64).astype(np.uint64)[:, None]
    x = (np.arange(x0, x0 + width, dtype=np.int64) & 0xFFFFFFFF).astype(np.uint64)[None, :]
    return _normals(seed, y, x)


def _normals(seed: int, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        bits = splitmix(((y << np.uint64(32)) | x) + np.uint64(seed))
    table = _normal_table()
    pair = table[bits >> np.uint64(48)] + table[bits & np.uint64(0xFFFF)]
    return pair * np.float32(0.70710678)
