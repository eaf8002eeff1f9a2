"""What the names of magnitude columns tell: which band, in which order, and where the error stands."""

from __future__ import annotations

import numpy as np

# bands from the ultraviolet to the infrared
BANDS = ("fuv", "nuv", "u", "b", "g", "v", "r", "ic", "i", "z", "y", "j", "h", "k", "ks", "w1", "w2", "w3", "w4")


def by_wavelength(magnitudes: list[str]) -> list[str]:
    """Magnitude columns from blue to red by the band in their names (`g_mag`, `ps1_g_mag`, `g_cmodel_mag`); columns of other
    names follow as they came."""
    def place(name):
        return min((BANDS.index(part) for part in name.lower().split("_") if part in BANDS), default=len(BANDS))

    return sorted(magnitudes, key=place)


def errors_of(names, magnitudes: list[str]) -> dict[str, str]:
    """{magnitude column: its error column} among a table's column names: `_magerr`, `_magsigma`, `_mag_err` for `_mag`."""
    ends = ("err", "sigma", "_err")
    return {m: next(m + end for end in ends if m + end in names) for m in magnitudes if any(m + end in names for end in ends)}


def stacked(columns: dict, magnitudes: list[str]) -> np.ndarray:
    """(n, band) of the named columns; NaN where a band was not detected (99) or not observed (-99)."""
    out = np.stack([np.asarray(columns[name], float) for name in magnitudes], axis=1)
    return np.where(np.abs(out) < 90, out, np.nan)
