"""Images of one's own: each by its own scale, orientation, unit, planes and kernel; a bad one costs its object, an edited one
its stamps."""

import os

import numpy as np
import pandas
import pytest
from astropy.io import fits
from scipy import ndimage

from skyloom import flux, store
from skyloom.archives import imagefiles, local, manifest
from skyloom.cutouts import files
from skyloom.cutouts.stamps import centred_kernel, fit_kernel
from skyloom.errors import InputError, ReplyError, ServiceError
from skyloom.measure import morphology
from skyloom.provenance import fingerprint
from skyloom.verbs import assign_splits, download_cutouts

SKY, FLUX, SIGMA = (150.0, 2.0), 5000.0, (1.2, 0.8)  # deg, nJy, arcsec along the major and the minor axis
SETTINGS = {"size": 21, "pixel_scale": 0.168, "psf_size": 41, "max_masked_fraction": 0.05, "pad": "none", "identity": "own",
            "run": "r", "release": "local", "max_failed_fraction": 1.0}
OPTIONS = {"detect_thresh": 3.0, "analysis_thresh": 1.5, "minarea": 5, "deblend_nthresh": 32, "deblend_cont": 0.005,
           "back_size": 64, "back_filtersize": 3, "clean_param": 1.0, "surface_brightness": "calibrated", "sersic": False,
           "sersic_size": 48}
KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32)


def matrix(scale, turn=0.0, parity=-1):
    """CD matrix in deg/px: east to the left for parity -1, turned by so many degrees."""
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return np.array([[c, -s], [s, c]]) @ np.diag([parity, 1]) * scale / 3600


def header(cd, size=61, **more):
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": SKY[0], "CRVAL2": SKY[1], "CRPIX1": (size + 1) / 2,
             "CRPIX2": (size + 1) / 2, **{f"CD{i + 1}_{j + 1}": cd[i, j] for i in (0, 1) for j in (0, 1)}}
    return fits.Header(cards | more)


def source(cd, zero_point, size=61, angle=30.0):
    """The pixels of one Gaussian source of FLUX whose major axis lies `angle` deg east of north, in counts of a zero point."""
    pixel = np.mgrid[:size, :size][::-1] - (size - 1) / 2
    east, north = np.einsum("ij,jyx->iyx", cd * 3600, pixel)
    a = np.radians(angle)
    along, across = north * np.cos(a) + east * np.sin(a), east * np.cos(a) - north * np.sin(a)
    bright = FLUX / (2 * np.pi * SIGMA[0] * SIGMA[1]) * np.exp(-((along / SIGMA[0]) ** 2 + (across / SIGMA[1]) ** 2) / 2)
    return bright * abs(np.linalg.det(cd)) * 3600**2 / flux.njy_per_count(zero_point)


def put(path, pixels, head=None, *more):
    """A FITS file of an image and of (pixels, header cards) after it."""
    hdus = [fits.PrimaryHDU(np.asarray(pixels, np.float32), head)]
    hdus += [fits.ImageHDU(np.asarray(p, np.float32), fits.Header(cards)) for p, cards in more]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def rows(folder, *given, name="m.csv"):
    """The rows of a manifest, as a mapping each."""
    base = {"object_id": 1, "band": "i", "path": "a.fits", "ra": SKY[0], "dec": SKY[1]}
    pandas.DataFrame([base | {"object_id": k + 1} | row for k, row in enumerate(given)]).to_csv(folder / name, index=False)
    return local.read_manifest(folder / name).to_dict("records")


def stamp(row, size=61):
    return files.stamp_of_file(row, 0.168, size, 0.05, False)


def plain(folder, **more):
    """An image without a WCS, 31 px of noise, and the row of it."""
    put(folder / "a.fits", np.random.default_rng(1).normal(size=(31, 31)))
    return {"x": 15, "y": 15, "zero_point": 27.0, "pixel_scale": 0.2} | more


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
    table = morphology.measure_stamps([(found.image[None], found.ivar[None], found.mask[None] != 0, np.full((1, 9, 9), 1 / 81),
                                        np.array([True]))], OPTIONS, KERNEL, found.pixel_scale, cd=found.cd[None, None])
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
    found, _ = stamp(rows(tmp_path, plain_row() | given)[0], 21)
    assert found.status == "ok" and found.ivar[10, 10] == pytest.approx(1 / variance / flux.njy_per_count(27.0) ** 2)
    assert (found.mask != 0).sum() == 0
    whole = local.read_image(rows(tmp_path, plain_row() | given)[0], 0.2)
    bad = local.calibrated(whole)[2]
    assert bad[3, 4] == ("ivar_path" in given) and bad[2, 6] == ("mask_path" in given)


