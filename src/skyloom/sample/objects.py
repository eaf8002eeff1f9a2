"""An archive's object catalog as labels of scenes.

Columns of a catalog here: `object_id`, `ra`, `dec` (deg), `is_star` (1, 0, -1 not known), `{band}_flux`, `{band}_flux_err`
(total, nJy) and the half-light ellipse: `half_light_radius` (arcsec, of the circle with as much light), `q`, `pa` (rad from east
to north). What is missing is NaN; without an ellipse a source is a point.
"""

from __future__ import annotations

import numpy as np

from skyloom import wcs
from skyloom.flux import NJY_ZERO_POINT

STATE = 90  # magnitudes beyond are no numbers but states
GAUSS = 1.1774  # half-light radius of a round Gaussian in its sigma
REACH = 4.0  # sigma that a source's stamp shows
FAINT = 0.01  # of the sky noise: stamps show no fainter pixels


def redshifts(objects, specz, radius: float) -> np.ndarray:
    """(n,) redshift of each object: of the spectrum (table with `ra`, `dec`, `specz_redshift`) nearest within `radius` arcsec,
    NaN without. A spectrum belongs to the object nearest to it alone."""
    from scipy.spatial import cKDTree

    out = np.full(len(objects), np.nan)
    if not len(objects) or not len(specz):
        return out
    here, there = (_unit(table["ra"], table["dec"]) for table in (objects, specz))
    apart, nearest = cKDTree(here).query(there, distance_upper_bound=2 * np.sin(np.radians(radius / 3600) / 2))
    order = np.argsort(-apart, kind="stable")  # the nearest spectrum is written last
    order = order[np.isfinite(apart[order])]
    out[nearest[order]] = specz["specz_redshift"].to_numpy(float)[order]
    return out


def _unit(ra, dec) -> np.ndarray:
    a, d = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)


def of_table(frame, bands):
    """A catalog from the user's own table (`object_id, ra, dec, {band}_mag, {band}_magerr`, AB; 99 and -99 are states): fluxes;
    shapes and classes aren't known."""
    out = frame[["object_id", "ra", "dec"]].copy()
    for band in (band for band in bands if f"{band}_mag" in frame):
        mag = frame[f"{band}_mag"].where(frame[f"{band}_mag"].abs() < STATE)
        out[f"{band}_flux"] = 10 ** (-0.4 * (mag - NJY_ZERO_POINT))
        if f"{band}_magerr" in frame:
            out[f"{band}_flux_err"] = out[f"{band}_flux"] * frame[f"{band}_magerr"] * np.log(10) / 2.5
    return out


def ellipse(xx, yy, xy) -> dict[str, np.ndarray]:
    """{half_light_radius, q, pa} of Gaussians of second moments in arcsec^2, x to the west and y to the north; NaN where they
    are of no shape, as after a PSF was taken off that is wider than the source."""
    middle, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    with np.errstate(invalid="ignore", divide="ignore"):
        long, short = np.sqrt(middle + spread), np.sqrt(middle - spread)
        return {"half_light_radius": GAUSS * np.sqrt(long * short), "q": short / long,
                "pa": (np.pi - 0.5 * np.arctan2(2 * xy, xx - yy)) % np.pi}


