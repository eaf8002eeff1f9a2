"""Images of one's own: each by its own scale, orientation, unit and zero point, with its own planes and kernel."""

import os

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

from skyloom import flux
from skyloom.archives import local
from skyloom.cutouts.stamps import centred_kernel, fit_kernel
from skyloom.measure import morphology
from skyloom.verbs import assign_splits
from tests.unit.own_images import FLUX, SIGMA, SKY, at_centre, cutouts, header, matrix, put, rows, source, stamp

OPTIONS = {"detect_thresh": 3.0, "analysis_thresh": 1.5, "minarea": 5, "deblend_nthresh": 32, "deblend_cont": 0.005,
           "back_size": 64, "back_filtersize": 3, "clean_param": 1.0, "surface_brightness": "calibrated", "sersic": False,
           "sersic_size": 48}
KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32)


def plain(folder):
    put(folder / "a.fits", np.random.default_rng(1).normal(size=(31, 31)))


def measured(found):
    """The morphology of one stamp."""
    one = (found.image[None], found.ivar[None], found.mask[None] != 0, np.full((1, 9, 9), 1 / 81), np.array([True]))
    return morphology.measure_stamps([one], OPTIONS, KERNEL, np.array([[found.pixel_scale]]), cd=found.cd[None, None])


# p: scale, orientation, unit, zero point

@pytest.mark.parametrize(("scale", "zero_point", "unit", "told"), [
    (0.2, 27.0, "adu", 27.0), (0.4, 22.5, "nmgy", np.nan), (0.4, 25.0, "counts/s", 25.0), (0.3, 31.4, "nJy", np.nan),
    (0.25, 31.4 - 2.5 * np.log10(1e6 * 1e9 * 1e6 / 1e6 * (np.pi / 180 / 3600) ** 2 * 0.25**2), "MJy/sr", np.nan)])
def test_a_source_has_one_flux_and_surface_brightness_at_every_scale_and_in_every_unit(tmp_path, scale, zero_point, unit, told):
    put(tmp_path / "a.fits", source(matrix(scale), zero_point), header(matrix(scale), BUNIT=unit))
    found, _ = stamp(rows(tmp_path, {"zero_point": told})[0])
    assert found.status == "ok", found.cause
    assert found.zero_point == pytest.approx(zero_point, abs=2e-4)
    assert found.image.sum() == pytest.approx(FLUX, rel=1e-3)
    assert found.image.max() / found.pixel_scale**2 == pytest.approx(FLUX / (2 * np.pi * SIGMA[0] * SIGMA[1]), rel=1e-3)
    assert found.pixel_scale == pytest.approx(scale, rel=1e-6) and np.allclose(found.offset, 0, atol=1e-6)


def test_measured_surface_brightness_is_that_of_the_sky_and_oblong_pixels_are_told(tmp_path):
    noise = np.random.default_rng(2).normal(size=(61, 61)) / 10
    for cd, oblong in ((matrix(0.2), 0), (matrix(0.4, 30), 0), (matrix(0.3) @ np.diag([1, 1.2]), 512)):
        put(tmp_path / "a.fits", source(cd, 31.4) + noise, header(cd, BUNIT="nJy"))
        table = measured(stamp(rows(tmp_path, {})[0])[0])
        peak = FLUX / (2 * np.pi * SIGMA[0] * SIGMA[1])
        assert table["peak_surface_brightness"][0, 0] == pytest.approx(31.4 - 2.5 * np.log10(peak), abs=0.02)
        assert table["morphology_flags"][0, 0] & 512 == oblong


@pytest.mark.parametrize("kind", ["variance", "ivar"])
def test_noise_in_a_unit_whose_square_no_float32_holds_is_kept(tmp_path, kind):
    unit = 1e-32  # erg/s/cm2/Hz in a nJy
    noise = np.full((61, 61), (25 * unit**2) ** (1 if kind == "variance" else -1))
    fits.HDUList([fits.PrimaryHDU(source(matrix(0.2), 31.4) * unit, header(matrix(0.2), BUNIT="erg/s/cm2/Hz")),
                  fits.ImageHDU(noise, name=kind)]).writeto(tmp_path / "a.fits")
    found, _ = stamp(rows(tmp_path, {f"{kind}_path": "a.fits"})[0])
    assert found.status == "ok", found.cause
    assert found.image.sum() == pytest.approx(FLUX, rel=1e-3) and np.allclose(found.ivar, 1 / 25, rtol=1e-4)


