"""The Sérsic profile and its Fourier transform, shared by the renderer and the fit."""

from __future__ import annotations

import functools

import numpy as np

LOG_KAPPA = (-6.0, 8.0)  # range of ln(k re) in `hankel`


@functools.cache
def b_n(n: float) -> float:
    """The b of a Sérsic profile exp(-b (r/re)^(1/n)) that encloses half the light in re: 2 P(2n, b) = 1."""
    from scipy.special import gammaincinv

    return float(gammaincinv(2 * n, 0.5))


def hankel(n: float, samples: int = 2048) -> tuple[np.ndarray, np.ndarray]:
    """Fourier transform of the circular unit-flux Sérsic profile of index `n` (Sérsic 1963).

    Returns (ln kappa, value), both (samples,), with kappa = k re over `LOG_KAPPA`; value -> 1 for kappa -> 0.
    By FFTLog (Hamilton 2000; scipy.fft.fht) of r I(r) on a grid that spans both ends' limits.
    """
    from scipy.fft import fht
    from scipy.special import gamma

    points, step = 8192, 0.01
    ln_r = (np.arange(points) - (points - 1) / 2) * step
    r = np.exp(ln_r)
    b = b_n(n)
    norm = 2 * np.pi * n * gamma(2 * n) * b ** (-2 * n)
    intensity = np.exp(-b * r ** (1 / n)) / norm
    k = r  # the grid is its own reciprocal: centred on r = k = 1
    value = fht(r * intensity, step, mu=0.0) * 2 * np.pi / k
    ln_kappa = np.linspace(*LOG_KAPPA, samples)
    return ln_kappa, np.interp(ln_kappa, ln_r, value)
