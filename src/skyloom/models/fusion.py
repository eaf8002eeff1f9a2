"""From a survey's stored stamps (nJy) to what a fusion network sees: scaling fitted on training, one grid or native.

`default`: asinh of pixels in units of 3 noise sigma of their band. `mantis`: the paper's scaling, in the surveys' own
units: GALEX x / 0.05 clipped to [0, 1]; PS1 asinh(a Q x) / Q with a 0.01, Q 8; unWISE the same with 0.1 and 6;
negative values and undefined pixels to zero first.
"""

from __future__ import annotations

import math

import numpy as np

from skyloom.errors import InputError
from skyloom.regrid import overlap

STEP = 0.25  # arcsec/px of the common grid: PS1's own
# arcsec seen of each survey where `view` is `code`: what the published code crops, which its text states as 30 for all
CODE = {"early": {"ps1": 30.0, "galex": 33.0, "unwise": 60.5}, "late": {"ps1": 30.0, "galex": 48.0, "unwise": 88.0}}
LEAST = 8  # stem strides along a side: ConvNeXt halves its resolution three times after the stem
# AB zero points of the units in which the paper scales: counts of PS1's median exposure (720 s), counts/s, Vega nanomaggies
UNITS = {"galex": (20.08, 18.82), "ps1": (25 + 2.5 * np.log10(720),) * 5, "unwise": (22.5 + 2.699, 22.5 + 3.339)}
ASINH = {"ps1": (0.01, 8.0), "unwise": (0.1, 6.0)}


def fit(ivar: dict[str, np.ndarray], kind: str) -> dict:
    """The scaling of {survey: ivar (n, band, y, x)}: per band the median noise sigma in nJy; plain lists."""
    sigma = {}
    for name, values in ivar.items():
        per_band = [values[:, b][values[:, b] > 0] for b in range(values.shape[1])]
        sigma[name] = [float(1 / np.sqrt(np.median(v))) if v.size else 1.0 for v in per_band]
    return {"kind": kind, "sigma": sigma}


def usable(status: np.ndarray, names: list[str], kind: str) -> np.ndarray:
    """(n, band) bool: stamps that the network sees. The paper rejects what is masked; we show what is left of it."""
    good = ("ok",) if kind == "mantis" else ("ok", "masked")
    return np.isin(status, [names.index(name) for name in good])


def scaled(name: str, pixels: np.ndarray, scaling: dict) -> np.ndarray:
    """(n, band, y, x) float32 network input of a survey's pixels in nJy; pixels without data are 0 and stay 0."""
    if scaling["kind"] == "default":
        sigma = np.asarray(scaling["sigma"][name], np.float32)[None, :, None, None]
        return np.arcsinh(pixels / (3 * sigma)).astype(np.float32)
    if name not in UNITS:
        raise InputError(f"`scaling: mantis` is the paper's, which knows {', '.join(UNITS)}, not {name}; set `scaling: default`")
    unit = np.array([10 ** (-0.4 * (31.4 - zero)) for zero in UNITS[name]], np.float32)[None, :, None, None]
    x = np.clip(np.nan_to_num(pixels) * unit, 0, None)
    if name == "galex":
        return np.clip(x / 0.05, 0, 1).astype(np.float32)
    a, q = ASINH[name]
    return (np.arcsinh(a * q * x) / q).astype(np.float32)


def frame(name: str, stamp: int, scale: float, options, early: bool, room: bool = False) -> tuple[int, float]:
    """(px, arcsec/px) of the square that a network sees of stamps of `stamp` px at `scale`, by its options `view`, `patch`,
    `patch_small`.

    Native pixels (late) are counted up to the stamp's parity, so that the target stays in the middle, and to what
    ConvNeXt needs. `room` = sqrt(2) larger: any rotation of it holds the square whole. InputError if the stamps don't
    hold that much.
    """
    view = options.view
    if view == "code" and name not in CODE["late"]:
        raise InputError(f"`view: code` is the published code's, which knows {', '.join(CODE['late'])}, not {name}; give `view` "
                         "in arcsec")
    side = CODE["early" if early else "late"][name] if view == "code" else float(view)
    if early:
        px = round((CODE["early"]["ps1"] if view == "code" else side) / STEP)
        step = side / px
        parity = px % 2
    else:
        patch = options.patch if name == "ps1" else options.patch_small
        px, step, parity = max(math.ceil(side / scale - 1e-9), LEAST * patch), scale, stamp % 2
    px += (px - parity) % 2
    if room:
        px = math.ceil(px * math.sqrt(2))
        px += (px - parity) % 2
    if px * step > stamp * scale + 1e-6:
        remedy = ("or set the model's `augment` to `symmetries`, which needs no room to turn" if room else
                  "or let the model see less (`view`, `patch_small`)")
        purpose = " to rotate them" if room else ""
        raise InputError(f"the stamps of {name} have {stamp} px, {stamp * scale:.1f} arcsec, the model needs "
                         f"{px * step:.1f}{purpose}; fetch larger ones (`stamps.sizes.{name}`), {remedy}")
    return px, step


def crop(pixels: np.ndarray, size: int) -> np.ndarray:
    """The central size x size of (..., y, x)."""
    start = (pixels.shape[-1] - size) // 2
    return pixels[..., start:start + size, start:start + size]


def to_grid(pixels: np.ndarray, scale: float, size: int, step: float) -> np.ndarray:
    """(..., size, size) values at `step` arcsec/px from (..., y, x) at `scale`, both centred.

    Each grid pixel is the area-weighted mean of the native pixels under it, so that surface brightness is kept.
    """
    share = overlap(pixels.shape[-1], scale, 0.0, size, step)
    mean = (share / np.maximum(share.sum(axis=1, keepdims=True), 1e-9)).astype(np.float32)
    return mean @ pixels @ mean.T


def inputs(name: str, pixels: np.ndarray, seen: np.ndarray, scale: float, scaling: dict, square: tuple[int, float]) -> np.ndarray:
    """Network input (n, band, px, px) of one survey: scaled, bands that nobody saw at zero, on its grid.

    pixels (n, band, y, x) nJy, seen (n, band) bool, scale arcsec/px, square (px, arcsec/px) as of `frame`.
    """
    size, step = square
    if abs(scale - step) < 1e-9:
        out = scaled(name, crop(pixels, size), scaling)
    else:
        out = to_grid(scaled(name, pixels, scaling), scale, size, step)
    return (out * seen[:, :, None, None]).astype(np.float32)


def frames(split, options, early: bool, room: bool = False) -> dict[str, tuple[int, float]]:
    """{survey: (px, arcsec/px)} of what a network of these options sees of a split; see `frame`."""
    return {name: frame(name, split.stamp[name], split.scale[name], options, early, room) for name in split.surveys}


def seen(split, rows: np.ndarray, kind: str) -> dict[str, np.ndarray]:
    """{survey: (m, band) bool}: which stamps of a split's rows hold something."""
    return {name: usable(split.status[name][rows], split.names, kind) for name in split.surveys}


def shown(split, rows: np.ndarray, scaling: dict, squares: dict) -> dict[str, np.ndarray]:
    """{survey: network input (m, band, px, px)} of a split's rows in any order, in squares as of `frames`."""
    held = seen(split, rows, scaling["kind"])
    return {name: inputs(name, split.read(name, rows), held[name], split.scale[name], scaling, squares[name])
            for name in split.surveys}
