"""What the names of magnitude columns tell: which band, in which order, and where the error stands."""

from __future__ import annotations

import fnmatch

import numpy as np

from skyloom.errors import InputError

# bands from the ultraviolet to the infrared
BANDS = ("fuv", "nuv", "u", "b", "g", "v", "r", "ic", "i", "z", "y", "j", "h", "k", "ks", "w1", "w2", "w3", "w4")


def by_wavelength(magnitudes: list[str]) -> list[str]:
    """Magnitude columns from blue to red by the band in their names (`g_mag`, `ps1_g_mag`, `g_cmodel_mag`); columns of other
    names follow as they came."""
    def place(name):
        return min((BANDS.index(part) for part in name.lower().split("_") if part in BANDS), default=len(BANDS))

    return sorted(magnitudes, key=place)


def errors_of(names, magnitudes: list[str]) -> dict[str, str]:
    """{magnitude or flux column: its error column} among a table's column names: `_magerr`, `_magsigma`, `_mag_err` for `_mag`,
    `_flux_err` for `_flux` (`g_aper_flux_err_1` for `g_aper_flux_1`)."""
    ends = ("err", "sigma", "_err")
    usual = {m: [*(m + end for end in ends), *([m.replace("_flux", "_flux_err")] if is_flux(m) else [])] for m in magnitudes}
    return {m: next(name for name in usual[m] if name in names) for m in magnitudes if any(name in names for name in usual[m])}


def is_flux(name: str) -> bool:
    """Whether a column holds fluxes (nJy), which may be negative, and no magnitudes."""
    return "_flux" in name


def named(names, patterns) -> list[str]:
    """The columns that patterns name (`g_mag`, `?_flux`), no errors: pattern by pattern, each from blue to red. InputError for a
    pattern that names none."""
    out = []
    for pattern in patterns:
        found = [name for name in names if fnmatch.fnmatchcase(name, pattern) and "err" not in name.split("_")]
        if not found:
            raise InputError(f"no column is named {pattern}; there are {', '.join(sorted(names))[:300]}")
        out += [name for name in by_wavelength(sorted(found)) if name not in out]
    return out


def stacked(columns: dict, magnitudes: list[str]) -> np.ndarray:
    """(n, band) of the named columns; NaN where a band was not detected (99) or not observed (-99)."""
    out = np.stack([np.asarray(columns[name], float) for name in magnitudes], axis=1)
    return np.where(np.abs(out) < 90, out, np.nan)
