"""Galactic reddening: E(B-V) from map arrays, and what it means for a band.

Two scales are in use and never mixed: SFD's (Schlegel, Finkbeiner & Davis 1998; CSFD of Chiang 2023 keeps it) and the
true one (Planck's maps are calibrated on quasars). Schlafly & Finkbeiner (2011): true = 0.86 x SFD.
"""

from __future__ import annotations

import numpy as np

SF11 = 0.86


def galactic(ra, dec) -> tuple[np.ndarray, np.ndarray]:
    """Galactic (l, b) in deg of ICRS positions in deg."""
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    there = SkyCoord(np.asarray(ra, float) * u.deg, np.asarray(dec, float) * u.deg, frame="icrs").galactic
    return there.l.deg, there.b.deg


def healpix_value(values: np.ndarray, nested: bool, lon, lat) -> np.ndarray:
    """Value (n,) of the HEALPix pixel that holds each Galactic position (deg); no interpolation, as the maps' authors do."""
    import astropy.units as u
    from astropy_healpix import HEALPix, npix_to_nside

    grid = HEALPix(int(npix_to_nside(len(values))), order="nested" if nested else "ring")
    return values[grid.lonlat_to_healpix(np.asarray(lon) * u.deg, np.asarray(lat) * u.deg)]


def zea_value(north, south, lon, lat) -> np.ndarray:
    """Bilinear value (n,) at Galactic positions (deg) of SFD's two polar maps, each (pixels (y, x), FITS header)."""
    from astropy.wcs import WCS
    from scipy.ndimage import map_coordinates

    lon, lat = np.asarray(lon, float), np.asarray(lat, float)
    out = np.full(lon.shape, np.nan)
    for (pixels, header), here in ((north, lat >= 0), (south, lat < 0)):
        if here.any():
            x, y = WCS(header).all_world2pix(lon[here], lat[here], 0)
            out[here] = map_coordinates(pixels, [y, x], order=1, mode="nearest")
    return out


def on_sfd_scale(ebv, scale: str) -> np.ndarray:
    """E(B-V) on SFD's scale from a value on the scale `sfd` or `true`; ValueError for another."""
    if scale not in ("sfd", "true"):
        raise ValueError(f"the scale {scale!r} is neither sfd nor true")
    return np.asarray(ebv, float) / (SF11 if scale == "true" else 1.0)


def on_true_scale(ebv, scale: str) -> np.ndarray:
    """E(B-V) on the true scale from a value on the scale `sfd` or `true`."""
    return on_sfd_scale(ebv, scale) * SF11


def extinction(ebv, scale: str, coefficient: float) -> np.ndarray:
    """A_b in mag of a band for E(B-V) on the scale `sfd` or `true`; `coefficient` A_b per unit of SFD's E(B-V), as an imaging
    survey states it. The 0.86 is inside that number: never apply it again."""
    return coefficient * on_sfd_scale(ebv, scale)
