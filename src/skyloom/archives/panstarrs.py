"""Pan-STARRS1 at STScI: the file list in batches, one FITS cutout a band (archive's own scale 25 + 2.5 log10 EXPTIME)."""

from __future__ import annotations

import numpy as np

from skyloom import wcs
from skyloom.archives import fitsimages, guard
from skyloom.archives.plane import Plane
from skyloom.errors import ReplyError

NEAR = 1.0  # arcsec between a position that was asked for and the archive's echo of it, which is rounded
POSITIONS = 5000  # a request; others send 10,000
SOUTHERN_EDGE = -32.0  # deg: the survey ends at -30, its pointings a field of view farther
_COLUMNS = ("projcell", "subcell", "ra", "dec", "filter", "mjd", "type", "filename", "shortname")
UNITS = {"", "counts", "count", "adu", "dn"}


def list_form(positions, bands, kinds=("stack",)) -> dict:
    """Form fields and file of the batch POST for (ra, dec) in deg, as keyword arguments of a request."""
    lines = "\n".join(f"{ra:.10f} {dec:.10f}" for ra, dec in positions) + "\n"
    return {"data": {"filters": "".join(bands), "type": ",".join(kinds)}, "files": {"file": ("positions.txt", lines)}}


def parse_list(text: str) -> list[dict]:
    """Rows of a file list, {column: text}; ReplyError `not_a_list` without the header line, `no_position` in a row.

    Nothing is assumed about order or number of rows: join them on position and filter with `by_position`.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines or tuple(lines[0][:9]) != _COLUMNS:
        raise ReplyError("not_a_list", f"starts with {text[:40]!r}")
    if any(len(line) < 9 for line in lines):
        raise ReplyError("truncated", "a row with fewer than nine columns")
    rows = [dict(zip(lines[0], line, strict=False)) for line in lines[1:]]
    for row in rows:
        try:
            sound = np.isfinite(float(row["ra"])) and abs(float(row["dec"])) <= 90
        except ValueError:
            sound = False
        if not sound:
            raise ReplyError("no_position", f"ra {row['ra'][:20]!r}, dec {row['dec'][:20]!r}")
    return rows


def by_position(rows: list[dict], positions) -> list[list[dict]]:
    """The rows of each position (deg): those whose echoed position is the nearest, on the sphere and within NEAR."""
    from scipy.spatial import cKDTree

    home: dict = {}
    for row in rows:
        home.setdefault((float(row["ra"]), float(row["dec"])), []).append(row)
    if not home or not len(positions):
        return [[] for _ in positions]
    echoed = list(home)
    apart, nearest = cKDTree(_vectors(echoed)).query(_vectors(positions))
    close = apart <= 2 * np.sin(np.radians(NEAR / 3600) / 2)
    return [home[echoed[k]] if near else [] for k, near in zip(nearest, close, strict=True)]


def _vectors(positions) -> np.ndarray:
    """(n, 3) unit vectors of (ra, dec) in deg."""
    ra, dec = np.radians(np.asarray(positions, float)).T
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], 1)


def filenames(rows: list[dict], kind: str = "stack") -> dict[str, str]:
    """{band: file name} of one position's rows of a type; a band without a row has no such image."""
    return {row["filter"]: row["filename"] for row in rows if row["type"] == kind}


def cutout_params(ra: float, dec: float, filename: str, size: int) -> dict:
    """Query of a FITS cutout of `size` px."""
    return {"ra": f"{ra:.10f}", "dec": f"{dec:.10f}", "size": str(size), "format": "fits", "red": filename}


@guard.reading("the cutout")
def parse_cutout(body: bytes, ra: float, dec: float, size: int | None, band: str, scale: float) -> Plane:
    """A Plane of linear counts from a cutout, NaN pixels bad; without a variance. `scale` arcsec/px is what it must have.

    ReplyError: `not_fits`, `bad_fits`, `wrong_size`, `wrong_band`, `wrong_scale`, `off_centre`, `no_zero_point`,
    `unknown_unit`, `all_nan`, `all_zero`.
    """
    head, image = fitsimages.images(body)[0]
    if image is None or image.ndim != 2 or (size and image.shape != (size, size)):
        raise ReplyError("wrong_size", f"{None if image is None else image.shape}, asked for {size} px")
    named = head.value("HIERARCH FPA.FILTERID") or head.value("FPA.FILTERID")
    if named and str(named)[0] != band:
        raise ReplyError("wrong_band", f"{named} for {band}")
    crval, crpix, cd = fitsimages.tan(head)
    wcs.check_scale(cd, scale)
    wcs.check_centre(crval, crpix, cd, ra, dec, image.shape)
    fitsimages.check_unit(head, UNITS)
    fitsimages.check_pixels(image)
    exposure = head.positive("EXPTIME", "no_zero_point")
    counts = _linear(head, image)
    bad = ~np.isfinite(counts)
    return Plane(counts, np.zeros(counts.shape, np.int32), bad, None, 25.0 + 2.5 * np.log10(exposure), crval, crpix, cd)


def check_cutout(body: bytes, *asked) -> None:
    """ReplyError as from `parse_cutout` for a reply that has to be asked for again; a cutout without a finite pixel is an
    answer: the stack has no data there."""
    try:
        parse_cutout(body, *asked)
    except ReplyError as error:
        if error.cause != "all_nan":
            raise


def _linear(head, image) -> np.ndarray:
    """Counts; whole skycells are asinh-compressed (Waters et al. 2020), cutouts are not, the header tells."""
    soft, offset = head.value("BSOFTEN"), head.value("BOFFSET")
    if soft is None or offset is None:
        return image.astype(np.float32)
    return (float(offset) + 2 * float(soft) * np.sinh(image * np.log(10) / 2.5)).astype(np.float32)
