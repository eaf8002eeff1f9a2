"""What really is in a window of the sky: every source with its fluxes, shape and noise-free light, and what others add to it.

Only rules that are told to learn from the truth, and the evaluation, read this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom.sky import geometry, hsc, render, rubin

LEAST = 1.0  # sources whose S/N is below this in every band have no row; their light is in `rest`
TRIM = 0.01  # of a stamp those rows and columns are kept that hold a pixel above so many sigma of the sky
BAND = "i"  # half-light radii and shapes are those of the light in this band


@dataclass(frozen=True)
class Optics:
    """How a survey sees a tract: bands, arcsec/px, and of each band the sky noise (nJy a px) and the PSF's FWHM (px)."""

    survey: str
    bands: tuple[str, ...]
    scale: float
    sigma: tuple[float, ...]
    fwhms: tuple[float, ...]


def _hsc(sky: hsc.Sky, ra: float, dec: float) -> Optics:
    tract = geometry.tract_of(ra, dec)
    return Optics("hsc", hsc.BANDS, hsc.SCALE, tuple(hsc.sky_sigma(b) for b in hsc.BANDS),
                  tuple(round(hsc.seeing(sky, tract, b) / hsc.SCALE, 4) for b in hsc.BANDS))


def _rubin(sky: hsc.Sky, ra: float, dec: float) -> Optics:
    tract = rubin.tract_of(ra, dec)
    return Optics("rubin", rubin.BANDS, rubin.SCALE, tuple(rubin.sky_sigma(sky, b) for b in rubin.BANDS),
                  tuple(round(rubin.seeing(sky, tract, b) / rubin.SCALE, 4) for b in rubin.BANDS))


OPTICS = {"hsc": _hsc, "rubin": _rubin}  # survey: its optics at a tangent point


def window(sky: hsc.Sky, survey: str, centre, x0: int, y0: int, width: int, height: int) -> tuple[dict, list, np.ndarray]:
    """(columns, stamps, rest) of a window whose first pixel is (x0, y0) of the tract with the tangent point `centre` (deg).

    Columns, a row for each source that is centred in the window and has S/N >= LEAST in some band: `label_id`, `ra`, `dec`
    (deg), `x`, `y` (px of the window, 0-based), `is_star`, `redshift` (of stars 0), `flux` (n, band) nJy behind the Galaxy's
    dust, `half_light_radius` (arcsec, of the circle with as much light), `q`, `pa` (deg from north to east), `snr` (n, band)
    of a matched filter without noise over the sky's noise, `blendedness`: the share of the light within its half-light ellipse,
    as the seeing shows it, that is others'. Stamps (x0, y0, values (h, w)) are each source's light in the sum of bands over
    their sky noise; `rest` (height, width) is the same sum of all other light, so that stamps and rest add up to the window.
    """
    optics = OPTICS[survey](sky, *centre)
    sigma = np.array(optics.sigma, np.float32)
    source = render.placed(sky.seed, centre, x0, y0, width, height, sigma, optics.fwhms, optics.scale, survey, sky.reddening,
                           sky.deep)
    inside = ((source["gx"] >= x0) & (source["gx"] < x0 + width) & (source["gy"] >= y0) & (source["gy"] < y0 + height))
    snr = np.zeros((len(inside), len(sigma)))
    whole, rest = np.zeros((2, height, width), np.float32)
    rows, stamps = [], []
    for k in range(len(inside)):
        drawn = render.own_stamp(source, k, optics.fwhms, optics.scale)
        snr[k] = np.sqrt(np.einsum("byx,byx->b", drawn, drawn)) / sigma
        light = np.einsum("byx,b->yx", drawn, 1 / sigma)
        at, part = render.overlap(source["left"][k] - x0, source["low"][k] - y0, len(light), width, height)
        light = light[part]
        whole[at] += light
        rest[at] += light
        if inside[k] and snr[k].max() >= LEAST:
            y, x = _trimmed(light)
            stamps.append((at[1].start + x.start, at[0].start + y.start, light[y, x]))
            rest[at][y, x] -= light[y, x]
            rows.append(k)
    source = {name: column[rows] for name, column in source.items()}
    out = _columns(source, optics, snr[rows], x0, y0)
    out["blendedness"] = np.array([_others(out, k, stamp, whole, optics) for k, stamp in enumerate(stamps)], float)
    return out, stamps, np.where(np.abs(rest) < 1e-6, 0, rest)


