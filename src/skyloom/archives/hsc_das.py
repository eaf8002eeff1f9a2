"""The HSC DAS cutout service and PSF picker: lists of rows out, tar members in, each checked."""

from __future__ import annotations

import io
import re
import tarfile
import warnings
from dataclasses import dataclass

import numpy as np

from skyloom import wcs
from skyloom.errors import ReplyError

ROWS = 990  # rows of a list; the service takes at most 1000
SCALE = 0.168  # arcsec per px of HSC coadds
BANDS = ("g", "r", "i", "z", "y")
# planes that make a pixel useless; DETECTED, BRIGHT_OBJECT and the like only inform
BAD_PLANES = ("BAD", "SAT", "NO_DATA", "SUSPECT", "CR", "INTRP")
CUTOUT = "rerun type filter tract ra dec sw sh image mask variance"
PSF = "rerun type filter tract patch ra dec centered"


def cutout_rows(ra, dec, size: int, rerun: str) -> list[str]:
    """List rows, one a band, for a stamp of `size` px around one position (deg).

    The semi-width asks for two pixels more than the stamp needs, so that real pixels fill it after centring.
    """
    semi = (size / 2 + 2) * SCALE / 3600
    return [f"{rerun} coadd HSC-{band.upper()} any {ra:.16e}deg {dec:.16e}deg {semi:.16e}deg {semi:.16e}deg true true true"
            for band in BANDS]


def psf_rows(ra, dec, rerun: str) -> list[str]:
    """PSF-picker rows, one a band, for one position (deg)."""
    return [f"{rerun} coadd HSC-{band.upper()} auto auto {ra:.16e} {dec:.16e} true" for band in BANDS]


def list_file(columns: str, rows: list[str]) -> dict:
    """`files=` of the multipart POST: a header line and the rows; row k comes back as line k + 2."""
    return {"list": ("coordlist.txt", "\n".join([f"#? {columns}", *rows]) + "\n")}


def sort_key(row: str):
    """Order in which the service's cache works best: rerun, type, tract, filter, position."""
    rerun, kind, band, tract, *rest = row.split()
    return (rerun, kind, tract, band, rest[-2:] if len(rest) < 4 else rest[:2])


class _Tail(io.RawIOBase):
    """A reader that remembers whether a tar's closing zero blocks came by."""

    def __init__(self, source):
        self.source, self.last = source, b""

    def read(self, size=-1):
        part = self.source.read(size)
        self.last = (self.last + part)[-1024:]
        return part

    def finish(self) -> bool:
        while self.read(65536):
            pass
        return len(self.last) == 1024 and not any(self.last)


def members(stream):
    """Yield (row index, bytes) of a streamed tar; ReplyError `truncated` or `not_a_tar` if it doesn't end well.

    Whatever came whole before the end is yielded first.
    """
    tail = _Tail(stream)
    try:
        with tarfile.open(fileobj=tail, mode="r|", errorlevel=2) as archive:
            for member in archive:
                match = re.match(r"(?:.*/)?(\d+)-", member.name)
                if match and member.isfile():
                    data = archive.extractfile(member).read()
                    if len(data) != member.size:
                        raise ReplyError("truncated", f"{member.name}: {len(data)} of {member.size} bytes")
                    yield int(match[1]) - 2, data
    except tarfile.TarError as error:
        raise ReplyError("truncated" if tail.last else "not_a_tar", str(error)) from None
    if not tail.finish():
        raise ReplyError("truncated", "the archive's end is missing")


@dataclass
class Plane:
    """One band of one object as it came: counts, bad-pixel planes, variance in counts^2, calibration, WCS."""

    image: np.ndarray
    mask: np.ndarray
    bad: np.ndarray
    variance: np.ndarray
    zero_point: float
    crval: tuple[float, float]
    crpix: tuple[float, float]
    cd: np.ndarray


def parse_cutout(body: bytes) -> Plane:
    """A Plane from the FITS bytes of a coadd cutout; HDUs by order: header, image, mask, variance.

    ReplyError: `not_fits`, `bad_fits`, `no_zero_point`, `wrong_scale`, `all_nan`, `all_zero`.
    """
    from astropy.io import fits

    if body[:6] != b"SIMPLE":
        raise ReplyError("not_fits", f"starts with {body[:20]!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(io.BytesIO(body), lazy_load_hdus=False, memmap=False) as hdus:
                top, head, mask_head = hdus[0].header, hdus[1].header, hdus[2].header
                image, mask, variance = (np.asarray(hdus[k].data) for k in (1, 2, 3))
                if "FLUXMAG0" not in top:
                    raise ReplyError("no_zero_point", "FLUXMAG0 is missing")
                zero_point = 2.5 * np.log10(top["FLUXMAG0"])
                cd = np.array([[head["CD1_1"], head.get("CD1_2", 0.0)], [head.get("CD2_1", 0.0), head["CD2_2"]]])
                crval, crpix = (head["CRVAL1"], head["CRVAL2"]), (head["CRPIX1"], head["CRPIX2"])
                bits = {key[3:]: mask_head[key] for key in mask_head if key.startswith("MP_")}
    except ReplyError:
        raise
    except Exception as error:  # astropy raises half a dozen types for broken bytes
        raise ReplyError("bad_fits", f"{type(error).__name__}: {error}") from None
    wcs.check_scale(cd, SCALE)
    if not np.isfinite(image).any():
        raise ReplyError("all_nan", "no finite pixel")
    if not np.any(image):
        raise ReplyError("all_zero", "every pixel is zero")
    native = (np.asarray(a, t) for a, t in ((image, np.float32), (mask, np.int32), (variance, np.float32)))
    image, mask, variance = native
    wanted = sum(1 << int(bits[name]) for name in BAD_PLANES if name in bits)
    return Plane(image, mask, (mask & wanted) != 0, variance, float(zero_point), crval, crpix, cd)


def parse_psf(body: bytes) -> np.ndarray:
    """(ny, nx) float32 PSF kernel of sum 1; ReplyError `not_fits`, `bad_fits` or `bad_psf`."""
    from astropy.io import fits

    if body[:6] != b"SIMPLE":
        raise ReplyError("not_fits", f"starts with {body[:20]!r}")
    try:
        with fits.open(io.BytesIO(body), memmap=False) as hdus:
            kernel = np.asarray(hdus[0].data, np.float64)
    except Exception as error:  # as above
        raise ReplyError("bad_fits", f"{type(error).__name__}: {error}") from None
    if kernel.ndim != 2 or not np.isfinite(kernel).all() or not 0.9 < kernel.sum() < 1.1:
        raise ReplyError("bad_psf", f"shape {kernel.shape}, sum {kernel.sum():.3f}")
    return (kernel / kernel.sum()).astype(np.float32)
