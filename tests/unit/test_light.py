"""Columns of measured structure: what goes in is what comes out, errors tell the scatter, nothing stops the others."""

import galsim
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import j1

from skyloom.measure import blend, light
from tests.unit.test_structure import TAPS, correlated, gaussian

SCALE, SIZE, BANDS = 0.168, 64, "grizy"
OPTIONS = {"annuli_arcsec": [0.5, 1.0, 1.7, 2.8], "psf_fwhm_arcsec": 1.0, "bulge_disk": True}
FWHM, SIGMA = (4.6, 4.5, 3.6, 4.0, 4.0), np.array([2.0, 2.4, 3.0, 6.0, 12.0])
DISK, BULGE = np.array([600, 1500, 2700, 3600, 4200.0]), np.array([150, 750, 1800, 2700, 3300.0])
RINGS, COMMON = np.array(OPTIONS["annuli_arcsec"]) / SCALE, 1 / SCALE / 2.3548
LAGS = np.correlate(TAPS, TAPS, "full")
NOISE = np.outer(LAGS, LAGS)


def stamp(size=SIZE, flux=3000.0, width=2.5, at=None, sigmas=(1.6, 1.4, 1.5), noise=0.0, seed=0):
    """A round Gaussian in three bands: [image, ivar, unusable, psf, ok]."""
    x, y = at or ((size - 1) / 2, (size - 1) / 2)
    rng = np.random.default_rng(seed)
    image = np.array([flux * gaussian(np.hypot(width, s), x, y, size) for s in sigmas])
    image += noise * rng.standard_normal(image.shape)
    psf = np.array([gaussian(s, 20, 20, 41) for s in sigmas])
    return [image, np.full(image.shape, 1 / max(noise, 1.0) ** 2), np.zeros(image.shape, bool), psf, np.ones(len(sigmas), bool)]


def blur(one, band, sigma):
    """Another PSF for one of its bands."""
    for k in (0, 3):
        one[k][band] = stamp(sigmas=(sigma,))[k][0]


def measured(*stamps, options=OPTIONS, scale=SCALE, cd=None, noise=None, bands="gri"):
    return light.measure_stamps(stamps, bands, options, scale, cd, noise)


def rings(table, band, what="flux"):
    return np.array([table[f"{band}_annulus_{what}_{k}"] for k in range(1, 5)]).T


def total(table, band):
    return table[f"{band}_bulge_flux"] + table[f"{band}_disk_flux"]


def named(bits, names):
    return sum(names[name] for name in bits.split())


def test_sums_and_errors_are_the_closed_forms():
    """A Gaussian's light within R, and of white noise the integral over the rings' power: whatever the band's PSF."""
    sigmas = (1.6, 1.4, 1.5)
    table = measured(stamp(noise=2.0, flux=0), stamp(noise=0.0))
    inside = 1 - np.exp(-(RINGS**2) / (2 * (2.5**2 + COMMON**2)))
    for band, sigma in zip("gri", sigmas, strict=True):
        assert rings(table, band)[1] == pytest.approx(3000 * np.diff(inside, prepend=0), rel=2e-3)

        def power(k, sigma=sigma):
            return k / (2 * np.pi) * (2 * np.pi * RINGS[0] * j1(k * RINGS[0]) / k) ** 2 * np.exp(-(k**2) * (COMMON**2 - sigma**2))

        assert rings(table, band, "flux_err")[0, 0] == pytest.approx(2.0 * np.sqrt(quad(power, 1e-9, 6)[0]), rel=0.01)


@pytest.fixture(scope="module")
def drawn():
    """Twelve galaxies by galsim: pixels (12, band, y, x) without noise, with a neighbour or none, PSFs, true rings and wholes."""
    rng, gauss = np.random.default_rng(71), galsim.Gaussian(sigma=COMMON)
    psfs = [galsim.Moffat(beta=3.5, fwhm=fwhm) for fwhm in FWHM]
    alone, beside, whole, ring = [], [], [], []
    for _ in range(12):
        angle, q, f = rng.uniform(0, np.pi) * galsim.radians, rng.uniform(0.4, 0.95), 10 ** rng.uniform(-0.5, 0.4)
        disk = galsim.Exponential(half_light_radius=rng.uniform(3, 6)).shear(q=q, beta=angle)
        bulge = galsim.DeVaucouleurs(half_light_radius=rng.uniform(1.5, 3)).shear(q=np.sqrt(q), beta=angle)
        r, a = rng.uniform(13, 20), rng.uniform(0, 2 * np.pi)
        other = galsim.Exponential(half_light_radius=2.0, flux=0.4 * f).shift(r * np.cos(a), r * np.sin(a))
        place = rng.uniform(-0.5, 0.5, 2)
        cut = {"nx": SIZE, "ny": SIZE, "scale": 1.0}
        own = [galsim.Convolve((d * disk + b * bulge) * f, psf).drawImage(offset=place, **cut).array
               for d, b, psf in zip(DISK, BULGE, psfs, strict=True)]
        beside.append([one + galsim.Convolve(other * (d + b), psf).drawImage(**cut).array
                       for one, d, b, psf in zip(own, DISK, BULGE, psfs, strict=True)])
        alone.append(own)
        y, x = np.mgrid[:447, :447] - 223
        fine = [galsim.Convolve(one, gauss).drawImage(nx=447, ny=447, scale=1 / 9.37).array for one in (disk, bulge)]
        parts = [np.diff([one[np.hypot(x, y) / 9.37 < radius].sum() for radius in RINGS], prepend=0) for one in fine]
        ring.append(f * (DISK[:, None] * parts[0] + BULGE[:, None] * parts[1]))
        whole.append(f * (DISK + BULGE))
    kernels = np.array([psf.drawImage(nx=41, ny=41, scale=1.0).array for psf in psfs])
    kernels /= kernels.sum(axis=(1, 2), keepdims=True)
    return {"alone": np.array(alone), "beside": np.array(beside)}, kernels, np.array(ring), np.array(whole)


