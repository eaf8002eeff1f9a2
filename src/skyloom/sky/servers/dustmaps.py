"""The embedded Galaxy's reddening as map files in the formats of SFD, CSFD and Planck, small ones."""

from __future__ import annotations

import functools
import io

import numpy as np

from skyloom.sky import dust, hsc
from skyloom.sky.servers.app import Reply, Request

NSIDE, ACROSS = 128, 512  # CSFD and Planck have 2048, SFD 4096 px
TRUE = 0.86  # of SFD's scale: Planck's maps are on the true one


class Maps:
    """GET of one map file."""

    def __init__(self, sky: hsc.Sky):
        self.sky = sky

    def answer(self, request: Request, server) -> Reply:
        """The file named at the end of the path (or of the query, as the Planck archive has it)."""
        name = (request.query.partition("=")[2] or request.path.rsplit("/", 1)[-1])
        made = body(self.sky.seed, self.sky.reddening, name)
        return Reply(404, b"not found") if made is None else Reply(200, made, "application/fits")


@functools.lru_cache(8)
def body(seed: int, mean: float, name: str) -> bytes | None:
    """The bytes of a map file, None for an unknown name."""
    if name.startswith("SFD_dust_4096_"):
        return _polar(seed, mean, 1 if "ngp" in name else -1)
    makers = {"csfd_ebv.fits": ("ring", "xtension", {"T": 1.0}),
              "HFI_CompMap_ThermalDustModel_2048_R1.20.fits": ("nested", "COMP-MAP", {"TAU353": TRUE / 1.49e4, "EBV": TRUE}),
              "COM_CompMap_Dust-GNILC-Model-Opacity_2048_R2.01.fits": ("nested", "COMP-MAP", {"TAU353": TRUE / 1.49e4})}
    return _healpix(seed, mean, *makers[name]) if name in makers else None


def _healpix(seed, mean, order, extension, columns) -> bytes:
    from astropy.io import fits
    from astropy_healpix import HEALPix

    grid = HEALPix(NSIDE, order=order)
    lon, lat = grid.healpix_to_lonlat(np.arange(grid.npix))
    ebv = dust.ebv_galactic(seed, mean, lon.deg, lat.deg)
    hdu = fits.BinTableHDU.from_columns([fits.Column(key, "E", array=(ebv * factor).astype("f4"))
                                         for key, factor in columns.items()], name=extension)
    hdu.header["ORDERING"], hdu.header["NSIDE"], hdu.header["COORDSYS"] = order.upper(), NSIDE, "GALACTIC"
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(out)
    return out.getvalue()


def _polar(seed, mean, sign) -> bytes:
    """One hemisphere in Lambert's equal-area projection (Schlegel et al. 1998, appendix C)."""
    from astropy.io import fits

    scale = (ACROSS - 1) / 2 / 1.0
    y, x = (np.mgrid[:ACROSS, :ACROSS] - (ACROSS - 1) / 2) / scale
    r2 = np.minimum(x * x + y * y, 2.0)
    lat = sign * np.degrees(np.arcsin(1 - r2))
    lon = np.degrees(np.arctan2(-sign * y, x)) % 360
    step = np.degrees(np.sqrt(2) / scale)
    cards = {"CTYPE1": "GLON-ZEA", "CTYPE2": "GLAT-ZEA", "CRPIX1": (ACROSS + 1) / 2, "CRPIX2": (ACROSS + 1) / 2,
             "CRVAL1": 90.0 if sign > 0 else 90.0, "CRVAL2": 90.0 * sign, "CD1_1": -step, "CD1_2": 0.0, "CD2_1": 0.0,
             "CD2_2": step, "LONPOLE": 180.0, "LAM_NSGP": sign, "LAM_SCAL": scale}
    hdu = fits.PrimaryHDU(dust.ebv_galactic(seed, mean, lon, lat).astype("f4"))
    for key, value in cards.items():
        hdu.header[key] = value
    out = io.BytesIO()
    hdu.writeto(out)
    return out.getvalue()
