"""The embedded sky: galsim as the oracle of its pixels, published counts, overlaps equal to the bit."""

import numpy as np
import pytest

from skyloom import profiles
from skyloom.sky import catalog, geometry, hashing, hsc, photometry, population, render, seds


def test_the_sersic_transform_is_the_closed_form_for_an_exponential():
    ln_kappa, value = profiles.hankel(1.0)
    h = 1 / profiles.b_n(1.0)
    assert value == pytest.approx((1 + (np.exp(ln_kappa) * h) ** 2) ** -1.5, abs=2e-5)


@pytest.mark.parametrize("n", [0.5, 2.5, 4.0])
def test_the_sersic_transform_agrees_with_galsim(n):
    galsim = pytest.importorskip("galsim")
    profile = galsim.Sersic(n=n, half_light_radius=1.0, gsparams=galsim.GSParams(
        kvalue_accuracy=1e-7, folding_threshold=1e-4, maxk_threshold=1e-5, maximum_fft_size=200000))
    ln_kappa, value = profiles.hankel(n)
    want = [profile.kValue(np.exp(k), 0.0).real for k in ln_kappa[::64]]
    assert value[::64] == pytest.approx(want, abs=2e-5)


def galsim_scene(sky, tract, x0, y0, size, band):
    """The same sources drawn by galsim on the same grid, noise-free nJy."""
    import galsim

    b, scale = hsc.BANDS.index(band), hsc.SCALE
    centre = geometry.tract_centre(tract)
    mid = geometry.deproject(*centre, -(x0 + (size - 1) / 2) * scale, (y0 + (size - 1) / 2) * scale)
    source = population.near(sky.seed, float(mid[0]), float(mid[1]), size / 2 * scale * 1.42)
    x, y = hsc.pixel_of(tract, source["ra"], source["dec"])
    psf = galsim.Moffat(beta=3, fwhm=hsc.seeing(sky, tract, band))
    image = galsim.ImageF(size, size, scale=scale)
    fine = galsim.GSParams(folding_threshold=1e-3, maximum_fft_size=16384)
    for k in np.flatnonzero((abs(x - x0 - size / 2) < size) & (abs(y - y0 - size / 2) < size)):
        parts = []
        for flux in ("disc", "bulge"):
            n, re, q = float(source[f"n_{flux}"][k]), f"re_{flux}", f"q_{flux}"
            light = float(source[flux][k][b]) - (float(source["knot"][k][b]) if flux == "disc" else 0)
            if source["kind"][k] == 1:
                parts = [galsim.DeltaFunction(flux=float(source["disc"][k][b]))]
                break
            if flux == "bulge" and source["bulge"][k].sum() <= 0.01 * source["disc"][k].sum():
                parts[0] = parts[0].withFlux(parts[0].flux + light)
            elif light > 0:
                profile = galsim.Sersic(n=n, half_light_radius=float(source[re][k]), flux=light)
                angle = (np.pi - source["pa"][k]) * galsim.radians
                parts.append(profile.shear(q=float(source[q][k]), beta=angle))
                if flux == "disc":
                    parts += [galsim.DeltaFunction(flux=float(source["knot"][k][b] * share)).shift(
                        *(at * float(source[re][k]) * np.array([1 / np.sqrt(source[q][k]), np.sqrt(source[q][k])]))).rotate(angle)
                        for at, share in zip(source["knot_at"][k], source["knot_share"][k], strict=True)
                        if share * source["knot"][k][b] > 0]
        drawn = galsim.Convolve(galsim.Sum(parts), psf, gsparams=fine)
        position = galsim.PositionD(x[k] - x0 + 1, y[k] - y0 + 1)
        stamp = drawn.drawImage(nx=2 * size + 1, ny=2 * size + 1, scale=scale, center=position)
        overlap = stamp.bounds & image.bounds
        if overlap.isDefined():
            image[overlap] += stamp[overlap]
    return image.array


@pytest.mark.timeout(300)
def test_whole_scenes_agree_with_galsim_within_the_noise(sky):
    pytest.importorskip("galsim")
    field = population.in_region(sky.seed, (150.05, 150.25, 2.05, 2.2))
    targets = np.flatnonzero((field["kind"] == 0) & (field["i"] > 19.5) & (field["i"] < 22))[:4]
    worst = []
    for k in targets:
        tract = geometry.tract_of(field["ra"][k], field["dec"][k])
        x, y = (float(v) for v in hsc.pixel_of(tract, field["ra"][k], field["dec"][k]))
        x0, y0, size = int(x) - 32, int(y) - 32, 65
        mine = hsc.model(sky, tract, x0, y0, size, size)[hsc.BANDS.index("i")]
        want = galsim_scene(sky, tract, x0, y0, size, "i")
        worst.append(np.abs(mine - want).max() / hsc.sky_sigma("i"))
        radius = np.hypot(*(np.mgrid[:size, :size] - 32)) * hsc.SCALE < 1
        assert mine[radius].sum() == pytest.approx(want[radius].sum(), rel=0.005)
    assert max(worst) < 0.3, worst


