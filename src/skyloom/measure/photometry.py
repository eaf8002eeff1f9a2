"""Kron magnitudes of a stamp's target, or forced ones where it isn't detected (Engel et al. 2025, appendix B)."""

from __future__ import annotations

import numpy as np
import sep

from skyloom.flux import NJY_ZERO_POINT
from skyloom.measure.target import find

FACTOR, LEAST = 2.5, 3.5  # SExtractor's PHOT_AUTOPARAMS
COLUMNS = ("mag", "mag_err", "flux", "flux_err", "detected")


def measure(image: np.ndarray, ivar: np.ndarray, bad: np.ndarray, static: float) -> dict[str, float]:
    """mag, mag_err (AB), flux, flux_err (nJy) and detected (1 or 0) of one band's target.

    image (y, x) nJy, ivar nJy^-2, bad (y, x) bool, static the radius in px of the aperture at the centre where nothing is
    detected. Errors are the pixels' own noise summed, without correlations. NaN without a good pixel; a flux that isn't
    positive has no magnitude. Kron's ellipse is 2.5 Kron radii, at least 3.5 A, as SExtractor's AUTO.
    """
    out = dict.fromkeys(COLUMNS[:4], np.nan) | {"detected": 0.0}
    if bad.all():
        return out
    net, target = find(image, bad)
    variance = np.where(ivar > 0, 1.0 / np.where(ivar > 0, ivar, 1.0), 0.0).astype(np.float32)
    if target is None:
        cy, cx = (np.array(image.shape) - 1) / 2
        flux, error, _ = sep.sum_circle(net, [cx], [cy], static, var=variance, mask=bad, subpix=5)
    else:
        flux, error, _ = sep.sum_ellipse(net, *target.ellipse, max(FACTOR * target.kron, LEAST), var=variance, mask=bad, subpix=5)
        out["detected"] = 1.0
    out["flux"], out["flux_err"] = float(flux[0]), float(error[0])
    if out["flux"] > 0:
        out["mag"] = NJY_ZERO_POINT - 2.5 * np.log10(out["flux"])
        out["mag_err"] = 2.5 / np.log(10) * out["flux_err"] / out["flux"]
    return out
