"""Single-Sérsic fits, PSF-convolved, many stamps at once: batched Levenberg-Marquardt in Fourier space.

The model of a stamp is flux * F^-1[ G(|L^T k|; n) OTF(k) e^(-i k.x) ] + sky, with G the transform of the unit
Sérsic profile (`skyloom.profiles`), S = L L^T the covariance-like shape matrix with sqrt(det S) = re^2, and
(ln flux, x, y, p, s, r, ln n, sky) free, L = [[e^p, 0], [s, e^r]]: unconstrained, smooth at the circle.
The sky is free because a mesh of the stamp's own size eats the wings of the galaxy.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch

from skyloom import profiles

N_RANGE = (0.3, 8.0)
_NU = np.linspace(np.log(N_RANGE[0]), np.log(N_RANGE[1]), 121)
_SAMPLES = 1024
TOLERANCE = 0.01  # gain in chi2 below which a fit has converged: a tenth of a parameter's error
BLOCK = 16  # stamps evaluated at a time
PARAMETERS = ("ln_flux", "x", "y", "p", "s", "r", "ln_n", "sky")


@dataclass
class SersicFit:
    """Best fits of m stamps, arrays of length m.

    flux in the image's unit, x and y in px from the stamp's corner pixel, re = sqrt(a b) and its axis ratio q,
    angle of the major axis from x in rad, n; `error` (m, 8) in the order of `PARAMETERS`; chi2 per pixel used;
    `converged` False where `max_steps` were not enough or a parameter sits on its bound.
    """

    flux: np.ndarray
    x: np.ndarray
    y: np.ndarray
    re: np.ndarray
    q: np.ndarray
    angle: np.ndarray
    n: np.ndarray
    sky: np.ndarray
    error: np.ndarray
    chi2: np.ndarray
    converged: np.ndarray


@functools.cache
def _table() -> tuple[torch.Tensor, float, float]:
    """Transforms (121 values of ln n, 1024 of ln kappa), first ln kappa, samples per unit."""
    rows = [profiles.hankel(float(np.exp(nu)), _SAMPLES) for nu in _NU]
    grid = rows[0][0]
    table = torch.tensor(np.array([row[1] for row in rows]), dtype=torch.float32)
    return table, float(grid[0]), float((_SAMPLES - 1) / (grid[-1] - grid[0]))


def _profile_rows(nu: torch.Tensor):
    """Per stamp: the transform along ln kappa at its n, and its derivative by ln n, each (m, 1024)."""
    table, _, _ = _table()
    step = float(_NU[1] - _NU[0])
    at = ((nu - float(_NU[0])) / step).clamp(0, len(_NU) - 1.001)
    low = at.long()
    part = (at - low)[:, None]
    below, above = table[low], table[low + 1]
    return below + part * (above - below), (above - below) / step


class _Model:
    """The k grid and OTFs of a batch of stamps of side `size`."""

    def __init__(self, otf: torch.Tensor, size: int):
        self.size, self.otf = size, otf
        self.kx = (2 * np.pi * torch.fft.rfftfreq(size)).float()[None, None, :]
        self.ky = (2 * np.pi * torch.fft.fftfreq(size)).float()[None, :, None]

    def __call__(self, theta: torch.Tensor, keep):
        """Model (m, pixels) and its derivatives (m, 8, pixels) at parameters (m, 8) of the stamps `keep`."""
        ln_flux, x, y, p, s, r, _, sky = (theta[:, k, None, None] for k in range(8))
        stretch, squeeze = torch.exp(p), torch.exp(r)
        first = stretch * self.kx + s * self.ky
        second = squeeze * self.ky
        u = (first * first + second * second).clamp_min(1e-12)
        value, slope, by_n = self._lookup(u, theta[:, 6])
        phase = torch.polar(torch.ones_like(x * self.kx), -x * self.kx) \
            * torch.polar(torch.ones_like(y * self.ky), -y * self.ky)
        base = self.otf[keep] * (torch.exp(ln_flux) * phase)
        light = value * base
        # d/dp of G(ln kappa), kappa^2 = u: G' * (du/dp) / (2 u)
        bent = base * (slope / u)
        planes = torch.stack([light, light * (-1j * self.kx), light * (-1j * self.ky),
                              bent * (first * self.kx * stretch), bent * (first * self.ky),
                              bent * (second * second), by_n * base], dim=1)
        images = torch.fft.irfft2(planes, s=(self.size, self.size)).flatten(2)
        jacobian = torch.cat([images, torch.ones_like(images[:, :1])], dim=1)
        return images[:, 0] + sky[:, :, 0], jacobian

    @staticmethod
    def _lookup(u, nu):
        """G, dG/dln kappa and dG/dln n at kappa = sqrt(u) by linear interpolation along each stamp's row."""
        _, first, density = _table()
        rows, by_n = _profile_rows(nu)
        m = len(nu)
        at = ((0.5 * torch.log(u) - first) * density).clamp(0, _SAMPLES - 1.001).reshape(m, -1)
        low = at.long()
        part = at - low
        a, b = rows.gather(1, low), rows.gather(1, low + 1)
        c, d = by_n.gather(1, low), by_n.gather(1, low + 1)
        return (a + part * (b - a)).reshape(u.shape), ((b - a) * density).reshape(u.shape), \
            (c + part * (d - c)).reshape(u.shape)


