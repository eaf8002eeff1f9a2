"""Real pixels of many surveys and recorded replies through the same parsers as downloads."""

import json
import warnings

import numpy as np
import pandas
import pytest

from skyloom import flux, wcs
from skyloom.archives import local, skyserver
from skyloom.archives import panstarrs as ps1
from skyloom.cutouts import files
from skyloom.cutouts.stamps import calibrated
from skyloom.errors import ReplyError
from skyloom.sky import seds

pytestmark = pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")
HOST = 27.95200, 0.26348  # the hostphot galaxy
AB = {"2MASS_J": 0.91, "2MASS_H": 1.39, "2MASS_K": 1.85, "WISE_W1": 2.699, "WISE_W2": 3.339}  # AB minus Vega


def aperture(image, x, y, scale, radius, sky_from):
    """AB magnitude of an nJy image in `radius` arcsec after the median beyond `sky_from` arcsec."""
    yy, xx = np.mgrid[:image.shape[0], :image.shape[1]]
    r = np.hypot(xx - x, yy - y) * scale
    sky = np.median(image[r > sky_from])
    return float(flux.magnitude((image[r < radius] - sky).sum()))


def rows(tmp_path, *entries):
    """Manifest rows as `archive: local` reads them."""
    pandas.DataFrame(entries).to_csv(tmp_path / "manifest.csv", index=False)
    return local.read_manifest(tmp_path / "manifest.csv").to_dict("records")


def colour_term(band, ps1_g_r):
    """DECam minus PS1 magnitude of CWW galaxies as red as g - r, from speclite's filter curves."""
    terms = []
    for log_f in seds.templates()[:4]:
        f = np.exp(log_f)
        mags = {name: _synthetic(f, name) for name in ("panstarrs-g", "panstarrs-r", f"panstarrs-{band}", f"decam2014-{band}")}
        terms.append((mags["panstarrs-g"] - mags["panstarrs-r"], mags[f"decam2014-{band}"] - mags[f"panstarrs-{band}"]))
    terms.sort()
    return float(np.interp(ps1_g_r, *np.array(terms).T))


def _synthetic(f_lambda, name):
    wave, response = seds.filter_curve(name)
    f = np.interp(wave, seds.WAVE, f_lambda)
    return -2.5 * np.log10(np.trapezoid(f * wave * response, wave) / np.trapezoid(response / wave, wave))


def ps1_magnitudes(data, radius=10.0):
    out = {}
    for band in "griz":
        body = (data / "B_images" / "hostphot_SN2006bh" / f"PS1_{band}.fits").read_bytes()
        plane = ps1.parse_cutout(body, *HOST, 240, band, 0.25)
        x, y = wcs.tan_pixel(plane.crval, plane.crpix, plane.cd, *HOST)
        out[band] = aperture(calibrated(plane)[0], x, y, 0.25, radius, 25)
    return out


def test_one_galaxy_has_the_same_magnitudes_in_ps1_and_des(data, tmp_path):
    """PS1 by its EXPTIME, DES by its MAGZERO, through their own parsers: within 0.1 mag after colour terms."""
    ours = ps1_magnitudes(data)
    folder = data / "B_images" / "hostphot_SN2006bh"
    for row in rows(tmp_path, *({"object_id": 1, "band": band, "path": folder / f"DES_{band}.fits", "ra": HOST[0],
                                 "dec": HOST[1]} for band in "griz")):
        image = local.read_image(row, 0.263)
        assert image.zero_point == 30.0
        des = aperture(local.calibrated(image)[0], image.x, image.y, 0.263, 10.0, 25)
        band = row["band"]
        assert des - ours[band] == pytest.approx(colour_term(band, ours["g"] - ours["r"]), abs=0.1), band


