"""Images of the user's own: what each says of itself is what counts, one bad file costs one stamp, every file is an input."""

import io
import os

import numpy as np
import pandas
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from skyloom import wcs
from skyloom.archives import local, panstarrs, units
from skyloom.archives import manifest as manifests
from skyloom.cutouts.files import Files
from skyloom.cutouts.stamps import STATUS, centred_kernel
from skyloom.errors import InputError, ReplyError
from skyloom.measure import frame, sources
from skyloom.provenance import contents, fingerprint

RA, DEC, SIDE = 150.0, 2.0, 101
SETTINGS = {"size": 41, "pixel_scale": 0.168, "psf_size": 41, "max_masked_fraction": 0.5, "pad": "masked"}
FLUX = 5e4  # nJy
OPTIONS = {"detect_thresh": 3.0, "analysis_thresh": 1.5, "minarea": 5, "deblend_nthresh": 32, "deblend_cont": 0.005,
           "back_size": 64, "back_filtersize": 3, "clean_param": 1.0, "surface_brightness": "calibrated", "sersic": False,
           "sersic_size": 48}


def gaussian(scale, sigma=1.2, matrix=((-1, 0), (0, 1)), stretch=1.0):
    """(nJy a pixel, header) of a source of FLUX at RA, DEC, `sigma` arcsec wide and `stretch` times as long to the north; the
    matrix says where x and y go in (east, north)."""
    cd = np.array(matrix, float) * scale / 3600
    header = WCS(naxis=2)
    header.wcs.ctype, header.wcs.crval, header.wcs.crpix, header.wcs.cd = ["RA---TAN", "DEC--TAN"], [RA, DEC], [51, 51], cd
    y, x = np.mgrid[:SIDE, :SIDE] - 50.0
    east, north = np.einsum("ij,j...->i...", np.array(matrix, float) * scale, np.stack([x, y]))
    light = np.exp(-0.5 * (east**2 + (north / stretch) ** 2) / sigma**2)
    return FLUX * light / light.sum(), header.to_header()


def saved(path, pixels, header=None, zero_point=None, planes=()):
    """A FITS file of an image and other planes (name, pixels); in counts of a zero point, or in nJy."""
    header = (header or fits.Header()).copy()
    counts = pixels if zero_point is None else pixels * 10 ** (-0.4 * (31.4 - zero_point))
    header["BUNIT"] = "nJy" if zero_point is None else "count"
    if zero_point is not None:
        header["MAGZERO"] = zero_point
    hdus = [fits.PrimaryHDU(counts.astype(np.float32), header)]
    hdus += [fits.ImageHDU(np.asarray(plane, np.float32), name=name) for name, plane in planes]
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def listed(tmp_path, rows, name="m.csv"):
    """The manifest of rows, each without what is usual."""
    usual = {"band": "i", "ra": RA, "dec": DEC}
    pandas.DataFrame([usual | {"object_id": k + 1} | row for k, row in enumerate(rows)]).to_csv(tmp_path / name, index=False)
    return tmp_path / name


def stamps(tmp_path, rows, **settings):
    """[(stamp, kernel)] of one band of every row."""
    made = Files(SETTINGS | settings, np.arange(1, len(rows) + 1), str(listed(tmp_path, rows)))
    return [(one[0][0], one[1][0]) for one in (made.stamps(k) for k in range(len(rows)))]


def noisy(pixels, seed=0):
    return pixels + np.random.default_rng(seed).normal(0, 1.0, pixels.shape)


@pytest.mark.parametrize("zero_point", [None, 22.5, 27.0])
def test_each_image_has_its_own_scale_and_zero_point(tmp_path, zero_point):
    """(p) One galaxy in three pixel sizes: the same flux, and the peak surface brightness of its profile in arcsec."""
    rows, scales = [], (0.168, 0.25, 0.6)
    for scale in scales:
        pixels, header = gaussian(scale)
        rows.append({"path": saved(tmp_path / f"{scale}.fits", noisy(pixels), header, zero_point).name})
    made = [stamp for stamp, _ in stamps(tmp_path, rows, size=71)]
    assert [round(stamp.pixel_scale, 4) for stamp in made] == list(scales)
    for stamp in made:
        assert stamp.image[stamp.image > 0].size and stamp.image.sum() == pytest.approx(FLUX, rel=0.02)
        measured = sources.measure(stamp.image, np.zeros(stamp.image.shape, bool), OPTIONS, np.ones((1, 1), np.float32), 31.4,
                                   stamp.pixel_scale)[0]["peak_surface_brightness"]
        assert measured == pytest.approx(31.4 - 2.5 * np.log10(FLUX / (2 * np.pi * 1.2**2)), abs=0.06)