def plain_row(**more):
    return {"x": 15, "y": 15, "zero_point": 27.0, "pixel_scale": 0.2} | more


@pytest.mark.parametrize(("given", "words"), [
    ({"variance_path": "a.fits"}, "several HDUs called VAR"), ({"variance_path": "a.fits", "variance_hdu": "ERR"}, "sigma"),
    ({"ivar_path": "a.fits", "ivar_hdu": "9"}, "no image HDU 9"), ({"hdu": "SCI"}, "no image HDU SCI"),
    ({"mask_path": "a.fits", "mask_hdu": "0"}, "the image itself"), ({"psf_path": "a.fits", "psf_hdu": "0"}, "the image itself"),
    ({"variance_path": "small.fits"}, "variance of 30x31 px for an image of 31x31 px"),
    ({"mask_path": "wide.fits"}, "mask of 0.4000 arcsec/px"), ({"psf_path": "wide.fits"}, "psf of 0.4000 arcsec/px for an image of 0.2000"),
    ({"psf_path": "cube.fits"}, "3 axes"), ({"psf_path": "none.fits"}, "none.fits")])
def test_a_plane_that_does_not_go_with_its_image_costs_the_object_and_is_named(tmp_path, given, words):
    noisy(tmp_path)
    put(tmp_path / "small.fits", np.ones((31, 30)))
    put(tmp_path / "wide.fits", np.ones((31, 31)), header(matrix(0.4), 31))
    put(tmp_path / "cube.fits", np.ones((2, 31, 31)))
    found, _ = stamp(rows(tmp_path, plain_row() | given)[0], 21)
    assert found.status == "failed" and words in found.cause and ".fits" in found.cause


def test_an_image_is_never_taken_for_its_own_kernel(tmp_path):
    plain(tmp_path)
    os.symlink(tmp_path / "a.fits", tmp_path / "link.fits")
    for name in ("a.fits", "link.fits"):
        found, _ = stamp(rows(tmp_path, plain_row(psf_path=name))[0], 21)
        assert found.status == "failed" and "the image itself" in found.cause


@pytest.mark.parametrize("shape", [(41, 41), (40, 40), (25, 25), (64, 64), (24, 31)])
@pytest.mark.parametrize("shift", [(0, 0), (0.5, -0.3), (4, -3)])
def test_kernels_of_any_size_and_parity_are_centred(tmp_path, shape, shift):
    y, x = np.indices(shape)
    cy, cx = (shape[0] - 1) / 2 + shift[0], (shape[1] - 1) / 2 + shift[1]
    put(tmp_path / "psf.fits", 7 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8) + 0)
    plain(tmp_path)
    found = stamp(rows(tmp_path, plain_row(psf_path="psf.fits"))[0], 21)[1]
    kernel = fit_kernel(centred_kernel(found), 41)
    assert kernel.shape == (41, 41) and kernel.sum() == pytest.approx(1, abs=1e-5)
    core = kernel * (kernel > kernel.max() / 5)
    assert np.allclose(ndimage.center_of_mass(core), 20, atol=0.01)
    assert np.allclose(kernel[20, 18:23], kernel[20, 22:17:-1], rtol=0.02)


@pytest.mark.parametrize("pixels", [np.zeros((9, 9)), np.full((9, 9), np.nan)])
def test_a_kernel_that_is_none_is_told_and_the_stamp_kept(tmp_path, pixels):
    plain(tmp_path)
    put(tmp_path / "psf.fits", pixels)
    found, kernel = stamp(rows(tmp_path, plain_row(psf_path="psf.fits"))[0], 21)
    assert found.status == "ok" and kernel is None and "psf.fits" in found.cause


# r: a bad file costs one object

def cutouts(folder, ids, **settings):
    """({id: (status, cause)} of a shard's stamps, members) as the verb writes them."""
    frame = pandas.DataFrame({"object_id": np.array(ids, np.int64)})
    store.write_parquet(folder / "members.parquet", frame, {})
    download_cutouts.read(SETTINGS | settings, folder / "members.parquet", "own", str(folder / "m.csv"), folder / "out.h5")
    with store.reading(folder / "out.h5") as handle:
        causes = store.column(handle, "cause")
        return {k: (int(s), c) for k, s, c in zip(ids, handle["status"][:, 0], causes, strict=True)}, frame


