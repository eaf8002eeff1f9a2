"""The Pan-STARRS1 and viewer emulators, asked by hand as the protocol reference says, and the pixels they serve."""

import io

import numpy as np
import pytest
import requests
from astropy.io import fits

from skyloom.sky import coadds, panstarrs, population
from skyloom.sky.servers import world

RA, DEC = 150.1, 2.1


@pytest.fixture(scope="module")
def archives(sky):
    with world.server(sky).running() as server:
        yield world.urls(server.url)


def listed(archives, positions, **fields):
    files = {"file": ("positions.txt", "\n".join(f"{ra} {dec}" for ra, dec in positions))}
    return requests.post(archives["ps1"]["filenames_url"], data=fields, files=files, timeout=60)


def test_the_file_list_has_the_exact_header_and_rows_in_input_order(archives):
    reply = listed(archives, [(150.2, 2.0), (RA, DEC)], type="stack")
    lines = reply.text.splitlines()
    assert lines[0] == "projcell subcell ra dec filter mjd type filename shortname badflag"
    rows = [line.split() for line in lines[1:]]
    positions = [float(row[2]) for row in rows]
    assert positions == sorted(positions, reverse=True) and set(positions) == {150.2, RA}
    assert {row[4] for row in rows} <= set("grizy") and all(row[6] == "stack" and len(row) == 10 for row in rows)
    assert rows[0][7].startswith(f"/rings.v3.skycell/{rows[0][0]}/{rows[0][1]}/rings.v3.skycell.")


def test_positions_without_data_give_no_rows(archives):
    reply = listed(archives, [(10.0, -45.0)])
    assert reply.status_code == 200 and len(reply.text.splitlines()) == 1


def test_single_positions_and_weights_are_listed_too(archives):
    query = {"ra": RA, "dec": DEC, "filters": "r", "type": "stack,stack.wt"}
    lines = requests.get(archives["ps1"]["filenames_url"], params=query, timeout=60).text.splitlines()
    assert [line.split()[6] for line in lines[1:]] == ["stack", "stack.wt"]


def ps1_cutout(archives, ra, dec, band="r", size=170, **query):
    row = next(r.split() for r in listed(archives, [(ra, dec)]).text.splitlines()[1:] if r.split()[4] == band)
    return requests.get(archives["ps1"]["fitscut_url"], timeout=60,
                        params={"ra": ra, "dec": dec, "size": size, "format": "fits", "red": row[7]} | query)


def test_fitscut_gives_linear_counts_with_the_old_pc_keywords(archives):
    with fits.open(io.BytesIO(ps1_cutout(archives, RA, DEC).content)) as hdus:
        head, image = hdus[0].header, hdus[0].data
    assert len(hdus) == 1 and image.shape == (170, 170) and image.dtype == ">f4"
    assert head["PC001001"] == -1 and head["RADESYS"] == "FK5" and head["CDELT1"] == pytest.approx(0.25 / 3600)
    assert head["EXPTIME"] > 100 and "BSOFTEN" not in head


def bright_star(sky, low, high):
    """A lonely star of an i magnitude range."""
    field = population.in_region(sky.seed, (150.02, 150.28, 2.02, 2.28), (population.STARS,))
    for k in np.flatnonzero((field["i"] > low) & (field["i"] < high)):
        near = population.near(sky.seed, field["ra"][k], field["dec"][k], 6)
        apart = np.hypot((near["ra"] - field["ra"][k]) * 3600, (near["dec"] - field["dec"][k]) * 3600)
        if np.sum((apart < 8) & (near["i"] < field["i"][k] + 4)) == 1:
            return field["ra"][k], field["dec"][k], field["disc"][k]
    raise AssertionError("no lonely star in the field")


def test_a_stars_ps1_flux_is_the_skys_by_exptime(archives, sky):
    ra, dec, flux = bright_star(sky, 17.5, 19.0)
    with fits.open(io.BytesIO(ps1_cutout(archives, ra, dec, "i").content)) as hdus:
        head, image = hdus[0].header, np.nan_to_num(hdus[0].data)
    y, x = np.mgrid[:170, :170] - 84.5
    counts = image[np.hypot(x, y) < 20].sum()
    measured = 25 + 2.5 * np.log10(head["EXPTIME"]) - 2.5 * np.log10(counts)
    assert measured == pytest.approx(31.4 - 2.5 * np.log10(flux[2]), abs=0.05)


def test_beyond_a_skycells_edge_there_is_nan(archives, sky):
    cell, skycell = panstarrs.cell_of(RA, DEC)
    image, variance = panstarrs.stack(sky, cell, DEC, skycell, "r", -50, 3000, 100)
    assert np.isnan(image[:, :50]).all() and np.isnan(variance[:, :50]).all() and np.isfinite(image[:, 60:]).mean() > 0.9


