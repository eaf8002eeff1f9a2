"""Checks of a stamp's WCS against what was asked for."""

from __future__ import annotations

import numpy as np

from skyloom.errors import ReplyError


def pixel_scale(cd) -> float:
    """Geometric-mean pixel scale in arcsec of a 2x2 CD matrix in deg/px."""
    (a, b), (c, d) = np.asarray(cd, float)  # by hand: numpy's determinant warns of NaN
    return float(np.sqrt(abs(a * d - b * c)) * 3600)


def celestial(header, hdus=None):
    """The celestial part of a FITS header's WCS, None without one; `hdus` is the open file, for its distortion tables.

    ValueError where the header gives its axes no scale, which astropy would take for 1 deg/px; whatever else astropy raises for
    a broken header passes through.
    """
    import warnings

    from astropy.wcs import WCS, FITSFixedWarning

    if "CTYPE1" not in header:
        return None
    with warnings.catch_warnings(action="ignore", category=FITSFixedWarning):
        whole = WCS(header, hdus)
    if not whole.has_celestial:
        return None
    for axis in (whole.wcs.lng + 1, whole.wcs.lat + 1):
        row = [header.get(f"CD{axis}_{k}", 0) for k in range(1, whole.naxis + 1)]
        other = [key for key in header if key.startswith((f"CDELT{axis}", f"PC{axis}_", f"PC00{axis}", f"CD00{axis}"))]
        if not any(row) and (whole.wcs.has_cd() or not other):
            raise ValueError(f"axis {axis} ({header[f'CTYPE{axis}']}) has no scale: neither CDELT{axis} nor CD{axis}_j above 0")
    return whole.celestial


def target_pixel(header, ra: float, dec: float) -> tuple[float, float]:
    """0-based pixel (x, y) of a sky position (ICRS, deg) in the celestial WCS of a FITS header (or in that WCS itself),
    whatever its frame: FK4, FK5, galactic."""
    from astropy.coordinates import SkyCoord
    from astropy.wcs import WCS
    from astropy.wcs.utils import wcs_to_celestial_frame

    sky = header if isinstance(header, WCS) else celestial(header)
    frame = wcs_to_celestial_frame(sky)
    if frame.name != "icrs":
        there = SkyCoord(ra, dec, unit="deg").transform_to(frame).spherical
        ra, dec = there.lon.deg, there.lat.deg
    # not world_to_pixel, which takes the best of a search that didn't converge
    longitude_first = sky.wcs.lng == 0
    x, y = sky.all_world2pix(*((ra, dec) if longitude_first else (dec, ra)), 0)
    return float(x), float(y)


def local_cd(sky, x: float, y: float) -> np.ndarray:
    """2x2 matrix in deg/px from steps in pixel (x, y) to (east, north, ICRS) at a 0-based pixel of a celestial WCS: what the
    projection and its distortion make of scale, rotation and parity there."""
    lon, lat = _icrs(sky, [x, x + 1, x], [y, y, y + 1])
    xi, eta, _ = gnomonic((lon[0], lat[0]), lon[1:], lat[1:])
    return np.array([xi, eta])


def position(sky, x: float, y: float) -> tuple[float, float]:
    """(ra, dec) in deg, ICRS, of a 0-based pixel of a celestial WCS: the inverse of `target_pixel`."""
    lon, lat = _icrs(sky, [x], [y])
    return float(lon[0]), float(lat[0])


def _icrs(sky, x, y):
    """(ra (n,), dec (n,)) in deg, ICRS, of 0-based pixels of a celestial WCS, whatever its frame."""
    from astropy.coordinates import SkyCoord
    from astropy.wcs.utils import wcs_to_celestial_frame

    first, second = sky.all_pix2world(x, y, 0)
    frame = wcs_to_celestial_frame(sky)
    lon, lat = (first, second) if sky.wcs.lng == 0 else (second, first)
    if frame.name != "icrs":
        icrs = SkyCoord(lon, lat, unit="deg", frame=frame).icrs
        lon, lat = icrs.ra.deg, icrs.dec.deg
    return lon, lat


def gnomonic(crval, ra, dec):
    """(xi, eta) in deg of positions (deg) on the plane that touches the sphere at `crval`, and the cosine of their distance
    from there: the plane shows no position of which that isn't above 0 (Calabretta & Greisen 2002, sec. 5.1.3)."""
    a, d = np.radians(np.subtract(ra, crval[0])), np.radians(dec)
    d0 = np.radians(crval[1])
    c = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(a)
    xi = np.degrees(np.cos(d) * np.sin(a) / c)
    return xi, np.degrees((np.cos(d0) * np.sin(d) - np.sin(d0) * np.cos(d) * np.cos(a)) / c), c


