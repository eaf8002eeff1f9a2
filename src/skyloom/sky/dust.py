"""The embedded Galaxy's dust: a smooth reddening field, and what it takes from each band.

Coefficients A_b / E(B-V) for R_V 3.1 on SFD's scale: Schlafly & Finkbeiner (2011) table 6 and their law at HSC's and
WISE's filters; GALEX after Yuan, Liu & Xiang (2013).
"""

from __future__ import annotations

import numpy as np

from skyloom.sky import hashing

TAKEN = {"hsc": (3.240, 2.276, 1.633, 1.263, 1.075), "ps1": (3.172, 2.271, 1.682, 1.322, 1.087),
         "galex": (7.24, 4.89), "unwise": (0.184, 0.113), "rubin": (4.145, 3.237, 2.273, 1.684, 1.323, 1.088)}
_WAVES = 6
# Rotation from ICRS to Galactic coordinates (Murray 1989, as the Hipparcos catalogue gives it)
_GALACTIC = np.array([[-0.0548755604, -0.8734370902, -0.4838350155], [0.4941094279, -0.4448296300, 0.7469822445],
                      [-0.8676661490, -0.1980763734, 0.4559837762]])


def galactic(ra, dec) -> tuple[np.ndarray, np.ndarray]:
    """Galactic (l, b) in deg of ICRS positions in deg."""
    x, y, z = _GALACTIC @ _unit(ra, dec)
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arcsin(np.clip(z, -1, 1)))


def _unit(lon, lat) -> np.ndarray:
    a, d = np.radians(np.asarray(lon, float)), np.radians(np.asarray(lat, float))
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])


def ebv_galactic(seed: int, mean: float, lon, lat) -> np.ndarray:
    """E(B-V) in mag on SFD's scale at Galactic positions (deg): log-normal waves of some degrees, more near the plane."""
    position = _unit(lon, lat)
    rng = hashing.generator(seed, "dust")
    directions = rng.standard_normal((_WAVES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    k = 2 * np.pi / np.radians(np.geomspace(4, 40, _WAVES))
    phases = 2 * np.pi * rng.random(_WAVES)
    waves = np.sin(k[:, None] * (directions @ position.reshape(3, -1)) + phases[:, None]).mean(axis=0)
    plane = 1 / np.maximum(np.abs(position[2].ravel()), 0.2)
    return (mean * 0.7 * plane * np.exp(0.8 * waves)).reshape(np.shape(lon))


def ebv(seed: int, mean: float, ra, dec) -> np.ndarray:
    """E(B-V) in mag at ICRS positions in deg."""
    return ebv_galactic(seed, mean, *galactic(ra, dec))


def transmission(seed: int, mean: float, ra, dec, survey: str) -> np.ndarray:
    """(n, band) float32 fraction of the light that passes in the survey's bands."""
    taken = ebv(seed, mean, ra, dec)[:, None] * np.array(TAKEN[survey])
    return (10 ** (-0.4 * taken)).astype(np.float32)
