"""Annuli and bulge + disc fits against other programs on the same five-band stamps of 64 px: CPU time an object. Prints JSON.

    python benchmarks/structure.py [COUNT] [PYTHON]

PYTHON is an interpreter whose environment has statmorph and pyimfit; without it, and without source-extractor, what is missing is
left out.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from skyloom.measure import blend, light
from skyloom.sky import geometry, hsc, population

HERE = Path(__file__).resolve().parent
OPTIONS = {"annuli_arcsec": [0.5, 1.0, 1.7, 2.8], "psf_fwhm_arcsec": 1.0, "bulge_disk": True}
SIZE, ROUNDS, PER_NJY = 64, 3, 10 ** (-0.4 * (31.4 - 27.0))


def cutouts(count):
    """(image nJy, ivar, unusable, psf) of `count` galaxies of a sky that no setting was tuned on, i < 22.5."""
    sky = hsc.Sky(seed=11, footprint=(150.0, 150.5, 2.0, 2.5))
    field = population.in_region(11, (150.03, 150.47, 2.03, 2.47), (population.GALAXY_TIERS[0],))
    kernels, out = {}, []
    for k in np.flatnonzero(field["i"] < 22.5)[::5]:
        tract = int(geometry.tract_of(field["ra"][k], field["dec"][k]))
        x, y = hsc.pixel_of(tract, field["ra"][k], field["dec"][k])
        planes = [hsc.exposure(sky, tract, round(float(x)) - 32, round(float(y)) - 32, SIZE, SIZE, b) for b in hsc.BANDS]
        image, variance = (np.array([plane[which] for plane in planes]) for which in (0, 2))
        bad = np.array([(plane[1] & 2) != 0 for plane in planes]) | ~np.isfinite(image) | ~(variance > 0)
        if tract not in kernels:
            kernels[tract] = np.array([hsc.psf_image(sky, tract, b, 41) for b in hsc.BANDS])
        ivar = np.where(bad, 0, PER_NJY**2 / np.where(bad, 1, variance))
        out.append((np.where(bad, 0, image / PER_NJY), ivar, bad, kernels[tract]))
        if len(out) == count:
            return [np.array(part) for part in zip(*out, strict=True)]
    raise SystemExit("the field is too small")


def ours(image, ivar, bad, psf):
    """{part: CPU ms an object}, and the i band's totals."""
    count, bands = image.shape[:2]
    correlated = blend.correlations(_objects(image, ivar, bad, psf, range(min(48, count))), bands)
    took = {"annuli alone": [], "annuli + bulge + disc": []}
    for _ in range(ROUNDS):
        for name, fit in (("annuli alone", False), ("annuli + bulge + disc", True)):
            started = time.process_time()
            for first in range(0, count, 128):
                table = light.measure_stamps(_objects(image, ivar, bad, psf, range(first, min(first + 128, count))), hsc.BANDS,
                                             OPTIONS | {"bulge_disk": fit}, hsc.SCALE, None, correlated)
            took[name].append((time.process_time() - started) / count * 1e3)
    return {name: float(np.median(values)) for name, values in took.items()}, table


def _objects(image, ivar, bad, psf, which):
    for k in which:
        yield image[k], ivar[k], bad[k], psf[k], np.ones(image.shape[1], bool)


