"""Transforms of a de Vaucouleurs bulge and an exponential disc that share centre and position angle, with their derivatives.

Shape of a component: u = re^2 k^T exp(G) k with G = [[g1, g2], [g2, -g1]], axis ratio exp(-|g|): smooth where it is round. The
bulge has t G.
"""

from __future__ import annotations

import functools

import numpy as np

from skyloom import profiles

EXPONENTIAL = 1.67834699  # half-light radius of an exponential disc in scale lengths


@functools.cache
def _bulge_table():
    ln_kappa, value = profiles.hankel(4.0)
    return float(ln_kappa[0]), float((len(value) - 1) / (ln_kappa[-1] - ln_kappa[0])), value, np.diff(value, append=value[-1])


def _bulge(u):
    """(T, dT / d ln u) of the de Vaucouleurs profile at u = kappa^2."""
    first, density, value, step = _bulge_table()
    at = np.clip((0.5 * np.log(u) - first) * density, 0, len(value) - 1.001)
    low = at.astype(np.intp)
    return value[low] + (at - low) * step[low], 0.5 * density * step[low]


def _disc(u):
    """(T, dT / d ln u) of the exponential profile: (1 + u / b^2)^(-3/2)."""
    v = u / EXPONENTIAL**2
    value = 1 / ((1 + v) * np.sqrt(1 + v))
    return value, -1.5 * v / (1 + v) * value


def _metric(g1, g2, kx, ky):
    """u / re^2 and its derivatives by g1 and g2: k^T exp(G) k = c k^2 + s (g1 (kx^2 - ky^2) + 2 g2 kx ky)."""
    g = np.hypot(g1, g2)
    small = g < 1e-3
    safe = np.where(small, 1.0, g)
    c, s = np.cosh(g), np.where(small, 1 + g * g / 6, np.sinh(safe) / safe)
    bend = np.where(small, 1 / 3, (c - s) / safe**2)  # ds/dg_i = bend g_i, dc/dg_i = s g_i
    k2, plus, cross = kx * kx + ky * ky, kx * kx - ky * ky, 2 * kx * ky
    along = g1 * plus + g2 * cross
    common = s * k2 + bend * along
    return c * k2 + s * along, common * g1 + s * plus, common * g2 + s * cross


def functions(shape, kx, ky):
    """(m, 9, modes): T_d, T_b, T_d's derivatives by ln re, g1, g2, T_b's by ln re, g1, g2, t."""
    ln_d, g1, g2, ln_b, t = (shape[:, k, None] for k in range(5))
    u, u1, u2 = _metric(g1, g2, kx, ky)
    disc, slope = _disc(np.exp(2 * ln_d) * u)
    bent = slope / u
    w, w1, w2 = _metric(t * g1, t * g2, kx, ky)
    bulge, slope_b = _bulge(np.exp(2 * ln_b) * w)
    bent_b = slope_b / w
    return np.stack([disc, bulge, 2 * slope, bent * u1, bent * u2, 2 * slope_b, t * bent_b * w1, t * bent_b * w2,
                     bent_b * (g1 * w1 + g2 * w2)], axis=1)


def values(shape, kx, ky):
    """(m, 2, modes): T_d and T_b alone."""
    ln_d, g1, g2, ln_b, t = (shape[:, k, None] for k in range(5))
    disc, _ = _disc(np.exp(2 * ln_d) * _metric(g1, g2, kx, ky)[0])
    bulge, _ = _bulge(np.exp(2 * ln_b) * _metric(t * g1, t * g2, kx, ky)[0])
    return np.stack([disc, bulge], axis=1)
