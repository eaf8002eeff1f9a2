"""Pan-STARRS1's file list: rows find the positions that were asked for, however the archive prints them."""

import numpy as np
import pytest
from astropy.io import fits

from skyloom.archives import panstarrs as ps1
from skyloom.errors import ReplyError

HEADER = "projcell subcell ra dec filter mjd type filename shortname badflag"


def listed(positions, form="{:.10f}"):
    lines = [f"1360 059 {form.format(ra)} {form.format(dec)} g 0.0 stack /{k}.fits {k}.fits 0"
             for k, (ra, dec) in enumerate(positions)]
    return ps1.parse_list("\n".join([HEADER, *reversed(lines)]))


def names(found):
    return [[row["filename"] for row in rows] for rows in found]


@pytest.mark.parametrize("form", ["{:.10f}", "{:.6f}", "{:.5f}", "{:.4f}", "{:.8g}"])
def test_an_echo_that_is_rounded_is_the_position(form):
    asked = [(150.123455, 2.123455), (359.9999999, -0.0000049), (0.0000001, 0.00001), (10.0, 89.99999), (200.0, -29.123465)]
    found = names(ps1.by_position(listed(asked, form), asked))
    assert all(f"/{k}.fits" in rows for k, rows in enumerate(found) if k not in (1, 2))
    assert set(found[1] + found[2]) <= {"/1.fits", "/2.fits"} and found[1] and found[2]  # 0.04 arcsec apart


@pytest.mark.parametrize(("asked", "echo"), [((359.99999999, 1.0), (0.0, 1.0)), ((-0.001, 1.0), (359.999, 1.0)),
                                             ((360.5, 1.0), (0.5, 1.0)), ((10.0, 90.0), (250.0, 90.0))])
def test_right_ascension_runs_round(asked, echo):
    assert names(ps1.by_position(listed([echo]), [asked])) == [["/0.fits"]]


def test_a_position_takes_its_own_rows_and_none_of_a_neighbour():
    asked = [(150.0, 2.0), (150.0, 2.0 + 3 / 3600), (150.0, 2.0), (151.0, 2.0)]
    found = names(ps1.by_position(listed(asked[:2]), asked))
    assert found == [["/0.fits"], ["/1.fits"], ["/0.fits"], []]
    assert ps1.by_position([], asked) == [[]] * 4 and ps1.by_position(listed(asked), []) == []


@pytest.mark.parametrize("bad", ["nan", "null", "--", "inf"])
def test_a_row_without_a_position_is_no_list(bad):
    with pytest.raises(ReplyError, match="no_position"):
        ps1.parse_list(f"{HEADER}\n1360 059 {bad} 2.0 g 0.0 stack /a.fits a.fits 0")


def cutout(image) -> bytes:
    hdu = fits.PrimaryHDU(np.asarray(image, np.float32))
    hdu.header.update(CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=150.0, CRVAL2=2.0, CRPIX1=4.5, CRPIX2=4.5, CDELT1=-0.25 / 3600,
                      CDELT2=0.25 / 3600, EXPTIME=100.0)
    import io

    out = io.BytesIO()
    hdu.writeto(out)
    return out.getvalue()


def test_a_cutout_without_a_finite_pixel_is_an_answer_but_no_image():
    """Case: it was asked for five times and kept as bad."""
    asked = (150.0, 2.0, 8, "g", 0.25)
    ps1.check_cutout(cutout(np.ones((8, 8))), *asked)
    ps1.check_cutout(cutout(np.full((8, 8), np.nan)), *asked)
    with pytest.raises(ReplyError, match="all_nan"):
        ps1.parse_cutout(cutout(np.full((8, 8), np.nan)), *asked)
    with pytest.raises(ReplyError, match="all_zero"):
        ps1.check_cutout(cutout(np.zeros((8, 8))), *asked)
