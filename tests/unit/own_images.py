"""Small images of one Gaussian source, and manifests of them."""

import numpy as np
import pandas
from astropy.io import fits

from skyloom import flux, store
from skyloom.archives import local
from skyloom.cutouts import files
from skyloom.verbs import download_cutouts

SKY, FLUX, SIGMA = (150.0, 2.0), 5000.0, (1.2, 0.8)  # deg, nJy, arcsec along the major and the minor axis
SETTINGS = {"size": 21, "pixel_scale": 0.168, "psf_size": 41, "max_masked_fraction": 0.05, "pad": "none", "identity": "own",
            "run": "r", "release": "local", "max_failed_fraction": 1.0}


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


def at_centre(**more):
    """A row that tells everything about an image of 31 px."""
    return {"x": 15, "y": 15, "zero_point": 27.0, "pixel_scale": 0.2} | more


def cutouts(folder, ids, **settings):
    """({id: (status, cause)} of a shard's stamps, members) as the verb writes them."""
    frame = pandas.DataFrame({"object_id": np.array(ids, np.int64)})
    store.write_parquet(folder / "members.parquet", frame, {})
    download_cutouts.read(SETTINGS | settings, folder / "members.parquet", "own", str(folder / "m.csv"), folder / "out.h5")
    with store.reading(folder / "out.h5") as handle:
        causes = store.column(handle, "cause")
        return {k: (int(s), c) for k, s, c in zip(ids, handle["status"][:, 0], causes, strict=True)}, frame
