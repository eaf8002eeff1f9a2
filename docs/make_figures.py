"""Figures of real pixels for docs/real_data.md, drawn from the test data: rows of them enter no file.

    SKYLOOM_TEST_DATA=/path/to/data python docs/make_figures.py
"""

import os
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import pandas
from astropy.io import fits

from skyloom import wcs
from skyloom.archives import local
from skyloom.archives import panstarrs as ps1
from skyloom.cutouts import files, stamps
from skyloom.measure import morphology, sources

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.patches import Ellipse

DOCS = Path(__file__).resolve().parent
KERNEL = DOCS.parent / "resources" / "gauss_1.5_3x3.conv"
OPTIONS = {"detect_thresh": 1.5, "analysis_thresh": 1.5, "minarea": 5, "deblend_nthresh": 32, "deblend_cont": 0.005,
           "clean_param": 1.0, "back_size": 64, "back_filtersize": 3, "surface_brightness": "calibrated"}


def ellipses(axis, found: sources.Sources) -> None:
    """Isophotal ellipses (3 times a and b) of all detections, the target's in orange."""
    for k, row in enumerate(found.catalog):
        axis.add_patch(Ellipse((row["x"], row["y"]), 6 * row["a"], 6 * row["b"], angle=np.degrees(row["theta"]), fill=False,
                               color="tab:orange" if k == found.target() else "tab:cyan", lw=0.8))


def psf_stars(data: Path, axes) -> None:
    """Three HSC-I PDR2 stars, read, calibrated and measured as a run of images.yaml does."""
    table = pandas.read_csv(data / "B_images" / "hsc_pdr2_stars" / "star_cat_correct.csv")
    kernel = morphology.read_kernel(KERNEL.read_text())
    table = table.sort_values("imag_psf")
    rows = _manifest([{"object_id": star[1], "band": "i", "ra": star.ira, "dec": star.idec,
                       "path": data / "B_images" / "hsc_pdr2_stars" / Path(star.star_filename).name}
                      for star in table.itertuples()])
    for axis, star, row in zip(axes, table.itertuples(), rows, strict=False):
        stamp, _ = files.stamp_of_file(row, 0.168, 23, 1.0, True)
        columns, _, found = sources.measure(stamp.image, stamp.ivar == 0, {**OPTIONS, "detect_thresh": 3.0}, kernel, 31.4, 0.168)
        axis.imshow(np.arcsinh(stamp.image / 50), origin="lower", cmap="gray")
        ellipses(axis, found)
        y, x = np.mgrid[:23, :23] - 11
        measured = 31.4 - 2.5 * np.log10(stamp.image[np.hypot(x, y) < 10].sum())
        axis.set_title(f"HSC-I PDR2 star\ni {measured:.2f} (catalog {star.imag_psf:.2f})\n"
                       f"r50 {columns['half_light_radius'] * 0.168:.2f} arcsec", fontsize=8)


def emmi(data: Path, axis) -> None:
    """sep's reference image with our detections and SExtractor's own catalog."""
    with fits.open(data / "D_extraction" / "sep" / "image.fits") as hdus:
        pixels = np.asarray(hdus[0].data, np.float32)
    reference = np.loadtxt(data / "D_extraction" / "sep" / "image.cat")
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32)  # SExtractor's default.conv
    found = sources.detect(pixels, np.zeros(pixels.shape, bool), OPTIONS, kernel)
    axis.imshow(np.arcsinh(found.data / found.rms / 3), origin="lower", cmap="gray", vmin=-0.5, vmax=3)
    ellipses(axis, found)
    axis.plot(reference[:, 1] - 1, reference[:, 2] - 1, "+", color="tab:red", ms=5)
    axis.set_xlim(0, pixels.shape[1] - 1)
    axis.set_ylim(0, pixels.shape[0] - 1)
    axis.set_title(f"EMMI image: {len(found.catalog)} detections (ellipses),\n{len(reference)} of SExtractor's catalog (+)",
                   fontsize=8)


HOST = 27.95200, 0.26348


def host(data: Path) -> None:
    """One galaxy in Pan-STARRS1 and DES: stamps on one nJy scale, and its magnitudes in 10 arcsec."""
    figure, axes = pyplot.subplots(2, 5, figsize=(13, 5.4), width_ratios=(1, 1, 1, 1, 1.6))
    folder, mags = data / "B_images" / "hostphot_SN2006bh", {"PS1": [], "DES": []}
    rows = _manifest([{"object_id": 1, "band": band, "path": folder / f"DES_{band}.fits", "ra": HOST[0], "dec": HOST[1]}
                      for band in "griz"])
    for column, (band, row) in enumerate(zip("griz", rows, strict=True)):
        plane = ps1.parse_cutout((folder / f"PS1_{band}.fits").read_bytes(), *HOST, 240, band, 0.25)
        x, y = wcs.tan_pixel(plane.crval, plane.crpix, plane.cd, *HOST)
        image = local.read_image(row, 0.263)
        for line, (name, njy, px, py, scale) in enumerate((("PS1", stamps.calibrated(plane)[0], x, y, 0.25),
                                                           ("DES", local.calibrated(image)[0], image.x, image.y, 0.263))):
            yy, xx = np.mgrid[:njy.shape[0], :njy.shape[1]]
            r = np.hypot(xx - px, yy - py) * scale
            net = njy - np.median(njy[r > 25])
            mags[name].append(31.4 - 2.5 * np.log10(net[r < 10].sum()))
            axes[line, column].imshow(np.arcsinh(net / scale**2 / 3000), origin="lower", cmap="gray", vmin=-0.5, vmax=5)
            axes[line, column].set_title(f"{name} {band}: {mags[name][-1]:.2f}", fontsize=9)
            axes[line, column].set_xticks([])
            axes[line, column].set_yticks([])
    waves = (481, 617, 752, 866)
    axes[0, 4].plot(waves, mags["PS1"], "o-", label="PS1 (25 + 2.5 log10 EXPTIME)")
    axes[0, 4].plot(waves, mags["DES"], "s--", label="DES (MAGZERO)")
    axes[0, 4].invert_yaxis()
    axes[0, 4].legend(fontsize=7)
    axes[0, 4].set_ylabel("AB in 10 arcsec")
    axes[1, 4].plot(waves, np.subtract(mags["DES"], mags["PS1"]), "ko-")
    axes[1, 4].axhspan(-0.1, 0.1, color="0.9")
    axes[1, 4].set_ylabel("DES - PS1, before colour terms")
    axes[1, 4].set_xlabel("wavelength / nm")
    figure.tight_layout()
    figure.savefig(DOCS / "real_host.png", dpi=100)


def _manifest(entries):
    """Manifest rows as `archive: local` reads them."""
    with tempfile.TemporaryDirectory() as folder:
        pandas.DataFrame(entries).to_csv(Path(folder) / "manifest.csv", index=False)
        return local.read_manifest(Path(folder) / "manifest.csv").to_dict("records")


def main() -> None:
    data = Path(os.environ["SKYLOOM_TEST_DATA"])
    host(data)
    figure, axes = pyplot.subplots(1, 4, figsize=(12, 3.6), width_ratios=(1, 1, 1, 1.5))
    psf_stars(data, axes[:3])
    emmi(data, axes[3])
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout()
    figure.savefig(DOCS / "real_pixels.png", dpi=110)


if __name__ == "__main__":
    main()