def test_ps1_without_its_exposure_time_would_be_seven_magnitudes_off(data):
    body = (data / "B_images" / "hostphot_SN2006bh" / "PS1_r.fits").read_bytes()
    assert ps1.parse_cutout(body, *HOST, 240, "r", 0.25).zero_point == pytest.approx(25 + 2.5 * np.log10(720))
    with pytest.raises(ReplyError, match="wrong_band"):
        ps1.parse_cutout(body, *HOST, 240, "g", 0.25)
    with pytest.raises(ReplyError, match="off_centre"):
        ps1.parse_cutout(body, HOST[0] + 1 / 3600, HOST[1], 240, "r", 0.25)
    with pytest.raises(ReplyError, match="wrong_size"):
        ps1.parse_cutout(body, *HOST, 170, "r", 0.25)
    with pytest.raises(ReplyError, match="no_zero_point"):
        ps1.parse_cutout(body.replace(b"EXPTIME ", b"EXPTIMX "), *HOST, 240, "r", 0.25)


def test_the_sdss_image_of_that_galaxy_is_off_and_said_to_be(data, tmp_path):
    """Its WCS is a tenth of a degree off (see the manifest of the data): the position isn't on it, so the stamp fails."""
    row = rows(tmp_path, {"object_id": 1, "band": "r", "path": data / "B_images" / "hostphot_SN2006bh" / "SDSS_r.fits",
                          "ra": HOST[0], "dec": HOST[1], "zero_point": 22.5})[0]
    stamp, _ = files.stamp_of_file(row, 0.396, 64, 0.05, False)
    assert stamp.status == "failed" and stamp.cause.startswith("off_centre")


def test_four_gama_galaxies_agree_between_kids_and_sdss(data, tmp_path):
    """r in the same 4 arcsec; both in maggies (zero point 0)."""
    differences = []
    for folder in sorted((data / "B_images" / "gama_kids_sdss").iterdir()):
        mags = []
        for survey, scale in (("KiDS", 0.2), ("SDSS", 0.339)):
            path = folder / f"{survey}_fitim.fits"
            row = rows(tmp_path, {"object_id": 1, "band": "r", "path": path, "zero_point": 0.0, "x": 0, "y": 0,
                                  "pixel_scale": scale})[0]
            image = local.read_image(row, 1.0)
            njy = local.calibrated(image)[0]
            y, x = np.unravel_index(np.argmax(_smooth(njy) * _window(njy.shape)), njy.shape)
            mags.append(aperture(njy, x, y, scale, 4.0, 13))
        differences.append(mags[0] - mags[1])
    assert len(differences) == 4 and np.max(np.abs(differences)) < 0.15


def _smooth(image):
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, 3)


def _window(shape):
    y, x = np.mgrid[:shape[0], :shape[1]]
    return np.hypot(y - shape[0] / 2, x - shape[1] / 2) < min(shape) / 4


def test_blast_hosts_from_the_ultraviolet_to_the_infrared(data, tmp_path):
    """SN 2010H's host: every survey in its own WCS and zero point; the SED is smooth and peaks in the near infrared."""
    folder = data / "B_images" / "blast_hosts" / "2010H"
    entries = [("GALEX", "GALEX_FUV", 18.82, 1.5), ("GALEX", "GALEX_NUV", 20.08, 1.5), ("SDSS", "SDSS_u", 22.5, 0.396),
               ("SDSS", "SDSS_r", 22.5, 0.396), ("SDSS", "SDSS_i", 22.5, 0.396), ("SDSS", "SDSS_z", 22.5, 0.396),
               ("2MASS", "2MASS_J", 20.8058, 1.0), ("2MASS", "2MASS_H", 20.4185, 1.0), ("2MASS", "2MASS_K", 19.9023, 1.0),
               ("WISE", "WISE_W1", 20.5, 1.375), ("WISE", "WISE_W2", 19.5, 1.375)]
    centre = _centre(folder / "SDSS" / "SDSS_r.fits")
    found = {}
    for row in rows(tmp_path, *({"object_id": 1, "band": name, "path": folder / where / f"{name}.fits", "ra": centre[0],
                                 "dec": centre[1], "zero_point": zero + AB.get(name, 0.0)} for where, name, zero, _ in entries)):
        image = local.read_image(row, 1.0)
        scale = next(s for _, name, _, s in entries if name == row["band"])
        assert image.pixel_scale == pytest.approx(scale, rel=0.02)
        found[row["band"]] = aperture(local.calibrated(image)[0], image.x, image.y, image.pixel_scale, 12.0, 30)
    assert all(np.isfinite(value) for value in found.values()), found
    optical = [found[f"SDSS_{band}"] for band in "uriz"]
    assert optical == sorted(optical, reverse=True) and found["GALEX_NUV"] > found["SDSS_u"] - 0.3
    assert abs(found["2MASS_J"] - found["SDSS_z"]) < 1 and abs(found["2MASS_H"] - found["2MASS_J"]) < 0.6
    assert 0 < found["WISE_W1"] - found["2MASS_K"] < 1.5 and abs(found["WISE_W2"] - found["WISE_W1"]) < 1.2