def from_plane(crval, xi, eta):
    """(ra, dec) in deg of places (xi, eta) in deg on the plane that touches the sphere at `crval`: the inverse of `gnomonic`."""
    x, y, d0 = np.radians(xi), np.radians(eta), np.radians(crval[1])
    down = np.cos(d0) - y * np.sin(d0)
    ra = np.radians(crval[0]) + np.arctan2(x, down)
    return np.degrees(ra) % 360, np.degrees(np.arctan2(np.sin(d0) + y * np.cos(d0), np.hypot(x, down)))


def tan_position(crval, crpix, cd, x, y):
    """(ra, dec) in deg of 0-based pixels of a gnomonic (TAN) WCS."""
    dx, dy = np.asarray(x, float) - crpix[0] + 1, np.asarray(y, float) - crpix[1] + 1
    return from_plane(crval, cd[0][0] * dx + cd[0][1] * dy, cd[1][0] * dx + cd[1][1] * dy)


def tan_pixel(crval, crpix, cd, ra: float, dec: float) -> tuple[float, float]:
    """0-based pixel (x, y) of (ra, dec) for a gnomonic (TAN) WCS.

    The closed form is 100 times cheaper than building an astropy WCS for each of a shard's thousands of planes.
    ReplyError `off_centre` for a position on the other half of the sky, `bad_fits` for a matrix without an inverse.
    """
    xi, eta, c = gnomonic(crval, ra, dec)
    if not c > 0:
        raise ReplyError("off_centre", f"the position lies more than 90 deg from the image at ({crval[0]}, {crval[1]})")
    try:
        dx, dy = np.linalg.solve(np.asarray(cd, float), [xi, eta])
    except np.linalg.LinAlgError:
        raise ReplyError("bad_fits", f"the WCS matrix {np.asarray(cd).tolist()} has no inverse") from None
    return float(dx + crpix[0] - 1), float(dy + crpix[1] - 1)


def tan_pixels(crval, crpix, cd, ra, dec):
    """0-based pixels (x (n,), y (n,)) of positions in deg on a TAN WCS; NaN for those on the other half of the sky."""
    xi, eta, c = gnomonic(crval, np.asarray(ra, float), np.asarray(dec, float))
    x, y = np.linalg.inv(np.asarray(cd, float)) @ np.where(c > 0, np.stack([xi, eta]), np.nan)
    return x + crpix[0] - 1, y + crpix[1] - 1


def check_scale(cd, expected: float, tolerance: float = 0.01) -> None:
    """ReplyError `wrong_scale` if the pixel scale differs from `expected` arcsec by more than a fraction."""
    found = pixel_scale(cd)
    if not abs(found / expected - 1) <= tolerance:  # a scale that is no number isn't the one asked for
        raise ReplyError("wrong_scale", f"{found:.4f} arcsec/px, asked for {expected:.4f}")


def check_centre(crval, crpix, cd, ra: float, dec: float, shape, tolerance: float = 1.0) -> None:
    """ReplyError `off_centre` if (ra, dec) lies more than `tolerance` px off the centre of an image of `shape` (y, x)."""
    x, y = tan_pixel(crval, crpix, cd, ra, dec)
    dx, dy = x - (shape[1] - 1) / 2, y - (shape[0] - 1) / 2
    if not (abs(dx) <= tolerance and abs(dy) <= tolerance):
        raise ReplyError("off_centre", f"the position lies ({dx:.1f}, {dy:.1f}) px off the centre")


def centre_crop(x: float, y: float, shape: tuple[int, int], size: int) -> tuple[slice, slice]:
    """Slices (y, x) of the size x size window whose centre lies nearest to pixel (x, y).

    The centre of an odd window is a pixel's centre, of an even one a pixel corner. ReplyError `too_small`
    where the image doesn't reach, `off_centre` where the position lies outside the image.
    """
    if not (-0.5 <= x < shape[1] - 0.5 and -0.5 <= y < shape[0] - 0.5):
        raise ReplyError("off_centre", f"position at pixel ({x:.1f}, {y:.1f}) of a {shape[1]}x{shape[0]} image")
    x0, y0 = (int(np.floor(v - (size - 1) / 2 + 0.5)) for v in (x, y))
    if x0 < 0 or y0 < 0 or x0 + size > shape[1] or y0 + size > shape[0]:
        raise ReplyError("too_small", f"{shape[1]}x{shape[0]} px do not hold {size} px around ({x:.1f}, {y:.1f})")
    return slice(y0, y0 + size), slice(x0, x0 + size)