def _trimmed(light: np.ndarray) -> tuple[slice, slice]:
    """Slices (y, x) of the part that holds pixels above TRIM, at least the brightest one."""
    bright = light > min(TRIM, float(light.max()) * 0.5)
    y, x = (np.flatnonzero(bright.any(axis=axis)) for axis in (1, 0))
    return slice(y[0], y[-1] + 1), slice(x[0], x[-1] + 1)


def _columns(source: dict, optics: Optics, snr, x0: int, y0: int) -> dict[str, np.ndarray]:
    """The columns of `window` but blendedness."""
    band = optics.bands.index(BAND)
    star = source["kind"] == 1
    radius, q = _shape(source, band)
    return {"label_id": source["id"], "ra": source["ra"], "dec": source["dec"], "x": source["x"] - x0, "y": source["y"] - y0,
            "is_star": star.astype(np.int8), "redshift": np.where(star, 0.0, source["z"]),
            "flux": (source["disc"] + source["bulge"]).astype(np.float32), "snr": snr.astype(np.float32),
            "half_light_radius": np.where(star, 0.0, radius), "q": np.where(star, 1.0, q),
            "pa": np.where(star, 0.0, (90 - np.degrees(source["pa"])) % 180)}


def _shape(source: dict, band: int) -> tuple[np.ndarray, np.ndarray]:
    """(half-light radius in arcsec, axis ratio weighted by light) of bulge and disc together in a band.

    A Sérsic profile has gammainc(2n, b (R / re)^(1/n)) of its light within R (Graham & Driver 2005, eq. 2); bisection in ln R
    between the two radii.
    """
    from scipy.special import gammainc

    from skyloom import profiles

    flux = np.stack([source["disc"][:, band], source["bulge"][:, band]]).astype(float)
    share = flux / np.maximum(flux.sum(axis=0), 1e-30)
    re = np.maximum(np.stack([source["re_disc"], source["re_bulge"]]), 1e-3)
    index = np.stack([source["n_disc"], source["n_bulge"]]).astype(float)
    b = np.vectorize(profiles.b_n, otypes=[float])(index)
    low, high = np.log(re.min(axis=0)), np.log(re.max(axis=0))
    for _ in range(30):
        middle = (low + high) / 2
        held = (share * gammainc(2 * index, b * (np.exp(middle) / re) ** (1 / index))).sum(axis=0)
        low, high = np.where(held < 0.5, middle, low), np.where(held < 0.5, high, middle)
    return np.exp((low + high) / 2), (share * np.stack([source["q_disc"], source["q_bulge"]])).sum(axis=0)


def _others(out: dict, k: int, stamp, whole: np.ndarray, optics: Optics) -> float:
    """Share of the light within a source's half-light ellipse that isn't its own; the seeing's half width is added to both
    half axes in quadrature."""
    x0, y0, own = stamp
    seen = float(np.mean(optics.fwhms)) / 2
    radius, q = out["half_light_radius"][k] / optics.scale, max(out["q"][k], 0.05)
    angle = np.radians(90 + out["pa"][k])  # of the long axis from x, which runs west, to y
    y, x = np.mgrid[y0:y0 + own.shape[0], x0:x0 + own.shape[1]]
    dx, dy = x - out["x"][k], y - out["y"][k]
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    within = (along / np.hypot(radius / np.sqrt(q), seen)) ** 2 + (across / np.hypot(radius * np.sqrt(q), seen)) ** 2 <= 1
    total = float(whole[y0:y0 + own.shape[0], x0:x0 + own.shape[1]][within].sum())
    return max(0.0, 1 - float(own[within].sum()) / total) if total > 0 else 0.0
