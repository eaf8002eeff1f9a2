"""Sources found in scenes as a sample: which have a redshift to learn from, and their light as magnitudes."""

from __future__ import annotations

import numpy as np

from skyloom import flux

NOT_DETECTED, NOT_OBSERVED = 99.0, -99.0
POGSON = 2.5 / np.log(10)
PLACE = ("object_id", "tile_id", "part", "ra", "dec", "x", "y")  # of a source, not its measurements


def bands(names) -> list[str]:
    """The bands of a table of sources, in its order."""
    return [name.removesuffix("_flux") for name in names if name.endswith("_flux") and "_aper" not in name]


def seen_twice(frame, first, second) -> np.ndarray:
    """(n,) bool: sources on the border of two tiles that each of them counts: of pairs of rows (first, second), the closest
    first, that come from two tiles, the one with the lower score."""
    tile, score = frame["tile_id"].to_numpy(), frame["score"].to_numpy(float)
    out = np.zeros(len(frame), bool)
    for i, j in zip(first, second, strict=True):
        if tile[i] != tile[j] and not out[i] and not out[j]:
            out[i if (score[i], -i) < (score[j], -j) else j] = True
    return out


def with_magnitudes(frame):
    """The frame with `{b}_mag` (AB) and `{b}_magerr` behind its fluxes: 99 for a flux below its own error, -99 for one that is
    missing."""
    out = {}
    for band in bands(frame):
        njy, error = frame[f"{band}_flux"].to_numpy(float), frame[f"{band}_flux_err"].to_numpy(float)
        known = np.isfinite(njy) & np.isfinite(error)
        state = np.where(known, NOT_DETECTED, NOT_OBSERVED)
        seen = known & (njy > 0) & (njy >= error)
        safe = np.where(seen, njy, 1.0)
        out[f"{band}_mag"] = np.where(seen, flux.magnitude(safe), state)
        out[f"{band}_magerr"] = np.where(seen, POGSON * np.where(seen, error, 0.0) / safe, state)
    return frame.assign(**out)


def joined(frame, other, at, prefix: str):
    """The frame with what another table of sources measured, named `{prefix}_...`; `at` (n,) is each source's row there, -1 for
    none, whose columns are NaN."""
    import pandas

    measured = [name for name in other if name not in PLACE]
    found = {f"{prefix}_{name}": np.where(at >= 0, other[name].to_numpy(float)[at], np.nan) if len(other) else np.nan
             for name in measured}
    return pandas.concat([frame.reset_index(drop=True), pandas.DataFrame(found, index=range(len(frame)))], axis=1)


def gold(labels, band: str, magnitude: float) -> np.ndarray:
    """(n,) bool: galaxies brighter than a magnitude in a band, by the labels' own flux."""
    faintest = 10 ** (0.4 * (flux.NJY_ZERO_POINT - magnitude))
    return (labels["is_star"].to_numpy() == 0) & (labels[f"{band}_flux"].to_numpy(float) > faintest)


def redshifts(labels, at, chosen, z_min: float, z_max: float) -> np.ndarray:
    """(n,) redshift of each source by its label's row `at` (-1 for none), NaN where the label isn't `chosen` (m,) or its redshift
    not within z_min and z_max."""
    if not len(labels):
        return np.full(len(at), np.nan)
    z = labels["redshift"].to_numpy(float)
    usable = np.asarray(chosen, bool) & (z > z_min) & (z < z_max)
    return np.where((at >= 0) & usable[at], z[at], np.nan)
