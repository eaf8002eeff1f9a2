"""Detectors of scenes on pixels that the embedded sky didn't make. Prints JSON, draws figures.

    SKYLOOM_TEST_DATA=... python benchmarks/scenes_real.py FOLDER [--model results/deepdisc_hsc/models/deepdisc/seed1]

Simulated HSC blends have a true source each and the peaks of the survey's pipeline: shares found, scatter of magnitudes. HSC's
COSMOS blend, DECam's scenes and Legacy Survey's exposures have no truth: figures, and no claim.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np

from skyloom.measure import annuli, matching, scene
from skyloom.pz.tiles import Tiles, nmad
from skyloom.release import figures, scene_figures

DATA = Path(os.environ.get("SKYLOOM_TEST_DATA", "data"))
PER_COUNT = 10 ** (0.4 * (31.4 - 27.0))  # nJy of a count of HSC's coadds
HSC, DECAM = 0.168, 0.263  # arcsec/px
BRIGHT = 25.3


def tile(image, ivar, psf, bands, scale) -> dict:
    """An image as `measure.scene` takes it, with a WCS of its own."""
    h, w = image.shape[1:]
    return {"image": image, "ivar": ivar, "mask": ~(np.isfinite(image) & (ivar > 0)), "psf": psf, "ok": np.ones(len(image), bool),
            "bands": bands, "pixel_scale": scale, "tile_id": 1, "core": (0, w, 0, h), "crval": np.zeros(2), "crpix": np.ones(2),
            "cd": np.diag([-scale, scale]) / 3600}


def hsc(path) -> tuple[dict, dict]:
    """(tile, arrays of the file) of HSC's blends, grizy."""
    found = np.load(path, allow_pickle=True)
    variance = found["variance"]
    ivar = np.where(variance > 0, 1 / np.where(variance > 0, variance, 1), 0) / PER_COUNT**2
    psf = found["psfs"]
    odd = (psf.shape[2] - psf.shape[1]) // 2  # some kernels are wider than high
    psf = psf[:, :, odd:psf.shape[2] - odd]
    psf = psf / psf.sum(axis=(1, 2), keepdims=True)
    return tile(found["images"] * PER_COUNT, ivar.astype("f4"), psf, list("grizy"), HSC), found


def plain(planes, bands) -> dict:
    """Images without variances: the sky's level and noise from medians, a Gaussian PSF of 1.2 arcsec."""
    image = np.stack([np.asarray(one, "f4") for one in planes])
    middle = np.nanmedian(image, axis=(1, 2), keepdims=True)
    noise = 1.4826 * np.nanmedian(np.abs(image - middle), axis=(1, 2), keepdims=True)
    kernel = scene.gaussian(1.2 / DECAM)
    return tile(np.nan_to_num(image - middle), np.broadcast_to(1 / noise**2, image.shape).astype("f4"),
                np.stack([kernel] * len(image)), bands, DECAM)


def network(folder):
    """A function of a tile that gives {x, y, {b}_flux} of a trained network's sources."""
    from skyloom.models import artefact
    from skyloom.models.scene import detect, inputs

    model, card = artefact.load(folder)

    def found(one):
        seen = inputs.Tile(one["image"], one["ivar"], annuli.fwhm(one["psf"]) * one["pixel_scale"], tuple(one["bands"]),
                           one["pixel_scale"], "nJy")
        out = detect.detected(model, card, seen, precision=card.precision, device="cpu")
        return {"x": out.x, "y": out.y} | {f"{band}_flux": out.flux[:, b] for b, band in enumerate(one["bands"])}

    return found


def blends(detectors: dict) -> dict:
    """What each detector makes of the simulated blends: true sources, the pipeline's peaks, magnitudes."""
    rows = {name: [] for name in detectors}
    for number, path in enumerate(sorted((DATA / "B_images" / "hsc_sim_blends").glob("set*/*.npz"))):
        one, arrays = hsc(path)
        peaks = arrays["centers"][:, ::-1].astype(float) * HSC
        for name, detect in detectors.items():
            found = detect(one)
            places = np.stack([found["x"], found["y"]], axis=1) * HSC
            near = matching.friends(peaks, places)
            for true in arrays["matched"]:
                at = matching.nearest(np.array([[true["x"], true["y"]]], float) * HSC, places)[0]
                error = -2.5 * np.log10(found["i_flux"][at] / 10 ** (0.4 * (31.4 - true["imagVar"]))) if at >= 0 else np.nan
                rows[name].append((number, float(true["imagVar"]), at >= 0, float(error), (near.partner >= 0).sum(), len(peaks),
                                   (near.detection == 1).sum(), (near.detection == 2).sum()))
    return {name: told(np.array(some, float)) for name, some in rows.items()}


def told(rows) -> dict:
    """Shares with intervals over blends; the zero point of the simulation isn't known, so the median error is taken off."""
    number, mag, hit, error, peaks, of, shreds, false = rows.T
    bright, tiles = mag < BRIGHT, Tiles(number, 1000)
    share, error = tiles.share(hit[bright] > 0, number[bright]), error[bright & np.isfinite(error)]
    return {"blends": len(np.unique(number)), "true sources": int(bright.sum()), "found": share.value,
            "found 95 %": share.limits(),
            "of the pipeline's peaks": float(peaks.sum() / of.sum()), "shreds per peak": float(shreds.sum() / of.sum()),
            "beside any peak, per peak": float(false.sum() / of.sum()), "i magnitude, NMAD": nmad(error)}


def scenes():
    """(name, tile) of what has no truth."""
    from astropy.io import fits

    yield "HSC COSMOS", hsc(DATA / "B_images/hsc_cosmos_real/hsc_cosmos_35.npz")[0]
    folder = DATA / "E_deepdisc/decam"
    yield "DECam g, r, z", plain([fits.getdata(folder / f"img_{band}.fits") for band in "grz"], list("grz"))
    for path in sorted((DATA / "B_images/legacysurvey").glob("testcase*/images/**/*_ooi_*.fits"))[:2]:
        with fits.open(path) as hdus:
            plane = next(hdu.data for hdu in hdus if np.ndim(hdu.data) == 2)[:512, :512]
        yield f"Legacy Survey {path.name.split('_ooi_')[1][0]}", plain([plane], [path.name.split("_ooi_")[1][0]])


def draw(detectors: dict, path) -> None:
    """A row a scene, a panel a detector."""
    some = list(scenes())
    size = (5 * len(detectors), 5 * len(some))
    figure, axes = figures._pyplot().subplots(len(some), len(detectors), figsize=size, squeeze=False, layout="constrained")
    for row, (name, one) in zip(axes, some, strict=True):
        picture = scene_figures._colour(one["image"] * np.sqrt(one["ivar"]))
        for axis, (detector, detect) in zip(row, detectors.items(), strict=True):
            axis.imshow(picture, origin="lower", interpolation="nearest")
            axis.set(xticks=[], yticks=[], title=f"{name}: {detector}")
            if detector == "sep" or one["pixel_scale"] == HSC and len(one["bands"]) == 5:
                found = detect(one)
                axis.scatter(found["x"], found["y"], 24, facecolors="none", edgecolors="lime", lw=0.7)
            else:
                axis.text(0.5, 0.5, "another survey than the model's", transform=axis.transAxes, ha="center", color="w")
    figures._save(figure, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    every = {"sep": scene.detected} | ({"deepdisc": network(args.model)} if args.model else {})
    figures.drawn(draw, args.folder / "scenes_real.png", every)
    print(json.dumps(blends(every), indent=1))
