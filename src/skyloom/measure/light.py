"""How a target's light is spread, band by band: PSF-matched annuli and a joint bulge + disc fit, as columns with errors.

What can't be measured is NaN with a flag that says why; no stamp, whatever it holds, stops the others.
"""

from __future__ import annotations

import numpy as np

from skyloom.measure import annuli, blend, bulgedisc, frame

_SHARED = {"not_detected": 16, "other_grid": 32, "oblong_pixels": 64, "extraction_failed": 512}
ANNULUS_FLAGS = annuli.FLAGS | _SHARED | {"masked_pixels": 128, "neighbours": 256}
FIT_FLAGS = bulgedisc.FLAGS | _SHARED | {"psf_too_wide": 128, "fewer_bands": 256}
WINDOW = 64  # px that are looked at, more where the rings need them
SAME = 0.01  # relative difference up to which two bands' pixels are of one size
GLOBAL = ("bulge_re", "bulge_re_err", "disk_re", "disk_re_err", "bulge_q", "disk_q", "disk_pa", "bulge_disk_chi2")
PER_BAND = ("bulge_flux", "bulge_flux_err", "disk_flux", "disk_flux_err", "bulge_disk_cov")


def measure_stamps(stamps, bands, options: dict, pixel_scale, cd=None, correlated=None, progress=None) -> dict[str, np.ndarray]:
    """{column: (n,)} of an iterable of objects, each (image, ivar, unusable, psf, ok) with leading axis band.

    image, ivar (band, y, x) in one linear unit and its inverse square, the sky taken off; unusable (band, y, x) bool; psf
    (band, k, k) of sum 1, NaN where there is none; ok (band,) bool. `bands` their names; options `annuli_arcsec`,
    `psf_fwhm_arcsec`, `bulge_disk`; pixel_scale in arcsec, one number or (n, band); cd (n, band, 2, 2) from px to (east, north),
    or None; correlated (band, r, r) as of `blend.correlations`, None for white noise. Fluxes come in the images' unit.
    """
    correlated = np.ones((len(bands), 1, 1)) if correlated is None else correlated
    rows, tasks = [], []
    for k, (image, ivar, unusable, psf, ok) in enumerate(stamps):
        scale = np.broadcast_to(pixel_scale[k] if np.ndim(pixel_scale) else pixel_scale, len(bands)).astype(float)
        turned = np.full((len(bands), 2, 2), np.nan) if cd is None else cd[k]
        one = _Stamp(image, ivar, unusable, psf, ok, scale, turned, options)
        rows.append(one.rings(correlated))
        tasks.append(one.task() if options["bulge_disk"] else None)
        if progress:
            progress.step()
    out = _annulus_columns(rows, bands, len(options["annuli_arcsec"]))
    return out | (_fit_columns(tasks, bands, correlated) if options["bulge_disk"] else {})