def test_overlapping_windows_are_equal_to_the_bit(sky):
    rng = np.random.default_rng(5)
    tract = geometry.tract_of(150.15, 2.15)
    x, y = (float(v) for v in hsc.pixel_of(tract, 150.15, 2.15))
    for _ in range(12):
        x0, y0 = int(x) + int(rng.integers(-2000, 2000)), int(y) + int(rng.integers(-2000, 2000))
        dx, dy = rng.integers(-50, 50, 2)
        a = hsc.exposure(sky, tract, x0, y0, 80, 70, "r")
        b = hsc.exposure(sky, tract, x0 + int(dx), y0 + int(dy), 75, 85, "r")
        left, low = max(0, int(dx)), max(0, int(dy))
        width, height = min(80, 75 + int(dx)) - left, min(70, 85 + int(dy)) - low
        for one, other in zip(a, b, strict=True):
            part = one[low:low + height, left:left + width]
            again = other[low - int(dy):low - int(dy) + height, left - int(dx):left - int(dx) + width]
            assert np.array_equal(part, again, equal_nan=True)


def test_pixel_noise_is_normal_white_and_independent_of_the_window():
    noise = hashing.pixel_normals(7, -300, 10**6, 600, 600)
    assert abs(noise.mean()) < 0.01 and noise.std() == pytest.approx(1, abs=0.005)
    assert abs((noise**4).mean() - 3) < 0.05 and abs((noise[:, 1:] * noise[:, :-1]).mean()) < 0.005
    assert np.array_equal(noise[100:130, 7:40], hashing.pixel_normals(7, -200, 10**6 + 7, 30, 33))
    assert not np.array_equal(noise, hashing.pixel_normals(8, -300, 10**6, 600, 600))


def test_noise_has_the_variance_that_the_variance_plane_says(sky):
    tract = geometry.tract_of(150.15, 2.15)
    x, y = (int(v) for v in hsc.pixel_of(tract, 150.15, 2.15))
    pulls = []
    for k in range(4):
        image, mask, variance = hsc.exposure(sky, tract, x + 400 * k, y, 200, 200, "z")
        model = hsc.model(sky, tract, x + 400 * k, y, 200, 200)[hsc.BANDS.index("z")] * 10 ** (-0.4 * 4.4)
        good = (mask & ~(1 << hsc.MASK_BITS["DETECTED"])) == 0
        pulls.append(((image - model) / np.sqrt(variance))[good])
    pulls = np.concatenate(pulls)
    assert pulls.std() == pytest.approx(1, abs=0.02)


def test_counts_follow_the_lsst_science_book():
    """46 x 10^(0.31 (i - 25)) per arcmin^2, within 25 % where the formula holds."""
    box = (150.0, 150.3, 2.0, 2.3)
    bright = population.in_region(1, box, (population.GALAXY_TIERS[0],))
    small = (150.0, 150.06, 2.0, 2.06)
    faint = population.in_region(1, small, population.GALAXY_TIERS)
    for source, area, limit in ((bright, 324, 22.0), (faint, 12.96, 24.0), (faint, 12.96, 25.0)):
        found = np.sum(source["i"] < limit) / area
        assert found == pytest.approx(46 * 10 ** (0.31 * (limit - 25)), rel=0.25), limit
    assert np.median(bright["z"][bright["i"] < 22]) == pytest.approx(0.46, abs=0.06)


def test_every_galaxy_has_a_colour_gradient_and_dust_reddens():
    source = population.in_region(1, (150.0, 150.1, 2.0, 2.1), (population.GALAXY_TIERS[0],))
    both = (source["bulge"][:, 2] > 0.1 * source["disc"][:, 2]) & (source["disc"][:, 2] > 0)
    colour = [-2.5 * np.log10(source[part][both][:, 0] / source[part][both][:, 2]) for part in ("bulge", "disc")]
    assert np.median(colour[0] - colour[1]) > 0.1  # bulges are redder
    z = np.full(2, 0.3)
    blue, red = seds.magnitudes(np.full(2, 2.0), np.array([0.0, 0.3]), z)
    assert red[0] - red[4] > blue[0] - blue[4] + 0.3


