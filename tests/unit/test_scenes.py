"""Scenes: tiles on the archive's pixels, the sky's truth, labels, local images."""

import dataclasses
import json

import numpy as np
import pytest

from skyloom import config, store, wcs
from skyloom.errors import InputError, ReplyError
from skyloom.sample import labels, objects, scenes
from skyloom.sky import geometry, hsc, population, truth

SCALE = 0.168
BLOCK = {"side": 64, "overlap": 16, "tiles_per_shard": 4, "parts": {"training": [150.1, 150.1125, 2.1, 2.1125]}}
LEAST = {"run": "x", "archive": "embedded"}


def grid(ra=150.4, dec=2.6, x=1.0, y=1.0, mirrored=1):
    return (ra, dec), (x, y), np.diag([-SCALE * mirrored, SCALE]) / 3600


def cells(tile, frame):
    """First pixels (n, 2) of the tiles' cores on a grid."""
    first = np.array([scenes.snapped(tile, k, BLOCK, frame) for k in range(len(tile["ra"]))])
    return first + tile["core"][:, [0, 2]]


@pytest.mark.parametrize("frame", [grid(), grid(150.9, 1.2, 77.3, -900.8), grid(mirrored=-1)])
def test_cores_tile_the_archives_pixels(frame):
    """Each pixel of the lattice belongs to one core, whichever tract the pixels are of."""
    tile = scenes.tiles(BLOCK, SCALE)
    step = BLOCK["side"] - BLOCK["overlap"]
    corner = cells(tile, frame)
    low = corner.min(axis=0)
    owners = np.zeros(corner.max(axis=0) + step - low, int)
    for x, y in corner - low:
        owners[x:x + step, y:y + step] += 1
    assert len(tile["ra"]) == 25 and (owners == 1).all()
    assert len(set(tile["tile_id"])) == 25


def test_a_source_anywhere_is_half_an_overlap_inside_the_tile_that_owns_it():
    tile, frame = scenes.tiles(BLOCK, SCALE), grid()
    first = cells(tile, frame) - tile["core"][:, [0, 2]]
    rng = np.random.default_rng(1)
    low, high = (first + 8).min(axis=0), (first + 56).max(axis=0)
    for x, y in rng.uniform(low, high - 0.51, (200, 2)):
        own = [k for k, (x0, y0) in enumerate(first) if labels.owned(x - x0, y - y0, tile["core"][k])]
        assert len(own) == 1
        at = np.array([x, y]) - first[own[0]]
        assert (at > 7.4).all() and (at < 56.6).all()


def test_shards_are_known_from_the_config_and_compact():
    tile = scenes.tiles(BLOCK, SCALE)
    assert list(dict.fromkeys(tile["shard"])) == scenes.shards(BLOCK, SCALE) == [f"training_{k:03d}" for k in range(7)]
    for shard in set(tile["shard"]):
        own = tile["shard"] == shard
        assert np.ptp(tile["row"][own]) < 4 and np.ptp(tile["column"][own]) < 4
    with pytest.raises(InputError, match="no shard testing_000"):
        scenes.of_shard(BLOCK, SCALE, "testing_000")


def test_a_turned_image_is_refused():
    turn = np.radians(10)
    cd = np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * SCALE / 3600
    with pytest.raises(ReplyError, match=r"10\.0 deg off north"):
        scenes.snapped(scenes.tiles(BLOCK, SCALE), 0, BLOCK, ((150.1, 2.1), (1.0, 1.0), cd))


@pytest.mark.parametrize(("change", "words"), [
    ({"survey": "hcs"}, ["`scenes.survey`", "'hcs'", "hsc"]),
    ({"overlap": 256}, ["`scenes.overlap`", "256"]),
    ({"parts": {"training": [150, 150.2, 2, 2.2], "testing": [150.1, 150.3, 2.1, 2.3]}}, ["training", "testing", "share sky"]),
    ({"parts": {"training": [359.9, 0.1, 2, 2.2], "testing": [0.0, 0.2, 2.1, 2.3]}}, ["share sky"]),
    ({"parts": {"training": [150, 150.01, 2, 2.2]}}, ["`scenes.parts.training`", "no tile"]),
    ({"parts": {}}, ["`scenes.parts`", "empty"]),
    ({"survey": "local"}, ["`archive`"]),
    ({"detector": "nobody"}, ["`scenes.detector`", "nobody"]),
    ({"gold": {"band": "k"}}, ["`scenes.gold.band`", "g, r, i, z, y"]),
])
def test_scenes_that_make_no_sense_get_one_sentence(change, words):
    good = {"survey": "hsc", "labels": "truth", "parts": {"training": [150, 150.2, 2, 2.2], "testing": [150.2, 150.4, 2, 2.2]}}
    config.complete(LEAST | {"scenes": good})
    with pytest.raises(InputError) as error:
        config.complete(LEAST | {"scenes": good | change})
    text = str(error.value)
    assert all(word in text for word in words) and "\n" not in text, text


