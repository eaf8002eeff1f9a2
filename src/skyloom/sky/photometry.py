"""What the archive's pipeline measures of a source: the truth plus the noise of the very pixels that its stamp shows.

A cmodel-like flux is, to first order in the noise, a weighted sum of pixels: with the weights of the source's own light, a
Gaussian of its half-light radius and the seeing, the flux's error is sum(w n) / sum(w phi). The noise n of a pixel is fixed by
the tract, the band and the pixel alone (`hsc.exposure` draws the same), so no image is made: only the noise under the source.
Neighbours that overlap leave a part of their light behind, as deblenders do; a profile that isn't the source's moves all bands
together.
"""

from __future__ import annotations

import numpy as np

from skyloom.sky import geometry, hashing, hsc

HALF = (8, 14, 24, 40)  # half-widths of the windows in px; a source takes the first that holds 3 sigma of its light
PROFILE, BAND = 0.01, 0.003  # error of a model that isn't the profile, of all bands together; of each band
LEFT = 0.05  # part of an overlapping neighbour's light that deblending gets wrong (1 sigma)
GAUSS = 1.1774  # half-light radius of a round Gaussian in its sigma


def errors(sky: hsc.Sky, tracts, pixels, source: dict, band: str) -> tuple[np.ndarray, np.ndarray]:
    """(noise (n,), its sigma (n,)) in nJy of the fluxes of sources in one band, from the pixels under them.

    tracts (n,), pixels (2, n) of the tract, source: columns of `population`.
    """
    b = hsc.BANDS.index(band)
    flux = (source["bulge"][:, b] + source["disc"][:, b]).astype(float)
    extended = source["kind"] == 0
    radius = np.where(extended, np.maximum(source["re_disc"], source["re_bulge"]), 0) / hsc.SCALE
    noise, sigma = np.zeros(len(flux)), np.ones(len(flux))
    for tract in np.unique(tracts):
        seen = hsc.seeing(sky, int(tract), band) / hsc.SCALE / 2.3548
        here = np.flatnonzero(tracts == tract)
        width = np.hypot(radius[here] / GAUSS, seen)
        size = np.searchsorted(HALF, 3 * width).clip(0, len(HALF) - 1)
        for k, half in enumerate(HALF):
            rows = here[size == k]
            for part in np.array_split(rows, max(1, len(rows) * half**2 // 400_000)):
                at = np.searchsorted(here, part)
                noise[part], sigma[part] = _summed(sky, int(tract), band, pixels[:, part], width[at], flux[part], half)
    return noise, sigma


def _summed(sky, tract, band, pixels, width, flux, half) -> tuple[np.ndarray, np.ndarray]:
    """The weighted sums of sources whose light fits into windows of `half` px, and their standard deviations."""
    left, low = (np.floor(p + 0.5).astype(np.int64) - half for p in pixels)
    steps = np.arange(2 * half + 1)
    x, y = (np.exp(-0.5 * ((start[:, None] + steps - p[:, None]) / width[:, None]) ** 2)
            for start, p in zip((left, low), pixels, strict=True))
    light = (y[:, :, None] * x[:, None, :]).astype(np.float32)
    light /= light.sum(axis=(1, 2), keepdims=True)
    spread = np.float32(hsc.sky_sigma(band)) * np.sqrt(
        1 + np.clip(flux, 0, None)[:, None, None].astype(np.float32) * light / np.float32(hsc.sky_level(band)))
    weight = light * spread / (light * light).sum(axis=(1, 2), keepdims=True)
    rows = _spread(weight, 1)
    both = _spread(rows, 2)  # what the taps of the noise do to the pixels, done to the weights
    white = hashing.window_normals(hashing.key(sky.seed, "hsc", tract, band), low - 1, left - 1, 2 * half + 3)
    return np.einsum("nyx,nyx->n", both, white), np.sqrt(np.einsum("nyx,nyx->n", both, both))


def _spread(values: np.ndarray, axis: int) -> np.ndarray:
    """Each value handed to its neighbours along an axis by the noise's taps; the axis grows by two."""
    pad = [(0, 0)] * 3
    pad[axis] = (2, 2)
    wide = np.pad(values, pad)
    n = values.shape[axis] + 2
    parts = [np.take(wide, range(k, k + n), axis=axis) for k in range(3)]
    return hsc.TAPS[0] * parts[0] + hsc.TAPS[1] * parts[1] + hsc.TAPS[2] * parts[2]


def overlapping(source: dict, everything: dict, band: str) -> np.ndarray:
    """(n,) light in nJy of other sources under each source's own: the sum of their fluxes times the overlap of the profiles,
    round Gaussians of the same half-light radii and seeing. `everything` holds the neighbours (columns of `population`)."""
    from scipy.spatial import cKDTree

    b, seen = hsc.BANDS.index(band), hsc.SEEING[band] / 2.3548
    ra0, dec0 = float(np.median(everything["ra"])), float(np.median(everything["dec"]))
    places = [np.column_stack(geometry.project(ra0, dec0, table["ra"], table["dec"])) for table in (source, everything)]
    widths = [np.hypot(np.where(table["kind"] == 0, np.maximum(table["re_disc"], table["re_bulge"]), 0) / GAUSS, seen)
              for table in (source, everything)]
    flux = (everything["bulge"][:, b] + everything["disc"][:, b]).astype(float)
    pairs = cKDTree(places[0]).sparse_distance_matrix(cKDTree(places[1]), 5.0, output_type="coo_matrix")
    i, j, apart = pairs.row, pairs.col, pairs.data
    other = source["id"][i] != everything["id"][j]
    i, j, apart = i[other], j[other], apart[other]
    both = widths[0][i] ** 2 + widths[1][j] ** 2
    share = 2 * widths[0][i] ** 2 / both * np.exp(-0.5 * apart**2 / both)
    return np.bincount(i, flux[j] * share, minlength=len(source["id"]))