@pytest.mark.parametrize("matrix", [((-1, 0), (0, 1)), ((1, 0), (0, 1)), ((0, 1), (1, 0)), ((0, -1), (-1, 0)),
                                    ((-0.8, 0.6), (0.6, 0.8))])
def test_an_angle_on_the_sky_is_the_same_in_every_orientation(matrix):
    """(p) A galaxy that is long to the north: flipped, turned, tilted pixels say the same."""
    pixels, header = gaussian(0.2, stretch=2.0, matrix=matrix)
    y, x = np.mgrid[:SIDE, :SIDE] - 50.0
    moments = [(pixels * v).sum() / FLUX for v in (x * x, x * y, y * y)]
    theta = 0.5 * np.degrees(np.arctan2(2 * moments[1], moments[0] - moments[2]))
    cd = np.array(matrix, float) * 0.2 / 3600
    turned = float(frame.sky_angle(np.array([theta]), cd[None])[0])
    upright = float(frame.sky_angle(np.array([90.0]), np.diag([-0.2, 0.2])[None] / 3600)[0])
    assert (turned - upright + 90) % 180 == pytest.approx(90, abs=0.1)  # axes, not arrows


def test_pixels_that_are_no_squares_are_flagged():
    """(p)"""
    assert frame.oblong(np.array([np.diag([-1.0, 1.0]), np.diag([-1.0, 1.3]), [[1.0, 0.3], [0.0, 1.0]]])).tolist() == [
        False, True, True]


@pytest.mark.parametrize(("planes", "row", "cause"), [
    ([("VARIANCE", np.ones((SIDE, SIDE)))], {"variance_path": "a.fits"}, ""),
    ([("WHT", np.ones((SIDE, SIDE)))], {"variance_path": "a.fits"}, "no_hdu"),  # weights are no variances
    ([("WHT", np.ones((SIDE, SIDE)))], {"ivar_path": "a.fits"}, ""),
    ([("B", np.ones((SIDE, SIDE))), ("C", np.ones((SIDE, SIDE)))], {"variance_path": "a.fits"}, "no_hdu"),
    ([("B", np.ones((SIDE, SIDE))), ("C", np.ones((SIDE, SIDE)))], {"variance_path": "a.fits", "variance_hdu": "c"}, ""),
    ([("VARIANCE", np.ones((SIDE, SIDE - 1)))], {"variance_path": "a.fits"}, "wrong_shape"),
    ([("MASK", np.zeros((SIDE - 2, SIDE)))], {"mask_path": "a.fits"}, "wrong_shape"),
    ([("MASK", np.zeros((SIDE, SIDE)))], {"mask_path": "a.fits", "mask_hdu": 7}, "no_hdu"),
    ([("MASK", np.zeros((SIDE, SIDE)))], {"mask_path": "a.fits", "mask_hdu": 0}, "no_hdu"),  # the image itself
    ([("PSF", np.ones((1, 1)))], {"psf_path": "none.fits"}, "missing_file")])
def test_planes_are_found_by_number_or_by_what_they_are(tmp_path, planes, row, cause):
    """(q)"""
    pixels, header = gaussian(0.2)
    saved(tmp_path / "a.fits", noisy(pixels), header, planes=planes)
    stamp, _ = stamps(tmp_path, [{"path": "a.fits", **row}])[0]
    assert stamp.status == ("failed" if cause else "ok") and stamp.cause.startswith(cause)
    assert not cause or ".fits" in stamp.cause


def test_a_plane_or_kernel_of_another_scale_is_refused(tmp_path):
    """(q)"""
    pixels, header = gaussian(0.2)
    saved(tmp_path / "a.fits", noisy(pixels), header)
    saved(tmp_path / "v.fits", np.ones((SIDE, SIDE)), gaussian(0.4)[1])
    saved(tmp_path / "p.fits", gaussian(0.4, 0.5)[0], fits.Header({"PIXSCALE": 0.4}))
    for column in ("variance", "psf"):
        row = listed(tmp_path, [{"path": "a.fits", f"{column}_path": f"{column[0]}.fits"}])
        with pytest.raises(ReplyError, match=f"{column} of 0.4000 arcsec/px for an image of 0.2000") as error:
            local.read_image(local.read_manifest(row).to_dict("records")[0], 0.168)
        assert error.value.cause == "wrong_scale"