def test_the_truth_needs_the_embedded_sky():
    block = {"survey": "hsc", "labels": "truth", "parts": {"training": [150, 150.2, 2, 2.2]}}
    with pytest.raises(InputError, match=r"`scenes\.labels` is truth"):
        config.complete({"run": "x", "archive": "live", "scenes": block})


SKY = hsc.Sky(deep=True, hole_rate=0.0, gap_rate=0.0, reddening=0.03)
TRACT = geometry.tract_of(150.4, 2.2)
CENTRE = geometry.tract_centre(TRACT)


@pytest.fixture(scope="module")
def window():
    return truth.window(SKY, "hsc", CENTRE, -1500, 200, 256, 160)


def painted(stamps, rest):
    out = rest.copy()
    for x, y, values in stamps:
        out[y:y + values.shape[0], x:x + values.shape[1]] += values
    return out


def test_the_truths_stamps_add_up_to_the_scene(window):
    columns, stamps, rest = window
    weights = 1 / np.array([hsc.sky_sigma(band) for band in hsc.BANDS])
    scene = np.einsum("byx,b->yx", hsc.model(SKY, TRACT, -1500, 200, 256, 160), weights)
    assert len(stamps) > 20 and np.abs(painted(stamps, rest) - scene).max() < 1e-3 * scene.max()
    assert painted(stamps, 0 * rest).sum() == pytest.approx(scene.sum(), rel=0.05)  # what has no row is little


def test_the_truths_columns_are_those_of_the_light(window):
    """Oracles: the second moments of the stamps for position angles, sums of pixels for fluxes."""
    columns, stamps, _ = window
    sigma = np.array([hsc.sky_sigma(band) for band in hsc.BANDS])
    galaxies = (columns["is_star"] == 0) & (columns["half_light_radius"] > 0.3) & (columns["q"] < 0.7)
    alone = [k for k in np.flatnonzero(galaxies) if (columns["x"][k] > 30) & (columns["x"][k] < 226) & (columns["y"][k] > 30)
             & (columns["y"][k] < 130) & (columns["snr"][k].max() > 10)]
    assert alone
    for k in alone:
        x0, y0, light = stamps[k]
        y, x = np.mgrid[y0:y0 + light.shape[0], x0:x0 + light.shape[1]]
        dx, dy = x - columns["x"][k], y - columns["y"][k]
        turn = 0.5 * np.degrees(np.arctan2(2 * (light * dx * dy).sum(), (light * (dx**2 - dy**2)).sum()))
        assert abs((turn - 90 - columns["pa"][k] + 90) % 180 - 90) < 12  # x runs west
        assert light.sum() == pytest.approx((columns["flux"][k] / sigma).sum(), rel=0.1)
    assert (columns["redshift"][columns["is_star"] == 1] == 0).all()
    assert ((columns["blendedness"] >= 0) & (columns["blendedness"] < 1)).all() and columns["blendedness"].max() > 0.05
    assert columns["snr"].max(axis=1).min() >= truth.LEAST


def test_the_half_light_radius_of_one_component_is_its_own():
    one = {"disc": np.array([[1.0], [0.0], [1.0]]), "bulge": np.array([[0.0], [1.0], [1.0]]), "re_disc": np.full(3, 0.5),
           "re_bulge": np.full(3, 0.2), "n_disc": np.ones(3), "n_bulge": 4 * np.ones(3), "q_disc": np.full(3, 0.5),
           "q_bulge": np.full(3, 0.9)}
    radius, q = truth._shape(one, 0)
    assert radius[:2] == pytest.approx([0.5, 0.2], rel=1e-4) and 0.2 < radius[2] < 0.5
    assert q == pytest.approx([0.5, 0.9, 0.7])


def test_the_deep_tier_adds_and_changes_nothing():
    plain, deep = (population.near(1, 150.4, 2.2, 30, population.tiers(option)) for option in (False, True))
    n = len(plain["id"])
    assert all(np.array_equal(plain[name], deep[name][:n]) for name in plain)
    new = {name: column[n:] for name, column in deep.items()}
    assert ((new["i"] >= 25.3) & (new["i"] < 26.5)).all() and not set(new["id"]) & set(plain["id"])
    field = population.in_region(1, (150.0, 150.1, 2.0, 2.1), (population.GALAXY_TIERS[1], population.DEEP))
    counts = np.histogram(field["i"], [24.1, 24.7, 25.3, 25.9, 26.5])[0]
    ratio = counts[1:] / counts[:-1]  # the tiers meet at 25.3: counts go on as they did before, by 0.2 to 0.3 dex a magnitude
    assert (ratio > 1.1).all() and (ratio < 1.7).all(), counts