class _Stamp:
    """One object's stamps cut to the window that counts, its target found in the bands that can be used."""

    def __init__(self, image, ivar, unusable, psf, ok, scale, cd, options):
        self.psf, self.ok, self.options = psf, np.asarray(ok, bool), options
        self.has_psf = annuli.known(psf)
        self.same, self.scale, self.cd = _one_grid(scale, cd, self.ok & self.has_psf)
        usable = self.usable = self.ok & self.has_psf & self.same
        size = image.shape[-1]
        start = max(0, (size - _window(options, self.scale)) // 2)
        cut = (slice(None), *[slice(start, size - start)] * 2)
        image, ivar = np.asarray(image[cut], float), np.asarray(ivar[cut], float)
        self.unusable = unusable[cut] | ~(np.isfinite(image) & np.isfinite(ivar) & (ivar > 0))
        self.image, self.ivar = np.where(self.unusable, 0, image), np.where(self.unusable, 0, ivar)
        self.size, middle = self.image.shape[-1], (size - 1) / 2 - start
        if usable.any():
            width = float(np.median(annuli.fwhm(psf[usable]))) / 2.3548
            self.blend = blend.find(self.image[usable], self.ivar[usable], self.unusable[usable], (middle, middle), width)
            self.lost = self.unusable | self.blend.others

    def flags(self, known: dict) -> np.ndarray:
        """(band,) what is amiss with a band before anything is measured, in the bits of `known`."""
        out = np.where(self.ok, 0, known["not_ok"])
        out |= np.where(self.ok & ~self.has_psf, known["no_psf"], 0)
        out |= np.where(self.ok & self.has_psf & ~self.same, known["other_grid"], 0)
        if not self.usable.any():
            return out
        amiss = 0 if self.blend.detected or self.blend.failed else known["not_detected"]
        amiss |= known["extraction_failed"] if self.blend.failed else 0
        amiss |= known["oblong_pixels"] if np.isfinite(self.cd).all() and frame.oblong(self.cd) else 0
        return out | np.where(self.usable, amiss, 0)

    def rings(self, correlated):
        """(flux (band, annuli), covariance, flags (band,)) of the annuli."""
        radii, flags = np.array(self.options["annuli_arcsec"]) / self.scale, self.flags(ANNULUS_FLAGS)
        nothing = np.full((len(self.psf), len(radii)), np.nan), np.full((len(self.psf), len(radii), len(radii)), np.nan)
        if not self.usable.any() or self.blend.failed:
            return *nothing, flags
        x, y = self.blend.x, self.blend.y
        flux, cov, found = annuli.measure(self.image, self.ivar, self.lost, self.psf, self.usable, x, y, radii,
                                          self.options["psf_fwhm_arcsec"] / self.scale, correlated)
        flags |= np.where(self.usable, found, 0)
        j, i = np.mgrid[:self.size, :self.size]
        inside = (i - x) ** 2 + (j - y) ** 2 <= radii[-1] ** 2
        measured = self.usable & (found & annuli.FLAGS["psf_too_wide"] == 0)
        flags |= np.where(measured & (self.unusable & inside).any(axis=(1, 2)), ANNULUS_FLAGS["masked_pixels"], 0)
        flags |= np.where(measured & (self.blend.others & inside).any(), ANNULUS_FLAGS["neighbours"], 0)
        return flux, cov, flags

    def task(self):
        """(flag, None) where nothing can be fitted, else (flag, what `bulgedisc.fit` needs, and the stamp itself)."""
        flags = self.flags(FIT_FLAGS)
        wide = self.usable & annuli.wider(self.psf, self.size)
        use = self.usable & ~wide
        if not use.any() or self.blend.failed:
            return int(np.bitwise_or.reduce(flags)) | (FIT_FLAGS["psf_too_wide"] if wide.any() else 0), None
        flag = int(np.bitwise_or.reduce(flags[use])) | (0 if use.all() else FIT_FLAGS["fewer_bands"])
        return flag, (self, use)


def _one_grid(scale, cd, usable):
    """((band,) whether a band has the pixels that most usable ones have, their scale in arcsec, their cd): rings and fits need
    one grid. Bands whose pixels' size nobody knows are on none."""
    known = np.isfinite(scale) & (scale > 0)
    if not (known & usable).any():
        return known & usable, 1.0, np.full((2, 2), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = np.abs(scale[:, None] / scale - 1) < SAME
        turned = np.abs(cd[:, None] - cd).max(axis=(2, 3)) > SAME * np.nanmax(np.abs(cd), initial=0)
    alike &= ~turned & known & known[:, None]
    votes = (alike & usable).sum(axis=1) * (known & usable)
    first = int(np.argmax(votes))
    return alike[first], float(scale[first]), cd[first]


def _window(options, scale: float) -> int:
    """Side in px of what is looked at: all that the rings reach at the common PSF, and never less than WINDOW."""
    reach = (options["annuli_arcsec"][-1] + annuli.BORDER * options["psf_fwhm_arcsec"]) / scale
    return max(WINDOW, 2 * int(np.ceil(reach)) + 6)


def _annulus_columns(rows, bands, rings: int) -> dict[str, np.ndarray]:
    flux = np.array([row[0] for row in rows]).reshape(-1, len(bands), rings)
    cov = np.array([row[1] for row in rows]).reshape(-1, len(bands), rings, rings)
    flags = np.array([row[2] for row in rows], np.int32).reshape(-1, len(bands))
    out = {}
    for b, band in enumerate(bands):
        for k in range(rings):
            out[f"{band}_annulus_flux_{k + 1}"] = flux[:, b, k]
            out[f"{band}_annulus_flux_err_{k + 1}"] = np.sqrt(cov[:, b, k, k])
        out |= {f"{band}_annulus_cov_{j + 1}_{k + 1}": cov[:, b, j, k] for j in range(rings) for k in range(j + 1, rings)}
        out[f"{band}_annulus_flags"] = flags[:, b]
    return out


def _fit_columns(tasks, bands, correlated) -> dict[str, np.ndarray]:
    """Columns of the bulge + disc fits, stamps of one size fitted together."""
    out = {name: np.full(len(tasks), np.nan) for name in GLOBAL}
    per_band = {name: np.full((len(tasks), len(bands)), np.nan) for name in PER_BAND}
    flags = np.array([flag for flag, _ in tasks], np.int32)
    sizes = {stamp[0].size for _, stamp in tasks if stamp is not None}
    for size in sorted(sizes):
        at = np.array([k for k, (_, stamp) in enumerate(tasks) if stamp is not None and stamp[0].size == size])
        ones, use = [tasks[k][1][0] for k in at], np.stack([tasks[k][1][1] for k in at])
        fit = bulgedisc.fit(*(np.stack([getattr(one, name) for one in ones]) for name in ("image", "ivar", "lost", "psf")),
                            {name: np.array([getattr(one.blend, name) for one in ones]) for name in ("x", "y", "re")},
                            correlated, use)
        flags[at] |= fit.flags
        for name, values in _named(fit, ones).items():
            (per_band if name in PER_BAND else out)[name][at] = values
    for b, band in enumerate(bands):
        out |= {f"{band}_{name}": values[:, b] for name, values in per_band.items()}
    return out | {"bulge_disk_flags": flags}


def _named(fit: bulgedisc.BulgeDisc, ones) -> dict[str, np.ndarray]:
    """A fit's numbers by column, radii in arcsec, the angle in deg as `pos_angle` is."""
    scale = np.array([one.scale for one in ones])
    angle = frame.sky_angle((np.degrees(fit.angle) + 90) % 180 - 90, np.stack([one.cd for one in ones]))
    return {"bulge_re": fit.bulge_re * scale, "bulge_re_err": fit.bulge_re * fit.bulge_ln_re_err * scale,
            "disk_re": fit.disk_re * scale, "disk_re_err": fit.disk_re * fit.disk_ln_re_err * scale, "bulge_q": fit.bulge_q,
            "disk_q": fit.disk_q, "disk_pa": angle, "bulge_disk_chi2": fit.chi2, "bulge_flux": fit.bulge_flux,
            "bulge_flux_err": fit.bulge_flux_err, "disk_flux": fit.disk_flux, "disk_flux_err": fit.disk_flux_err,
            "bulge_disk_cov": fit.cov}