def test_overlapping_ps1_windows_are_bit_equal(sky):
    cell, skycell = panstarrs.cell_of(RA, DEC)
    a, _ = panstarrs.stack(sky, cell, DEC, skycell, "i", 2000, 3000, 120)
    b, _ = panstarrs.stack(sky, cell, DEC, skycell, "i", 2040, 3010, 120)
    assert np.array_equal(a[10:, 40:], b[:110, :80], equal_nan=True)


def viewer(archives, **query):
    return requests.get(archives["viewer"]["url"], params=query, timeout=60)


@pytest.mark.parametrize(("layer", "scale", "bands", "survey"),
                         [("galex", 1.5, "nf", "GALEX"), ("unwise-neo7", 2.75, "12", "unWISE")])
def test_the_viewers_cube_and_header(archives, layer, scale, bands, survey):
    reply = viewer(archives, ra=RA, dec=DEC, layer=layer, size=32, pixscale=scale, bands=bands, invvar=1)
    assert reply.headers["Content-Disposition"] == 'attachment; filename="cutout_150.1000_2.1000.fits"'
    with fits.open(io.BytesIO(reply.content)) as hdus:
        head = hdus[0].header
        assert hdus[0].data.shape == (2, 32, 32) and hdus[1].header["IMAGETYP"] == "INVVAR"
        assert (head["SURVEY"], head["BANDS"], head["BAND0"], head["BAND1"]) == (survey, bands, *bands)
        assert (head["CRVAL1"], head["CRVAL2"], head["CRPIX1"], head["CD2_2"]) == (RA, DEC, 16.5, pytest.approx(scale / 3600))


def test_bands_are_read_one_character_at_a_time(archives):
    def planes(bands):
        with fits.open(io.BytesIO(viewer(archives, ra=RA, dec=DEC, layer="unwise-neo7", size=8, bands=bands).content)) as hdus:
            return hdus[0].data, hdus[0].header["BANDS"]

    both, order = planes("12")
    assert order == "12"
    assert np.array_equal(planes("21")[0], both[::-1]) and np.array_equal(planes("2")[0], both[1])
    assert planes("w1w2")[1] == "12"  # not understood: all bands, silently


@pytest.mark.parametrize(("query", "status", "body"), [
    ({"dec": 2, "layer": "galex"}, 400, "Need ra,dec keywords"), ({"ra": "x", "dec": 2}, 400, "Need ra,dec keywords"),
    ({"ra": 1, "dec": 2, "layer": "ls-dr99"}, 200, "no such layer"),
    ({"ra": 1, "dec": 2, "layer": "galex", "size": "big"}, 500, "Error")])
def test_the_viewers_odd_answers(archives, query, status, body):
    reply = viewer(archives, **query)
    assert reply.status_code == status and body in reply.text


def test_off_the_native_scale_flux_is_not_conserved(sky):
    """Values are interpolated: a sum over the same sky grows with the square of the scales' ratio."""
    ra, dec, _ = bright_star(sky, 14.5, 17.5)
    native, _ = coadds.cutout(sky, coadds.UNWISE, ra, dec, 32, 32, 2.75, (0,))
    fine, _ = coadds.cutout(sky, coadds.UNWISE, ra, dec, 60, 60, 1.5, (0,))
    inner = np.hypot(*(np.mgrid[:32, :32] - 15.5)) * 2.75 < 15, np.hypot(*(np.mgrid[:60, :60] - 29.5)) * 1.5 < 15
    assert fine[0][inner[1]].sum() / native[0][inner[0]].sum() == pytest.approx((2.75 / 1.5) ** 2, rel=0.1)


def test_where_galex_never_looked_there_are_zeros_for_each_band_alone(sky):
    nothing, some = [], []
    for number in range(120, 160):
        tile = (92, number)
        seen = [bool(seconds) for seconds in coadds.exposures(sky, coadds.GALEX, tile)]
        cube, _ = coadds.cutout(sky, coadds.GALEX, *coadds.tile_centre(coadds.GALEX, tile), 4, 4, 1.5, (0, 1))
        assert [bool(plane.any()) for plane in cube] == seen
        nothing.append(not any(seen))
        some.append(seen == [True, False])
    assert any(nothing) and any(some)
    corner, _ = coadds.cutout(sky, coadds.GALEX, *_corner(), 4, 4, 1.5, (0, 1))
    assert not corner.any()  # between the round fields


def _corner():
    """A position near the corner of four tiles, outside every circle."""
    for number in range(120, 160):
        ra, dec = coadds.tile_centre(coadds.GALEX, (92, number))
        ra, dec = ra + 0.5, dec + 0.5
        centres = [coadds.tile_centre(coadds.GALEX, tile) for tile in coadds.tiles_at(coadds.GALEX, ra, dec, 0.1)]
        if min(np.hypot((a - ra) * np.cos(np.radians(dec)), d - dec) for a, d in centres) > 0.62:
            return ra, dec
    raise AssertionError("every corner is covered")