def otf_of(psf: torch.Tensor, size: int) -> torch.Tensor:
    """(m, size, size // 2 + 1) transform of centred odd kernels (m, k, k), k <= size."""
    m, k, _ = psf.shape
    canvas = torch.zeros(m, size, size)
    canvas[:, :k, :k] = psf
    return torch.fft.rfft2(torch.roll(canvas, (-(k // 2), -(k // 2)), (1, 2)))


def fit(image, ivar, psf, start, max_steps: int = 40, batch: int = 512) -> SersicFit:
    """Fit m stamps.

    image, ivar (m, size, size): ivar 0 where a pixel must not count (neighbours, masks). psf (m, k, k), odd, sum 1.
    start: dict of arrays (m,) with flux, x, y, re (PSF-deconvolved guess), q, angle. ValueError on shapes that
    don't match.
    """
    image, ivar, psf = (torch.as_tensor(np.asarray(a, np.float32)) for a in (image, ivar, psf))
    if image.shape != ivar.shape or len(psf) != len(image) or image.shape[1] != image.shape[2]:
        raise ValueError(f"image {tuple(image.shape)}, ivar {tuple(ivar.shape)}, psf {tuple(psf.shape)} do not match")
    # work in units of the noise: float32 normal equations stay well conditioned
    used = ivar > 0
    unit = torch.sqrt((used.sum((1, 2)).clamp_min(1)) / ivar.sum((1, 2)).clamp_min(1e-30))[:, None, None]
    theta = _start(start, unit.flatten())
    results = [_fit_batch(image[k:k + batch] / unit[k:k + batch], ivar[k:k + batch] * unit[k:k + batch] ** 2,
                          psf[k:k + batch], theta[k:k + batch], max_steps) for k in range(0, len(image), batch)]
    if not results:
        return SersicFit(*[np.zeros(0)] * 8, np.zeros((0, 8)), np.zeros(0), np.zeros(0, bool))
    theta, error, chi2, converged = (torch.cat(parts) for parts in zip(*results, strict=True))
    return _unpack(theta, error, chi2, converged, unit.flatten())


def _start(start: dict, unit: torch.Tensor) -> torch.Tensor:
    """Parameters (m, 8) of the starting ellipses."""
    q = np.clip(np.asarray(start["q"], float), 0.15, 1.0)
    re = np.clip(np.asarray(start["re"], float), 0.3, None)
    c, s = np.cos(start["angle"]), np.sin(start["angle"])
    major, minor = re**2 / q, re**2 * q
    sxx, sxy, syy = major * c * c + minor * s * s, (major - minor) * c * s, major * s * s + minor * c * c
    lower = sxy / np.sqrt(sxx)
    flux = np.clip(np.asarray(start["flux"], float) / unit.numpy(), 1e-3, None)
    columns = [np.log(flux), start["x"], start["y"], 0.5 * np.log(sxx), lower,
               0.5 * np.log(np.clip(syy - lower**2, 1e-6, None)), np.full(len(q), np.log(1.5)), np.zeros(len(q))]
    return torch.tensor(np.stack([np.asarray(v, float) for v in columns], axis=1), dtype=torch.float32)


def _bounded(theta: torch.Tensor, size: int) -> torch.Tensor:
    out = theta.clone()
    out[:, 1:3] = out[:, 1:3].clamp(0, size - 1)
    out[:, 3] = out[:, 3].clamp(np.log(0.05), np.log(2.0 * size))
    out[:, 5] = out[:, 5].clamp(np.log(0.05), np.log(2.0 * size))
    out[:, 4] = out[:, 4].clamp(-2.0 * size, 2.0 * size)
    out[:, 6] = out[:, 6].clamp(float(_NU[0]), float(_NU[-1]))
    return out


def _fit_batch(image, ivar, psf, theta, max_steps):
    """Levenberg-Marquardt (Marquardt 1963) on one batch; stamps leave it as they converge.

    Each step is evaluated once, with derivatives: a step that fails only raises the damping.
    """
    size, m = image.shape[-1], len(image)
    model = _Model(otf_of(psf, size), size)
    image, ivar = image.flatten(1), ivar.flatten(1)
    pixels = (ivar > 0).sum(1).clamp_min(1)
    active, damping = torch.arange(m), torch.full((m,), 1e-2)
    converged = torch.zeros(m, dtype=torch.bool)
    normal, gradient, chi2 = _normal_equations(model, image, ivar, theta, active)
    for _ in range(max_steps):
        diagonal = torch.diagonal(normal[active], dim1=1, dim2=2).clamp_min(1e-12)
        damped = normal[active] + torch.diag_embed(damping[active, None] * diagonal + 1e-10)
        step = torch.linalg.solve_ex(damped.double(), gradient[active].double()[:, :, None])[0][:, :, 0].float()
        trial = theta.clone()
        trial[active] = _bounded(theta[active] + torch.nan_to_num(step).clamp(-3, 3), size)
        new_normal, new_gradient, after = _normal_equations(model, image, ivar, trial[active], active)
        gain = chi2[active] - after
        better = gain >= 0
        won = active[better]
        theta[won] = trial[won]
        normal[won], gradient[won], chi2[won] = new_normal[better], new_gradient[better], after[better]
        damping[active] = torch.where(better, damping[active] * 0.2, damping[active] * 8).clamp(1e-7, 1e9)
        done = (better & (gain < TOLERANCE)) | (damping[active] > 1e7)
        converged[active[done]] = True
        active = active[~done]
        if not len(active):
            break
    inside = (theta[:, 6] > float(_NU[0]) + 1e-3) & (theta[:, 6] < float(_NU[-1]) - 1e-3) & torch.isfinite(theta).all(1)
    return theta, _errors(normal), chi2 / pixels, converged & inside & (pixels > 20)


def _normal_equations(model, image, ivar, theta, active):
    """J^T W J (m, 8, 8), J^T W r (m, 8) and chi2 (m,) of the active stamps at `theta` (one row each).

    In blocks that fit the processor's cache; the whole batch steps together, so that slow stamps share blocks.
    """
    parts = []
    for k in range(0, len(active), BLOCK):
        here = active[k:k + BLOCK]
        value, jacobian = model(theta[k:k + BLOCK], here)
        residual, weight = image[here] - value, ivar[here]
        weighted = jacobian * weight[:, None]
        parts.append((weighted @ jacobian.mT, (weighted @ residual[:, :, None])[:, :, 0],
                      (residual * residual * weight).sum(1)))
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def _errors(normal: torch.Tensor) -> torch.Tensor:
    """Square roots of the covariance's diagonal; NaN where the normal matrix is singular."""
    inverse, info = torch.linalg.inv_ex(normal.double())
    variance = torch.diagonal(inverse, dim1=1, dim2=2)
    bad = (info != 0)[:, None] | (variance <= 0)
    return torch.where(bad, torch.nan, torch.sqrt(variance.clamp_min(0))).float()


def _unpack(theta, error, chi2, converged, unit) -> SersicFit:
    t = theta.double().numpy()
    a, low, r = np.exp(t[:, 3]), t[:, 4], np.exp(t[:, 5])
    sxx, sxy, syy = a * a, a * low, low * low + r * r
    half, diff = (sxx + syy) / 2, np.hypot((sxx - syy) / 2, sxy)
    scale = unit.double().numpy()
    return SersicFit(flux=np.exp(t[:, 0]) * scale, x=t[:, 1], y=t[:, 2], re=np.sqrt(a * r),
                     q=np.sqrt(np.clip(half - diff, 1e-12, None) / (half + diff)), angle=0.5 * np.arctan2(2 * sxy, sxx - syy),
                     n=np.exp(t[:, 6]), sky=t[:, 7] * scale, error=error.numpy(), chi2=chi2.numpy(),
                     converged=converged.numpy())