def of_source_extractor(image, ivar, psf, folder):
    """CPU ms an object of five bands: spheroid + disc of every source of a mosaic of all stamps, one process a band; and the
    number of sources that it fits."""
    from astropy.io import fits

    side, (count, bands) = int(np.ceil(np.sqrt(len(image)))), image.shape[:2]
    (folder / "out.param").write_text("NUMBER\nFLUX_SPHEROID\nFLUXERR_SPHEROID\nFLUX_DISK\nFLUXERR_DISK\nDISK_SCALE_IMAGE\n")
    before, sources = resource.getrusage(resource.RUSAGE_CHILDREN), 0
    for b in range(bands):
        mosaic, weight = np.zeros((2, side * SIZE, side * SIZE), np.float32)
        for k in range(count):
            place = np.s_[k // side * SIZE:(k // side + 1) * SIZE, k % side * SIZE:(k % side + 1) * SIZE]
            mosaic[place], weight[place] = image[k, b], ivar[k, b]
        fits.writeto(folder / "image.fits", mosaic, overwrite=True)
        fits.writeto(folder / "weight.fits", weight, overwrite=True)
        _psfex(psf[0, b], folder / "kernel.psf")
        options = {"PSF_NAME": "kernel.psf", "PARAMETERS_NAME": "out.param", "CATALOG_NAME": "out.cat", "CATALOG_TYPE": "ASCII",
                   "WEIGHT_TYPE": "MAP_WEIGHT", "WEIGHT_IMAGE": "weight.fits", "FILTER": "N", "DETECT_THRESH": "1.8",
                   "BACK_TYPE": "MANUAL", "VERBOSE_TYPE": "QUIET"}
        subprocess.run(["source-extractor", "image.fits", "-c", "/dev/null",
                        *[word for key, value in options.items() for word in (f"-{key}", value)]], cwd=folder, check=True)
        sources += len(np.loadtxt(folder / "out.cat", ndmin=2))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / count * 1e3, round(sources / bands / count, 2)


def _psfex(kernel, path):
    """A kernel in the format that PSFEx writes."""
    from astropy.io import fits

    side = len(kernel)
    column = fits.Column(name="PSF_MASK", format=f"{side * side}E", dim=f"({side},{side},1)",
                         array=kernel.astype(np.float32)[None, None])
    table = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    width = 2.3548 / np.sqrt(2 * np.pi * kernel.max())
    for key, value in {"LOADED": 100, "ACCEPTED": 100, "CHI2": 1.0, "POLNAXIS": 0, "PSF_FWHM": width, "PSF_SAMP": 1.0,
                       "PSFNAXIS": 3, "PSFAXIS1": side, "PSFAXIS2": side, "PSFAXIS3": 1}.items():
        table.header[key] = value
    table.writeto(path, overwrite=True)


def of_peers(python, image, ivar, bad, psf, folder):
    """What benchmarks/structure_peers.py prints, run by another interpreter on the targets and neighbours that we found."""
    own, lost, start = [], [], []
    for k in range(len(image)):
        found = blend.find(image[k], ivar[k], bad[k], ((SIZE - 1) / 2 + 0.5,) * 2, 1.6)
        own.append(found.own)
        lost.append(bad[k] | found.others)
        start.append((found.x, found.y, found.re))
    seen = np.array([one.any() for one in own])
    np.savez(folder / "stamps.npz", image=image[seen], ivar=ivar[seen], psf=psf[seen], own=np.array(own)[seen],
             lost=np.array(lost)[seen], start=np.array(start)[seen])
    done = subprocess.run([python, str(HERE / "structure_peers.py"), str(folder / "stamps.npz")], check=True, text=True,
                          stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1]), np.flatnonzero(seen)


def main(count=200, python=""):
    """Our times first and last, so that a machine that slows down shows."""
    image, ivar, bad, psf = cutouts(count)
    took, table = ours(image, ivar, bad, psf)
    others, notes = {}, {}
    with tempfile.TemporaryDirectory() as name:
        if shutil.which("source-extractor"):
            others["source-extractor, spheroid + disc"], notes["sources an object that it fits"] = of_source_extractor(
                image, ivar, psf, Path(name))
        if python:
            found, seen = of_peers(python, image, ivar, bad, psf, Path(name))
            fluxes = {int(k): flux for k, flux in found.pop("pyimfit_i_fluxes", {}).items()}
            others |= found
            at = seen[list(fluxes)]
            ratio = (table["i_bulge_flux"] + table["i_disk_flux"])[at] / np.array(list(fluxes.values()))
            notes["median of our i flux over pyimfit's"] = round(float(np.nanmedian(ratio)), 3)
    again, _ = ours(image, ivar, bad, psf)
    whole = np.mean([took["annuli + bulge + disc"], again["annuli + bulge + disc"]])
    print(json.dumps({
        "objects": count, "bands": image.shape[1], "px": SIZE,
        "CPU ms an object": {name: round(value, 1) for name, value in (took | others).items()},
        "CPU ms an object, again at the end": {name: round(value, 1) for name, value in again.items()},
        "times ours": {name: round(value / whole, 1) for name, value in others.items()}, **notes,
        "note": "ours finds target and neighbours, too; source-extractor: a mosaic a band; statmorph (with its Sersic fit) and "
                "pyimfit: a few objects, band by band, given our segmentation"}))


if __name__ == "__main__":
    main(*(kind(value) for kind, value in zip((int, str), sys.argv[1:], strict=False)))