@pytest.mark.parametrize(("turn", "parity", "frame"), [
    (0, -1, "RA"), (0, 1, "RA"), (90, -1, "RA"), (180, 1, "RA"), (37, -1, "RA"), (-65, 1, "RA"), (20, -1, "GLON")])
def test_the_position_angle_is_that_on_the_sky_however_the_image_lies(tmp_path, turn, parity, frame):
    from astropy.coordinates import SkyCoord

    head, cd = header(matrix(0.3, turn, parity)), matrix(0.3, turn, parity)
    if frame == "GLON":
        there = SkyCoord(*SKY, unit="deg").galactic
        head.update({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "CRVAL1": there.l.deg, "CRVAL2": there.b.deg})
        pole = SkyCoord(there.l, there.b + there.b.unit * 1e-3, frame="galactic").icrs
        phi = SkyCoord(*SKY, unit="deg").position_angle(pole).rad  # of galactic north, east of north
        cd = np.array([[np.cos(phi), np.sin(phi)], [-np.sin(phi), np.cos(phi)]]) @ cd
    noise = np.random.default_rng(2).normal(size=(61, 61)) / 10
    put(tmp_path / "a.fits", source(cd, 31.4) + noise, head)
    found, _ = stamp(rows(tmp_path, {"zero_point": 31.4})[0])
    assert np.allclose(found.cd, cd, atol=1e-3 * 0.3 / 3600)
    table = measured(found)
    assert (table["pos_angle"][0, 0] - 90 - 30 + 90) % 180 - 90 == pytest.approx(0, abs=1.5)  # x is west, so 90 more


def test_the_manifest_tells_the_scale_before_the_wcs_and_the_wcs_before_a_card_and_the_config(tmp_path):
    pixels = np.random.default_rng(1).normal(size=(31, 31))
    at = {"x": 15, "y": 15, "zero_point": 27}
    for head, told, scale in [(header(matrix(0.3), PIXSCALE=9.0), 0.5, 0.5), (header(matrix(0.3), PIXSCALE=9.0), "", 0.3),
                              (fits.Header({"PIXSCALE": 0.7}), "", 0.7), (None, "", 0.168)]:
        put(tmp_path / "a.fits", pixels, head)
        found = local.read_image(rows(tmp_path, at | {"pixel_scale": told})[0], 0.168)
        assert found.pixel_scale == pytest.approx(scale, rel=1e-6)
        assert head is None or "CTYPE1" not in head or np.sqrt(abs(np.linalg.det(found.cd))) * 3600 == pytest.approx(scale)


def test_the_widest_pixels_of_an_object_decide_which_stamps_overlap(tmp_path):
    for name, scale in (("a.fits", 0.25), ("b.fits", 1.5)):
        put(tmp_path / name, source(matrix(scale), 27.0) + 1, header(matrix(scale)))
    rows(tmp_path, {"zero_point": 27}, {"zero_point": 27, "object_id": 1, "band": "z", "path": "b.fits"}, {"zero_point": 27})
    frame = cutouts(tmp_path, [1, 3])[1]
    sides = assign_splits._stamps([tmp_path / "out.h5"], frame, {"stamp_arcsec": 3.5})[2]
    assert sides == pytest.approx([21 * 1.5, 21 * 0.25])


# q: planes and kernels

