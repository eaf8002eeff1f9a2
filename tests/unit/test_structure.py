"""Annuli at a common PSF and joint bulge + disc fits: sums, errors and shapes against closed forms and galsim."""

import numpy as np
import pytest

from skyloom.measure import annuli, bulgedisc, noise

SIZE = 64
TAPS = np.array([0.12, 0.76, 0.12]) / np.sqrt(2 * 0.12**2 + 0.76**2)
RADII = np.array([3.0, 6.0, 10.0, 16.0])


def gaussian(sigma, x, y, size=SIZE):
    j, i = np.mgrid[:size, :size]
    return np.exp(-((i - x) ** 2 + (j - y) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def correlated(rng, shape):
    white = rng.standard_normal((*shape[:-2], shape[-2] + 2, shape[-1] + 2))
    rows = TAPS[0] * white[..., :-2, :] + TAPS[1] * white[..., 1:-1, :] + TAPS[2] * white[..., 2:, :]
    return TAPS[0] * rows[..., :-2] + TAPS[1] * rows[..., 1:-1] + TAPS[2] * rows[..., 2:]


@pytest.fixture(scope="module")
def kernel():
    """The measured autocorrelation of that noise."""
    rng = np.random.default_rng(1)
    return noise.correlation(list(3 * correlated(rng, (60, SIZE, SIZE))), [np.full((SIZE, SIZE), 1 / 9)] * 60,
                             [np.zeros((SIZE, SIZE), bool)] * 60)


def test_the_correlation_of_noise_is_that_of_its_taps(kernel):
    lags = np.correlate(TAPS, TAPS, "full")
    assert kernel[3, 1:6] == pytest.approx(lags, abs=0.03)
    assert kernel[2, 4] == pytest.approx(lags[1] * lags[3], abs=0.03)


def test_without_enough_sky_noise_is_taken_as_white():
    found = noise.correlation([np.ones((8, 8))], [np.ones((8, 8))], [np.zeros((8, 8), bool)])
    assert found[3, 3] == 1 and found.sum() == 1


@pytest.mark.parametrize("sigma", [1.4, 1.8])
def test_annuli_of_a_gaussian_are_the_closed_form_whatever_the_psf(sigma):
    x, y, common = 31.3, 32.4, 2.2
    image = 1000 * gaussian(np.hypot(sigma, 2.5), x, y)
    psf = gaussian(sigma, 20, 20, 41)
    flux, _, flags = annuli.measure(image[None], np.ones((1, SIZE, SIZE)), np.zeros((1, SIZE, SIZE), bool), psf[None], [True],
                                    x, y, RADII, 2.3548 * common, np.ones((1, 1, 1)))
    wanted = np.diff(1000 * (1 - np.exp(-(RADII**2) / (2 * (2.5**2 + common**2)))), prepend=0)
    assert flags[0] == 0
    assert flux[0] == pytest.approx(wanted, rel=1e-3)


def test_annuli_errors_tell_the_scatter_with_correlated_noise_and_a_masked_neighbour(kernel):
    rng, x, y, common = np.random.default_rng(2), 31.3, 32.4, 2.2
    truth, psf = 1000 * gaussian(np.hypot(1.6, 2.5), x, y), gaussian(1.6, 20, 20, 41)
    wanted = np.diff(1000 * (1 - np.exp(-(RADII**2) / (2 * (2.5**2 + common**2)))), prepend=0)
    lost = np.zeros((SIZE, SIZE), bool)
    lost[40:48, 38:50] = True
    images = truth + 3 * correlated(rng, (300, SIZE, SIZE)) + 500 * lost
    pulls = []
    for image in images:
        flux, cov, _ = annuli.measure(image[None], np.full((1, SIZE, SIZE), 1 / 9), lost[None], psf[None], [True], x, y, RADII,
                                      2.3548 * common, kernel[None])
        pulls.append((flux[0] - wanted) / np.sqrt(np.diag(cov[0])))
    pulls = np.array(pulls)
    assert np.abs(pulls.mean(axis=0)).max() < 0.25
    assert pulls.std(axis=0) == pytest.approx(np.ones(4), abs=0.15)


def test_annuli_say_what_they_can_t_do():
    image, ivar, lost = np.ones((5, SIZE, SIZE)), np.ones((5, SIZE, SIZE)), np.zeros((5, SIZE, SIZE), bool)
    psf = np.stack([gaussian(s, 10, 10, 21) for s in (1.6, 1.6, 2.6, 1.6, 1.6)])
    psf[1] = np.nan
    lost[3, 28:42, 28:34] = True  # the mirrors of most of it are lost, too: half of the inner rings, little of the outer
    flux, _, flags = annuli.measure(image, ivar, lost, psf, [False, True, True, True, True], 31.5, 31.5, RADII, 5.5,
                                    np.ones((5, 1, 1)))
    assert flags.tolist() == [annuli.FLAGS[name] if name else 0 for name in ("not_ok", "no_psf", "psf_too_wide", "uncovered", "")]
    assert np.isnan(flux[:3]).all() and np.isfinite(flux[4]).all()
    assert np.isnan(flux[3, 0])
    assert flux[3, 2:] == pytest.approx(flux[4, 2:], rel=0.02)  # the image is flat: what is lost is like the rest


FWHM = (4.6, 4.5, 3.6, 4.0, 4.0)
SIGMA = np.array([2.0, 2.4, 3.0, 6.0, 12.0])
DISK, BULGE = np.array([600, 1500, 2700, 3600, 4200.0]), np.array([150, 750, 1800, 2700, 3300.0])


@pytest.fixture(scope="module")
def drawn():
    """galsim's bulge + disc with a Moffat PSF in five bands, at random sub-pixel places: (images, kernels, x, y)."""
    import galsim

    rng = np.random.default_rng(3)
    angle = 0.7 * galsim.radians
    disk = galsim.Exponential(half_light_radius=6.0).shear(q=0.6, beta=angle)
    bulge = galsim.DeVaucouleurs(half_light_radius=3.0).shear(q=0.8, beta=angle)
    images, places = [], rng.uniform(-0.5, 0.5, (120, 2))
    psfs = [galsim.Moffat(beta=3.0, fwhm=fwhm) for fwhm in FWHM]
    whole = [galsim.Convolve(d * disk + b * bulge, psf) for d, b, psf in zip(DISK, BULGE, psfs, strict=True)]
    for dx, dy in places:
        images.append([one.drawImage(nx=SIZE, ny=SIZE, scale=1.0, offset=(dx, dy)).array for one in whole])
    kernels = np.array([psf.drawImage(nx=41, ny=41, scale=1.0).array for psf in psfs])
    return np.array(images, float), kernels / kernels.sum(axis=(1, 2), keepdims=True), *(places.T + (SIZE - 1) / 2)


def fitted(drawn, kernel, lost, extra=0.0):
    images, kernels, x, y = drawn
    rng = np.random.default_rng(4)
    data = images + correlated(rng, images.shape) * SIGMA[:, None, None] + extra * lost
    ivar = np.broadcast_to(1 / SIGMA[:, None, None] ** 2, images.shape)
    start = {"x": x + 0.2, "y": y - 0.2, "re": np.full(len(x), 5.0)}
    return bulgedisc.fit(data, ivar, lost, np.broadcast_to(kernels, (len(x), *kernels.shape)), start, np.stack([kernel] * 5))


@pytest.mark.parametrize("masked", [False, True])
def test_bulge_and_disc_are_galsim_s_and_their_errors_tell_the_scatter(drawn, kernel, masked):
    lost = np.zeros(drawn[0].shape, bool)
    if masked:
        lost[:, :, 38:47, 36:46] = True
    found = fitted(drawn, kernel, lost, 1000.0)
    assert (found.flags == 0).mean() > 0.95
    assert np.median(found.chi2) == pytest.approx(1, abs=0.06)
    total = found.disk_flux + found.bulge_flux
    assert np.median(total, axis=0) == pytest.approx(DISK + BULGE, rel=0.05)
    spread = np.sqrt(found.disk_flux_err**2 + found.bulge_flux_err**2 + 2 * found.cov)
    pulls = {"disk": (found.disk_flux - DISK) / found.disk_flux_err, "bulge": (found.bulge_flux - BULGE) / found.bulge_flux_err,
             "total": (total - DISK - BULGE) / spread}
    for name, pull in pulls.items():
        assert pull.std() == pytest.approx(1, abs=0.15), name
        assert np.abs(pull.mean(axis=0)).max() < 0.5, name
    assert np.median(found.disk_re) == pytest.approx(6, rel=0.06)
    assert np.median(found.disk_q) == pytest.approx(0.6, abs=0.04)
    assert np.median(found.angle % np.pi) == pytest.approx(0.7, abs=0.03)
    assert np.median(np.hypot(found.x - drawn[2], found.y - drawn[3])) < 0.15


def test_stamps_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="do not match"):
        bulgedisc.fit(np.ones((1, 5, 32, 32)), np.ones((1, 5, 31, 32)), np.zeros((1, 5, 32, 32), bool), np.ones((1, 5, 9, 9)),
                      {"x": [16], "y": [16], "re": [3]}, np.ones((5, 1, 1)))