@pytest.mark.parametrize("kind", ["alone", "beside", "masked"])
def test_errors_tell_the_scatter(drawn, kind):
    """Pulls of rings and of bulge + disc totals: 12 galaxies with 20 noises, with a neighbour, with dead columns and blocks."""
    pixels, kernels, ring, whole = drawn
    rng = np.random.default_rng({"alone": 5, "beside": 6, "masked": 7}[kind])
    clean = np.repeat(pixels.get(kind, pixels["alone"]), 20, axis=0)
    images = clean + correlated(rng, clean.shape) * SIGMA[:, None, None]
    ivar, unusable = np.broadcast_to(1 / SIGMA[:, None, None] ** 2, images.shape), np.zeros(images.shape, bool)
    if kind == "masked":
        for k, (column, row) in enumerate(rng.integers((20, 24), (44, 40), (len(images), 2))):
            unusable[k, :, :, column] = unusable[k, k % 5, row:row + 3, column - 4:column] = True
        images[unusable] = np.nan
    stamps = [(images[k], ivar[k], unusable[k], kernels, np.ones(5, bool)) for k in range(len(images))]
    table = measured(*stamps, noise=np.stack([NOISE] * 5), bands=BANDS)
    fitted = (table["bulge_disk_flags"] & named("not_converged mostly_lost", light.FIT_FLAGS)) == 0
    assert fitted.mean() > 0.97
    flux = np.array([total(table, b) for b in BANDS]).T
    error = np.array([np.sqrt(table[f"{b}_bulge_flux_err"] ** 2 + table[f"{b}_disk_flux_err"] ** 2
                              + 2 * table[f"{b}_bulge_disk_cov"]) for b in BANDS]).T
    pulls = {"total": ((flux - np.repeat(whole, 20, axis=0)) / error)[fitted]}
    told = np.array([(table[f"{b}_annulus_flags"] & light.ANNULUS_FLAGS["uncovered"]) == 0 for b in BANDS]).T
    for k in range(4):
        flux, sigma = (np.array([rings(table, b, what)[:, k] for b in BANDS]).T for what in ("flux", "flux_err"))
        pulls[k + 1] = ((flux - np.repeat(ring, 20, axis=0)[..., k]) / sigma)[told]
    assert told.mean() > 0.85 and kind == "masked" or told.all()
    for name, pull in pulls.items():
        assert pull.std() == pytest.approx(1, abs=0.15), name
        assert abs(pull.mean()) < (0.5 if kind == "beside" else 0.25), name
    seen = {flag: table["i_annulus_flags"] & light.ANNULUS_FLAGS[flag] != 0 for flag in ("neighbours", "masked_pixels")}
    assert seen["neighbours"].mean() > 0.9 if kind == "beside" else seen["neighbours"].mean() < 0.05
    assert seen["masked_pixels"].mean() > 0.9 if kind == "masked" else not seen["masked_pixels"].any()


def test_noise_s_correlation_is_measured_beside_the_sources(drawn):
    rng = np.random.default_rng(8)
    images = drawn[0]["beside"] + correlated(rng, drawn[0]["beside"].shape) * SIGMA[:, None, None]
    ivar = np.broadcast_to(1 / SIGMA[:, None, None] ** 2, images.shape[1:])
    found = blend.correlations([(image, ivar, image > 1e9, drawn[1], np.arange(5) < 4) for image in images], 5)
    assert found[:4, 3, 4] == pytest.approx(np.full(4, LAGS[1]), abs=0.03)
    assert found[4].sum() == 1  # a band that is never usable: white


