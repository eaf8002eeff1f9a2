"""The images of a FITS or npz file: found by number, by name or by what they are, read whole or as a window."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skyloom import wcs
from skyloom.archives import guard
from skyloom.errors import ReplyError

# EXTNAMEs (arrays' names in an npz) by what they hold; planes of one kind are never taken for another
NAMES = {"image": {"SCI", "SCIENCE", "IMAGE", "DATA"},
         "variance": {"VARIANCE", "VAR"},
         "ivar": {"IVAR", "INVVAR", "WEIGHT", "WEIGHTS", "WHT", "WGT"},
         "sigma": {"ERR", "ERROR", "RMS", "SIGMA", "STD", "STDDEV", "UNCERT", "UNCERTAINTY"},
         "mask": {"MASK", "MSK", "DQ", "BADPIX"},
         "psf": {"PSF", "PSFIMAGE", "PSF_IMAGE"}}


@dataclass
class Layer:
    """One image of a file: its number and name there, shape, header and the file's first header (None in npz), the open
    file for astropy's WCS, and a function that reads an index of it."""

    path: str
    number: int
    name: str
    shape: tuple[int, ...]
    header: object
    top: object
    hdus: object
    take: Callable

    def kind(self) -> str:
        """What the name says the image is; empty where it says nothing."""
        return next((kind for kind, names in NAMES.items() if self.name in names), "")

    def __str__(self):
        return f"{self.number} {self.name}".strip()

    def sky(self):
        """The celestial WCS, None without one; ReplyError `bad_wcs`."""
        with guard.reading(self.path, "bad_wcs"):
            return None if self.header is None else wcs.celestial(self.header, self.hdus)

    def plane(self, number: float) -> tuple[tuple[int, ...], tuple[int, int]]:
        """(index of the leading axes, (ny, nx)) of the two-dimensional image: axes of length 1 are left out, of a cube it is
        plane `number` (NaN where none is named). ReplyError `bad_fits`."""
        lead, shape = list(self.shape[:-2]), self.shape[-2:]
        long = [k for k, n in enumerate(lead) if n > 1]
        if len(shape) < 2 or len(long) > 1 or (long and not np.isfinite(number)):
            raise ReplyError("bad_fits", f"{self.path}: {len(self.shape)} axes ({self}: {self.shape}), not 2; give `plane`")
        if long and not (0 <= number < lead[long[0]] and number == int(number)):
            raise ReplyError("bad_fits", f"{self.path}: no plane {number:g} among {lead[long[0]]}, counted from 0")
        return tuple(int(number) if k in long else 0 for k in range(len(lead))), shape

    def read(self, index=()) -> np.ndarray:
        """Pixels of an index (all without one) as float32, or float64 where the file has more bits: a variance in the square of
        erg/s/cm2/Hz is below what float32 holds. ReplyError `bad_fits`."""
        with guard.reading(self.path):
            found = np.asarray(self.take(index or Ellipsis))
            return found.astype(np.float64 if found.dtype.itemsize > 4 else np.float32)


@contextlib.contextmanager
def opened(path: str):
    """The images of a file, a list of `Layer`s, readable within the block; ReplyError `missing_file`, `bad_fits`."""
    if not os.path.isfile(path):
        raise ReplyError("missing_file", str(path) or "the manifest names no file")
    with contextlib.ExitStack() as stack:
        with guard.reading(path):
            found = _npz(path, stack) if path.endswith(".npz") else _fits(path, stack)
            if not found:
                raise ReplyError("bad_fits", f"{path}: no image in it")
        yield found


def _npz(path, stack) -> list[Layer]:
    arrays = stack.enter_context(np.load(path))
    return [Layer(path, k, name.upper(), array.shape, None, None, None, array.__getitem__)
            for k, name in enumerate(arrays.files) if (array := arrays[name]).ndim >= 2]


def _fits(path, stack) -> list[Layer]:
    from astropy.io import fits

    # a section reads the rows it needs, so that a mosaic isn't read once for every object on it
    hdus = stack.enter_context(fits.open(path, memmap=False))
    return [Layer(path, k, str(h.name).strip().upper(), h.shape, h.header, hdus[0].header, hdus, h.section.__getitem__)
            for k, h in enumerate(hdus) if h.is_image and len(h.shape) >= 2]


def pick(layers: list[Layer], kind: str, wanted: str = "") -> Layer:
    """The image of a `kind` (a key of NAMES): HDU `wanted` (number, name, or `name,version` of a FITS file), else the one
    whose name says so, else the only one. ReplyError `no_hdu` where it isn't there or says that it is something else."""
    path, listed = layers[0].path, ", ".join(map(str, layers))
    if wanted:
        fits = [layer for layer in layers if _called(layer, wanted)]
        if not fits:
            raise ReplyError("no_hdu", f"{path} has no image HDU {wanted}; it has {listed}")
    else:
        fits = [layer for layer in layers if layer.kind() == kind]
        if kind == "image":
            fits = (fits or [layer for layer in layers if not layer.kind()])[:1]
        elif not fits and len(layers) == 1:
            fits = layers
        if len(fits) != 1:
            found = "several HDUs" if fits else "no HDU"
            column = "hdu" if kind == "image" else f"{kind}_hdu"
            raise ReplyError("no_hdu", f"{path} has {found} called {' or '.join(sorted(NAMES[kind]))} among {listed}; name it in "
                                       f"the manifest's column `{column}`")
    found = fits[0]
    if kind != "image" and found.kind() not in ("", kind):
        raise ReplyError("no_hdu", f"{path}: HDU {found} is called {found.name}, that is {found.kind()}, not {kind}")
    return found


def _called(layer: Layer, wanted: str) -> bool:
    name, _, version = wanted.upper().partition(",")
    if name.strip().isdigit():
        return layer.number == int(name)
    own = "" if layer.header is None else str(layer.header.get("EXTVER", 1))
    return layer.name == name.strip() and version.strip() in ("", own)


def stated_scale(header) -> float:
    """arcsec/px as cards of a header name it, NaN without; the WCS knows better where there is one."""
    for key in ("PIXSCALE", "PIXELSCL", "PIXSCAL1", "SECPIX"):
        value = None if header is None else header.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(value)
    return float("nan")
