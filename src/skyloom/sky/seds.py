"""Spectral energy distributions through filters: AB magnitudes of galaxy types against redshift.

Templates: CWW (Coleman, Wu & Weedman 1980) E, Sbc, Scd, Im as galsim ships them, with power laws
beyond 2 um, and a starburst made from Im; dust after Calzetti et al. (2000); intergalactic absorption
after Madau (1995), four Lyman lines and the continuum's approximation. Filters: speclite.
"""

from __future__ import annotations

import functools
import importlib.util
from importlib import metadata
from pathlib import Path

import numpy as np

from skyloom.provenance import memory

BANDS = ("g", "r", "i", "z", "y")
# of each survey in the order of its archive's planes; the B band normalises
FILTERS = {"hsc": {"g": "hsc2017-g", "r": "hsc2017-r2", "i": "hsc2017-i2", "z": "hsc2017-z", "y": "hsc2017-y"},
           "ps1": {band: f"panstarrs-{band}" for band in BANDS},
           "rubin": {band: f"lsst2023-{band}" for band in "ugrizy"},
           "galex": {"nuv": "galex-nuv", "fuv": "galex-fuv"},
           "unwise": {"w1": "wise2010-W1", "w2": "wise2010-W2"}}
REST = "bessell-B"
WAVE = np.exp(np.linspace(np.log(300.0), np.log(6e4), 4000))  # rest wavelengths in Angstrom
TYPES = np.arange(0, 4.01, 0.25)  # 0 E, 1 Sbc, 2 Scd, 3 Im, 4 starburst
DUSTS = np.arange(0, 0.51, 0.1)  # E(B-V) of the galaxy's own dust
REDSHIFTS = np.concatenate([np.arange(0, 1.5, 0.01), np.arange(1.5, 4.51, 0.03)])
KNOTS = np.linspace(np.log(800.0), np.log(6e4), 11)  # rest-frame knots of the SED scatter, ln Angstrom
_TAIL = {"E": -3.95, "Sbc": -3.7, "Scd": -3.7, "Im": -3.4}


@functools.cache
def filter_curve(name: str) -> tuple[np.ndarray, np.ndarray]:
    """(wavelength in Angstrom, response) of a speclite filter; LSST's, given at each Angstrom from 3200 to 11000, every 8 where
    they let light through, as finely as the others."""
    import speclite.filters

    found = speclite.filters.load_filter(name)
    wave, response = np.asarray(found.wavelength, float), np.clip(np.asarray(found.response, float), 0, None)
    if name.startswith("lsst"):
        lit = np.flatnonzero(response > 1e-4 * response.max())
        part = slice(max(lit[0] - 8, 0), lit[-1] + 9, 8)
        wave, response = wave[part], response[part]
    return wave, response


@functools.cache
def effective_wavelength(name: str) -> float:
    """Response-weighted mean wavelength of a speclite filter in Angstrom."""
    wave, response = filter_curve(name)
    return float(np.trapezoid(response * wave, wave) / np.trapezoid(response, wave))


@functools.cache
def templates() -> np.ndarray:
    """ln f_lambda of the five types on `WAVE`, zero at 5500 A: (5, 4000)."""
    # galsim's data folder without importing galsim, which takes a second
    folder = Path(importlib.util.find_spec("galsim").origin).parent / "share" / "SEDs"
    rows = []
    for name, slope in _TAIL.items():
        wave, flux = np.loadtxt(folder / f"CWW_{name}_ext_more.sed", unpack=True, usecols=(0, 1), encoding="utf-8")
        log = np.interp(np.log(WAVE), np.log(wave), np.log(np.maximum(flux, 1e-30)))
        at_2um = np.interp(np.log(2e4), np.log(WAVE), log)
        rows.append(np.where(WAVE > 2e4, at_2um + slope * np.log(np.maximum(WAVE, 2e4) / 2e4), log))
    rows.append(rows[3] - 0.6 * np.clip(np.log(WAVE / 5500.0), -1.6, 0.7))
    rows = np.array(rows)
    return rows - rows[:, [np.argmin(abs(WAVE - 5500))]]


def calzetti(wave):
    """k(lambda) of the starburst attenuation law of Calzetti et al. (2000), R_V 4.05; wave in Angstrom."""
    m = np.clip(wave / 1e4, 0.0912, 2.2)
    blue = 2.659 * (-2.156 + 1.509 / m - 0.198 / m**2 + 0.011 / m**3) + 4.05
    red = 2.659 * (-1.857 + 1.040 / m) + 4.05
    return np.clip(np.where(m < 0.63, blue, red), 0, None)