@pytest.mark.parametrize("deep", [False, True])
def test_the_variance_of_a_deep_sky_does_not_tell_the_light(deep):
    """Light that the variance gives back has the image's own noise on it; the plane of a sky as it was has none."""
    sky, k = dataclasses.replace(SKY, deep=deep), hsc.BANDS.index("i")
    image, planes, variance = (plane[:120, :120] for plane in hsc.exposure(sky, TRACT, -1500, 200, 256, 160, "i"))
    light = hsc.model(sky, TRACT, -1500, 200, 256, 160)[k, :120, :120]
    count = 10 ** (-0.4 * (31.4 - hsc.ZERO_POINT))
    told = (variance / count**2 / hsc.sky_sigma("i") ** 2 - 1) * hsc.sky_level("i")
    dim = (light < 1) & (planes & (1 << hsc.MASK_BITS["SAT"]) == 0)
    assert np.std(told[dim]) == pytest.approx(hsc.sky_sigma("i") if deep else np.std(np.maximum(light, 0)[dim]), rel=0.1)
    assert np.corrcoef(told[dim], image[dim])[0, 1] > 0.999 or not deep


def test_a_spectrum_belongs_to_the_object_nearest_to_it():
    import pandas

    found = pandas.DataFrame({"ra": [10.0, 10.0002, 20.0], "dec": [0.0, 0.0, 0.0]})
    specz = pandas.DataFrame({"ra": [10.00015, 9.99995, 20.001], "dec": [0.0, 0.0, 0.0], "specz_redshift": [0.5, 0.7, 0.9]})
    assert objects.redshifts(found, specz, 1.0) == pytest.approx([0.7, 0.5, np.nan], nan_ok=True)
    assert np.isnan(objects.redshifts(found, specz[:0], 1.0)).all()


def test_a_catalogs_ellipse_makes_the_stamp():
    """There and back: moments to ellipse to the moments of the stamp's pixels, less the PSF's."""
    import pandas

    xx, yy, xy = 0.30, 0.16, 0.06
    shape = objects.ellipse(*(np.array([value]) for value in (xx, yy, xy)))
    frame = pandas.DataFrame({"object_id": [7], "ra": [150.4], "dec": [2.6], "is_star": [0], "g_flux": [500.0],
                              "g_flux_err": [5.0], **shape})
    whole = objects.columns(frame, [0.3], ["g", "r"])
    assert whole["snr"][0] == pytest.approx([100.0, 0.0]) and np.isnan(whole["flux"][0, 1])
    columns, stamps = objects.in_tile(whole, grid(x=33.0, y=33.0), 64, [0.7, 0.7], [2.0, 1.0], SCALE)
    x0, y0, light = stamps[0]
    y, x = np.mgrid[y0:y0 + light.shape[0], x0:x0 + light.shape[1]]
    dx, dy = x - columns["x"][0], y - columns["y"][0]
    seen = (0.7 / 2.3548) ** 2
    found = np.array([(light * a).sum() for a in (dx * dx, dy * dy, dx * dy)]) / light.sum() * SCALE**2
    assert light.sum() == pytest.approx(250.0, rel=0.01) and columns["x"][0] == pytest.approx(32.0)
    assert found - [seen, seen, 0] == pytest.approx([xx, yy, xy], abs=0.02)


def test_labels_of_a_tile_without_sources_are_empty_rows():
    nothing = {name: np.zeros((0, 2) if name in ("flux", "snr") else 0) for name in (*labels.COLUMNS, "ra", "dec")}
    rows = labels.rows(3, nothing, [], 10)
    assert all(len(column) == 0 for column in rows.values())
    assert len(labels.together([labels.table(nothing, np.zeros(0, bool), 1, ["g", "r"])])) == 0
    assert not labels.owned([8.4, 55.6, np.nan], [20, 20, 20], [9, 55, 9, 55]).any()


def test_tan_positions_and_pixels_are_inverse():
    frame = grid(10.0, 80.0, 5.5, -3.0)
    x, y = np.array([0.0, 4000.0, -2500.5]), np.array([10.0, -3000.0, 777.0])
    assert np.array(wcs.tan_pixels(*frame, *wcs.tan_position(*frame, x, y))) == pytest.approx(np.array([x, y]), abs=1e-6)