def test_the_intergalactic_medium_absorbs_blueward_of_lyman_alpha_only():
    wave = np.array([1100.0, 1300.0]) * 4
    transmission = seds.igm_transmission(wave, 3.0)
    assert transmission[0] < 0.8 and transmission[1] == 1


def test_projection_and_its_inverse_close_and_agree_with_astropy():
    from astropy.wcs import WCS

    ra, dec = geometry.deproject(150.75, 2.25, *geometry.project(150.75, 2.25, np.array([150.2, 151.3]), np.array([1.6, 2.9])))
    assert ra == pytest.approx([150.2, 151.3], abs=1e-10) and dec == pytest.approx([1.6, 2.9], abs=1e-10)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [150.75, 2.25], [1 / 3600, 1 / 3600]
    want = np.ravel(wcs.all_world2pix(150.2, 2.9, 1))
    assert np.array(geometry.project(150.75, 2.25, 150.2, 2.9)) == pytest.approx(want, abs=1e-4)


def test_cells_of_a_box_hold_every_source_of_it():
    rng = np.random.default_rng(1)
    box = (149.9, 150.1, -0.2, 0.1)
    cells = set(geometry.cells_in_box(1024, box))
    import astropy.units as u

    where = geometry.healpix(1024).lonlat_to_healpix(rng.uniform(*box[:2], 3000) * u.deg, rng.uniform(*box[2:], 3000) * u.deg)
    assert set(where.tolist()) <= cells


def test_the_catalog_has_duplicates_and_its_magnitudes_scatter_as_their_errors_say(sky):
    table = catalog.forced(sky, sky.footprint)
    share = 1 - len(np.unique(table["source"])) / len(table["source"])
    assert share == pytest.approx(0.7, abs=0.03)
    assert len(np.unique(table["object_id"])) == len(table["object_id"])
    field = population.in_region(sky.seed, sky.footprint)
    place = {int(i): k for k, i in enumerate(field["id"])}
    first = np.flatnonzero(table["isprimary"])
    at = np.array([place[int(i)] for i in table["source"][first]])
    for b, band in enumerate(hsc.BANDS):
        true = 31.4 - 2.5 * np.log10((field["bulge"] + field["disc"])[at, b])
        pull = (table[f"{band}_cmodel_mag"][first] - true) / table[f"{band}_cmodel_magsigma"][first]
        pull = pull[np.isfinite(pull) & (field["i"][at] > 20.5)]
        assert 1.4826 * np.median(np.abs(pull)) == pytest.approx(1, abs=0.1), band  # neighbours make the tails
    pairs = np.flatnonzero(table["source"][1:] == table["source"][:-1])
    apart = (table["i_cmodel_mag"][pairs] - table["i_cmodel_mag"][pairs + 1]) / table["i_cmodel_magsigma"][pairs]
    assert 0.05 < np.nanstd(apart) < 0.3  # repeats share the exposures
    specz = catalog.specz(sky, sky.footprint)
    assert {9.9999} & set(specz["specz_redshift"]) and (specz["specz_redshift_err"] >= 1).any()
    assert np.mean(specz["specz_flag_homogeneous"]) == pytest.approx(0.88, abs=0.05)


def test_the_footprint_has_holes_edges_and_saturated_stars(sky):
    tract = geometry.tract_of(150.15, 2.15)
    assert not hsc.covered(sky, tract, *hsc.pixel_of(tract, 150.5, 2.15)).any()
    patch = next((c, r) for c in range(11) for r in range(11) if hsc.holes(sky, tract, c, r))
    hx, hy, radius = hsc.holes(sky, tract, *patch)[0]
    assert not hsc.covered(sky, tract, hx + 0.9 * radius, hy)
    x, y = (float(v) for v in hsc.pixel_of(tract, 150.3 - 1 / 3600, 2.15))
    assert hsc.window(sky, tract, int(x) - 64, int(y) - 64, 129)[2] < 129
    stars = hsc.bright_stars(sky, tract, int(x) - 3000, int(y) - 3000, 3000, 3000)
    sx, sy, _ = stars[0]
    planes = hsc.mask(sky, tract, int(sx) - 5, int(sy) - 5, 11, 11)
    assert (planes & (1 << hsc.MASK_BITS["SAT"])).any()


