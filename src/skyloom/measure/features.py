"""What measured structure says of a galaxy in numbers with errors: shares of light, their change from band to band, colours.

A feature is made so that its error says how much it can be trusted: a share of a flux that drowns in noise has an error above
its spread over the sample, and whoever reads it shrinks it to nothing. Errors are propagated to first order.
"""

from __future__ import annotations

import numpy as np

POGSON = 2.5 / np.log(10)
Features = dict[str, tuple[np.ndarray, np.ndarray]]


def annuli(flux, cov, bands: list[str], table=None) -> Features:
    """{name: (value (n,), error (n,))} from annulus fluxes (n, band, k) with covariance (n, band, k, k), bands from blue to red.

    `share_{b}_{k}`: the light of ring k in that within the last ring, of the middle band; `share_{b}-{c}_{k}`: how it changes
    to the next band; `colour_{b}-{c}`: the whole's colour minus the table's (`table`: (n, band) magnitudes, NaN where there is
    none). A band without a flux above zero gives NaN; one with no error or an infinite one an error of the same kind.
    """
    flux, cov = np.asarray(flux, float), np.asarray(cov, float)
    whole = flux.sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = flux / whole[:, :, None]
        turn = (np.eye(flux.shape[2]) - share[:, :, :, None]) / whole[:, :, None, None]  # d share_k / d flux_j
        error = np.sqrt(np.einsum("nbkj,nbjl,nbkl->nbk", turn, cov, turn))
    dim = ~(whole > 0)
    share[dim], error[dim] = np.nan, np.nan
    middle, out = flux.shape[1] // 2, {}
    for k in range(flux.shape[2] - 1):
        out[f"share_{bands[middle]}_{k + 1}"] = share[:, middle, k], error[:, middle, k]
        for b, name in _pairs(bands):
            out[f"share_{name}_{k + 1}"] = share[:, b, k] - share[:, b + 1, k], np.hypot(error[:, b, k], error[:, b + 1, k])
    with np.errstate(invalid="ignore"):
        return out | _colours(whole, np.sqrt(cov.sum(axis=(2, 3))), bands, table)


def bulge_disk(fit: dict[str, np.ndarray], bands: list[str], table=None) -> Features:
    """The same of a bulge + disc fit: `{part}_flux`, `{part}_flux_err` and `bulge_disk_cov` (n, band), `{part}_re` and its
    error, `disk_q` (n,), part `bulge` or `disk`.

    `bulge_{b}`: the bulge's share of the light, `bulge_{b}-{c}` its change to the next band, `ln_bulge_re`, `ln_disk_re`,
    `ln_disk_q` (its error twice that of ln re, as two axes of independent errors have it), colours as of `annuli`.
    """
    fit = {name: np.asarray(values, float) for name, values in fit.items()}
    bulge, disk, both = fit["bulge_flux"], fit["disk_flux"], fit["bulge_disk_cov"]
    vb, vd = fit["bulge_flux_err"] ** 2, fit["disk_flux_err"] ** 2
    whole = bulge + disk
    with np.errstate(invalid="ignore", divide="ignore"):
        share = bulge / whole
        error = np.sqrt(np.maximum(disk**2 * vb + bulge**2 * vd - 2 * bulge * disk * both, 0)) / whole**2
    dim = ~(whole > 0)
    share[dim], error[dim] = np.nan, np.nan
    out = {f"bulge_{name}": (share[:, b], error[:, b]) for b, name in enumerate(bands)}
    out |= {f"bulge_{name}": (share[:, b] - share[:, b + 1], np.hypot(error[:, b], error[:, b + 1])) for b, name in _pairs(bands)}
    with np.errstate(invalid="ignore", divide="ignore"):
        radii = {part: (np.log(fit[f"{part}_re"]), fit[f"{part}_re_err"] / fit[f"{part}_re"]) for part in ("bulge", "disk")}
        out |= {f"ln_{part}_re": pair for part, pair in radii.items()}
        out["ln_disk_q"] = np.log(fit["disk_q"]), 2 * radii["disk"][1]
    return out | _colours(whole, np.sqrt(np.maximum(vb + vd + 2 * both, 0)), bands, table)


def _pairs(bands):
    """(place, `{b}-{c}`) of every band that has a next one."""
    return [(b, f"{bands[b]}-{bands[b + 1]}") for b in range(len(bands) - 1)]


def _colours(flux, error, bands, table) -> Features:
    """Colours from band to band of fluxes (n, band), minus a table's."""
    if table is None:
        return {}
    with np.errstate(invalid="ignore", divide="ignore"):
        bright = np.where(flux > 0, flux, np.nan)
        magnitude, sigma = -2.5 * np.log10(bright), POGSON * error / bright
    out = {}
    for b, name in _pairs(bands):
        value = magnitude[:, b] - magnitude[:, b + 1] - (table[:, b] - table[:, b + 1])
        out[f"colour_{name}"] = value, np.hypot(sigma[:, b], sigma[:, b + 1])
    return out
