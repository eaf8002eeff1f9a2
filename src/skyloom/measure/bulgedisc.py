"""Joint bulge + disc fits of all bands of many stamps, PSF-convolved, in Fourier space (as galfitm and ProFit do with pixels:
Häußler et al. 2013, Robotham et al. 2017).

A de Vaucouleurs bulge and an exponential disc share centre and position angle; radii and axis ratios are the same in every
band, fluxes are each band's own. Of a stamp's transform only the modes with |k| < K_MAX count: beyond them no PSF lets light
through. There the model is (F_d T_d + F_b T_b) OTF e^(-i k.x) with real T, so that chi2 and all derivatives are sums of real
products: a step costs a few matrix products of nine functions of k (`components`), whatever the number of bands. Weak priors
keep what the data don't tell.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import scipy.fft

from skyloom.measure import annuli, components, noise

K_MAX = 1.35  # rad/px
STEPS, SETTLED = 20, 0.03  # at most; fall of chi2
REFILLS, REFILLED = 6, 0.1  # of lost pixels by the model, at most; change of a flux in its errors
FLAGS = {"no_psf": 1, "not_converged": 2, "mostly_lost": 4, "not_ok": 8}
SHAPE = ("ln_re_disk", "g1", "g2", "ln_re_bulge", "t")
# mean and width of the priors of SHAPE in ln px and dimensionless; the radii's are set around the start
WIDTH = np.array([0.8, 0.5, 0.5, 0.9, 0.25])
LOW, HIGH = np.array([-1.2, -2.3, -2.3, -1.6, 0.0]), np.array([3.6, 2.3, 2.3, 3.4, 1.0])
# Shares of the target's weight on good pixels below which the model fills what is lost; the fit is flagged; nothing is said.
HOLED, LOST, LEAST_KEPT = 0.998, 0.5, 0.1


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
    """Whitened transforms of m stamps at the modes that count: `cross` with the PSF and `q` the PSF's own power, each (m, band,
    modes), `power` the data's (m,); `idle` (m, band, 2, 2) ones on the diagonal of bands that aren't used."""

    def __init__(self, image, otf, variance, power, use):
        rows, columns, self.kx, self.ky = _modes(image.shape[-1])
        otf, found = otf[..., rows, columns], scipy.fft.rfft2(image.astype(np.float32))[..., rows, columns].astype(complex)
        weight = use[..., None] * 2 / (image.shape[-1] ** 2 * variance[..., None] * power[..., rows, columns])
        self.use, self.idle = use, ~use[..., None, None] * np.eye(2)
        self.q = weight * (otf.real**2 + otf.imag**2)
        self.cross = weight * np.conj(otf) * found
        self.power = (weight * (found.real**2 + found.imag**2)).sum(axis=(1, 2))

    def take(self, rows):
        """The same of some stamps."""
        out = object.__new__(_Data)
        out.kx, out.ky = self.kx, self.ky
        for name in ("use", "idle", "q", "cross", "power"):
            setattr(out, name, getattr(self, name)[rows])
        return out

    def put(self, rows, other) -> None:
        """Exchange some stamps."""
        for name in ("cross", "power"):
            getattr(self, name)[rows] = getattr(other, name)

    def at(self, place):
        """Cross spectrum of data and point-source model at (x, y) `place` (m, 2): (m, band, modes) complex."""
        return self.cross * np.exp(1j * (self.kx * place[:, :1] + self.ky * place[:, 1:]))[:, None]


def _gram(phi, q):
    """(m, band, 9, 9) products of nine functions (m, 9, modes) with weights q (m, band, modes). Single precision will do: the
    steps and errors made of it need no more, the fluxes have their own."""
    phi, q = phi.astype(np.float32), q.astype(np.float32)
    return ((phi[:, None] * q[:, :, None]) @ phi[:, None].transpose(0, 1, 3, 2)).astype(float)


def _solve(data, place, shape, prior):
    """[fluxes (m, band, 2) that fit best at a place and shape, functions, cross spectrum, chi2 with the prior's part, and h:
    functions times data]."""
    phi = components.functions(shape, data.kx, data.ky)
    s = data.at(place)
    h = s.real @ phi.transpose(0, 2, 1)
    two = np.empty((*h.shape[:2], 2, 2))
    for i, j in ((0, 0), (0, 1), (1, 1)):
        two[..., i, j] = two[..., j, i] = (data.q @ (phi[:, i] * phi[:, j])[..., None])[..., 0]
    two += 1e-12 * np.eye(2) * two[..., :1, :1] + data.idle
    fluxes = np.linalg.solve(two, h[..., :2, None])[..., 0]
    chi2 = data.power - (fluxes * h[..., :2]).sum(axis=(1, 2)) + (((shape - prior) / WIDTH) ** 2).sum(axis=1)
    return [fluxes, phi, s, chi2, h]


def _step(data, found, shape, prior):
    """(normal matrix of shape with the fluxes projected out (m, 5, 5), its gradient, the place's normal matrix and gradient)."""
    fluxes, phi, s, _, h = found
    gram = _gram(phi, data.q)
    chain, whole = _expand(gram, fluxes)
    residual = h - (gram[..., :2] @ fluxes[..., None])[..., 0]
    gradient = (chain.transpose(0, 1, 3, 2) @ residual[..., None])[..., 2:, 0]
    a, b, c = whole[..., :2, :2], whole[..., :2, 2:], whole[..., 2:, 2:]
    projected = c - b.transpose(0, 1, 3, 2) @ np.linalg.solve(a + 1e-6 * np.eye(2) * a[..., :1, :1] + data.idle, b)
    light = fluxes @ phi[:, :2]
    normal = projected.sum(axis=1) + np.diag(1 / WIDTH**2)
    pull = gradient.sum(axis=1) - (shape - prior) / WIDTH**2
    free = ~(((shape <= LOW) & (pull < 0)) | ((shape >= HIGH) & (pull > 0)))  # what would leave its limits stays
    normal, pull = normal * free[:, None] * free[:, :, None] + ~free[:, None] * np.eye(5), pull * free
    k = np.stack([data.kx, data.ky])
    moved = -(s.imag * light).sum(axis=1) @ k.T
    grown = k @ ((data.q * light**2).sum(axis=1)[:, :, None] * k.T)
    return normal, pull, grown, moved


def _iterate(data, place, shape, prior, steps):
    """Levenberg-Marquardt (Marquardt 1963) on shape and place, the fluxes solved at every step, of each stamp until its chi2
    falls by no more than SETTLED: (place, shape, whether it settled)."""
    place, shape, live = place.copy(), shape.copy(), np.arange(len(shape))
    settled, damping = np.zeros(len(shape), bool), np.full(len(shape), 1e-2)
    own, found = data, _solve(data, place, shape, prior)
    for _ in range(steps):
        normal, pull, grown, moved = _step(own, found, shape[live], prior[live])
        damp = damping[live][:, None, None]
        ridge = normal + damp * np.eye(5) * np.diagonal(normal, axis1=1, axis2=2)[:, :, None]
        step = np.clip(np.linalg.solve(ridge, pull[..., None])[..., 0], -0.7, 0.7)
        shift = np.linalg.solve(grown * (1 + damp * np.eye(2)) + 1e-9 * np.eye(2), moved[..., None])[..., 0]
        new_shape, new_place = np.clip(shape[live] + step, LOW, HIGH), place[live] + np.clip(shift, -0.5, 0.5)
        trial = _solve(own, new_place, new_shape, prior[live])
        gain = found[3] - trial[3]
        won = gain >= 0
        shape[live[won]], place[live[won]] = new_shape[won], new_place[won]
        damping[live] = np.clip(np.where(won, damping[live] * 0.2, damping[live] * 6), 1e-6, 1e6)
        settled[live] = (won & (gain < SETTLED)) | (damping[live] > 1e3)
        more = ~settled[live]
        if not more.any():
            break
        found = [np.where(won.reshape(-1, *[1] * (old.ndim - 1)), new, old)[more] for new, old in zip(trial, found, strict=True)]
        live, own = live[more], own.take(more) if not more.all() else own
    return place, shape, settled


def _pixels(otf, place, shape, fluxes):
    """Model pixels (m, band, size, size), float32: what fills lost pixels."""
    size, (ky, kx) = otf.shape[-2], annuli.grid(otf.shape[-2])
    flat = [np.broadcast_to(k, otf.shape[-2:]).ravel().astype(np.float32) for k in (kx, ky)]
    flat[0][0] = 1e-4  # the mean's u is 0, whose logarithm is asked for
    phi = components.values(shape.astype(np.float32), *flat)
    light = (fluxes.astype(np.float32) @ phi).reshape(otf.shape)
    phase = np.exp(-1j * ky * place[:, 1, None, None]) * np.exp(-1j * kx * place[:, :1, None])
    return scipy.fft.irfft2(light * (otf * phase[:, None].astype(np.complex64)), s=(size, size))


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
    otf = annuli.transform(np.where(use[..., None, None], psf, 0).astype(np.float32), size)
    power = np.stack([noise.power(c, size) for c in correlated])[None]
    place = np.stack([np.asarray(start[name], float) for name in ("x", "y")], axis=1)
    re = np.log(np.clip(np.asarray(start["re"], float), 0.5, size / 3))
    shape = np.stack([re + 0.1, np.zeros(m) + 0.02, np.zeros(m) + 0.02, re - 0.6, np.full(m, 0.5)], axis=1)
    prior = shape.copy()
    prior[:, 1:3] = 0
    variance, kept = _noise_at(ivar, lost, place, re)
    given, use = use, use & (kept >= LEAST_KEPT)
    data = _Data(_mirrored(image, lost, place), otf, variance, power, use)
    place, shape, settled = _iterate(data, place, shape, prior, STEPS)
    holed = kept.min(axis=1, where=given, initial=1) < HOLED
    _refill(data, image, lost, otf, variance, power, place, shape, settled, prior, holed)
    return _results(data, place, shape, _solve(data, place, shape, prior), settled, kept, given)


def _refill(data, image, lost, otf, variance, power, place, shape, settled, prior, holed) -> None:
    """Fit stamps that `holed` (m,) says again with lost pixels filled by the model, until that changes nothing (EM)."""
    live = np.flatnonzero(holed)
    for _ in range(REFILLS):
        if not len(live):
            return
        found = _solve(data.take(live), place[live], shape[live], prior[live])
        filled = np.where(lost[live], _pixels(otf[live], place[live], shape[live], found[0]), image[live])
        own = _Data(filled, otf[live], variance[live], power, data.use[live])
        data.put(live, own)
        place[live], new, settled[live] = _iterate(own, place[live], shape[live], prior[live], STEPS // 4)
        moved = _solve(own, place[live], new, prior[live])[0].sum(axis=2) - found[0].sum(axis=2)
        told = np.sqrt((own.q @ (found[1][:, 0] ** 2)[..., None])[..., 0])  # 1 / error, were the shape known
        shape[live] = new
        live = live[(np.abs(moved) * told > REFILLED).any(axis=1)]


def _noise_at(ivar, lost, place, re):
    """(variance (m, band) where the target lies, share (m, band) of the target's weight on good pixels)."""
    at, wide = np.arange(ivar.shape[-1]), (np.exp(re) + 2.0)[:, None]
    gx, gy = (np.exp(-(((at - place[:, k, None]) / wide) ** 2)).astype(np.float32) for k in (0, 1))

    def weighted(pixels):  # sum over pixels, by the target's light
        return ((pixels @ gx[:, None, :, None])[..., 0] * gy[:, None]).sum(axis=2)

    good = (ivar > 0) & ~lost
    total = weighted(good.astype(np.float32))
    variance = weighted(np.where(good, 1 / np.where(good, ivar, 1), 0).astype(np.float32)) / np.maximum(total, 1e-30)
    return np.where(variance > 0, variance, 1.0).astype(float), total / (gx.sum(axis=1) * gy.sum(axis=1))[:, None]


def _mirrored(image, lost, place):
    """Lost pixels replaced by those mirrored at the target, 0 where these are lost, too."""
    out = np.where(lost, 0.0, image)
    bands = np.arange(lost.shape[1])
    for k in np.flatnonzero(lost.any(axis=(1, 2, 3))):
        one = (lost[k] == lost[k, 0]).all()  # often all bands have lost the same
        for which in [bands] if one else [bands[b:b + 1] for b in bands if lost[k, b].any()]:
            jy, jx = np.nonzero(lost[k, which[0]])
            my, mx = np.rint(2 * place[k, 1] - jy).astype(int), np.rint(2 * place[k, 0] - jx).astype(int)
            inside = (my >= 0) & (mx >= 0) & (my < image.shape[2]) & (mx < image.shape[3])
            jy, jx, my, mx = jy[inside], jx[inside], my[inside], mx[inside]
            out[k, which[:, None], jy, jx] = out[k, which[:, None], my, mx]
    return out


def _results(data, place, shape, found, settled, kept, given) -> BulgeDisc:
    """Fluxes with their covariance (shape marginalised), shapes, flags."""
    fluxes, phi, _, chi2, _ = found
    _, whole = _expand(_gram(phi, data.q), fluxes)
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
