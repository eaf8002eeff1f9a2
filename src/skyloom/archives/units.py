"""Units of image pixels: which AB zero point a unit itself implies, and whether a stated one goes with it."""

from __future__ import annotations

import functools
import re

import numpy as np

from skyloom.errors import ReplyError
from skyloom.flux import NJY_ZERO_POINT

COUNTS = {"", "count", "counts", "ct", "cts", "adu", "adus", "dn", "du", "datanumber", "electron", "electrons", "e", "e-",
          "photon", "photons", "ph", "cps"}
# Spellings that astropy doesn't know. `mjy` alone could be milli or mega.
SPELLINGS = {"njy": "nJy", "nanojy": "nJy", "ujy": "uJy", "microjy": "uJy", "millijy": "mJy", "jy": "Jy", "jy/sr": "Jy/sr",
             "mjy/sr": "MJy/sr", "ujy/arcsec2": "uJy/arcsec2", "maggies": "mgy", "nanomaggies": "nmgy", "nmaggies": "nmgy",
             "nmgys": "nmgy", "mgys": "mgy", "maggy": "mgy", "nanomaggy": "nmgy"}
TOLERANCE = 0.05  # mag: 8.9 and 8.926 are both in use for Jy
VEGA = 7.0  # mag: maggies may be Vega's, whose AB zero points lie up to 6.7 mag (W4) higher


@functools.lru_cache(256)
def implied(unit: str, scale: float) -> float | None:
    """AB zero point of pixels in `unit` (flux densities, maggies, surface brightness per sr or arcsec^2 of pixels `scale`
    arcsec wide), None for counts, counts a second and Vega units, which need one to be told. ReplyError `unknown_unit`.
    """
    import warnings

    from astropy import units

    flat = re.sub(r"(/|per)pix(el)?$", "", re.sub(r"[\s\[\]]", "", unit.lower()))
    if "vega" in flat or re.sub(r"((/|per)(s|sec|seconds?)|s(\^|\*\*)?\(?-1\)?)$", "", flat) in COUNTS:
        return None
    with warnings.catch_warnings(action="ignore"):
        for text in (unit.strip(), SPELLINGS.get(flat, "")):
            try:
                found = units.Unit(text, parse_strict="silent") if text else units.dimensionless_unscaled
                found = found * units.pix if "pix" in found.to_string() else found
                for whole in (1.0 * found, found * (scale * units.arcsec) ** 2):
                    if whole.unit.is_equivalent(units.Jy):
                        return float(NJY_ZERO_POINT - 2.5 * np.log10(whole.to_value(units.nJy)))
                    if whole.unit.is_equivalent(units.mgy):
                        return float(-2.5 * np.log10(whole.to_value(units.mgy)))
            except (ValueError, TypeError):
                continue
    raise ReplyError("unknown_unit", f"BUNIT is {unit!r}; name what the pixels are in the manifest's column `unit` "
                                     "(`counts` with a zero point, nJy, ...)")


def check(unit: str, scale: float, stated: float, who: str) -> None:
    """ReplyError `unit_mismatch` if the zero point that `who` states can't be that of pixels in `unit`."""
    own = implied(unit, scale)
    if own is None:
        return
    above = VEGA if "mag" in unit.lower() or "mgy" in unit.lower() else 0.0
    if not own - TOLERANCE <= stated <= own + above + TOLERANCE:
        raise ReplyError("unit_mismatch", f"pixels in {unit!r} have the AB zero point {own:.2f}, {who} says {stated:g}; mend "
                                          "it, or name the unit in the manifest's column `unit`")
