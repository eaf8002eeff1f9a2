"""The HSC DAS cutout service and PSF picker: lists of rows out, tar members in, each checked."""

from __future__ import annotations

import io
import re
import tarfile

import numpy as np

from skyloom import wcs
from skyloom.archives import fitsimages, guard, maskplanes
from skyloom.archives.plane import Plane
from skyloom.errors import ReplyError

ROWS = 990  # rows of a list; the service takes at most 1000
MEMBER = 200_000_000  # bytes between two members of a tar: a cutout of 3000 px has 110 MB
CUTOUT = "rerun type filter tract ra dec sw sh image mask variance"
PSF = "rerun type filter tract patch ra dec centered"


def cutout_rows(ra, dec, size: int, rerun: str, bands, scale: float) -> list[str]:
    """List rows, one a band, for a stamp of `size` px of `scale` arcsec around one position (deg).

    The semi-width asks for two pixels more than the stamp needs, so that real pixels fill it after centring.
    """
    semi = (size / 2 + 2) * scale / 3600
    return [f"{rerun} coadd HSC-{band.upper()} any {ra:.16e}deg {dec:.16e}deg {semi:.16e}deg {semi:.16e}deg true true true"
            for band in bands]


def psf_rows(ra, dec, rerun: str, bands) -> list[str]:
    """PSF-picker rows, one a band, for one position (deg)."""
    return [f"{rerun} coadd HSC-{band.upper()} auto auto {ra:.16e} {dec:.16e} true" for band in bands]


def list_file(columns: str, rows: list[str]) -> dict:
    """`files=` of the multipart POST: a header line and the rows; row k comes back as line k + 2."""
    return {"list": ("coordlist.txt", "\n".join([f"#? {columns}", *rows]) + "\n")}


def sort_key(row: str):
    """Order in which the service's cache works best: rerun, type, tract, filter, position."""
    rerun, kind, band, tract, *rest = row.split()
    return (rerun, kind, tract, band, rest[-2:] if len(rest) < 4 else rest[:2])


class _Tail(io.RawIOBase):
    """A reader that remembers whether a tar's closing zero blocks came by, and reads no more than `left` bytes."""

    def __init__(self, source):
        self.source, self.last, self.left = source, b"", MEMBER

    def read(self, size=-1):
        part = self.source.read(size)
        self.last = (self.last + part)[-1024:]
        self.left -= len(part)
        if self.left < 0:
            raise ReplyError("too_large", f"more than {MEMBER / 1e6:.0f} MB for one member of the tar")
        return part

    def finish(self) -> bool:
        while self.read(65536):
            pass
        return len(self.last) == 1024 and not any(self.last)


def members(stream):
    """Yield (row index, name, bytes) of a streamed tar; ReplyError `truncated`, `not_a_tar` or `too_large` if it doesn't
    end well.

    Whatever came whole before the end is yielded first.
    """
    tail = _Tail(stream)
    try:
        with tarfile.open(fileobj=tail, mode="r|", errorlevel=2) as archive:
            for member in archive:
                match = re.match(r"(?:.*/)?(\d+)-", member.name)
                if member.size > MEMBER:
                    raise ReplyError("too_large", f"{member.name} is said to have {member.size / 1e6:.0f} MB")
                tail.left = 2 * MEMBER  # headers of the next one are read ahead
                if match and member.isfile():
                    data = archive.extractfile(member).read()
                    if len(data) != member.size:
                        raise ReplyError("truncated", f"{member.name}: {len(data)} of {member.size} bytes")
                    yield int(match[1]) - 2, member.name, data
    except tarfile.TarError as error:
        raise ReplyError("truncated" if tail.last else "not_a_tar", str(error)) from None
    if not tail.finish():
        raise ReplyError("truncated", "the archive's end is missing")


@guard.reading("the cutout")
def parse_cutout(body: bytes, scale: float) -> Plane:
    """A Plane from the FITS bytes of a coadd cutout of `scale` arcsec/px; HDUs by order: header, image, mask, variance.

    ReplyError: `not_fits`, `bad_fits`, `no_zero_point`, `wrong_scale`, `all_nan`, `all_zero`.
    """
    hdus = fitsimages.images(body)
    if len(hdus) < 4 or any(pixels is None or pixels.shape != hdus[1][1].shape for _, pixels in hdus[1:4]):
        raise ReplyError("bad_fits", f"{len(hdus)} HDUs, not header, image, mask and variance of one shape")
    (top, _), (head, image), (mask_head, mask), (_, variance) = hdus[:4]
    crval, crpix, cd = fitsimages.tan(head)
    zero_point = 2.5 * np.log10(top.positive("FLUXMAG0", "no_zero_point"))
    wcs.check_scale(cd, scale)
    fitsimages.check_pixels(image)
    unusable = maskplanes.unusable(mask_head)
    return Plane(image.astype(np.float32), mask.astype(np.int32), (mask & unusable) != 0,
                 variance.astype(np.float32), float(zero_point), crval, crpix, cd)


@guard.reading("the kernel")
def parse_psf(body: bytes) -> np.ndarray:
    """(ny, nx) float32 PSF kernel of sum 1; ReplyError `not_fits`, `bad_fits` or `bad_psf`."""
    kernel = fitsimages.images(body)[0][1]
    if kernel is None or kernel.ndim != 2 or not np.isfinite(kernel).all() or not 0.9 < kernel.sum() < 1.1:
        raise ReplyError("bad_psf", "no finite kernel of sum 1 in the first HDU")
    return (kernel / kernel.sum()).astype(np.float32)
