"""Joint bulge + disc fits of all bands of many stamps, PSF-convolved, in Fourier space (as galfitm and ProFit do with pixels:
Häußler et al. 2013, Robotham et al. 2017).

A de Vaucouleurs bulge and an exponential disc share centre and position angle; radii and axis ratios are the same in every
band, fluxes are each band's own. Of a stamp's transform only the modes with |k| < K_MAX count: beyond them no PSF lets light
through. There the model is (F_d T_d + F_b T_b) OTF e^(-i k.x) with real T, so that chi2 and all derivatives are sums of real
products: a step costs a few matrix products of nine functions of k, whatever the number of bands.

Shape of a component: u = re^2 k^T exp(G) k with G = [[g1, g2], [g2, -g1]], axis ratio exp(-|g|): smooth where it is round. The
bulge has t G. Weak priors keep what the data don't tell.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import scipy.fft

from skyloom import profiles
from skyloom.measure import annuli, noise

K_MAX = 1.5  # rad/px
STEPS, REFILLS = 14, 2
FLAGS = {"no_psf": 1, "not_converged": 2, "mostly_lost": 4, "not_ok": 8}
SHAPE = ("ln_re_disk", "g1", "g2", "ln_re_bulge", "t")
# mean and width of the priors of SHAPE in ln px and dimensionless; the radii's are set around the start
WIDTH = np.array([0.8, 0.5, 0.5, 0.9, 0.25])
LOW, HIGH = np.array([-1.2, -2.3, -2.3, -1.6, 0.0]), np.array([3.6, 2.3, 2.3, 3.4, 1.0])
EXPONENTIAL = 1.67834699  # half-light radius of an exponential disc in scale lengths
LOST, LEAST_KEPT = 0.5, 0.1  # share of the target's weight on good pixels below which it is flagged; below which nothing is said


@dataclass
class BulgeDisc:
    """Fits of m stamps: fluxes and errors (m, band) in the image's unit, cov (m, band) between a band's two fluxes; re in px
    (sqrt(a b)), q, angle of the major axis from x in rad, x and y in px, each (m,); errors of ln re; chi2 a mode and band;
    flags (m,)."""

    bulge_flux: np.ndarray
    bulge_flux_err: np.ndarray
    disk_flux: np.ndarray
    disk_flux_err: np.ndarray
    cov: np.ndarray
    bulge_re: np.ndarray
    bulge_ln_re_err: np.ndarray
    disk_re: np.ndarray
    disk_ln_re_err: np.ndarray
    bulge_q: np.ndarray
    disk_q: np.ndarray
    angle: np.ndarray
    x: np.ndarray
    y: np.ndarray
    chi2: np.ndarray
    flags: np.ndarray


@functools.lru_cache(8)
def _modes(size: int):
    """(rows, columns of the rfft grid, kx, ky, multiplicity) of the modes that count, without the mean."""
    ky, kx = annuli.grid(size)
    k = np.hypot(ky, kx)
    use = (k < K_MAX) & (k > 0) & ((kx > 0) | (ky > 0))
    rows, columns = np.nonzero(use)
    return rows, columns, np.broadcast_to(kx, use.shape)[use], np.broadcast_to(ky, use.shape)[use]


@functools.cache
def _bulge_table():
    ln_kappa, value = profiles.hankel(4.0)
    return float(ln_kappa[0]), float((len(value) - 1) / (ln_kappa[-1] - ln_kappa[0])), value, np.diff(value, append=value[-1])


def _bulge(u):
    """(T, dT / d ln u) of the de Vaucouleurs profile at u = kappa^2."""
    first, density, value, step = _bulge_table()
    at = np.clip((0.5 * np.log(u) - first) * density, 0, len(value) - 1.001)
    low = at.astype(np.intp)
    return value[low] + (at - low) * step[low], 0.5 * density * step[low]


def _disc(u):
    """(T, dT / d ln u) of the exponential profile: (1 + u / b^2)^(-3/2)."""
    v = u / EXPONENTIAL**2
    value = (1 + v) ** -1.5
    return value, -1.5 * v / (1 + v) * value


def _metric(g1, g2, kx, ky):
    """u / re^2 and its derivatives by g1 and g2: k^T exp(G) k = c k^2 + s (g1 (kx^2 - ky^2) + 2 g2 kx ky)."""
    g = np.hypot(g1, g2)
    small = g < 1e-3
    safe = np.where(small, 1.0, g)
    c, s = np.cosh(g), np.where(small, 1 + g * g / 6, np.sinh(safe) / safe)
    bend = np.where(small, 1 / 3, (c - s) / safe**2)  # ds/dg_i = bend g_i, dc/dg_i = s g_i
    k2, plus, cross = kx * kx + ky * ky, kx * kx - ky * ky, 2 * kx * ky
    along = g1 * plus + g2 * cross
    common = s * k2 + bend * along
    return c * k2 + s * along, common * g1 + s * plus, common * g2 + s * cross


def _functions(shape, kx, ky):
    """(m, 9, modes): T_d, T_b, T_d's derivatives by ln re, g1, g2, T_b's by ln re, g1, g2, t."""
    ln_d, g1, g2, ln_b, t = (shape[:, k, None] for k in range(5))
    u, u1, u2 = _metric(g1, g2, kx, ky)
    disc, slope = _disc(np.exp(2 * ln_d) * u)
    bent = slope / u
    w, w1, w2 = _metric(t * g1, t * g2, kx, ky)
    bulge, slope_b = _bulge(np.exp(2 * ln_b) * w)
    bent_b = slope_b / w
    return np.stack([disc, bulge, 2 * slope, bent * u1, bent * u2, 2 * slope_b, t * bent_b * w1, t * bent_b * w2,
                     bent_b * (g1 * w1 + g2 * w2)], axis=1)


def _expand(gram, fluxes):
    """Gram matrices (m, band, 9, 9) as those of (F_d, F_b, shape): (m, band, 7, 7), by the chain rule."""
    m, b = fluxes.shape[:2]
    chain = np.zeros((m, b, 9, 7))
    chain[..., 0, 0] = chain[..., 1, 1] = 1
    disc, bulge = fluxes[..., 0], fluxes[..., 1]
    rules = ((2, 2, disc), (3, 3, disc), (4, 4, disc), (5, 5, bulge), (6, 3, bulge), (7, 4, bulge), (8, 6, bulge))
    for row, column, flux in rules:
        chain[..., row, column] = flux
    return chain, chain.transpose(0, 1, 3, 2) @ gram @ chain


class _Data:
    """Whitened transforms of m stamps at the modes that count."""

    def __init__(self, image, otf, variance, power, size, use):
        rows, columns, self.kx, self.ky = _modes(size)
        self.size, self.rows, self.columns = size, rows, columns
        self.otf = otf[..., rows, columns]
        self.weight = use[..., None] * 2 / (size**2 * variance[..., None] * power[..., rows, columns])
        self.use, self.idle = use, ~use[..., None, None] * np.eye(2)
        self.q = self.weight * np.abs(self.otf) ** 2
        self.replace(image)

    def replace(self, image) -> None:
        """Other pixels of the same stamps."""
        found = scipy.fft.rfft2(image)[..., self.rows, self.columns]
        self.cross = self.weight * np.conj(self.otf) * found
        self.power = (self.weight * np.abs(found) ** 2).sum(axis=(1, 2))

    def at(self, x, y):
        """Cross spectrum of data and point-source model at (x, y): (m, band, modes) complex."""
        phase = np.exp(1j * (self.kx * x[:, None] + self.ky * y[:, None]))
        return self.cross * phase[:, None]


def _solve(data, place, shape, prior):
    """Fluxes (m, band, 2) that fit best at a place and shape, the functions, S, chi2 with the prior's part, and gram."""
    phi = _functions(shape, data.kx, data.ky)
    s = data.at(place[:, 0], place[:, 1])
    gram = (phi[:, None] * data.q[:, :, None]) @ phi[:, None].transpose(0, 1, 3, 2)
    h = s.real @ phi.transpose(0, 2, 1)
    two = gram[..., :2, :2] + 1e-12 * np.eye(2) * gram[..., :1, :1] + data.idle
    fluxes = np.linalg.solve(two, h[..., :2, None])[..., 0]
    fit = (fluxes * h[..., :2]).sum(axis=(1, 2))
    chi2 = data.power - fit + (((shape - prior) / WIDTH) ** 2).sum(axis=1)
    return fluxes, phi, s, chi2, gram, h


