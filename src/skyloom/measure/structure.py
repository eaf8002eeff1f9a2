"""What measured structure says of a galaxy in numbers with errors: shares of light, their change from band to band, colours.

A feature is made so that its error says how much it can be trusted: a share of a flux that drowns in noise has an error above
its spread over the sample, and whoever reads it shrinks it to nothing. Errors are propagated to first order.
"""

from __future__ import annotations

import numpy as np

POGSON = 2.5 / np.log(10)


def annuli(flux, cov, table=None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{name: (value (n,), error (n,))} from annulus fluxes (n, band, k) with covariance (n, band, k, k), bands from blue to red.

    `share_{b}_{k}`: the light of ring k in that within the last ring, of the middle band; `share_{b}-{b + 1}_{k}`: how it changes
    to the next band; `colour_{b}-{b + 1}`: the whole's colour minus the table's (`table`: (n, band) magnitudes), zero without.
    A band without a flux above zero gives NaN.
    """
    flux, cov = np.asarray(flux, float), np.asarray(cov, float)
    whole = flux.sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = flux / whole[:, :, None]
        turn = (np.eye(flux.shape[2]) - share[:, :, :, None]) / whole[:, :, None, None]  # d share_k / d flux_j
        spread = turn @ cov @ turn.transpose(0, 1, 3, 2)
        error = np.sqrt(np.diagonal(spread, axis1=2, axis2=3))
    dim = ~(whole > 0)
    share[dim], error[dim] = np.nan, np.nan
    middle, out = flux.shape[1] // 2, {}
    for k in range(flux.shape[2] - 1):
        out[f"share_{middle}_{k}"] = share[:, middle, k], error[:, middle, k]
        for b in range(flux.shape[1] - 1):
            out[f"share_{b}-{b + 1}_{k}"] = share[:, b, k] - share[:, b + 1, k], np.hypot(error[:, b, k], error[:, b + 1, k])
    return out | _colours(whole, np.sqrt(cov.sum(axis=(2, 3))), table)


def bulge_disk(fit: dict[str, np.ndarray], table=None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The same from a bulge + disc fit's bulge_flux, disk_flux, their errors and cov, each (n, band), bulge_re, disk_re and the
    errors of their logarithms, disk_q, each (n,): `bulge_{b}` the bulge's share of the light, `bulge_{b}-{b + 1}` its change,
    `ln_disk_re`, `ln_bulge_re`, `ln_disk_q`, colours as for `annuli`."""
    bulge, disk = (np.asarray(fit[f"{part}_flux"], float) for part in ("bulge", "disk"))
    vb, vd, both = fit["bulge_flux_err"] ** 2, fit["disk_flux_err"] ** 2, np.asarray(fit["cov"], float)
    whole = bulge + disk
    with np.errstate(invalid="ignore", divide="ignore"):
        share = bulge / whole
        error = np.sqrt(np.maximum(disk**2 * vb + bulge**2 * vd - 2 * bulge * disk * both, 0)) / whole**2
    dim = ~(whole > 0)
    share[dim], error[dim] = np.nan, np.nan
    out = {f"bulge_{b}": (share[:, b], error[:, b]) for b in range(share.shape[1])}
    out |= {f"bulge_{b}-{b + 1}": (share[:, b] - share[:, b + 1], np.hypot(error[:, b], error[:, b + 1]))
            for b in range(share.shape[1] - 1)}
    with np.errstate(invalid="ignore", divide="ignore"):
        out |= {"ln_disk_re": (np.log(fit["disk_re"]), fit["disk_ln_re_err"]), "ln_bulge_re": (np.log(fit["bulge_re"]),
                fit["bulge_ln_re_err"]), "ln_disk_q": (np.log(fit["disk_q"]), 0.5 * fit["disk_ln_re_err"])}
    return out | _colours(whole, np.sqrt(np.maximum(vb + vd + 2 * both, 0)), table)


def _colours(flux, error, table) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Colours from band to band of fluxes (n, band), minus a table's."""
    if table is None:
        return {}
    with np.errstate(invalid="ignore", divide="ignore"):
        magnitude, sigma = -2.5 * np.log10(np.where(flux > 0, flux, np.nan)), POGSON * error / np.where(flux > 0, flux, np.nan)
    table = np.where(np.abs(table) < 90, table, np.nan)
    out = {}
    for b in range(flux.shape[1] - 1):
        value = magnitude[:, b] - magnitude[:, b + 1] - (table[:, b] - table[:, b + 1])
        out[f"colour_{b}-{b + 1}"] = value, np.hypot(sigma[:, b], sigma[:, b + 1])
    return out
