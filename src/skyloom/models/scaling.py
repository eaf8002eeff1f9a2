"""From stored pixels and magnitudes to network inputs; fitted on the training split, kept in model.json.

`default`: asinh of pixels in units of 3 noise sigma of their band; magnitudes to zero mean and unit spread.
`paper`: pixels / 255; the network without images gets magnitudes scaled to [0, 1], the CNN gets them as they are.
A magnitude of 99 (not detected) is a state: the faintest of training plus half a magnitude and, if training has
such rows, an indicator; one of -99 or NaN (not observed) is the mean and an indicator.
"""

from __future__ import annotations

import numpy as np

DARK = -5.0  # depth of a pixel without data
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


def channels(bands, image: dict | None) -> int:
    """Channels of the images of a network that sees these bands, scaled as `image` says: with `ivar` twice."""
    return len(bands) * (2 if image and image.get("ivar") else 1)


def fit_image(ivar: np.ndarray, kind: str, with_ivar: bool = False) -> dict:
    """The scaling of pixels (n, band, y, x): per band, the median noise sigma of the pixels that count; the paper's has none
    unless the network sees the ivar, too."""
    if kind == "paper" and not with_ivar:
        return {"kind": kind}
    sigma = []
    for b in range(ivar.shape[1]):
        used = ivar[:, b][ivar[:, b] > 0]
        sigma.append(float(1 / np.sqrt(np.median(used))) if used.size else 1.0)
    return {"kind": kind, "sigma": sigma}


def image(pixels: np.ndarray, scaling: dict, ivar: np.ndarray | None = None) -> np.ndarray:
    """Network input of pixels (n, band, y, x), float32; pixels without data are stored as 0 and stay 0.

    With `ivar` (n, band, y, x) as many channels again: depth in magnitudes of each pixel's noise against its band's usual one
    (Pogson's ratio, at most 5), DARK where a pixel has no data: masked is not the same as empty sky.
    """
    if scaling["kind"] == "paper":
        seen = (pixels / np.float32(255)).astype(np.float32)
    if scaling["kind"] != "paper" or ivar is not None:
        sigma = np.asarray(scaling["sigma"], np.float32)[None, :, None, None]
    if scaling["kind"] != "paper":
        seen = np.arcsinh(pixels / (3 * sigma)).astype(np.float32)
    if ivar is None:
        return seen
    with np.errstate(divide="ignore"):
        depth = np.where(ivar > 0, 1.25 * np.log10(ivar * sigma**2), DARK)
    return np.concatenate([seen, depth.clip(DARK, 5).astype(np.float32)], axis=1)