def raw_card(path, key, value):
    """Set a card to bytes that astropy wouldn't write."""
    body = path.read_bytes()
    at = body.index(f"{key:<8}=".encode())
    path.write_bytes(body[:at] + f"{key:<8}= {value:>20}".ljust(80).encode() + body[at + 80:])


def broken(folder):
    """Files that can't be used, one a fault."""
    cd, sip = matrix(0.2), {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 0.5,
                            "B_0_2": 0.5, "CRVAL1": SKY[0] + 0.5}
    heads = {"cdelt": header(cd * 0), "sip": header(cd, **sip), "twice": header(cd, CTYPE2="RA---TAN"),
             "linear": header(cd, CTYPE1="LINEAR", CTYPE2="LINEAR"), "scaleless": header(cd * 0),
             "behind": header(cd, CRVAL1=SKY[0] + 180, CRVAL2=-2.0),
             "off": header(cd, CRVAL1=SKY[0] + 0.1), "zp": header(cd, ZP="unknown"), "unit": header(cd, BUNIT="bananas"),
             "units": header(cd, BUNIT="nJy", ZP=27.0), "nan": header(cd), "crval": header(cd)}
    for name, head in heads.items():
        put(folder / f"{name}.fits", source(cd, 27.0) + 1, head)
    for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        fits.delval(folder / "scaleless.fits", key)
    raw_card(folder / "nan.fits", "CD1_1", "NaN")
    raw_card(folder / "crval.fits", "CRVAL1", "1.5.0.2")
    body = (folder / "good.fits").read_bytes()
    (folder / "cut.fits").write_bytes(body[:6000])
    (folder / "head.fits").write_bytes(body[:800])
    (folder / "page.fits").write_text("<html>not found</html>", encoding="utf-8")
    (folder / "empty.fits").write_bytes(b"")
    (folder / "folder.fits").mkdir()
    (folder / "loop.fits").symlink_to("loop.fits")
    (folder / "half.npz").write_bytes(b"PK\x03\x04half")
    np.savez(folder / "objects.npz", image=np.array([[{}, 1]], object))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])]).writeto(
        folder / "table.fits")
    return [*(f"{name}.fits" for name in heads), "cut.fits", "head.fits", "page.fits", "empty.fits", "folder.fits", "loop.fits",
            "half.npz", "objects.npz", "table.fits", "absent.fits"]


def test_a_bad_file_costs_its_object_alone_and_the_cause_names_it(tmp_path):
    put(tmp_path / "good.fits", source(matrix(0.2), 27.0) + 1, header(matrix(0.2), ZP=27.0))
    names = broken(tmp_path)
    given = [{"path": name, "zero_point": "" if name in ("zp.fits", "units.fits") else 27.0} for name in names]
    rows(tmp_path, {"path": "good.fits"}, *given, {"path": "good.fits"})
    found, _ = cutouts(tmp_path, list(range(1, len(names) + 3)))
    assert found[1] == found[len(names) + 2] == (0, "")
    for k, name in enumerate(names):
        status, cause = found[k + 2]
        assert status == 4 and name in cause and len(cause) < 500, (name, status, cause)


@pytest.mark.parametrize("column", ["variance_path", "ivar_path", "mask_path", "psf_path"])
def test_a_bad_plane_costs_its_object_alone_too(tmp_path, column):
    put(tmp_path / "good.fits", source(matrix(0.2), 27.0) + 1, header(matrix(0.2), ZP=27.0))
    names = [name for name in broken(tmp_path) if name[:3] in ("cut", "hea", "pag", "emp", "fol", "loo", "hal", "obj", "tab", "abs")]
    rows(tmp_path, {"path": "good.fits"}, *({"path": "good.fits", column: name} for name in names))
    found, _ = cutouts(tmp_path, list(range(1, len(names) + 2)))
    assert found[1] == (0, "")
    assert all(found[k + 2][0] == 4 and name in found[k + 2][1] for k, name in enumerate(names)), found