def noisy(folder):
    """A file of an image and its planes: variance 4, inverse variance 1/4 with a hole, mask, sigma, two kernels."""
    hole = np.full((31, 31), 0.25)
    hole[3, 4] = 0
    mask = np.zeros((31, 31))
    mask[2, 6] = 8
    put(folder / "a.fits", np.random.default_rng(1).normal(size=(31, 31)), None,
        (np.full((31, 31), 4), {"EXTNAME": "VAR"}), (hole, {"EXTNAME": "WHT"}), (mask, {"EXTNAME": "DQ"}),
        (np.full((31, 31), 2), {"EXTNAME": "ERR"}), (np.eye(9), {"EXTNAME": "PSF"}), (np.ones((31, 31)), {"EXTNAME": "X"}),
        (np.full((31, 31), 16), {"EXTNAME": "VAR", "EXTVER": 2}))


@pytest.mark.parametrize(("given", "variance"), [
    ({"variance_path": "a.fits", "variance_hdu": "1.0"}, 4), ({"variance_path": "a.fits", "variance_hdu": "var,2"}, 16),
    ({"ivar_path": "a.fits"}, 4), ({"ivar_path": "a.fits", "ivar_hdu": "wht", "mask_path": "a.fits"}, 4)])
def test_planes_are_found_by_number_by_name_and_by_version(tmp_path, given, variance):
    noisy(tmp_path)
    found, _ = stamp(rows(tmp_path, at_centre() | given)[0], 21)
    assert found.status == "ok" and found.ivar[10, 10] == pytest.approx(1 / variance / flux.njy_per_count(27.0) ** 2)
    assert (found.mask != 0).sum() == 0
    whole = local.read_image(rows(tmp_path, at_centre() | given)[0], 0.2)
    bad = local.calibrated(whole)[2]
    assert bad[3, 4] == ("ivar_path" in given) and bad[2, 6] == ("mask_path" in given)


@pytest.mark.parametrize(("given", "words"), [
    ({"variance_path": "a.fits"}, "several HDUs called VAR"), ({"variance_path": "a.fits", "variance_hdu": "ERR"}, "sigma"),
    ({"ivar_path": "a.fits", "ivar_hdu": "9"}, "no image HDU 9"), ({"hdu": "SCI"}, "no image HDU SCI"),
    ({"mask_path": "a.fits", "mask_hdu": "0"}, "the image itself"), ({"psf_path": "a.fits", "psf_hdu": "0"}, "the image itself"),
    ({"variance_path": "small.fits"}, "variance of 30x31 px for an image of 31x31 px"),
    ({"mask_path": "wide.fits"}, "mask of 0.4000 arcsec/px"),
    ({"psf_path": "wide.fits"}, "psf of 0.4000 arcsec/px for an image of 0.2000"),
    ({"psf_path": "cube.fits"}, "3 axes"), ({"psf_path": "none.fits"}, "none.fits")])
def test_a_plane_that_does_not_go_with_its_image_costs_the_object_and_is_named(tmp_path, given, words):
    noisy(tmp_path)
    put(tmp_path / "small.fits", np.ones((31, 30)))
    put(tmp_path / "wide.fits", np.ones((31, 31)), header(matrix(0.4), 31))
    put(tmp_path / "cube.fits", np.ones((2, 31, 31)))
    found, _ = stamp(rows(tmp_path, at_centre() | given)[0], 21)
    assert found.status == "failed" and words in found.cause and ".fits" in found.cause


def test_an_image_is_never_taken_for_its_own_kernel(tmp_path):
    plain(tmp_path)
    os.symlink(tmp_path / "a.fits", tmp_path / "link.fits")
    for name in ("a.fits", "link.fits"):
        found, _ = stamp(rows(tmp_path, at_centre(psf_path=name))[0], 21)
        assert found.status == "failed" and "the image itself" in found.cause