@pytest.mark.parametrize(("change", "rings_say", "fit_says", "measured_rings", "measured_fit"), [
    (lambda s: s[3].__setitem__(1, np.nan), "no_psf", "fewer_bands", False, False),
    (lambda s: s[3].__setitem__(1, 0), "no_psf", "fewer_bands", False, False),
    (lambda s: s[4].__setitem__(1, False), "not_ok", "fewer_bands", False, False),
    (lambda s: blur(s, 1, 2.6), "psf_too_wide", "", False, True),
    (lambda s: blur(s, 1, 9.0), "psf_too_wide", "fewer_bands", False, False),
    (lambda s: s[2][1].__setitem__(np.s_[30:33, 40:43], True), "masked_pixels", "", True, True),
    (lambda s: s[0][1].__setitem__(np.s_[30:33, 40:43], np.nan), "masked_pixels", "", True, True),
    (lambda s: s[1][1].__setitem__(np.s_[30:33, 40:43], np.nan), "masked_pixels", "", True, True),
    (lambda s: s[2].__setitem__(1, True), "uncovered masked_pixels", "mostly_lost", False, False),
])
def test_one_band_that_fails_is_flagged_and_stops_no_other(change, rings_say, fit_says, measured_rings, measured_fit):
    one = stamp()
    change(one)
    table = measured(one, stamp())
    assert table["r_annulus_flags"].tolist() == [named(rings_say, light.ANNULUS_FLAGS), 0]
    assert table["bulge_disk_flags"].tolist() == [named(fit_says, light.FIT_FLAGS), 0]
    assert np.isfinite(rings(table, "r")[0]).all() == measured_rings and np.isfinite(table["r_bulge_disk_cov"][0]) == measured_fit
    for band in "gi":
        assert rings(table, band)[0] == pytest.approx(rings(table, band)[1], rel=0.01)
        assert total(table, band)[0] == pytest.approx(total(table, band)[1], rel=0.04)


@pytest.mark.parametrize(("change", "says"), [
    (lambda s: s[3].__setitem__(slice(None), np.nan), "no_psf"), (lambda s: s[4].__setitem__(slice(None), False), "not_ok"),
])
def test_an_object_without_any_usable_band_is_all_nan(change, says):
    one = stamp()
    change(one)
    table = measured(one)
    for name, values in table.items():
        known = light.FIT_FLAGS if name == "bulge_disk_flags" else light.ANNULUS_FLAGS
        assert values[0] == named(says, known) if name.endswith("flags") else np.isnan(values[0]), name


def test_a_psf_wider_than_the_stamp_is_told_whatever_the_size_of_its_kernel():
    wide, small = stamp(20, sigmas=(1.6, 3.0, 1.5)), stamp(20, sigmas=(1.6, 1.4, 1.5))
    table = measured(wide, small)
    assert table["r_annulus_flags"][0] & light.ANNULUS_FLAGS["psf_too_wide"] and np.isnan(table["r_disk_flux"][0])
    assert table["bulge_disk_flags"][0] == light.FIT_FLAGS["fewer_bands"] and np.isfinite(table["g_disk_flux"][0])
    assert table["bulge_disk_flags"][1] == 0


def test_all_neighbours_leave_nothing_to_measure():
    """A wide neighbour that owns every pixel: the target is not detected, and nothing of it is claimed."""
    one = stamp(flux=0)
    one[0] += 1e6 * gaussian(25, 8, 40)
    table = measured(one)
    said = named("not_detected uncovered neighbours", light.ANNULUS_FLAGS)
    assert table["g_annulus_flags"][0] == said and np.isnan(rings(table, "g")).all()
    assert table["bulge_disk_flags"][0] == named("not_detected mostly_lost", light.FIT_FLAGS) and np.isnan(table["disk_re"][0])


def test_a_target_that_isnt_detected_is_measured_at_the_centre():
    table = measured(*(stamp(flux=0, noise=2.0, seed=k) for k in range(40)))
    unseen = table["g_annulus_flags"] & light.ANNULUS_FLAGS["not_detected"] != 0
    assert unseen.mean() > 0.8
    pull = (rings(table, "g") / rings(table, "g", "flux_err"))[unseen]
    assert abs(pull.mean()) < 0.3 and pull.std() == pytest.approx(1, abs=0.2)
    assert (table["bulge_disk_flags"][unseen] & light.FIT_FLAGS["not_detected"]).all() and np.isfinite(table["g_disk_flux"]).all()


def test_one_band_alone_is_fitted():
    image, ivar, unusable, psf, ok = stamp()
    table = measured((image[:1], ivar[:1], unusable[:1], psf[:1], ok[:1]), bands="g")
    assert table["bulge_disk_flags"][0] == 0 and total(table, "g") == pytest.approx(total(measured(stamp()), "g"), rel=0.02)
    assert set(table) == {name for name in measured(stamp()) if name[:2] not in ("r_", "i_")}


