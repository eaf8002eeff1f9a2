"""Early and late views: flux conserved, variances, bad pixels, offsets."""

import numpy as np
import pytest

from skyloom.dataset import views

GRIDS = [(170, 0.25), (32, 1.5), (32, 2.75)]


def gaussian(size, scale, sigma=4.0, at=(0.0, 0.0)):
    """A Gaussian of unit flux and `sigma` arcsec, `at` arcsec from the centre."""
    y, x = (np.mgrid[:size, :size] - (size - 1) / 2) * scale
    return scale**2 * np.exp(-((x - at[0])**2 + (y - at[1])**2) / 2 / sigma**2) / (2 * np.pi * sigma**2)


@pytest.mark.parametrize(("size", "scale"), GRIDS)
def test_total_flux_is_conserved_from_every_survey(size, scale):
    image = gaussian(size, scale)
    out, _, bad = views.early(image, np.ones_like(image), np.zeros(image.shape, bool), scale, 168, 0.25)
    assert out.sum() == pytest.approx(image.sum(), rel=1e-3) and out.shape == (168, 168)
    y, x = np.mgrid[:168, :168] - 83.5
    width = np.sqrt((out * x**2).sum() / out.sum()) * 0.25
    assert width == pytest.approx(np.sqrt(16 + scale**2 / 12), rel=0.03)  # wider by the input's own pixel
    assert not bad[60:108, 60:108].any()


def test_random_pixels_conserve_flux_exactly_on_a_grid_that_holds_them():
    image = np.random.default_rng(2).normal(size=(32, 32))
    out, _, _ = views.early(image, np.ones_like(image), np.zeros(image.shape, bool), 1.5, 240, 0.25)
    assert out.sum() == pytest.approx(image.sum(), rel=1e-5)


def test_the_same_grid_changes_nothing():
    image, ivar = np.random.default_rng(3).normal(size=(2, 30, 30))
    out, weight, bad = views.early(image, ivar**2, np.zeros((30, 30), bool), 0.25, 30, 0.25)
    assert out == pytest.approx(image, rel=1e-6) and weight == pytest.approx(ivar**2, rel=1e-5) and not bad.any()


def test_variances_add_when_pixels_are_joined():
    image = np.ones((40, 40))
    out, weight, _ = views.early(image, np.full((40, 40), 0.25), np.zeros((40, 40), bool), 0.25, 10, 1.0)
    assert out == pytest.approx(np.full((10, 10), 16.0)) and weight == pytest.approx(np.full((10, 10), 1 / (16 * 4)))


def test_the_target_comes_to_the_centre():
    image = gaussian(32, 1.5, at=(0.6, -0.45))
    out, _, _ = views.early(image, np.ones_like(image), np.zeros(image.shape, bool), 1.5, 120, 0.25, (0.4, -0.3))
    y, x = np.mgrid[:120, :120] - 59.5
    assert (out * x).sum() / out.sum() == pytest.approx(0, abs=0.05) and (out * y).sum() / out.sum() == pytest.approx(0, abs=0.05)


def test_bad_pixels_stay_bad_and_give_no_flux():
    image, bad = np.ones((32, 32)), np.zeros((32, 32), bool)
    bad[:16] = True
    image[:16] = np.nan
    out, weight, flagged = views.early(np.where(bad, 0, image), np.where(bad, 0.0, 1.0), bad, 1.5, 192, 0.25)
    assert flagged[:95].all() and not flagged[97:].any() and (weight[flagged] == 0).all()
    assert out.sum() == pytest.approx(16 * 32, rel=1e-5)


def test_late_is_the_centre_at_native_pixels():
    image = np.arange(170 * 170, dtype=float).reshape(170, 170)
    out, ivar, bad = views.late(image, np.ones_like(image), np.zeros(image.shape, bool), 120)
    assert np.array_equal(out, image[25:145, 25:145]) and not bad.any() and ivar.shape == (120, 120)