def _step(data, place, fluxes, phi, s, gram, h, shape, prior):
    """(normal matrix of shape with the fluxes projected out (m, 5, 5), its gradient, step of the place (m, 2), its normal)."""
    chain, whole = _expand(gram, fluxes)
    model = np.zeros((*fluxes.shape[:2], 9))
    model[..., :2] = fluxes
    residual = h - (gram @ model[..., None])[..., 0]
    gradient = (chain.transpose(0, 1, 3, 2) @ residual[..., None])[..., 2:, 0]
    a, b, c = whole[..., :2, :2], whole[..., :2, 2:], whole[..., 2:, 2:]
    projected = c - b.transpose(0, 1, 3, 2) @ np.linalg.solve(a + 1e-12 * np.eye(2) * a[..., :1, :1] + data.idle, b)
    light = (fluxes @ phi[:, :2])
    normal = projected.sum(axis=1) + np.diag(1 / WIDTH**2)
    pull = gradient.sum(axis=1) - (shape - prior) / WIDTH**2
    moved = -np.stack([(s.imag * light * k).sum(axis=(1, 2)) for k in (data.kx, data.ky)], axis=1)
    k = np.stack([data.kx, data.ky])
    grown = np.einsum("mbk,ik,jk->mij", data.q * light**2, k, k)
    return normal, pull, grown, moved


