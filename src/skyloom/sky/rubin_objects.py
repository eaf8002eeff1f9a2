"""Rubin's Object table on the embedded sky: deblended sources with the fluxes, shapes and PSF moments of a pipeline."""

from __future__ import annotations

import numpy as np

from skyloom.sky import dust, geometry, hashing, hsc, population, rubin
from skyloom.sky.catalog import _normal, _unit

LEAST = 5.0  # signal to noise in any band
CEILING = 0.9  # deg: no larger circle


def around(sky: hsc.Sky, ra: float, dec: float, radius: float) -> dict[str, np.ndarray]:
    """Columns of `dp1.Object` for a circle (deg). Flux errors are those of a Gaussian of the source's half-light radius and the
    seeing on the sky's noise and its own; each source once, from the tract and patch that it belongs to."""
    source = population.near(sky.seed, ra, dec, radius * 3600, population.tiers(sky.deep), "rubin",
                             reddening=sky.reddening)
    keep = np.hypot(*geometry.project(ra, dec, source["ra"], source["dec"])) <= radius * 3600
    keep &= geometry.in_box(sky.footprint, source["ra"], source["dec"])
    source = {name: column[keep] for name, column in source.items()}
    tracts = np.array([rubin.tract_of(a, d) for a, d in zip(source["ra"], source["dec"], strict=True)], int)
    x, y = np.zeros(len(tracts)), np.zeros(len(tracts))
    seen = np.zeros(len(tracts), bool)
    for tract in np.unique(tracts):
        here = tracts == tract
        x[here], y[here] = rubin.pixel_of(tract, source["ra"][here], source["dec"][here])
        seen[here] = rubin.covered(sky, tract, x[here], y[here])
    fluxes = _fluxes(sky, source)
    seen &= np.max([flux / error for flux, error in fluxes.values()], axis=0, initial=-1) > LEAST if len(tracts) else seen
    source = {name: column[seen] for name, column in source.items()}
    fluxes = {band: (flux[seen], error[seen]) for band, (flux, error) in fluxes.items()}
    return _columns(sky, source, tracts[seen], x[seen], y[seen], fluxes)


def _radius(source) -> np.ndarray:
    """Half-light radius in arcsec, circularised, as its parts' light weighs it; 0 for stars."""
    bulge, disc = source["bulge"][:, 3].astype(float), source["disc"][:, 3].astype(float)
    mean = (bulge * source["re_bulge"] + disc * source["re_disc"]) / np.maximum(bulge + disc, 1e-9)
    return np.where(source["kind"] == 0, mean, 0.0)


def _fluxes(sky, source) -> dict:
    out, ids, radius = {}, source["id"], _radius(source)
    for b, band in enumerate(rubin.BANDS):
        flux = (source["bulge"][:, b] + source["disc"][:, b]).astype(float)
        width = np.hypot(radius / 1.1774, rubin.SEEING[sky.rubin_depth][b] / 2.3548) / rubin.SCALE
        pixels = 4 * np.pi * width**2
        error = rubin.sky_sigma(sky, band) * np.sqrt(pixels * (1 + flux / pixels / rubin.level(band)))
        out[band] = flux + error * _normal(ids, sky.seed, "rubin flux", sky.rubin_depth, band), error
    return out


def _columns(sky, source, tracts, x, y, fluxes) -> dict[str, np.ndarray]:
    ids, radius = source["id"], _radius(source)
    column, row = (np.clip(v // rubin.PATCH, 0, rubin.ACROSS - 1).astype(int) for v in (x, y))
    with np.errstate(over="ignore"):
        own = (hashing.splitmix(ids.astype(np.uint64)) >> np.uint64(2)).astype(np.int64)
    sharp = _unit(ids, sky.seed, "rubin shape")
    snr = fluxes["i"][0] / fluxes["i"][1]
    galaxy = (source["kind"] == 0) & ((radius > 0.15) | (sharp < 0.5)) | (source["kind"] == 1) & (snr < 10) & (sharp < 0.1)
    out = {"objectId": own, "coord_ra": source["ra"], "coord_dec": source["dec"], "tract": tracts,
           "patch": row * rubin.ACROSS + column, "refBand": np.full(len(ids), "i", object),
           "refExtendedness": galaxy.astype(float),
           "ebv": dust.ebv(sky.seed, sky.reddening, source["ra"], source["dec"]) if sky.reddening else np.zeros(len(ids))}
    out |= _sersic(source, radius, _normal(ids, sky.seed, "rubin size"), snr)
    for band, (flux, error) in fluxes.items():
        good = flux > 0
        width = np.array([rubin.seeing(sky, int(tract), band) for tract in tracts]) / 2.3548 / rubin.SCALE
        out |= {f"{band}_cModelFlux": flux, f"{band}_cModelFluxErr": error, f"{band}_psfFlux": flux * np.exp(-radius),
                f"{band}_psfFluxErr": 0.8 * error, f"{band}_cModel_flag": np.zeros(len(ids), int),
                f"{band}_cModelMag": np.where(good, 31.4 - 2.5 * np.log10(np.where(good, flux, 1)), np.nan),
                f"{band}_extendedness": galaxy.astype(float), f"{band}_ixxPSF": width**2, f"{band}_iyyPSF": width**2,
                f"{band}_ixyPSF": np.zeros(len(ids))}
    return out


def _sersic(source, radius, noise, snr) -> dict[str, np.ndarray]:
    """The half-light ellipse in px as a covariance: x runs west, so an angle from east to north is turned over."""
    size = radius * np.exp(np.clip(noise / np.maximum(snr, 1), -1, 1)) / rubin.SCALE
    q, angle = np.where(source["kind"] == 0, source["q_disc"], 1.0), np.pi - source["pa"]
    a2, b2 = size**2 / q, size**2 * q
    xx = a2 * np.cos(angle) ** 2 + b2 * np.sin(angle) ** 2
    yy = a2 * np.sin(angle) ** 2 + b2 * np.cos(angle) ** 2
    xy = (a2 - b2) * np.cos(angle) * np.sin(angle)
    rho = np.where(xx * yy > 0, xy / np.sqrt(np.maximum(xx * yy, 1e-30)), 0.0)
    return {"sersic_reff_x": np.sqrt(xx), "sersic_reff_y": np.sqrt(yy), "sersic_rho": rho,
            "sersic_index": np.where(source["kind"] == 0, 1.5, 0.5)}
