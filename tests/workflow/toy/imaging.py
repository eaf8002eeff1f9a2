"""A survey of two bands with an archive of its own, which answers one request an object."""

from skyloom.surveys.clients import Cubes
from skyloom.surveys.imaging import ImagingSurvey
from skyloom.surveys.service import Service


def params(ra, dec, size, weights):
    """The query of a cutout."""
    return {"ra": f"{ra:.6f}", "dec": f"{dec:.6f}", "size": str(size)}


def parse(body, ra, dec, size):
    """{band: Plane} of a cube of nJy; ReplyError for what isn't the cutout that was asked for."""
    import numpy as np

    from skyloom import wcs
    from skyloom.archives import fitsimages
    from skyloom.archives.plane import Plane
    from skyloom.errors import ReplyError

    head, cube = fitsimages.images(body)[0]
    if cube is None or cube.shape != (len(SURVEY.bands), size, size):
        raise ReplyError("wrong_size", f"not {len(SURVEY.bands)} x {size} x {size}")
    crval, crpix, cd = fitsimages.tan(head)
    wcs.check_scale(cd, SURVEY.scale)
    wcs.check_centre(crval, crpix, cd, ra, dec, cube.shape[1:])
    zero_point = SURVEY.zero_point
    return {band: Plane(plane.astype(np.float32), np.zeros(plane.shape, np.int32), ~np.isfinite(plane), None, zero_point[band],
                        crval, crpix, cd) for band, plane in zip(SURVEY.bands, cube, strict=True)}


def client(survey, settings, ra, dec):
    """Stamps of positions (deg)."""
    return Cubes(survey, settings, ra, dec, "toy cutouts", params, parse)


SURVEY = ImagingSurvey(
    name="toy", title="A toy", bands={"t1": 500.0, "t2": 800.0}, scale=0.5, size=20, sizes=(8, 64),
    fwhm={"t1": 1.0, "t2": 0.9}, zero_point={"t1": 31.4, "t2": 31.4}, aperture=4.0, ivar_sources=("estimated",),
    service=Service("toy", {"url": ""}, rpm=60, streams=2, timeout_s=20), client=client,
    licence="do what you like", citation="this test")