def columns(objects, z, bands) -> dict[str, np.ndarray]:
    """The label columns of a catalog (see `labels.COLUMNS`), and the moments `xx`, `yy`, `xy` of a Gaussian of its ellipse
    (arcsec^2, x to the west, y to the north); a band without a flux has S/N 0."""
    nothing = np.full(len(objects), np.nan)
    flux, error = (np.stack([np.asarray(objects.get(f"{band}_{what}", nothing), float) for band in bands], axis=1)
                   for what in ("flux", "flux_err"))
    star = np.asarray(objects.get("is_star", nothing * 0 - 1), float)
    radius, q, pa = (np.asarray(objects.get(name, nothing), float) for name in ("half_light_radius", "q", "pa"))
    shaped = (radius > 0) & (q > 0) & np.isfinite(radius + q + pa) & (star != 1)
    radius, q, pa = np.where(shaped, radius, 0.0), np.where(shaped, q, 1.0), np.where(shaped, pa, 0.0)
    long, short = (radius / GAUSS) ** 2 / q, (radius / GAUSS) ** 2 * q
    cos, sin = np.cos(np.pi - pa), np.sin(np.pi - pa)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.nan_to_num(np.where(error > 0, flux / error, 0), nan=0.0, posinf=0.0, neginf=0.0)
    return {"label_id": np.asarray(objects["object_id"], np.int64), "ra": np.asarray(objects["ra"], float),
            "dec": np.asarray(objects["dec"], float), "is_star": star.astype(np.int8), "redshift": np.asarray(z, float),
            "flux": flux, "snr": np.maximum(snr, 0), "half_light_radius": radius, "q": q, "blendedness": nothing,
            "pa": np.where(shaped, (90 - np.degrees(pa)) % 180, 0.0),
            "xx": long * cos**2 + short * sin**2, "yy": long * sin**2 + short * cos**2, "xy": (long - short) * cos * sin}


def in_tile(whole: dict, grid, side: int, fwhm, sigma, scale: float) -> tuple[dict, list]:
    """(columns, stamps) of the objects centred in a tile of `side` px on a TAN grid (crval, crpix, cd).

    A stamp (x0, y0, values) is the object's light in the sum of bands over their sky noise `sigma` (band,) nJy: elliptical
    Gaussians of the catalog's moments and of the PSF's FWHM `fwhm` (band,) arcsec.
    """
    x, y = wcs.tan_pixels(*grid, whole["ra"], whole["dec"])
    with np.errstate(invalid="ignore"):
        inside = np.flatnonzero((np.floor(x + 0.5) >= 0) & (np.floor(x + 0.5) < side)
                                & (np.floor(y + 0.5) >= 0) & (np.floor(y + 0.5) < side))
    out = {name: column[inside] for name, column in whole.items()} | {"x": x[inside], "y": y[inside]}
    flip = np.sign([-grid[2][0][0], grid[2][1][1]])  # moments are those of x to the west, y to the north
    seeing = (np.asarray(fwhm, float) / 2.3548) ** 2
    light = np.nan_to_num(out["flux"] / np.asarray(sigma)) * np.isfinite(seeing)
    stamps = [_stamp(out["x"][k], out["y"][k], np.array([out["xx"][k], out["yy"][k], out["xy"][k] * flip.prod()]) / scale**2,
                     np.where(np.isfinite(seeing), seeing, 1.0) / scale**2, light[k], side) for k in range(len(inside))]
    return out, stamps


def _stamp(x: float, y: float, moments, seeing, light, side: int) -> tuple[int, int, np.ndarray]:
    """(x0, y0, values) of Gaussians of moments (xx, yy, xy) + `seeing` (band,) px^2 and of the sums `light` (band,), clipped to
    the tile, as far as FAINT of the sky's noise or REACH sigma."""
    peak = max(float(np.abs(light).sum()) / (2 * np.pi * seeing.min()) / FAINT, 1.0)
    reach = min(REACH, np.sqrt(2 * np.log(peak)) + 0.5)
    half = [int(np.ceil(reach * np.sqrt(moments[k] + seeing.max()))) + 1 for k in (0, 1)]
    (x0, x1), (y0, y1) = ((max(round(at) - h, 0), min(round(at) + h + 1, side)) for at, h in zip((x, y), half, strict=True))
    dx, dy = np.arange(x0, x1) - x, (np.arange(y0, y1) - y)[:, None]
    values = np.zeros((y1 - y0, x1 - x0))
    for s2, flux in zip(seeing, light, strict=True):
        a, b, c = moments[0] + s2, moments[1] + s2, moments[2]
        det = a * b - c * c
        values += flux / (2 * np.pi * np.sqrt(det)) * np.exp(-0.5 * (b * dx**2 - 2 * c * dx * dy + a * dy**2) / det)
    return x0, y0, values.astype(np.float32)