def _iterate(data, place, shape, prior, steps):
    """Levenberg-Marquardt (Marquardt 1963) on shape and place, the fluxes solved at every step."""
    found = _solve(data, place, shape, prior)
    damping = np.full(len(shape), 1e-2)
    gain = np.full(len(shape), np.inf)
    for _ in range(steps):
        fluxes, phi, s, chi2, gram, h = found
        normal, pull, grown, moved = _step(data, place, fluxes, phi, s, gram, h, shape, prior)
        damp = damping[:, None, None]
        ridge = normal + damp * np.eye(5) * np.diagonal(normal, axis1=1, axis2=2)[:, :, None]
        new_shape = shape + np.clip(np.linalg.solve(ridge, pull[..., None])[..., 0], -0.7, 0.7)
        new_shape = np.clip(new_shape, LOW, HIGH)
        shift = np.linalg.solve(grown * (1 + damp * np.eye(2)) + 1e-9 * np.eye(2), moved[..., None])[..., 0]
        new_place = place + np.clip(shift, -0.5, 0.5)
        trial = _solve(data, new_place, new_shape, prior)
        gain = chi2 - trial[3]
        won = gain >= 0
        shape, place = np.where(won[:, None], new_shape, shape), np.where(won[:, None], new_place, place)
        found = tuple(np.where(won.reshape(-1, *[1] * (old.ndim - 1)), new, old) for new, old in zip(trial, found, strict=True))
        damping = np.clip(np.where(won, damping * 0.3, damping * 6), 1e-6, 1e6)
    return place, shape, found, (np.abs(gain) < 0.05) | (damping > 1e3)


def _pixels(data, otf, place, shape, fluxes):
    """Model pixels (m, band, size, size): what fills lost pixels."""
    ky, kx = annuli.grid(data.size)
    kx, ky = (np.broadcast_to(k, otf.shape[-2:]).ravel() for k in (kx, ky))
    kx = np.where((kx == 0) & (ky == 0), 1e-4, kx)
    phi = _functions(shape, kx, ky)[:, :2].reshape(len(shape), 2, *otf.shape[-2:])
    phase = np.exp(-1j * (kx * place[:, :1] + ky * place[:, 1:])).reshape(len(shape), 1, *otf.shape[-2:])
    return scipy.fft.irfft2(np.einsum("mbc,mcyx->mbyx", fluxes, phi) * otf * phase, s=(data.size,) * 2)