@pytest.mark.parametrize("side", [25, 40, 41, 64])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, -0.5), (2.3, 1.0)])
def test_kernels_of_any_size_and_parity_are_centred(tmp_path, side, shift):
    """(q) Its centroid within 0.02 px of the central pixel, its sum 1, its width as it was."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    kernel = np.exp(-0.5 * ((x - shift[0]) ** 2 + (y - shift[1]) ** 2) / 2.0**2)
    out = centred_kernel(7 * kernel + 0.0)
    centre = [(out * np.arange(n).reshape([-1, 1] if axis == 0 else [1, -1])).sum() for axis, n in enumerate(out.shape)]
    assert np.abs(np.array(centre) - (np.array(out.shape) - 1) / 2).max() < 0.02 and out.sum() == pytest.approx(1)
    pixels, header = gaussian(0.2)
    saved(tmp_path / "a.fits", noisy(pixels), header, planes=[("PSF", kernel)])
    _, fitted = stamps(tmp_path, [{"path": "a.fits", "psf_path": "a.fits"}])[0]
    assert np.unravel_index(fitted.argmax(), fitted.shape) == (20, 20)
    spread = (fitted * (np.arange(41) - 20.0) ** 2).sum()
    assert spread == pytest.approx(4.0, rel=0.06)


def test_one_bad_file_costs_one_object(tmp_path):
    """(r) Each keeps its name and reason; the others of the shard are what they would be alone."""
    pixels, header = gaussian(0.2)
    good = saved(tmp_path / "good.fits", noisy(pixels), header)
    (tmp_path / "cut.fits").write_bytes(good.read_bytes()[:9000])
    (tmp_path / "page.fits").write_text("<html>not here</html>")
    (tmp_path / "empty.fits").write_bytes(b"")
    for name, change in (("nan", {"CRVAL1": np.nan}), ("zero", {"PC1_1": 0.0, "PC2_2": 0.0}), ("odd", {"CTYPE1": "LINEAR"}),
                         ("far", {"CRVAL2": -60.0})):
        broken = header.copy()
        broken.update({key: value for key, value in change.items() if value == value})
        saved(tmp_path / f"{name}.fits", noisy(pixels), broken)
    text = (tmp_path / "nan.fits").read_bytes().replace(b"CRVAL1  =                150.0", b"CRVAL1  =                  NaN")
    (tmp_path / "nan.fits").write_bytes(text)
    (tmp_path / "folder.fits").mkdir()
    names = ["good", "cut", "page", "empty", "nan", "zero", "odd", "far", "folder", "absent", "good"]
    found = [stamp for stamp, _ in stamps(tmp_path, [{"path": f"{name}.fits"} for name in names])]
    assert [stamp.status for stamp in found] == ["ok", *["failed"] * 9, "ok"] and set(STATUS) >= {"ok", "failed"}
    assert all(f"{name}.fits" in stamp.cause for name, stamp in zip(names[1:-1], found[1:-1], strict=True))
    assert np.array_equal(found[0].image, found[-1].image)


@pytest.mark.parametrize("name", ["with space.fits", "colon: 12:30.fits", "é–ü.fits", "it's \"it\".fits", "a,b;c.fits",
                                  "[1].fits"])
def test_any_name_of_a_file_or_folder(tmp_path, name):
    """(s)"""
    pixels, header = gaussian(0.2)
    saved(tmp_path / name.removesuffix(".fits") / name, noisy(pixels), header)
    path = f"{name.removesuffix('.fits')}/{name}"
    assert stamps(tmp_path, [{"path": path}])[0][0].status == "ok"
    assert manifests.entries(tmp_path / "m.csv")[0]["path"] == str(tmp_path / path)


def test_a_manifest_that_is_a_link_and_one_that_could_mean_two_files(tmp_path):
    """(s) Paths count from where the manifest really lies, else from the link; where both are files it is asked."""
    pixels, header = gaussian(0.2)
    for folder in ("data", "work"):
        (tmp_path / folder).mkdir()
    saved(tmp_path / "data" / "a.fits", noisy(pixels), header)
    saved(tmp_path / "work" / "b.fits", noisy(pixels), header)
    listed(tmp_path / "data", [{"path": "a.fits"}, {"path": "b.fits"}])
    (tmp_path / "work" / "m.csv").symlink_to(tmp_path / "data" / "m.csv")
    found = [row["path"] for row in manifests.entries(tmp_path / "work" / "m.csv")]
    assert found == [str(tmp_path / "data" / "a.fits"), str(tmp_path / "work" / "b.fits")]
    saved(tmp_path / "work" / "a.fits", noisy(pixels, 1), header)
    with pytest.raises(InputError, match="is a link, and `a.fits` is one file beside the link"):
        manifests.entries(tmp_path / "work" / "m.csv")


def test_every_file_of_a_manifest_is_an_input_and_its_content_counts(tmp_path):
    """(s) Variance, mask and PSF too; an image that is edited and gets its old time back; a file that goes."""
    pixels, header = gaussian(0.2)
    for name in ("a", "v", "k", "p", "b"):
        saved(tmp_path / f"{name}.fits", noisy(pixels), header)
    rows = manifests.entries(listed(tmp_path, [{"path": "a.fits", "variance_path": "v.fits", "mask_path": "k.fits",
                                                "psf_path": "p.fits"}, {"path": "b.fits"}]))
    everything = manifests.files(rows, ["all"])["all"]
    assert [os.path.basename(path) for path in everything] == ["a.fits", "b.fits", "k.fits", "p.fits", "v.fits"]
    shards = manifests.files(rows, ["h2_0", "h2_1"])
    assert sorted(path for paths in shards.values() for path in paths) == everything
    memo = tmp_path / "cache" / "contents.json"
    before = contents.state(everything, memo)
    for path in everything:
        os.utime(path)
        assert contents.state(everything, memo) == before  # a touched file holds what it held
        rewritten(path)
        after = contents.state(everything, memo)
        assert after != before
        before = after
    os.unlink(everything[0])
    assert contents.state(everything, memo) != before


def rewritten(path):
    """Change one byte of a file and set its time back."""
    stat, body = os.stat(path), bytearray(open(path, "rb").read())
    body[-2881] ^= 1
    with open(path, "r+b") as handle:
        handle.write(body)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_file_is_read_again_only_when_it_changed(tmp_path, monkeypatch):
    """(s) What is known is kept beside the run, settled files alone; a big file is sampled."""
    read, content = [], contents._content
    monkeypatch.setattr(contents, "_content", lambda path, facts: read.append(path) or content(path, facts))
    paths = [str(tmp_path / name) for name in "ab"]
    for path in paths:
        with open(path, "wb") as handle:
            handle.write(bytes(5000))
    memo = tmp_path / "memo" / "contents.json"
    first = contents.state(paths, memo)
    contents._recalled.cache_clear()
    assert contents.state(paths, memo) == first and read == 2 * paths  # a moment old: it may change within the same tick
    monkeypatch.setattr(contents, "SETTLED", -1.0)
    for again in (3 * paths, 3 * paths):
        contents._recalled.cache_clear()
        assert contents.state(paths, memo) == first and read == again
    monkeypatch.setattr(contents, "BIG", 4000)
    monkeypatch.setattr(contents, "BLOCK", 100)
    rewritten(paths[0])
    contents._recalled.cache_clear()
    assert contents.state(paths, memo) != first and read == [*3 * paths, paths[0]]
    memo.write_text("no json")
    contents._recalled.cache_clear()
    assert len(contents.state(paths, memo)) == len(first)


def test_versions_of_libraries_that_decide_numbers_are_in_the_fingerprint(monkeypatch):
    """(s) Of those that a verb's modules import, and of no other."""
    whole = getattr(fingerprint.fingerprint, "__wrapped__", fingerprint.fingerprint)
    before = {verb: whole(verb) for verb in ("measure", "train", "evaluate")}
    version = fingerprint._version
    monkeypatch.setattr(fingerprint, "_version", lambda name: "0.0.1" if name == "sep" else version(name))
    changed = {verb for verb in before if whole(verb) != before[verb]}
    assert changed == {"measure"}