@pytest.mark.parametrize("size", [15, 30, 41, 63, 100, 127])
def test_stamps_of_every_size_are_measured(size):
    """Rings that fit on a stamp are the same as on a large one; others are flagged, NaN where less than half of them is seen."""
    galaxy = galsim.Exponential(half_light_radius=2.5, flux=2000) + galsim.DeVaucouleurs(half_light_radius=1.5, flux=1000)
    one, whole = ((galsim.Convolve(galaxy, galsim.Gaussian(sigma=1.5)).drawImage(nx=n, ny=n, scale=1.0).array[None].astype(float),
                   np.ones((1, n, n)), np.zeros((1, n, n), bool), gaussian(1.5, 20, 20, 41)[None], [True]) for n in (size, SIZE))
    table, whole = measured(one, bands="g"), measured(whole, bands="g")
    flux, wanted = rings(table, "g")[0], rings(whole, "g")[0]
    short, uncovered = np.isnan(flux), bool(table["g_annulus_flags"][0] & light.ANNULUS_FLAGS["uncovered"])
    assert uncovered == (size < 40) and short.any() == (size < 20) and not short[0]
    assert flux[~short] == pytest.approx(wanted[~short], rel=0.25 if uncovered else 0.005)
    assert table["bulge_disk_flags"][0] == 0 and total(table, "g") == pytest.approx(3000, rel=0.03)
    assert table["disk_re"] == pytest.approx(2.5 * SCALE, rel=0.05)


def test_radii_are_of_the_sky_and_angles_of_north_and_east():
    """The same galaxy in pixels half as large, and in a frame that is turned: arcsec and degrees as on the sky."""
    long = galsim.Exponential(half_light_radius=5.0).shear(q=0.5, beta=30 * galsim.degrees)
    psf = galsim.Gaussian(sigma=1.5)
    image = galsim.Convolve(long, psf).drawImage(nx=SIZE, ny=SIZE, scale=1.0).array.astype(float) * 1e4
    one = [image[None], np.ones((1, SIZE, SIZE)), np.zeros((1, SIZE, SIZE), bool), gaussian(1.5, 20, 20, 41)[None], [True]]
    upright, mirrored = np.diag([-1.0, 1.0]), np.diag([1.0, 1.0])
    table = measured(one, one, scale=np.full((2, 1), 0.2), cd=np.array([[upright], [mirrored]]) * 0.2 / 3600, bands="g")
    assert table["disk_pa"] == pytest.approx([30, -30], abs=2)
    assert table["disk_re"] == pytest.approx([1.0, 1.0], rel=0.1)
    oblong = measured(one, scale=np.full((1, 1), 0.2), cd=np.diag([-1.0, 1.3])[None, None] * 0.2 / 3600, bands="g")
    assert oblong["g_annulus_flags"][0] == light.ANNULUS_FLAGS["oblong_pixels"]
    assert oblong["bulge_disk_flags"][0] == light.FIT_FLAGS["oblong_pixels"]


def test_bands_of_other_pixels_are_left_out():
    table = measured(stamp(), stamp(), scale=np.array([[0.168, 0.2, 0.168], [0.168, np.nan, 0.168]]))
    assert table["r_annulus_flags"].tolist() == [light.ANNULUS_FLAGS["other_grid"]] * 2
    assert table["bulge_disk_flags"].tolist() == [light.FIT_FLAGS["fewer_bands"]] * 2
    assert np.isfinite(table["g_disk_flux"]).all() and np.isnan(table["r_disk_flux"]).all()
    nobody = measured(stamp(), scale=np.full((1, 3), np.nan))
    assert nobody["g_annulus_flags"][0] == light.ANNULUS_FLAGS["other_grid"] and np.isnan(nobody["disk_re"][0])


def test_nothing_gives_empty_columns_and_the_fit_can_be_left_out():
    assert {len(values) for values in measured().values()} == {0}
    without = measured(stamp(), options=OPTIONS | {"bulge_disk": False})
    assert set(measured()) - set(without) >= {"bulge_re", "g_disk_flux"} and not [n for n in without if "annulus" not in n]


def test_objects_do_not_depend_on_their_company():
    """A batch of fits, and each object alone: the same numbers, so that shards and chunks may be cut anywhere."""
    rng = np.random.default_rng(3)
    stamps = [stamp(flux=rng.uniform(500, 5000), width=rng.uniform(1, 5), noise=2.0, seed=k) for k in range(6)]
    stamps[2][2][:, 28:31, 36:40] = True
    together = measured(*stamps)
    for k, one in enumerate(stamps):
        for name, value in measured(one).items():
            assert value[0] == pytest.approx(together[name][k], rel=1e-4, abs=1e-4, nan_ok=True), name
