"""The Sérsic fit on closed forms and on galsim's galaxies in correlated noise (a seed that tuned nothing)."""

import numpy as np
import pytest
import torch

from skyloom.measure import sersic

galsim = pytest.importorskip("galsim")
SCALE, SIZE = 0.168, 64
TAPS = np.array([0.12, 0.76, 0.12])
RMS = 0.05 * np.sum(TAPS**2)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def psf():
    return galsim.Moffat(beta=3, fwhm=0.7)


def kernel():
    k = psf().drawImage(nx=41, ny=41, scale=SCALE).array.astype(float)
    return k / k.sum()


def correlated_noise(rng, sigma):
    """White noise of `sigma` a pixel as resampling leaves it: interpolated with taps of unit sum, so that the depth
    (the noise of a large aperture) stays, neighbours correlate, and a pixel's own scatter shrinks to RMS."""
    white = rng.standard_normal((SIZE + 2, SIZE + 2))
    taps = TAPS
    rows = taps[0] * white[:-2] + taps[1] * white[1:-1] + taps[2] * white[2:]
    return sigma * (taps[0] * rows[:, :-2] + taps[1] * rows[:, 1:-1] + taps[2] * rows[:, 2:])


def galaxies(seed, count):
    """Stamps at zero point 27 like the prototype's: n 0.7 to 4, mag 19 to 24, lognormal re, noise 0.05."""
    rng = np.random.default_rng(seed)
    images, truth = [], []
    for _ in range(count):
        n, mag = np.exp(rng.uniform(np.log(0.7), np.log(4))), rng.uniform(19, 24)
        re = np.exp(rng.normal(np.log(0.6), 0.4))
        q, angle, flux = rng.uniform(0.3, 1), rng.uniform(0, np.pi), 10 ** (0.4 * (27 - mag))
        dx, dy = rng.uniform(-0.5, 0.5, 2)
        profile = galsim.Sersic(n=n, half_light_radius=re, flux=flux).shear(q=q, beta=angle * galsim.radians)
        drawn = galsim.Convolve(profile, psf()).drawImage(nx=SIZE, ny=SIZE, scale=SCALE, offset=(dx, dy)).array
        images.append(drawn + correlated_noise(rng, 0.05))
        truth.append((n, re / SCALE, q, angle, flux))
    return np.array(images), np.array(truth)


def start(truth, rng):
    """Rough starting values, none of them the truth."""
    m = len(truth)
    return {"flux": truth[:, 4] * rng.uniform(0.6, 1.2, m), "x": np.full(m, 31.5), "y": np.full(m, 31.5), "re": np.full(m, 3.0),
            "q": np.full(m, 0.8), "angle": np.zeros(m)}


def spread(x):
    return 1.4826 * np.median(np.abs(x - np.median(x)))


@pytest.mark.timeout(300)
def test_300_fresh_galaxies_scatter_no_more_than_the_prototypes_table():
    images, truth = galaxies(2026, 300)
    found = sersic.fit(images, np.full(images.shape, 1 / RMS**2), np.repeat(kernel()[None], 300, 0),
                       start(truth, np.random.default_rng(1)))
    ln_n, ln_re = np.log(found.n / truth[:, 0]), np.log(found.re / truth[:, 1])
    assert found.converged.mean() > 0.95
    assert spread(ln_n) <= 0.114 and abs(np.median(ln_n)) < 0.02
    assert spread(ln_re) <= 0.054 and abs(np.median(ln_re)) < 0.01
    assert spread(found.q - truth[:, 2]) <= 0.020
    assert np.mean(np.abs(ln_n) > 0.5) <= 0.083 + 0.02
    pull = spread(ln_n / found.error[:, 6])
    assert 0.8 < pull < 1.9  # errors assume independent pixels; noise that is correlated counts 1.6 times on large scales


def test_without_noise_the_truth_comes_back():
    n, re, q, angle, flux = 2.0, 4.0, 0.6, 0.7, 500.0
    profile = galsim.Sersic(n=n, half_light_radius=re * SCALE, flux=flux).shear(q=q, beta=angle * galsim.radians)
    image = galsim.Convolve(profile, psf()).drawImage(nx=SIZE, ny=SIZE, scale=SCALE, offset=(0.3, -0.2)).array[None] + 0.7
    found = sersic.fit(image, np.full(image.shape, 1e4), kernel()[None],
                       {"flux": [300.0], "x": [31.0], "y": [32.0], "re": [2.5], "q": [0.9], "angle": [0.2]})
    assert found.converged[0]
    assert found.n[0] == pytest.approx(n, rel=0.04) and found.re[0] == pytest.approx(re, rel=0.03)
    assert found.q[0] == pytest.approx(q, abs=0.01) and found.angle[0] == pytest.approx(angle, abs=0.01)
    assert found.x[0] == pytest.approx(31.8, abs=0.02) and found.y[0] == pytest.approx(31.3, abs=0.02)
    assert found.sky[0] == pytest.approx(0.7, abs=0.01)


def test_a_masked_neighbour_does_not_pull_and_the_unit_does_not_matter():
    images, truth = galaxies(5, 8)
    brightest = [int(np.argmax(truth[:, 4]))]
    images, truth = images[brightest], truth[brightest]
    ivar = np.full(images.shape, 1 / RMS**2)
    guess = start(truth, np.random.default_rng(1))
    alone = sersic.fit(images, ivar, kernel()[None], guess)
    images[0, 50:60, 50:60] += 100
    ivar[0, 50:60, 50:60] = 0
    masked = sersic.fit(images, ivar, kernel()[None], guess)
    assert masked.n[0] == pytest.approx(alone.n[0], rel=0.1)
    scaled = sersic.fit(images * 57.5, ivar / 57.5**2, kernel()[None], {**guess, "flux": guess["flux"] * 57.5})
    assert scaled.n[0] == pytest.approx(masked.n[0], rel=1e-2)
    assert scaled.flux[0] == pytest.approx(57.5 * masked.flux[0], rel=1e-2)


def test_an_empty_stamp_does_not_converge_and_shapes_must_match():
    nothing = sersic.fit(np.zeros((1, 64, 64)), np.zeros((1, 64, 64)), kernel()[None],
                         {"flux": [1.0], "x": [31.0], "y": [31.0], "re": [2.0], "q": [0.9], "angle": [0.0]})
    assert not nothing.converged[0]
    with pytest.raises(ValueError, match="do not match"):
        sersic.fit(np.zeros((1, 64, 64)), np.zeros((1, 63, 64)), kernel()[None], {})