def images(folder, side=220, scale=SCALE, bands="gr", unit="nJy", turn=0.0, spoil=None):
    """FITS of one field with a bump in the middle of the part, and their manifest."""
    from astropy.io import fits

    lines = ["object_id,band,path,zero_point"]
    rng = np.random.default_rng(3)
    for band in bands:
        data = rng.normal(0, 1, (side, side)).astype(np.float32)
        if spoil:
            spoil(band, data)
        cos, sin = np.cos(turn) * scale / 3600, np.sin(turn) * scale / 3600
        head = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.105, "CRVAL2": 2.105,
                            "CRPIX1": side / 2 + 0.3, "CRPIX2": side / 2, "BUNIT": unit, "CD1_1": -cos, "CD1_2": sin,
                            "CD2_1": sin, "CD2_2": cos})
        fits.PrimaryHDU(data, head).writeto(folder / f"{band}.fits", overwrite=True)
        lines.append(f"1,{band},{band}.fits,31.4")
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "manifest.csv"


LOCAL = BLOCK | {"parts": {"training": [150.1015, 150.1085, 2.1015, 2.1085]}, "pixel_scale": SCALE, "psf_size": 5,
                 "identity": "local", "max_failed_fraction": 0.05, "tiles_per_shard": 16}


def fetched(folder, manifest, settings=LOCAL):
    from skyloom.verbs import fetch_scenes

    fetch_scenes.read(settings, "training_000", str(manifest), folder / "out.h5")
    return folder / "out.h5"


def test_local_images_become_tiles_that_fit_together(tmp_path):
    def spoil(band, data):
        data[:, 100] = np.nan if band == "g" else 2.0

    out = fetched(tmp_path, images(tmp_path, spoil=spoil))
    with store.reading(out) as handle:
        found = {name: handle[name][:] for name in handle}
        assert handle.attrs["survey"] == "local" and handle.attrs["bands"] == "g,r"
    assert (found["status"] == 0).all() and len(found["tile_id"]) == 4
    # one pixel of sky in all tiles that show it: the overlaps hold the same numbers
    ra, dec = 150.105, 2.105
    seen = []
    for k in range(4):
        x, y = wcs.tan_pixel(found["crval"][k], found["crpix"][k], found["cd"][k], ra, dec)
        seen.append(found["image"][k, 1, round(y), round(x)])
        assert abs(x - round(x)) == pytest.approx(0.3, abs=0.01) or abs(x - round(x)) == pytest.approx(0.7, abs=0.01)
    assert len(set(seen)) == 1
    assert (found["ivar"][:, 0] == 0).any() and (found["ivar"][:, 1] > 0).all() and np.isfinite(found["image"]).all()


@pytest.mark.parametrize(("how", "words"), [({"scale": 0.2}, ["0.2000 arcsec/px, asked for 0.1680"]), ({"unit": "K"}, ["K"]),
                                            ({"turn": 0.3}, ["17.2 deg off north"])])
def test_local_images_of_another_kind_get_one_sentence(tmp_path, how, words):
    with pytest.raises(InputError) as error:
        fetched(tmp_path, images(tmp_path, **how))
    assert all(word in str(error.value) for word in words), str(error.value)
    assert not (tmp_path / "out.h5").exists()


def test_masked_tiles_and_missing_bands_are_states(tmp_path):
    def spoil(band, data):
        if band == "r":
            data[:, :115] = np.nan

    manifest = images(tmp_path, side=400, spoil=spoil)
    text = (tmp_path / "manifest.csv").read_text(encoding="utf-8")
    manifest.write_text(text + "\n1,z,gone.fits,31.4", encoding="utf-8")
    out = fetched(tmp_path, manifest, LOCAL | {"max_failed_fraction": 0.4})
    with store.reading(out) as handle:
        status, causes = handle["status"][:], handle["cause"].asstr()[:]
    assert (status[:, 2] == 4).all() and all("missing_file" in cause for cause in causes)
    assert (status[:, 0] == 0).all()


def test_settings_of_the_sky_that_are_off_change_no_name():
    """A reply cache made before these options came stays that of the same sky."""
    from skyloom import acquisition

    plain = {"seed": 1, "footprint": [0, 1, 0, 1], "hole_rate": 0.3, "gap_rate": 0.0, "reddening": 0.0}
    assert acquisition.sky_options(plain | {"deep": False, "rubin_depth": "dp1", "faults": [1]}) == plain
    assert acquisition.sky_options(plain | {"deep": True})["deep"] is True
    assert json.loads(json.dumps(plain)) == plain