def test_stamps_never_reach_beyond_the_search_margin():
    source = population.in_region(1, (150.0, 150.2, 2.0, 2.2))
    source["margin"] = np.full(len(source["ra"]), 10.0)
    sizes = render.stamp_sizes(source, np.full(5, 1.0), [4.0] * 5, hsc.SCALE)
    assert (sizes / 2 * hsc.SCALE < 10.0).all()


def test_the_table_s_errors_are_those_of_the_pixels_under_the_source(sky):
    """The noise of a catalog flux is the noise of the very stamp, weighted with the source's light."""
    field = population.in_region(sky.seed, (150.05, 150.25, 2.05, 2.25), (population.GALAXY_TIERS[0],))
    rows = np.flatnonzero(field["i"] < 22)[:120]
    source = {name: column[rows] for name, column in field.items()}
    tracts = np.array([geometry.tract_of(a, d) for a, d in zip(source["ra"], source["dec"], strict=True)])
    pixels = np.array([hsc.pixel_of(t, a, d) for t, a, d in zip(tracts, source["ra"], source["dec"], strict=True)]).T
    found, sigma = photometry.errors(sky, tracts, pixels, source, "r")
    seen, half, count = [], 24, 10 ** (-0.4 * (31.4 - hsc.ZERO_POINT))
    for k in range(len(rows)):
        x0, y0 = (int(np.floor(v + 0.5)) - half for v in pixels[:, k])
        box = sky, tracts[k], x0, y0, 2 * half + 1, 2 * half + 1
        noise = hsc.exposure(*box, "r")[0] / count - hsc.model(*box)[1]
        width = np.hypot(max(source["re_disc"][k], source["re_bulge"][k]) / hsc.SCALE / 1.1774,
                         hsc.seeing(sky, tracts[k], "r") / hsc.SCALE / 2.3548)
        y, x = np.mgrid[y0:y0 + 2 * half + 1, x0:x0 + 2 * half + 1]
        light = np.exp(-((x - pixels[0, k]) ** 2 + (y - pixels[1, k]) ** 2) / (2 * width**2))
        seen.append((light * noise).sum() / (light**2).sum() * light.sum())
    whole = np.isfinite(seen) & (np.abs(np.array(seen) - found) < 20 * sigma)  # not those with a hole or a saturated star
    assert whole.mean() > 0.85
    assert np.corrcoef(np.array(seen)[whole], found[whole])[0, 1] > 0.95
    assert np.std(found / sigma) == pytest.approx(1, abs=0.2)


def test_windows_of_noise_are_those_of_the_image():
    whole = hashing.pixel_normals(7, -3, 5, 20, 30)
    windows = hashing.window_normals(7, np.array([-3, 4]), np.array([5, 20]), 9)
    assert np.array_equal(windows[0], whole[:9, :9])
    assert np.array_equal(windows[1], whole[7:16, 15:24])


def test_neighbours_overlap_as_gaussians_do():
    one = {"id": np.array([1]), "ra": np.array([150.0]), "dec": np.array([0.0]), "kind": np.array([0]),
           "re_disc": np.array([0.6]), "re_bulge": np.array([0.0]), "bulge": np.zeros((1, 5)), "disc": np.full((1, 5), 100.0)}
    both = {name: np.concatenate([column, column]) for name, column in one.items()}
    both |= {"id": np.array([1, 2]), "ra": np.array([150.0, 150.0 + 1.0 / 3600]), "disc": np.array([[100.0] * 5, [40.0] * 5])}
    width2 = (0.6 / 1.1774) ** 2 + (hsc.SEEING["i"] / 2.3548) ** 2
    assert photometry.overlapping(one, both, "i")[0] == pytest.approx(40 * np.exp(-1 / (4 * width2)), rel=1e-3)
    assert photometry.overlapping(one, one, "i")[0] == 0


def test_knots_are_a_young_part_of_late_discs():
    cells = [population.cell(1, population.GALAXY_TIERS[0], pixel) for pixel in range(4_000_000, 4_000_060)]
    whole = population.join(cells)
    lit = whole["knot"][:, 0] > 0
    share = whole["knot"][lit, 0] / whole["disc"][lit, 0]
    assert 0.02 < np.median(share) < 0.2 and share.max() < 0.6
    smooth = (whole["disc"] - whole["knot"])[lit]
    colour = [-2.5 * np.log10(part[:, 0] / part[:, 2]) for part in (whole["knot"][lit], smooth)]
    assert np.median(colour[1] - colour[0]) > 0.1  # the knots are bluer
    assert whole["knot_share"].sum(axis=1) == pytest.approx(1, abs=1e-5)