@pytest.mark.parametrize(("unit", "zero_point"), [
    ("nJy", 31.4), ("uJy", 23.9), ("Jy", 8.9), ("NANOMAGGIES", 22.5), ("maggy", 0.0), ("MJy/sr", 23.967),
    ("uJy / arcsec2", 27.395), ("erg/s/cm2/Hz", -48.6), ("nJy/pixel", 31.4), ("electrons / s", None),
    ("DN/s", None), ("counts", None), ("", None),
    ("vega nanomaggy", None)])
def test_units_bring_their_own_zero_points(unit, zero_point):
    """(p) Counts and Vega's units bring none."""
    found = units.implied(unit, 0.2)
    assert found is None if zero_point is None else found == pytest.approx(zero_point, abs=1e-3)


@pytest.mark.parametrize(("unit", "row", "expected"), [
    ("uJy", {}, 23.9), ("uJy", {"zero_point": 23.9}, 23.9), ("uJy", {"zero_point": 27}, "unit_mismatch"),
    ("uJy", {"zero_point": 27, "unit": "counts"}, 27.0), ("nanomaggy", {"zero_point": 25.199}, 25.199),  # Vega's, as unWISE's
    ("furlong", {"zero_point": 27}, "unknown_unit"), ("furlong", {"zero_point": 27, "unit": "adu/s"}, 27.0),
    ("mjy", {}, "unknown_unit"), ("adu", {}, "no_zero_point"), ("adu", {"zero_point": -99}, "no_zero_point")])
