"""The network for whole scenes: shares and photometry in closed form, targets, matching, what bad tiles give."""

import numpy as np
import pytest
import torch

from skyloom.errors import InputError
from skyloom.models import families
from skyloom.models.card import Card
from skyloom.models.scene import calibration, detect, inputs, peaks, photometry, targets, windows

BANDS, SCALE = ("g", "r", "i"), 0.2
CONSTANTS = {"sigma": [1.0, 2.0, 1.5], "psf_fwhm": [0.8, 0.8, 0.8], "apertures": [0.6, 0.9, 1.5]}


def gaussian(side, x, y, sigma):
    grid = np.arange(side)
    d2 = (grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2
    return np.exp(-d2 / 2 / sigma**2) / (2 * np.pi * sigma**2)


def network(seed=1, **options):
    torch.manual_seed(seed)
    given = {"channels": [8, 8, 8, 8], "hidden": 16, "embed": 4, "crop": 64, **options}
    card = Card("deepdisc", families.options("deepdisc", given), bands=list(BANDS), image=CONSTANTS, pixel_scale=SCALE,
                unit="nJy", facts={"threshold": 0.3})
    return families.of("deepdisc").build(card), card


def tile(side=96, sources=(), seed=0, rows=None):
    rng = np.random.default_rng(seed)
    sigma = np.array(CONSTANTS["sigma"])[:, None, None]
    image = rng.standard_normal((3, rows or side, side)) * sigma
    for x, y, flux in sources:
        image[:, :side, :] += flux * gaussian(side, x, y, 0.8 / SCALE / inputs.FWHM)[None, :rows or side]
    ivar = np.broadcast_to(1 / sigma**2, image.shape).copy()
    return inputs.Tile(image.astype("f4"), ivar.astype("f4"), np.full(3, 0.8), BANDS, SCALE)


def pixels(one):
    return inputs.pixels(one.image[None], one.ivar[None], one.psf_fwhm[None], CONSTANTS, SCALE, "cpu")


def test_shares_of_all_sources_and_the_sky_sum_to_one():
    rng = torch.Generator().manual_seed(0)
    shape, n = (2, 40, 48), 30
    tile_of = torch.randint(2, (n,), generator=rng)
    x, y = 48 * torch.rand(n, generator=rng), 40 * torch.rand(n, generator=rng)
    embedding, sky = torch.randn(4, 2 * 40 * 48, generator=rng), torch.randn(2 * 40 * 48, generator=rng)
    query, form = torch.randn(n, 4, generator=rng), torch.randn(n, 5, generator=rng)
    parts = []
    for rows, side in ((slice(0, 25), 24), (slice(25, n), 72)):
        seen = windows.around(tile_of[rows], x[rows], y[rows], shape, side)
        parts.append((seen, windows.logits(seen, query[rows], form[rows], embedding)))
    total = windows.crowd(parts, sky)
    summed = windows.sky_share(sky, total)
    for seen, logits in parts:
        share = windows.shares(seen, logits, total)
        assert (share[~seen.inside] == 0).all() and (share >= 0).all()
        summed = summed.scatter_add(0, seen.at.reshape(-1), share.reshape(-1))
    assert torch.allclose(summed, torch.ones_like(summed), atol=1e-5)
    assert (total > torch.exp(sky)).any()


@pytest.mark.parametrize("wide", [False, True])
def test_photometry_of_a_gaussian_galaxy_is_the_closed_form(wide):
    """F A^2 / (A^2 + s^2) in an aperture of A, whatever the PSF; sigma sqrt(pi) A^2 / w of noise; the isophote is all light."""
    side, flux, s = 96, np.array([500.0, 800.0, 1000.0]), 2.0
    psf = np.array([0.7, 0.8, 0.95]) / SCALE / inputs.FWHM
    x, y = 47.3, 50.6
    image = np.stack([f * gaussian(side, x, y, np.hypot(s, p)) for f, p in zip(flux, psf, strict=True)])
    sigma = np.array(CONSTANTS["sigma"])
    ivar = np.broadcast_to(1 / sigma[:, None, None] ** 2, image.shape)
    given = inputs.pixels(image[None].astype("f4"), np.ascontiguousarray(ivar[None], "f4"), psf[None] * SCALE * inputs.FWHM,
                          CONSTANTS, SCALE, "cpu")
    centre = [torch.tensor([(v - 0.5) / 2], dtype=torch.float32) for v in (x, y)]
    seen = windows.around(torch.tensor([0]), *centre, (1, 48, 48), windows.SIDES[wide])
    share = seen.inside.float()
    light = photometry.measured(given, seen, share, torch.zeros(48 * 48), torch.tensor([0]), torch.tensor([3.0, 4.5, 6.0]))
    for k, a in enumerate((3.0, 4.5, 6.0)):
        w = np.sqrt(a**2 - psf**2)
        assert light.aperture[0, :, k].numpy() == pytest.approx(flux * a**2 / (a**2 + s**2), rel=3e-3)
        assert light.aperture_error[0, :, k].numpy() == pytest.approx(sigma * np.sqrt(np.pi) * a**2 / w, rel=3e-3)
    assert light.isophote[0].numpy() == pytest.approx(flux, rel=1e-3)
    assert light.isophote_error[0].numpy() == pytest.approx(sigma * np.sqrt(4 * float(share.sum())), rel=1e-5)
    assert light.moments[0, :2].abs().max() < 0.02 and abs(light.moments[0, 2] - light.moments[0, 3]) < 0.02
    assert light.own[0] == pytest.approx(1, abs=1e-5) and light.unseen.abs().max() < 1e-5
    half = photometry.measured(given, seen, share / 2, torch.full((48 * 48,), 0.25), torch.tensor([0]), torch.tensor([3.0]))
    assert half.aperture[0, :, 0].numpy() == pytest.approx(light.aperture[0, :, 0].numpy() / 2, rel=1e-5)
    assert half.others[0] == pytest.approx(0.25, abs=1e-5)


def test_targets_turn_with_their_image():
    """Every symmetry moves centres and light together."""
    side, rng = 64, np.random.default_rng(0)
    stamps = [(-5, 10, rng.random((20, 30)).astype("f4")), (31, 33, rng.random((9, 7)).astype("f4"))]
    labels = {"x": np.array([8.2, 34.0]), "y": np.array([20.1, 37.0]), "snr": np.array([[9.0], [4.0]]),
              "is_star": np.array([0, 1]), "flux": np.ones((2, 1)), "half_light_radius": np.ones(2), "redshift": np.ones(2)}
    sources = targets.of_crop(labels, stamps, 0, 0, side)
    assert sources.crowd.sum() == pytest.approx(stamps[0][2][:, 5:].sum() + stamps[1][2].sum(), rel=1e-5)
    plane = np.zeros((side, side), "f4")
    for x0, y0, light in stamps:
        plane[y0:y0 + light.shape[0], max(x0, 0):x0 + light.shape[1]] += light[:, max(-x0, 0):]
    for which in range(8):
        (turned,), found = targets.turned([plane], sources, which)
        cells = turned.reshape(32, 2, 32, 2).sum(axis=(1, 3))
        assert np.allclose(cells, found.crowd, atol=1e-4)
        total = sum(targets.light_window(one, 16, 16, 32) for one in found.light)
        assert np.allclose(total, found.crowd, atol=1e-4)
        marker = np.zeros((side, side), "f4")
        marker[20, 8] = 1
        (moved,), _ = targets.turned([marker], sources, which)
        row, column = np.argwhere(moved == 1)[0]
        assert abs(found.x[0] - column) < 0.5 and abs(found.y[0] - row) < 0.5
    maps = targets.centre_maps(sources, 5.0)
    assert maps["centre"][10, 4] == 1 and np.isnan(maps["centre"][18, 17])  # cells of (8.2, 20.1) and, not clear, (34, 37)
    assert (maps["centre"] == 1).sum() == 1 and maps["coarse"].max() == 0


def test_peaks_are_found_on_both_scales_and_matched_once():
    maps = {"centre": torch.full((1, 1, 32, 32), -9.0), "coarse": torch.full((1, 1, 8, 8), -9.0),
            "offset": torch.zeros(1, 2, 32, 32), "coarse_offset": torch.zeros(1, 2, 8, 8)}
    maps["centre"][0, 0, 4, 7] = maps["centre"][0, 0, 20, 21] = 3.0
    maps["coarse"][0, 0, 1, 1] = maps["coarse"][0, 0, 6, 2] = 2.0
    maps["offset"][0, :, 4, 7] = torch.tensor([0.25, -0.5])
    found = peaks.found(maps, 0.2)
    # the coarse peak at (11.5, 11.5) is 4 px from the fine one at (15, 7.5): one source, not two
    assert sorted(zip(found.x.tolist(), found.y.tolist(), found.wide.tolist(), strict=True)) == [
        (15.0, 7.5, True), (19.5, 51.5, True), (42.5, 40.5, False)]
    zero = np.zeros(3)
    pair = peaks.matched(zero, np.array([0.0, 1.0, 9.0]), zero, np.zeros(2), np.array([0.8, 30.0]), np.zeros(2), 2.0)
    assert pair.tolist() == [-1, 0, -1]  # the nearer one has it
    assert peaks.matched(zero, zero, zero, np.ones(1), np.zeros(1), np.zeros(1), 2.0).tolist() == [-1] * 3  # of another tile


def test_the_flux_calibration_takes_a_regression_to_the_mean_away():
    """Found = truth drawn toward 4 by a fifth: the curves undo it at every flux, and a flat end doesn't explode."""
    rng = np.random.default_rng(0)
    true = rng.uniform(2, 8, (4000, 1))
    found = 4 + 0.8 * (true - 4) + rng.laplace(0, 0.05, true.shape)
    facts = calibration.curves(found, np.full(true.shape, np.log(0.025)), true, np.ones(true.shape, bool))
    value, scale = calibration.corrected(found, np.full(true.shape, np.log(0.025)), facts)
    for low in range(2, 8):
        rows = (true >= low) & (true < low + 1)
        assert abs(np.median(found[rows] - true[rows])) > 0.02 or low in (3, 4)
        assert abs(np.median(value[rows] - true[rows])) < 0.015
    assert np.exp(scale[0, 0]) == pytest.approx(0.05 / 0.8, rel=0.1)
    flat = calibration.curves(np.full((400, 1), 3.0) + rng.normal(0, 0.01, (400, 1)), np.zeros((400, 1)),
                              rng.uniform(2, 4, (400, 1)), np.ones((400, 1), bool))
    assert np.isfinite(calibration.corrected(np.array([[3.0]]), np.zeros((1, 1)), flat)[0]).all()
    assert calibration.corrected(found, scale, {"found": [[]], "true": [[]], "error": [1.0]})[0] is not None


def test_the_threshold_is_the_lowest_that_is_pure_enough():
    score, right = np.array([0.9, 0.8, 0.7, 0.6, 0.5]), np.array([1, 1, 0, 1, 0], bool)
    assert calibration.threshold(score, right, 0.75) == 0.6
    assert calibration.threshold(score, right, 1.0) == 0.8
    assert calibration.threshold(score, ~right, 1.0) == 0.9 and calibration.threshold(score[:0], right[:0], 0.9) == 0.5


def test_a_tile_of_any_size_gives_the_same_sources_in_parts(monkeypatch):
    """Cut into blocks whose margin holds the network's reach: same sources, each once; sides that no stride divides."""
    model, card = network()
    one = tile(203, [(60, 100, 400), (150, 100, 900), (101, 97, 700)], rows=151)
    with torch.no_grad():
        model.backbone.maps.bias[0] = 1.0  # an untrained network that sees sources everywhere
    whole = detect.detected(model, card, one, threshold=0.05)
    assert len(whole.x) > 50 and whole.x.max() < 203 + 12 and whole.y.max() < 151 + 12
    table = detect.columns(whole, BANDS)
    assert {"score", "g_flux", "i_flux_err", "r_aper_flux_3", "r_aper_flux_err_1", "detect_flags"} < set(table)
    assert all(len(values) == len(whole.x) for values in table.values())
    masks = detect.masks(whole)
    first = slice(masks["offset"][1], masks["offset"][1] + masks["w"][1] * masks["h"][1])
    assert np.array_equal(masks["bits"][first], whole.mask_bits[1].ravel()) and masks["row"].tolist() == list(range(len(whole.x)))
    positions = np.array([[150.0, 100.0], [10.0, 3.0], [60.2, 99.8], [101, 97], [202.4, 150.4]])
    forced = detect.detected(model, card, one, positions)
    assert len(forced.x) == 5 and np.hypot(forced.x - positions[:, 0], forced.y - positions[:, 1]).max() < 12
    monkeypatch.setattr(detect, "BLOCK", 128)
    monkeypatch.setattr(detect, "MARGIN", 48)
    again = detect.detected(model, card, one, positions)
    assert np.allclose(again.aper_flux, forced.aper_flux, rtol=0.2, atol=30) and np.isfinite(again.flux).all()
    assert again.mask_box.shape == (5, 4) and (again.flags[[1, 4]] & detect.FLAGS["edge"]).all()


def test_two_thousand_sources_a_few_at_a_time(monkeypatch):
    """The shares need all of them; so many at once don't: the answer is the same."""
    model, card = network()
    rng = np.random.default_rng(1)
    positions = rng.uniform(0, 96, (2000, 2))
    many = detect.detected(model, card, tile(), positions)
    assert len(many.x) == 2000 and np.isfinite(many.mean).all() and many.weight.sum(axis=1) == pytest.approx(np.ones(2000))
    whole = detect.detected(model, card, tile(), positions[:250])
    monkeypatch.setattr(detect, "AT_ONCE", 60)
    parts = detect.detected(model, card, tile(), positions[:250])
    assert np.allclose(parts.flux, whole.flux, rtol=1e-3, atol=1e-2) and not np.allclose(many.flux[:250], whole.flux, rtol=0.1)


def test_tiles_without_anything_to_see():
    model, card = network()
    empty = tile()
    empty.image[:] = 0
    none = detect.detected(model, card, empty, threshold=0.999)
    assert len(none.x) == 0 and none.flux.shape == (0, 3) and none.aper_flux.shape == (0, 3, 3) and none.mask_box.shape == (0, 4)
    masked = tile(sources=[(40, 40, 900)])
    masked.ivar[:] = 0
    assert len(detect.detected(model, card, masked, threshold=0.0).x) == 0
    forced = detect.detected(model, card, masked, np.array([[40.0, 40.0]]))
    assert np.isnan(forced.flux).all() and forced.flags[0] & detect.FLAGS["masked"]


def test_pixels_that_are_no_numbers_count_as_not_observed():
    model, card = network()
    one, other = tile(sources=[(40, 40, 900)]), tile(sources=[(40, 40, 900)])
    one.image[:, 60:70, 60:70] = np.nan
    one.ivar[0, 5, 5] = np.inf
    other.ivar[:, 60:70, 60:70] = 0
    other.ivar[0, 5, 5] = 0
    found = [detect.detected(model, card, t, np.array([[40.0, 40.0], [64, 64]])) for t in (one, other)]
    assert np.isfinite(found[0].flux[0]).all() and np.array_equal(found[0].flux, found[1].flux, equal_nan=True)
    assert not found[0].flags[0] & detect.FLAGS["masked"] and found[0].flags[1] & detect.FLAGS["masked"]


def test_a_band_that_is_missing_in_a_tile_has_no_flux():
    model, card = network()
    one = tile(sources=[(40, 40, 900)])
    one.ivar[1] = 0
    found = detect.detected(model, card, one, np.array([[40.0, 40.0]]))
    assert np.isnan(found.flux[0, 1]) and np.isnan(found.aper_flux[0, 1]).all() and np.isfinite(found.flux[0, [0, 2]]).all()


@pytest.mark.parametrize(("change", "words"), [
    ({"bands": ("g", "i", "r")}, "holds the bands g,i,r, the model was trained with g,r,i"),
    ({"pixel_scale": 0.168}, "0.168 arcsec/px, the model was trained on 0.2"),
    ({"unit": "counts"}, "unit is counts"), ({"ivar": np.ones((3, 5, 5))}, "must be")])
def test_tiles_of_another_survey_are_one_sentence(change, words):
    from dataclasses import replace

    model, card = network()
    with pytest.raises(InputError, match=words):
        detect.detected(model, card, replace(tile(), **change))
