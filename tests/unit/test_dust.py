"""Reddening maps: positions, scales, checksums, missing files."""

import numpy as np
import pytest
from astropy.io import fits

from skyloom.archives import dustmaps
from skyloom.archives.http import Client
from skyloom.errors import InputError
from skyloom.measure import dust
from skyloom.sky import dust as galaxy
from skyloom.sky.hsc import Sky
from skyloom.sky.servers import world
from skyloom.surveys import imaging

SKY = Sky(seed=5, footprint=(150.0, 150.2, 2.0, 2.2), reddening=0.05)
RNG = np.random.default_rng(1)
RA, DEC = 360 * RNG.random(400), np.degrees(np.arcsin(2 * RNG.random(400) - 1))


@pytest.fixture(scope="module")
def served():
    with world.server(SKY).running() as server:
        yield world.urls(server.url)["dust"]["url"]


@pytest.mark.parametrize("name", sorted(dustmaps.MAPS))
def test_every_map_gives_the_galaxys_reddening(served, tmp_path, name):
    paths = dustmaps.place(name, Client(rpm=6000), served, tmp_path)
    found = dust.on_sfd_scale(dustmaps.values(name, paths, RA, DEC), dustmaps.MAPS[name].scale)
    truth = galaxy.ebv(SKY.seed, SKY.reddening, RA, DEC)
    assert np.median(np.abs(found / truth - 1)) < 0.05 and np.percentile(np.abs(found / truth - 1), 95) < 0.2


def test_the_factor_086_is_applied_once():
    assert dust.on_true_scale(0.1, "sfd") == pytest.approx(0.086) and dust.on_true_scale(0.1, "true") == pytest.approx(0.1)
    assert dust.on_sfd_scale(0.086, "true") == pytest.approx(0.1)
    # table 6's coefficient belongs to SFD's value as it stands
    coefficient = imaging.REGISTRY["ps1"].extinction["r"]
    assert dust.extinction(0.1, "sfd", coefficient) == pytest.approx(0.2271)
    assert dust.extinction(0.086, "true", coefficient) == pytest.approx(0.2271)
    with pytest.raises(ValueError, match="neither sfd nor true"):
        dust.extinction(0.1, "planck", coefficient)


def test_the_poles_and_the_plane_of_a_zea_map():
    """SFD's own formula: x = sqrt(1 - n sin b) cos(l) scale + centre, y = -n sqrt(1 - n sin b) sin(l) scale + centre."""
    lon, lat = np.array([0.0, 45.0, 133.0, 271.0, 12.0]), np.array([89.9, 60.0, 5.0, 30.0, 45.0])
    for sign in (1, -1):
        body = world.Maps(SKY).answer(_get(f"/dust/SFD_dust_4096_{'ngp' if sign > 0 else 'sgp'}.fits"), None).body
        with fits.open(_file(body)) as hdus:
            header, across = hdus[0].header, hdus[0].data.shape[0]
        ramp = np.tile(np.arange(across, dtype=float), (across, 1))
        r = np.sqrt(1 - np.sin(np.radians(lat))) * header["LAM_SCAL"]
        x, y = r * np.cos(np.radians(lon)), -sign * r * np.sin(np.radians(lon))
        value = dust.zea_value((ramp, header), (ramp, header), lon, sign * lat)
        assert value == pytest.approx(x + (across - 1) / 2, abs=1e-6)
        value = dust.zea_value((ramp.T, header), (ramp.T, header), lon, sign * lat)
        assert value == pytest.approx(y + (across - 1) / 2, abs=1e-6)


def _file(body):
    import io

    return io.BytesIO(body)


def _get(path):
    from skyloom.sky.servers.app import Request

    return Request("GET", path, "", {}, b"")


@pytest.mark.parametrize("nested", [False, True])
def test_healpix_pixels_by_their_centres(nested):
    import astropy.units as u
    from astropy_healpix import HEALPix

    grid = HEALPix(16, order="nested" if nested else "ring")
    lon, lat = grid.healpix_to_lonlat(np.arange(grid.npix))
    assert np.array_equal(dust.healpix_value(np.arange(grid.npix), nested, lon.to_value(u.deg), lat.to_value(u.deg)),
                          np.arange(grid.npix))


def test_a_wrong_checksum_is_one_sentence(served, tmp_path):
    paths = dustmaps.place("csfd", Client(rpm=6000), served, tmp_path)
    with pytest.raises(InputError, match="has the MD5 .* not 31cd2eec51bcb5f106af84a610ced53c; it is not the map csfd"):
        dustmaps.check("csfd", paths)
    assert len(dustmaps.check("csfd", paths, [""])) == 16


def test_a_missing_map_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="needs .*csfd_ebv.fits, which is not there; get it from Chiang 2023"):
        dustmaps.place("csfd", None, "", tmp_path, str(tmp_path))
    with pytest.raises(InputError, match="download SFD_dust_4096_ngp.fits, SFD_dust_4096_sgp.fits .* name the folder"):
        dustmaps.place("sfd", None, "", tmp_path)
    (tmp_path / "mine.fits").write_bytes(b"no fits at all")
    assert dustmaps.place("csfd", None, "", tmp_path, str(tmp_path / "mine.fits")) == [tmp_path / "mine.fits"]
    with pytest.raises(InputError, match="mine.fits is no csfd map"):
        dustmaps.values("csfd", [tmp_path / "mine.fits"], RA, DEC)


def test_dust_dims_each_band_by_its_own_coefficient():
    """The same galaxies with and without dust: the ratio of fluxes is the extinction."""
    from skyloom.sky import population

    pixel = 12345
    for survey in ("hsc", "ps1", "galex", "unwise"):
        part = population.cell(1, population.GALAXY_TIERS[1], pixel)
        clear, dim = (population.light(1, population.GALAXY_TIERS[1], pixel, survey, mean)[1] for mean in (0.0, 0.1))
        ebv = galaxy.ebv(1, 0.1, part["ra"], part["dec"])
        bands = imaging.REGISTRY[survey].extinction
        good = clear > 0
        expected = 10 ** (-0.4 * np.stack([dust.extinction(ebv, "sfd", bands[band]) for band in bands], axis=1))
        assert (dim / np.where(good, clear, 1))[good] == pytest.approx(expected[good], rel=1e-4)
