"""From stored pixels and magnitudes to network inputs; fitted on the training split, kept in model.json.

`default`: asinh of pixels in units of 3 noise sigma of their band; magnitudes to zero mean and unit spread.
`paper`: pixels / 255; the network without images gets magnitudes scaled to [0, 1], the CNN gets them as they are.
A magnitude of 99 (not detected) is a state: the faintest of training plus half a magnitude and, if training has
such rows, an indicator; one of -99 or NaN (not observed) is the mean and an indicator.
"""

from __future__ import annotations

import numpy as np

NOT_DETECTED = 90.0  # at or above: the conventional 99 and its kin


def fit_table(columns: dict[str, np.ndarray], kind: str, uses_image: bool) -> dict:
    """The scaling of magnitude columns as plain lists: offset, scale, faintest, and the states that occur."""
    out = {"kind": kind, "columns": list(columns), "offset": [], "scale": [], "faintest": [], "undetected": [],
           "unobserved": []}
    for name, values in columns.items():
        values = np.asarray(values, float)
        undetected, unobserved = states(values)
        seen = values[~undetected & ~unobserved]
        if not len(seen):
            seen = np.zeros(1)
        faintest = float(seen.max() + 0.5)
        if kind == "default":
            offset, scale = float(seen.mean()), float(seen.std() or 1.0)
        elif uses_image:
            offset, scale = 0.0, 1.0
        else:
            offset, scale = float(seen.min()), float(np.ptp(seen) or 1.0)
        out["offset"].append(offset)
        out["scale"].append(scale)
        out["faintest"].append(faintest)
        if undetected.any():
            out["undetected"].append(name)
        if unobserved.any():
            out["unobserved"].append(name)
    return out


def states(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks (not detected, not observed) of a magnitude column."""
    values = np.asarray(values, float)
    undetected = values >= NOT_DETECTED
    return undetected, ~np.isfinite(values) & ~undetected | (values <= -NOT_DETECTED)


def table(columns: dict[str, np.ndarray], scaling: dict) -> np.ndarray:
    """(n, k) float32 inputs: scaled magnitudes, then the indicators of the states that training had."""
    parts, extra = [], []
    for name, offset, scale, faintest in zip(scaling["columns"], scaling["offset"], scaling["scale"],
                                             scaling["faintest"], strict=True):
        values = np.asarray(columns[name], float)
        undetected, unobserved = states(values)
        clean = np.where(undetected, faintest, np.where(unobserved, 0.0, values))
        parts.append(np.where(unobserved, 0.0, (clean - offset) / scale))
        extra += [flag for flag, listed in ((undetected, scaling["undetected"]), (unobserved, scaling["unobserved"]))
                  if name in listed]
    return np.stack(parts + extra, axis=1).astype(np.float32)


def inputs(scaling: dict) -> int:
    """Number of columns that `table` makes."""
    return len(scaling["columns"]) + len(scaling["undetected"]) + len(scaling["unobserved"])


def fit_image(ivar: np.ndarray, kind: str) -> dict:
    """The scaling of pixels (n, band, y, x): per band, the median noise sigma of the pixels that count."""
    if kind == "paper":
        return {"kind": kind}
    sigma = []
    for b in range(ivar.shape[1]):
        used = ivar[:, b][ivar[:, b] > 0]
        sigma.append(float(1 / np.sqrt(np.median(used))) if used.size else 1.0)
    return {"kind": kind, "sigma": sigma}


def image(pixels: np.ndarray, scaling: dict) -> np.ndarray:
    """Network input of pixels (n, band, y, x), float32; pixels without data are stored as 0 and stay 0."""
    if scaling["kind"] == "paper":
        return (pixels / np.float32(255)).astype(np.float32)
    sigma = np.asarray(scaling["sigma"], np.float32)[None, :, None, None]
    return np.arcsinh(pixels / (3 * sigma)).astype(np.float32)