def _centre(path):
    from astropy.io import fits
    from astropy.wcs import WCS

    with fits.open(path) as hdus, warnings.catch_warnings(action="ignore"):
        ny, nx = hdus[0].data.shape
        ra, dec = WCS(hdus[0].header).all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
    return float(ra), float(dec)


def test_the_hsc_cube_of_a_zcosmos_galaxy(data, tmp_path):
    """No zero point in its header: 27 is assumed. i in 2 arcsec against zCOSMOS's selection magnitude 18.75."""
    path = data / "B_images" / "hsc_cosmos_real" / "hsc_ra150.24071_dec2.06514.fits"
    match = pandas.read_csv(data / "B_images" / "hsc_real_specz_match.csv").iloc[0]
    place = {"object_id": 817903, "band": "i", "path": path, "plane": 2, "x": match["x_pix0"], "y": match["y_pix0"]}
    with pytest.raises(ReplyError, match="no_zero_point"):
        local.read_image(rows(tmp_path, place)[0], 0.168)
    image = local.read_image(rows(tmp_path, place | {"zero_point": 27.0})[0], 0.168)
    y, x = np.mgrid[:54, :54]
    inside = np.hypot(x - image.x, y - image.y) * 0.168 < 2.0
    assert flux.magnitude(local.calibrated(image)[0][inside].sum()) == pytest.approx(match["mag_sel"], abs=0.2)


def test_unwise_pixels_in_vega_nanomaggies(data, tmp_path):
    path = next((data / "B_images" / "legacysurvey" / "testcase12").rglob("unwise-*-w1-img-m.fits"))
    row = rows(tmp_path, {"object_id": 1, "band": "w1", "path": path, "zero_point": 22.5 + 2.699, "x": 5, "y": 5})[0]
    image = local.read_image(row, 2.75)
    assert image.pixel_scale == pytest.approx(2.75, rel=1e-3)
    njy, ivar, _ = local.calibrated(image)
    assert njy.sum() == pytest.approx(image.image.sum() * 10 ** (0.4 * (31.4 - 25.199)), rel=1e-5) and (ivar > 0).all()


def test_recorded_skyserver_replies(data):
    folder = data / "C_responses" / "astroquery" / "sdss"
    table = skyserver.parse((folder / "xid_sp.txt").read_text())
    assert len(table) > 0 and table["specobjid"].dtype.kind == "u" and table["z"].between(-0.01, 1).all()


def test_recorded_votables(data):
    import io

    from astropy.io.votable import parse

    folder = data / "C_responses" / "astroquery" / "vizier"
    table = parse(io.BytesIO((folder / "kang2010.xml").read_bytes())).get_first_table().to_table()
    assert len(table) > 0


def test_recorded_panstarrs_columns(data):
    columns = json.loads((data / "C_responses" / "astroquery" / "mast" / "panstarrs.json").read_text())
    assert {"info", "data"} <= set(columns)
