"""A tile of a scene: the stamps of all its bands on one pixel grid, with the WCS of that grid and the PSF in its middle."""

from __future__ import annotations

import numpy as np

from skyloom.cutouts.stamps import STATUS, UNUSABLE, Stamp, blank

SAME = 0.02  # px: grids whose reference pixels differ by less are one
FINE = 8
SHAPES = {"image": "f4", "ivar": "f4", "mask": "u4"}


def assembled(stamps: list[Stamp], kernels: list[np.ndarray], centre, scale: float) -> dict[str, np.ndarray]:
    """{image, ivar, mask (band, y, x), psf (band, k, k), psf_fwhm (band,) arcsec, status (band,), zero_point (band,), crval (2,)
    deg, crpix (2,) 1-based, cd (2, 2) deg/px, cause} of a tile centred on `centre` (deg) at `scale` arcsec/px.

    A band on another pixel grid than the first good one is `failed`; one without a usable pixel is `masked`. Where no band has
    a grid, the WCS is that of the place which was asked for.
    """
    side = len(stamps[0].image)
    made, grid = [], None
    for stamp in stamps:
        own = tuple(np.asarray(part, float) for part in (stamp.crval, stamp.crpix, stamp.cd))
        if stamp.status == "ok" and all(np.isfinite(part).all() for part in own):
            grid = grid or own
            if not _same(grid, own):
                stamp = blank(side, "failed", "its pixels are another grid than those of the bands before; resample them to one")
        if stamp.status == "ok" and (stamp.mask & UNUSABLE).all():
            stamp.status, stamp.cause = "masked", "no pixel of the tile is usable"
        made.append(stamp)
    crval, crpix, cd = grid or (np.asarray(centre, float), np.full(2, (side + 1) / 2), np.diag([-scale, scale]) / 3600)
    psf = np.stack(kernels)
    return {**{name: np.stack([getattr(stamp, name) for stamp in made]) for name in SHAPES}, "psf": psf,
            "psf_fwhm": np.array([fwhm(kernel) for kernel in psf]) * scale,
            "status": np.array([STATUS.index(stamp.status) for stamp in made], np.uint8),
            "zero_point": np.array([stamp.zero_point for stamp in made]), "crval": crval, "crpix": crpix, "cd": cd,
            "causes": [f"{stamp.status} {stamp.cause}".strip() if stamp.status != "ok" or stamp.cause else "" for stamp in made]}


def fwhm(kernel: np.ndarray) -> float:
    """FWHM in px of a kernel (k, k): the diameter of the circle as large as its pixels above half its peak, both on a spline FINE
    times as fine; NaN of what is no kernel."""
    from scipy import ndimage

    peak = kernel.max()
    if not (np.isfinite(kernel).all() and peak > 0):
        return float("nan")
    fine = ndimage.zoom(kernel.astype(float), FINE, order=3, grid_mode=True, mode="grid-constant")
    return float(2 * np.sqrt((fine > fine.max() / 2).sum() / np.pi) / FINE)


def _same(one, other) -> bool:
    """Whether two TAN grids (crval, crpix, cd) are one."""
    return (np.abs(one[1] - other[1]).max() < SAME and np.allclose(one[0], other[0], rtol=0, atol=1e-8)
            and np.allclose(one[2], other[2], rtol=1e-6, atol=1e-12))