def igm_transmission(wave, z):
    """Mean transmission of the intergalactic medium at observed `wave` (Angstrom) for a source at z (Madau 1995)."""
    tau = np.zeros_like(wave)
    for a, line in zip((0.0036, 0.0017, 0.0011846, 0.0009410), (1215.67, 1025.72, 972.537, 949.743), strict=True):
        tau += np.where(wave < line * (1 + z), a * (wave / line) ** 3.46, 0)
    xc, xe = wave / 911.75, 1 + z
    continuum = (0.25 * xc**3 * (xe**0.46 - xc**0.46) + 9.4 * xc**1.5 * (xe**0.18 - xc**0.18)
                 - 0.7 * xc**3 * (xc**-1.32 - xe**-1.32))
    tau += np.where(xc < xe, np.clip(continuum, 0, None), 0)
    return np.exp(-np.clip(tau, 0, 50))


@functools.cache
def table(survey: str) -> np.ndarray:
    """AB magnitudes of unit templates: (type, dust, redshift, the survey's bands and B), float32.

    Three seconds of integrals, the same at each start: kept as long as this module and its libraries stay as they are.
    """
    versions = [np.__version__, *(metadata.version(name) for name in ("galsim", "speclite"))]
    made_of = [Path(__file__).read_text(encoding="utf-8"), *versions]
    return memory.array(f"seds_{survey}", "\n".join(made_of), functools.partial(_integrated, survey))


def _integrated(survey: str) -> np.ndarray:
    attenuation = np.exp(-0.4 * np.log(10) * DUSTS[:, None] * calzetti(WAVE))
    base = templates()
    spectra = []
    for t in TYPES:
        low = min(int(t), len(base) - 2)
        spectra.append(np.exp(base[low] * (1 - t + low) + base[low + 1] * (t - low)) * attenuation)
    spectra = np.array(spectra).reshape(-1, len(WAVE))  # (type * dust, wave)
    names = (*FILTERS[survey].values(), REST)
    out = np.empty((len(spectra), len(REDSHIFTS), len(names)), np.float32)
    for b, name in enumerate(names):
        wave, response = filter_curve(name)
        norm = np.trapezoid(response / wave, wave)
        for k, z in enumerate(REDSHIFTS):
            # fractional index into the log-spaced WAVE: one linear interpolation for all spectra at once
            at = (np.log(wave / (1 + z)) - np.log(WAVE[0])) / (np.log(WAVE[1]) - np.log(WAVE[0]))
            low = np.clip(at.astype(int), 0, len(WAVE) - 2)
            part = (at - low).astype(np.float32)
            flux = spectra[:, low] * (1 - part) + spectra[:, low + 1] * part
            weight = wave * response / (1 + z)
            if name != REST:
                weight = weight * igm_transmission(wave, z)
            signal = np.trapezoid(flux * weight, wave, axis=1) / norm
            out[:, k, b] = -2.5 * np.log10(np.maximum(signal, 1e-30))
    return out.reshape(len(TYPES), len(DUSTS), len(REDSHIFTS), len(names))


def magnitudes(kind, dust, z, survey: str = "hsc") -> np.ndarray:
    """Template magnitudes (n, the survey's bands then B) by trilinear interpolation in type, dust and redshift."""
    grid = table(survey)
    axes = []
    for value, knots in ((kind, TYPES), (dust, DUSTS), (z, REDSHIFTS)):
        at = np.clip(np.interp(value, knots, np.arange(len(knots))), 0, len(knots) - 1.001)
        low = at.astype(int)
        axes.append(((low, 1 - (at - low)), (low + 1, at - low)))
    out = 0.0
    for it, wt in axes[0]:
        for ie, we in axes[1]:
            for iz, wz in axes[2]:
                out = out + grid[it, ie, iz] * (wt * we * wz)[:, None]
    return out


def scatter(knots: np.ndarray, z, survey: str = "hsc") -> np.ndarray:
    """Smooth rest-frame SED deviations in mag (n, band) from values (n, 11) at `KNOTS`."""
    names = FILTERS[survey].values()
    out = np.empty((len(knots), len(names)))
    step = KNOTS[1] - KNOTS[0]
    for b, name in enumerate(names):
        at = np.clip((np.log(effective_wavelength(name) / (1 + z)) - KNOTS[0]) / step, 0, len(KNOTS) - 1.001)
        low = at.astype(int)
        rows = np.arange(len(knots))
        out[:, b] = knots[rows, low] * (1 - at + low) + knots[rows, low + 1] * (at - low)
    return out