def test_too_many_failures_stop_the_shard_with_the_first_file(tmp_path):
    put(tmp_path / "good.fits", source(matrix(0.2), 27.0) + 1, header(matrix(0.2), ZP=27.0))
    rows(tmp_path, {"path": "good.fits"}, {"path": "absent.fits"}, {"path": "good.fits"})
    with pytest.raises(ServiceError, match=r"1 of 3 stamps failed.*absent\.fits"):
        cutouts(tmp_path, [1, 2, 3], max_failed_fraction=0.05)
    assert not (tmp_path / "out.h5").exists()


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
    found = local.read_image(rows(tmp_path, plain_row(path=name, x=30, y=30))[0], 0.2)
    assert np.array_equal(found.image[1:], pixels[1:].astype(np.float32)) and found.bad[0, 0] == (form == "blank")


# s: links, names, contents, versions

@pytest.mark.parametrize("name", ["my data", "2026-11-27T12:00", "données", "o'brien \"x\"", "a;b {c} $HOME %s #1", "[1]*?"])
def test_any_name_of_folder_and_file_works(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    put(folder / f"{name}.fits", source(matrix(0.2), 27.0), header(matrix(0.2)))
    put(folder / f"{name} psf.fits", np.ones((5, 5)))
    row = rows(folder, {"path": f"{name}.fits", "psf_path": f"{name} psf.fits", "zero_point": 27}, name=f"{name}.csv")[0]
    found, kernel = stamp(row)
    assert found.status == "ok" and kernel.shape == (5, 5)
    entries = manifest.entries(folder / f"{name}.csv")
    assert manifest.files(entries, ["h1_0"])["h1_0"] == sorted(str(folder / f"{name}{end}.fits") for end in ("", " psf"))


def test_a_linked_manifest_finds_its_images_where_it_lies_or_where_the_link_does(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    put(tmp_path / "there" / "a.fits", np.ones((9, 9)))
    put(tmp_path / "here" / "b.fits", np.ones((9, 9)))
    rows(tmp_path / "there", {}, {"path": "b.fits"}, {"path": "absent.fits"})
    link = tmp_path / "here" / "m.csv"
    link.symlink_to("../there/m.csv")
    found = [os.path.relpath(row["path"], tmp_path) for row in manifest.entries(link)]
    assert found == ["there/a.fits", "here/b.fits", "there/absent.fits"]
    put(tmp_path / "here" / "a.fits", np.zeros((9, 9)))
    with pytest.raises(InputError, match=r"`a\.fits` is one file beside the link"):
        manifest.entries(link)


def test_every_file_that_a_shard_reads_is_its_own_and_no_other_shards(tmp_path):
    kinds = ("path", "variance_path", "mask_path", "psf_path")
    given = [{column: f"{column}{k}.fits" for column in kinds} for k in range(12)]
    given[0]["ivar_path"], given[0]["variance_path"] = "ivar0.fits", ""
    rows(tmp_path, *given)
    entries = manifest.entries(tmp_path / "m.csv")
    found = manifest.files(entries, ["h3_0", "h3_1", "h3_2", "all"])
    every = sorted(str(tmp_path / name) for row in given for name in row.values() if name)
    assert found["all"] == every == sorted(sum((found[f"h3_{k}"] for k in range(3)), [])) and len(every) == 48


@pytest.mark.parametrize("large", [False, True])
def test_an_edit_changes_the_content_though_size_and_time_are_set_back(tmp_path, large, monkeypatch):
    path = put(tmp_path / "a.fits", np.ones((9, 9)))
    before, stat = manifest.content([str(path)]), path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    assert manifest.content([str(path)]) == before  # a touch is no edit
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    put(path, np.full((9, 9), 2))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size and path.stat().st_mtime_ns == stat.st_mtime_ns
    after = manifest.content([str(path)])
    assert after != before
    path.unlink()
    assert manifest.content([str(path)]) not in (before, after)


@pytest.mark.parametrize(("verb", "library"), [("measure", "sep"), ("measure", "torch"), ("download-cutouts", "astropy"),
                                               ("measure", "numpy"), ("download-cutouts", "scipy"), ("train", "torch")])
def test_another_version_of_a_library_that_decides_numbers_is_another_code(verb, library, monkeypatch):
    make, known = fingerprint.fingerprint.__wrapped__, fingerprint._version
    before = make(verb)
    monkeypatch.setattr(fingerprint, "_version", lambda name: known(name) + ".1" * (name == library))
    assert make(verb) != before
