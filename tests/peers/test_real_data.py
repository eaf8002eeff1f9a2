"""Real survey data through the recipes: SDSS/BOSS and DC2 tables, HSC PDR2 pixels, sep's reference image."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas
import pytest

from skyloom import store
from skyloom.measure import sources
from tests.conftest import ROOT, snakemake, workplace

pytestmark = pytest.mark.timeout(600)
DEFAULT_CONV = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32)


def recipe_folder(tmp_path, data) -> Path:
    folder = workplace(tmp_path / "work")
    shutil.copytree(ROOT / "resources" / "recipes", folder / "resources" / "recipes", dirs_exist_ok=True)
    return folder


def quick(folder) -> str:
    """A third config file that keeps the test short: one seed, fewer epochs and resamples, the floor of the peers."""
    path = folder / "quick.yaml"
    path.write_text("models:\n  galaxiesml_nn: {max_epochs: 12, batch_size: 200}\n"
                    "  tabular: {tune: false, max_epochs: 8, width: 32, depth: 1}\ntrain: {seeds: [1]}\n"
                    "calibration: {methods: [temperature]}\npeers: {models: [trainz]}\nevaluation: {bootstrap: 20}\n")
    return str(path)


@pytest.mark.parametrize(("name", "rows", "bands", "scatter"), [("boss_dr10", 12000, "ugriz", 0.05),
                                                                ("dc2", 10225, "ugrizy", 0.06)])
def test_real_tables_go_all_the_way(tmp_path, data, name, rows, bands, scatter):
    folder = recipe_folder(tmp_path, data)
    recipes = "resources/recipes"
    if name == "dc2":  # without the table that is set aside for the end: a part of the training table is the test
        path = folder / recipes / "tables" / "dc2.yaml"
        lines = path.read_text().splitlines()
        path.write_text("\n".join(line for line in lines if "test_dc2_validation_9816.hdf5:" not in line))
    files = f"{recipes}/table.yaml", f"{recipes}/tables/{name}.yaml", quick(folder)
    done = snakemake(folder, "--cores", "2", "--configfile", *files)
    assert done.returncode == 0, done.stderr[-4000:]
    results = folder / "results" / name
    catalog = pandas.read_parquet(results / "catalog" / "photoz_catalog.parquet")
    ledger = pandas.read_csv(results / "ledger.csv")
    assert ledger["rows_in"].iloc[0] == rows and ledger["rows_out"].iloc[-1] == len(catalog)
    metrics = pandas.read_csv(results / "evaluation" / "metrics.csv")
    nmad = metrics[(metrics["metric"] == "nmad") & metrics["z_min"].isna() & (metrics["seed"] == "ensemble")]["value"].iloc[0]
    assert nmad < scatter
    whole = metrics[metrics["z_min"].isna() & metrics["subset"].isna() & (metrics["seed"] == "ensemble")]
    cde = whole[whole["metric"] == "cde_loss"].set_index("model")["value"]
    assert cde["tabular"] < 2 * cde["trainz"] < 0  # far below the floor after eight epochs
    shares = catalog["split"].value_counts()
    if name == "boss_dr10":  # an evaluation table is the testing split, whole
        assert shares["testing"] == pytest.approx(6000, abs=10)
        assert shares["training"] / (shares["training"] + shares["validation"]) == pytest.approx(0.875, abs=0.03)
    else:
        assert shares["training"] / len(catalog) == pytest.approx(0.7, abs=0.03)
        with h5py.File(results / "dataset" / "table_training.hdf5") as handle:
            undetected = int((handle["u_mag"][:] >= 90).sum())
        assert undetected > 300  # kept: not detected is a state of the input
    assert set(store.attributes(results / "dataset" / "table_training.hdf5")["magnitude_columns"].split(",")) == {
        f"{band}_mag" for band in bands}
    assert "embedded sky" not in (results / "report.html").read_text()


def star_manifest(data, folder) -> pandas.DataFrame:
    """The ten HSC-I PDR2 star cutouts, in their own WCS and zero point, and three of sep's objects."""
    stars = pandas.read_csv(data / "B_images" / "hsc_pdr2_stars" / "star_cat_correct.csv")
    rows = []
    for star in stars.itertuples():
        path = data / "B_images" / "hsc_pdr2_stars" / Path(star.star_filename).name
        if path.exists():
            rows.append({"object_id": star._2, "band": "i", "path": path, "ra": star.ira, "dec": star.idec})
    frame = pandas.DataFrame(rows)
    frame.to_csv(folder / "manifest.csv", index=False)
    return frame, stars


def test_real_hsc_pixels_are_read_calibrated_measured_and_packed(tmp_path, data):
    folder = recipe_folder(tmp_path, data)
    frame, stars = star_manifest(data, folder)
    assert len(frame) == 10
    (folder / "mine.yaml").write_text("local: {images: manifest.csv}\nstamps: {size: 23, packed: [23, 15]}\n")
    done = snakemake(folder, "--cores", "2", "dataset", "--configfile", "resources/recipes/images.yaml", "mine.yaml")
    assert done.returncode == 0, done.stderr[-4000:]
    results = folder / "results" / "images"
    packed = results / "dataset" / "1x23x23_target_with_morphology.hdf5"
    with h5py.File(packed) as handle:
        assert handle["image"].shape == (10, 1, 23, 23) and handle.attrs["zero_point"] == 31.4
        assert (handle["status"][:] == 0).all()
        order = [int(np.flatnonzero(stars["# object_id"] == i)[0]) for i in handle["object_id"][:]]
        y, x = np.mgrid[:23, :23] - 11
        flux = handle["image"][:, 0][:, np.hypot(x, y) < 10].sum(axis=1)
        measured = 31.4 - 2.5 * np.log10(flux)
        assert measured == pytest.approx(stars["imag_psf"].to_numpy()[order], abs=0.1)
        assert (handle["i_total_galaxies"][:] >= 1).all() and np.isfinite(handle["i_half_light_radius"][:]).all()
        assert np.median(handle["i_half_light_radius"][:]) * 0.168 == pytest.approx(0.35, abs=0.12)  # 0.6" seeing
    assert (results / "dataset" / "1x15x15_target_with_morphology.hdf5").exists()


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
def test_all_65_objects_of_seps_reference_catalog_are_found(data):
    """sep's real EMMI image with SExtractor's default configuration against SExtractor's own catalog."""
    from astropy.io import fits

    folder = data / "D_extraction" / "sep"
    with fits.open(folder / "image.fits") as hdus:
        pixels = np.asarray(hdus[0].data, np.float32)
    reference = np.loadtxt(folder / "image.cat")
    options = {"detect_thresh": 1.5, "minarea": 5, "deblend_nthresh": 32, "deblend_cont": 0.005, "clean_param": 1.0,
               "back_size": 64, "back_filtersize": 3}
    found = sources.detect(pixels, np.zeros(pixels.shape, bool), options, DEFAULT_CONV)
    assert len(reference) == 65
    distance = np.hypot(found.catalog["x"][None] - (reference[:, 1:2] - 1), found.catalog["y"][None] - (reference[:, 2:3] - 1))
    nearest = distance.argmin(axis=1)
    assert len(set(nearest.tolist())) == 65
    assert (distance.min(axis=1) < 2).all()  # two deblended sources get other pixels and move by more than a pixel
    assert np.mean(distance.min(axis=1) < 0.01) > 0.9
    assert np.mean(np.abs(found.catalog["a"][nearest] - reference[:, 11]) < 0.02 * reference[:, 11]) > 0.9