def fit(image, ivar, lost, psf, start, correlated, use=None) -> BulgeDisc:
    """Fit m stamps in all bands at once.

    image, ivar (m, band, size, size) in one unit of flux; lost (m, band, size, size) bool: unusable pixels and neighbours; psf
    (m, band, k, k) of sum 1; start: arrays (m,) x, y in px and re, the half-light radius in px freed of the PSF; correlated
    (band, r, r) as of `noise.correlation`; use (m, band) bool, False for bands that say nothing: their fluxes are NaN, as are
    those of bands that hardly see the target, and all of a stamp without any other. ValueError for shapes that don't match.
    """
    image, ivar = np.asarray(image, float), np.asarray(ivar, float)
    if image.shape != ivar.shape or image.shape != lost.shape or psf.shape[:2] != image.shape[:2]:
        raise ValueError(f"image {image.shape}, ivar {ivar.shape}, lost {lost.shape}, psf {psf.shape} do not match")
    m, bands, size = image.shape[:3]
    use = np.ones((m, bands), bool) if use is None else np.asarray(use)
    image, lost = np.where(use[..., None, None], image, 0), lost & use[..., None, None]
    otf = np.array([[annuli.transform(one, size) if used else np.ones((size, size // 2 + 1), complex)
                     for one, used in zip(own, used_own, strict=True)] for own, used_own in zip(psf, use, strict=True)])
    power = np.stack([noise.power(c, size) for c in correlated])[None]
    place = np.stack([np.asarray(start[name], float) for name in ("x", "y")], axis=1)
    re = np.log(np.clip(np.asarray(start["re"], float), 0.5, size / 3))
    shape = np.stack([re + 0.1, np.zeros(m) + 0.02, np.zeros(m) + 0.02, re - 0.6, np.full(m, 0.5)], axis=1)
    prior = shape.copy()
    prior[:, 1:3] = 0
    variance, kept = _noise_at(image, ivar, lost, place, re)
    given, use = use, use & (kept >= LEAST_KEPT)
    filled = _mirrored(image, lost, place)
    data = _Data(filled, otf, variance, power, size, use)
    place, shape, found, settled = _iterate(data, place, shape, prior, STEPS)
    holed = lost.any(axis=(1, 2, 3))
    for _ in range(REFILLS if holed.any() else 0):
        filled = np.where(lost, _pixels(data, otf, place, shape, found[0]) if holed.any() else 0, image)
        data.replace(filled)
        place, shape, found, settled = _iterate(data, place, shape, prior, 4)
    return _results(data, place, shape, found, settled, kept, given)


def _noise_at(image, ivar, lost, place, re):
    """(variance (m, band) where the target lies, share (m, band) of the target's weight on good pixels)."""
    size = image.shape[-1]
    y, x = np.mgrid[:size, :size]
    wide = (np.exp(re) + 2.0)[:, None, None]
    light = np.exp(-((x - place[:, 0, None, None]) ** 2 + (y - place[:, 1, None, None]) ** 2) / (2 * wide**2)) ** 2
    good = (ivar > 0) & ~lost
    weight = light[:, None] * good
    total = np.maximum(weight.sum(axis=(2, 3)), 1e-30)
    variance = (weight / np.where(good, ivar, 1.0)).sum(axis=(2, 3)) / total
    return np.where(variance > 0, variance, 1.0), total / light.sum(axis=(1, 2))[:, None]


def _mirrored(image, lost, place):
    """Lost pixels replaced by those mirrored at the target, 0 where these are lost, too."""
    out = np.where(lost, 0.0, image)
    for k, b in np.argwhere(lost.any(axis=(2, 3))):
        jy, jx = np.nonzero(lost[k, b])
        my, mx = np.rint(2 * place[k, 1] - jy).astype(int), np.rint(2 * place[k, 0] - jx).astype(int)
        inside = (my >= 0) & (mx >= 0) & (my < image.shape[2]) & (mx < image.shape[3])
        out[k, b, jy[inside], jx[inside]] = out[k, b, my[inside], mx[inside]]
    return out


def _results(data, place, shape, found, settled, kept, given) -> BulgeDisc:
    """Fluxes with their covariance (shape marginalised), shapes, flags."""
    fluxes, phi, _, chi2, gram, _ = found
    _, whole = _expand(gram, fluxes)
    whole[..., :2, :2] += data.idle
    m, bands = fluxes.shape[:2]
    normal = np.zeros((m, 2 * bands + 5, 2 * bands + 5))
    for b in range(bands):
        at = slice(2 * b, 2 * b + 2)
        scale = kept[:, b, None, None]  # what lost pixels would have told is not known
        normal[:, at, at] = whole[:, b, :2, :2] * scale
        normal[:, at, -5:] = whole[:, b, :2, 2:] * scale
        normal[:, -5:, at] = whole[:, b, 2:, :2] * scale
        normal[:, -5:, -5:] += whole[:, b, 2:, 2:] * scale
    normal[:, -5:, -5:] += np.diag(1 / WIDTH**2)
    size = np.sqrt(np.maximum(np.diagonal(normal, axis1=1, axis2=2), 1e-30))
    unit = np.linalg.inv(normal / size[:, :, None] / size[:, None, :] + 1e-10 * np.eye(2 * bands + 5))
    cov = unit / size[:, :, None] / size[:, None, :]
    error = np.sqrt(np.maximum(np.diagonal(cov, axis1=1, axis2=2), 0))
    g = np.hypot(shape[:, 1], shape[:, 2])
    mostly = (kept.min(axis=1, where=given, initial=1) < LOST) | ~data.use.any(axis=1)
    flags = np.where(settled, 0, FLAGS["not_converged"]) | np.where(mostly, FLAGS["mostly_lost"], 0)
    unknown = np.where(data.use, 0, np.nan)
    blind = np.where(data.use.any(axis=1), 0, np.nan)
    angle = 0.5 * np.arctan2(shape[:, 2], shape[:, 1])
    return BulgeDisc(
        bulge_flux=fluxes[..., 1] + unknown, bulge_flux_err=error[:, 1:2 * bands:2] + unknown,
        disk_flux=fluxes[..., 0] + unknown, disk_flux_err=error[:, :2 * bands:2] + unknown,
        cov=np.stack([cov[:, 2 * b, 2 * b + 1] for b in range(bands)], axis=1) + unknown,
        bulge_re=np.exp(shape[:, 3]) + blind, bulge_ln_re_err=error[:, -2] + blind, disk_re=np.exp(shape[:, 0]) + blind,
        disk_ln_re_err=error[:, -5] + blind, bulge_q=np.exp(-shape[:, 4] * g) + blind, disk_q=np.exp(-g) + blind,
        angle=angle + blind, x=place[:, 0], y=place[:, 1], flags=flags.astype(np.int32),
        chi2=chi2 / (2 * np.maximum(data.use.sum(axis=1), 1) * len(data.kx)) + blind)