@pytest.mark.parametrize("form", ["fits.gz", "compressed", "scaled", "blank", "npz"])
def test_images_packed_in_other_ways_hold_the_same_pixels(tmp_path, form):
    pixels = np.round(source(matrix(0.3), 27.0) * 2) + 4
    name = {"fits.gz": "a.fits.gz", "npz": "a.npz"}.get(form, "a.fits")
    head = header(matrix(0.3))
    if form == "compressed":
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels.astype(np.int32), head)]).writeto(tmp_path / name)
    elif form in ("scaled", "blank"):
        hdu = fits.PrimaryHDU(pixels.astype(np.int16), head)
        if form == "blank":
            hdu.data[0, 0], hdu.header["BLANK"] = -7, -7
        else:
            hdu.scale("int16", bzero=32768)
        hdu.writeto(tmp_path / name)
    elif form == "npz":
        np.savez(tmp_path / name, image=pixels)
    else:
        put(tmp_path / name, pixels, head)
    found = local.read_image(rows(tmp_path, at_centre(path=name, x=30, y=30))[0], 0.2)
    assert np.array_equal(found.image[1:], pixels[1:].astype(np.float32)) and found.bad[0, 0] == (form == "blank")


def test_of_a_cube_the_named_plane_is_read_with_its_noise_and_its_kernel(tmp_path):
    pixels = np.random.default_rng(1).normal(size=(3, 1, 31, 31))
    put(tmp_path / "a.fits", pixels, None, (np.arange(1, 4)[:, None, None] * np.ones((3, 31, 31)), {"EXTNAME": "VAR"}),
        (np.eye(9) + np.arange(3)[:, None, None], {"EXTNAME": "PSF"}), (np.zeros((31, 31)), {"EXTNAME": "MASK"}))
    planes = {f"{kind}_path": "a.fits" for kind in ("variance", "mask", "psf")}
    found = local.read_image(rows(tmp_path, at_centre(plane=2) | planes)[0], 0.2)
    assert np.array_equal(found.image, pixels[2, 0].astype(np.float32)) and (found.variance == 3).all()
    assert np.array_equal(found.psf, np.eye(9) + 2) and not found.bad.any()
    for plane in ("", -1, 3, 0.5):
        assert "bad_fits" in stamp(rows(tmp_path, at_centre(plane=plane))[0], 21)[0].cause


def test_of_a_large_image_a_window_is_read_and_gives_the_same_stamp(tmp_path, monkeypatch):
    noisy(tmp_path)
    row = rows(tmp_path, at_centre(x=12.3, y=21.9, ivar_path="a.fits", mask_path="a.fits"))[0]
    whole = stamp(row, 5)[0]
    monkeypatch.setattr(local, "LARGE", 100)
    monkeypatch.setattr(local, "REACH", 4)
    window = stamp(row, 5)[0]
    assert local.read_image(row, 0.2, 5).image.shape == (20, 20) and whole.status == "ok"
    assert np.array_equal(whole.image, window.image) and np.array_equal(whole.ivar, window.ivar)
    assert np.allclose(whole.offset, window.offset)


@pytest.mark.parametrize("shape", [(41, 41), (40, 40), (25, 25), (64, 64), (24, 31)])
@pytest.mark.parametrize("shift", [(0, 0), (0.5, -0.3), (4, -3)])
def test_kernels_of_any_size_and_parity_are_centred(tmp_path, shape, shift):
    y, x = np.indices(shape)
    cy, cx = (shape[0] - 1) / 2 + shift[0], (shape[1] - 1) / 2 + shift[1]
    put(tmp_path / "psf.fits", 7 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8) + 0)
    plain(tmp_path)
    found = stamp(rows(tmp_path, at_centre(psf_path="psf.fits"))[0], 21)[1]
    kernel = fit_kernel(centred_kernel(found), 41)
    assert kernel.shape == (41, 41) and kernel.sum() == pytest.approx(1, abs=1e-5)
    core = kernel * (kernel > kernel.max() / 5)
    assert np.allclose(ndimage.center_of_mass(core), 20, atol=0.01)
    assert np.allclose(kernel[20, 18:23], kernel[20, 22:17:-1], rtol=0.02)


@pytest.mark.parametrize("pixels", [np.zeros((9, 9)), np.full((9, 9), np.nan)])
def test_a_kernel_that_is_none_is_told_and_the_stamp_kept(tmp_path, pixels):
    plain(tmp_path)
    put(tmp_path / "psf.fits", pixels)
    found, kernel = stamp(rows(tmp_path, at_centre(psf_path="psf.fits"))[0], 21)
    assert found.status == "ok" and kernel is None and "psf.fits" in found.cause
