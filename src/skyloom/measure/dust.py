"""Galactic reddening: E(B-V) from map arrays, and what it means for a band.

Two scales are in use and never mixed: SFD's (Schlegel, Finkbeiner & Davis 1998; CSFD of Chiang 2023 keeps it) and the
true one (Planck's maps are calibrated on quasars). Schlafly & Finkbeiner (2011): true = 0.86 x SFD.
"""

from __future__ import annotations

import numpy as np

SF11 = 0.86
# A_b per unit of SFD's E(B-V) at R_V 3.1. The 0.86 is inside these numbers: never apply it again.
# Schlafly & Finkbeiner (2011), table 6 (PS1, and their law at HSC's and WISE's filters); GALEX: Yuan, Liu & Xiang (2013)
COEFFICIENTS = {"ps1": {"g": 3.172, "r": 2.271, "i": 1.682, "z": 1.322, "y": 1.087},
                "hsc": {"g": 3.240, "r": 2.276, "i": 1.633, "z": 1.263, "y": 1.075},
                "unwise": {"w1": 0.184, "w2": 0.113}, "galex": {"nuv": 7.24, "fuv": 4.89}}


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


def extinction(ebv, scale: str, survey: str, band: str) -> np.ndarray:
    """A_b in mag of a band for E(B-V) on the scale `sfd` or `true`."""
    return COEFFICIENTS[survey][band] * on_sfd_scale(ebv, scale)