def test_a_unit_and_a_zero_point_must_agree(tmp_path, unit, row, expected):
    """(p)"""
    pixels, header = gaussian(0.2)
    header["BUNIT"] = unit
    fits.writeto(tmp_path / "a.fits", noisy(pixels).astype(np.float32), header)
    stamp = stamps(tmp_path, [{"path": "a.fits", **row}])[0][0]
    if isinstance(expected, float):
        assert stamp.status == "ok" and stamp.zero_point == pytest.approx(expected)
    else:
        assert stamp.status == "failed" and stamp.cause.startswith(f"{expected}: {tmp_path / 'a.fits'}")


@pytest.mark.parametrize("frame", ["icrs", "galactic", "fk4"])
def test_positions_are_found_in_any_frame(tmp_path, frame):
    """(p) An image on galactic or B1950 axes: the target on its pixel, north where it is on the sky."""
    from astropy.coordinates import SkyCoord

    there = SkyCoord(RA, DEC, unit="deg").transform_to(frame).spherical
    pixels, header = gaussian(0.2)
    header["CRVAL1"], header["CRVAL2"] = there.lon.deg, there.lat.deg
    if frame == "galactic":
        header["CTYPE1"], header["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
        del header["RADESYS"]
    if frame == "fk4":
        header["RADESYS"], header["EQUINOX"] = "FK4", 1950.0
    saved(tmp_path / "a.fits", noisy(pixels), header)
    stamp = stamps(tmp_path, [{"path": "a.fits"}])[0][0]
    assert stamp.status == "ok" and np.abs(stamp.offset).max() < 0.02 and stamp.pixel_scale == pytest.approx(0.2, rel=1e-4)
    turn = np.degrees(np.arctan2(stamp.cd[0, 1], stamp.cd[1, 1]))  # where y points, from north to east
    pole = SkyCoord(RA, DEC, unit="deg").transform_to(frame)
    ahead = pole.directional_offset_by(0 * pole.spherical.lon.unit, 1e-3 * pole.spherical.lon.unit)
    assert turn == pytest.approx(SkyCoord(RA, DEC, unit="deg").position_angle(ahead.icrs).wrap_at("180d").deg, abs=0.05)


def test_a_window_of_a_large_image_is_what_the_whole_gives(tmp_path, monkeypatch):
    """(r) Of a mosaic only the surroundings of the target are read; with a variance every stamp is the same to the bit."""
    pixels, header = gaussian(0.2)
    saved(tmp_path / "a.fits", noisy(pixels), header, planes=[("VARIANCE", 1 + pixels / FLUX), ("MASK", pixels > 900)])
    rows = [{"path": "a.fits", "variance_path": "a.fits", "mask_path": "a.fits", "x": x, "y": y}
            for x, y in ((50, 50), (3, 97), (0, 0), (-20, 50), (400, 50))]
    whole = [stamp for stamp, _ in stamps(tmp_path, rows, size=15)]
    monkeypatch.setattr(local, "LARGE", 100)
    monkeypatch.setattr(local, "REACH", 20)
    shapes, read = [], local.imagefiles.Layer.read
    monkeypatch.setattr(local.imagefiles.Layer, "read", lambda self, index=(): shapes.append(read(self, index)) or shapes[-1])
    for one, (other, _) in zip(whole, stamps(tmp_path, rows, size=15), strict=True):
        assert one.status == other.status
        assert one.status == "failed" or all(np.array_equal(getattr(one, name), getattr(other, name))
                                             for name in ("image", "ivar", "mask", "offset"))
    assert max(array.size for array in shapes) <= 60 * 60


@pytest.mark.parametrize(("text", "words"), [
    ("\ufeffobject_id;band;path;zero_point\r\n1;r;a.fits;27.0\r\n", ""),
    ("# object_id\tband\tpath\n# a note\n1\tr\ta.fits\n", ""),
    ('"object_id", "band", "path"\n\n1, r, "a, b.fits"\n', ""), ("object_id,band,path,hdu\n1,r,a.fits,1.0\n", ""),
    ("object_id,band,path\n1,r,a, b.fits\n", "4 values but 3 columns in line 2"), ("", "is empty"),
    ("object_id,band,path\n", "names no image"), ("object_id,band,path\n,r,a.fits\n", "line 2 .* has no `object_id`"),
    ("object_id,band,path,ra\n1,r,a.fits,10:00:00\n", "'10:00:00' as `ra`; give a number in degrees"),
    ("object_id,band,path,pixel_scale\n1,r,a.fits,0\n", "arcsec/px above 0"), ("object_id,band,path,band\n1,r,a,r\n", "twice"),
    ("object_id,band,path,variance_path,ivar_path\n1,r,a,v,i\n", "both `variance_path` and `ivar_path`")])
def test_manifests_as_programs_write_them(tmp_path, text, words):
    """(s)"""
    (tmp_path / "m.csv").write_bytes(text.encode())
    if words:
        with pytest.raises(InputError, match=words):
            manifests.entries(tmp_path / "m.csv")
    else:
        row = manifests.entries(tmp_path / "m.csv")[0]
        assert row["object_id"] == "1" and row["band"] == "r" and row["hdu"] in ("", "1") and row["path"].endswith(".fits")
    (tmp_path / "m.csv").write_bytes("object_id,band,path\n1,r,é.fits\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        manifests.entries(tmp_path / "m.csv")


@pytest.mark.parametrize(("key", "value"), [
    ("CTYPE1", "'RA--TAN '"), ("CRVAL1", "'unknown'"), ("CRVAL2", "NaN"), ("CD1_1", "0.0"), ("CD2_2", "'x'"), ("NAXIS1", "-4"),
    ("NAXIS", "'two'"), ("BITPIX", "7"), ("EXPTIME", "'none'"), ("EXPTIME", "-3.0"), ("EXPTIME", "T"), ("BUNIT", "'furlong'"),
    ("BSOFTEN", "'soft'"), ("CRPIX1", "= ' odd card")])
def test_odd_headers_of_replies_are_bad_replies(key, value):
    """(r) What an archive sends is an object's failure too, whatever is odd in it: here Pan-STARRS', through every reader."""
    head = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": RA, "CRVAL2": DEC, "CRPIX1": 51.0, "CRPIX2": 51.0,
                        "CD1_1": -0.25 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.25 / 3600, "EXPTIME": 30.0,
                        "BUNIT": "counts", "BSOFTEN": 1.0, "BOFFSET": 0.0})
    body = fits.PrimaryHDU(np.ones((101, 101), np.float32), head)
    file = io.BytesIO()
    body.writeto(file)
    file = file.getvalue()
    panstarrs.parse_cutout(file, RA, DEC, 101, "i", 0.25)
    at = next(k for k in range(0, len(file), 80) if file[k:k + 9] == f"{key:8}=".encode())
    broken = file[:at] + f"{key:8}= {value:>20}".ljust(80).encode() + file[at + 80:]
    with pytest.raises(ReplyError):
        panstarrs.parse_cutout(broken, RA, DEC, 101, "i", 0.25)


def test_the_other_half_of_the_sky_is_not_on_the_image():
    """(r) A gnomonic projection mirrors it onto the image, unless somebody asks on which side it lies."""
    cd = np.diag([-0.2, 0.2]) / 3600
    assert wcs.tan_pixel((RA, DEC), (51, 51), cd, RA, DEC) == pytest.approx((50, 50))
    with pytest.raises(ReplyError, match="off_centre"):
        wcs.tan_pixel((RA, DEC), (51, 51), cd, RA + 180, -DEC)
    for check in (lambda: wcs.check_scale(np.full((2, 2), np.nan), 0.2),
                  lambda: wcs.tan_pixel((RA, DEC), (51, 51), 0 * cd, RA, DEC),
                  lambda: wcs.check_centre((np.nan, DEC), (51, 51), cd, RA, DEC, (101, 101))):
        with pytest.raises(ReplyError):
            check()
