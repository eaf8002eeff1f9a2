"""All measurements of a shard's stamps: sep for every band, then one batched Sérsic fit."""

from __future__ import annotations

import numpy as np

from skyloom.measure import frame, sersic, sources

SERSIC_COLUMNS = ("sersic_index", "sersic_index_err", "sersic_re", "sersic_q", "sersic_chi2")


def read_kernel(text: str) -> np.ndarray:
    """The detection filter of a SExtractor .conv file, as given (sep normalises)."""
    lines = [line.split("#")[0] for line in text.splitlines() if not line.startswith("CONV")]
    return np.array([[float(v) for v in line.split()] for line in lines if line.strip()], np.float32)


def measure_stamps(stamps, options: dict, kernel: np.ndarray, pixel_scale, zero_point: float = 31.4,
                   cd=None, progress=None) -> dict[str, np.ndarray]:
    """Columns (n, band) of an iterable of objects, each (image, ivar, unusable, psf, ok) with leading axis band.

    Images in the unit of `zero_point`; pixel_scale in arcsec, one number or (n, band); cd (n, band, 2, 2) the matrices from px
    to (east, north), NaN or None where nobody knows them, by which angles are turned and oblong pixels flagged; psf NaN where
    there is none; ok (band,) False for stamps that can't be used.
    """
    rows, flags, work = [], [], []
    for image, ivar, unusable, psf, ok in stamps:
        per_band, per_flag = [], []
        scale = np.broadcast_to(pixel_scale[len(rows)] if np.ndim(pixel_scale) else pixel_scale, len(image))
        for b in range(len(image)):
            columns, flag, task = _one(image[b], ivar[b], unusable[b], psf[b], ok[b], options, kernel, float(scale[b]),
                                       zero_point)
            if task is not None:
                work.append((len(rows), b, *task))
            per_band.append([columns[name] for name in sources.COLUMNS])
            per_flag.append(flag)
        rows.append(per_band)
        flags.append(per_flag)
        if progress:
            progress.step()
    bands = len(rows[0]) if rows else 0
    table = np.array(rows, float).reshape(len(rows), bands, len(sources.COLUMNS))
    flags = np.array(flags, np.int32).reshape(len(rows), bands)
    out = {name: table[:, :, k] for k, name in enumerate(sources.COLUMNS)}
    out |= _fit_all(work, flags, bands)
    if cd is not None and len(rows):
        out["pos_angle"] = frame.sky_angle(out["pos_angle"], cd)
        flags[frame.oblong(cd) & (flags & sources.FLAGS["not_ok"] == 0)] |= sources.FLAGS["oblong_pixels"]
    return out | {"morphology_flags": flags}


def _one(image, ivar, unusable, psf, ok, options, kernel, pixel_scale, zero_point):
    """Columns and flags of one band, and its Sérsic task (stamp, ivar, psf, start) if it can be fitted."""
    if not ok:
        return dict.fromkeys(sources.COLUMNS, np.nan), sources.FLAGS["not_ok"], None
    columns, flag, found = sources.measure(image, unusable, options, kernel, zero_point, pixel_scale)
    if not np.isfinite(psf).all():
        flag |= sources.FLAGS["no_psf"]
    k = found.target() if found is not None else None
    if k is None or flag & sources.FLAGS["no_psf"] or not options["sersic"]:
        return columns, flag, None
    return columns, flag, _task(image, ivar, unusable, psf, found, k, columns, min(options["sersic_size"], len(image)))


def _task(image, ivar, unusable, psf, found, k, columns, size):
    """The window of `size` px around the stamp's centre with neighbours and unusable pixels at ivar 0."""
    lo = (len(image) - size) // 2
    window = (slice(lo, lo + size), slice(lo, lo + size))
    others = (found.segments != k + 1) & (found.segments != 0)
    weight = np.where(_grown(others) & (found.segments != k + 1) | unusable, 0, ivar)[window]
    row = found.catalog[k]
    half = columns["half_light_radius"]
    spread = 2.355 / 2 * np.sqrt(max(_second_moment(psf), 0.1))  # the PSF's half-light radius, if it were Gaussian
    re = np.sqrt(max((half if np.isfinite(half) else 3.0) ** 2 - spread**2, 0.5))
    start = (max(float(row["flux"]), 1e-3), float(row["x"]) - lo, float(row["y"]) - lo, re,
             max(float(row["b"] / row["a"]), 0.2), float(row["theta"]))
    return image[window], weight, psf[:size, :size], start


def _grown(mask: np.ndarray) -> np.ndarray:
    """A mask grown by two pixels, so that neighbours' skirts don't pull the fit."""
    from scipy.ndimage import binary_dilation

    return binary_dilation(mask, iterations=2) if mask.any() else mask


def _second_moment(psf: np.ndarray) -> float:
    """Core variance of a kernel in px^2 per axis from its peak: a Gaussian of unit sum has peak 1 / (2 pi s^2)."""
    return float(1 / (2 * np.pi * psf.max()))


def _fit_all(work, flags, bands) -> dict[str, np.ndarray]:
    """Fit every task; fills the Sérsic columns (n, band) and sets the flag of failed fits."""
    out = {name: np.full((len(flags), bands), np.nan) for name in SERSIC_COLUMNS}
    if not work:
        return out
    start = dict(zip(("flux", "x", "y", "re", "q", "angle"), np.array([task[5] for task in work]).T, strict=True))
    fit = sersic.fit(*(np.stack([task[k] for task in work]) for k in (2, 3, 4)), start)
    at = np.array([task[0] for task in work]), np.array([task[1] for task in work])
    values = (fit.n, fit.n * fit.error[:, 6], fit.re, fit.q, fit.chi2)
    for name, value in zip(SERSIC_COLUMNS, values, strict=True):
        out[name][at] = np.where(fit.converged, value, np.nan)
    flags[at] |= np.where(fit.converged, 0, sources.FLAGS["sersic_failed"]).astype(np.int32)
    return out
