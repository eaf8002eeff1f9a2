"""The whole way on a postage stamp: what the files hold, that the rows add up, that nothing reruns."""

import json

import h5py
import numpy as np
import pandas
import pytest

from skyloom.cutouts.stamps import STATUS
from skyloom.measure import light
from skyloom.measure.sources import FLAGS
from skyloom.models import families
from skyloom.provenance import fingerprint
from skyloom.release import exporters
from skyloom.surveys import imaging, spectro
from tests.conftest import snakemake

pytestmark = [pytest.mark.xdist_group("tiny"), pytest.mark.timeout(900)]
BANDS = "grizy"


def result(tiny_run, path):
    return tiny_run / "results" / "tiny" / path


def test_a_second_call_does_nothing(tiny_run):
    again = snakemake(tiny_run, "--cores", "16", "-n")
    assert again.returncode == 0 and "Nothing to be done" in again.stderr + again.stdout


def test_the_ledger_runs_from_the_archives_count_to_the_catalog(tiny_run):
    ledger = pandas.read_csv(result(tiny_run, "ledger.csv"))
    lost = pandas.read_parquet(result(tiny_run, "lost.parquet"))
    catalog = pandas.read_parquet(result(tiny_run, "catalog/photoz_catalog.parquet"))
    assert ledger["rows_lost"].sum() == len(lost) > 0
    for sample, chain in ledger.groupby("sample"):
        from skyloom.store import parquet_meta

        assert chain["rows_in"].iloc[0] == parquet_meta(result(tiny_run, f"{sample}/raw.parquet"))["archive_count"]
        assert (chain["rows_in"].to_numpy()[1:] == chain["rows_out"].to_numpy()[:-1]).all()
    assert ledger.groupby("sample")["rows_out"].last().sum() == len(catalog)
    assert not set(catalog["object_id"]) & set(lost.loc[lost["step"] != "cut", "object_id"])
    assert {"duplicate_specz_name", "no_usable_band"} <= set(lost["reason"])


def test_the_catalog_has_the_contracts_columns_in_both_formats(tiny_run):
    from astropy.table import Table

    catalog = pandas.read_parquet(result(tiny_run, "catalog/photoz_catalog.parquet"))
    wanted = {"object_id", "ra", "dec", "split", "subset", "z_spec", "z_spec_err", "flags", "status_hsc", "z_galaxiesml_nn",
              "z_galaxiesml_nn_std", "z_galaxiesml_cnn", "z_galaxiesml_cnn_std"}
    assert wanted <= set(catalog)
    assert catalog["object_id"].is_monotonic_increasing and catalog["object_id"].is_unique
    assert catalog["flags"].dtype == np.int32
    target = catalog[catalog["split"] == "target"]
    assert len(target) > 3 and target["z_spec"].isna().all() and np.isfinite(target["z_galaxiesml_nn"]).all()
    assert set(catalog.loc[catalog["split"] == "validation", "subset"]) == {"select", "calibrate"}
    fits = Table.read(result(tiny_run, "catalog/photoz_catalog.fits"))
    assert (np.asarray(fits["object_id"]) == catalog["object_id"]).all()
    assert np.asarray(fits["z_galaxiesml_cnn"]) == pytest.approx(catalog["z_galaxiesml_cnn"])
    from skyloom.store import parquet_meta

    assert {"run", "release", "config_hash", "code_hash", "query_sha256"} <= set(parquet_meta(
        result(tiny_run, "catalog/photoz_catalog.parquet")))


def test_without_pz_no_model_stands_for_z_phot(tiny_run):
    """Points alone: the columns are there, empty and flagged, in every format, and the page says why."""
    from astropy.table import Table

    from skyloom.release import zphot
    from skyloom.store import parquet_meta

    path = result(tiny_run, "catalog/photoz_catalog.parquet")
    catalog, fits = pandas.read_parquet(path), Table.read(path.with_suffix(".fits"))
    assert tuple(catalog)[3:10] == tuple(fits.colnames)[3:10] == zphot.NAMES
    assert catalog["z_phot"].isna().all() and np.isnan(np.asarray(fits["z_phot"])).all()
    assert set(catalog["z_phot_model"]) == {""} and set(catalog["z_phot_flags"]) == {1 << 7}
    assert parquet_meta(path)["z_phot_why"] == zphot.NOBODY and not result(tiny_run, "catalog/pz_phot.hdf5").exists()
    assert zphot.NOBODY.split("`")[0] in result(tiny_run, "report.html").read_text()


def test_every_status_occurs(tiny_run):
    seen = set()
    for path in result(tiny_run, "cutouts/hsc").glob("*.h5"):
        with h5py.File(path) as handle:
            assert handle.attrs["status_names"] == ",".join(STATUS) and handle.attrs["ivar_source"] == "archive"
            seen |= {STATUS[code] for code in np.unique(handle["status"])}
            for status, cause in zip(handle["status"][:], handle["cause"].asstr()[:], strict=True):
                assert (status != 0).any() == bool(cause)
    assert seen == set(STATUS)


# the sky's pixels are squares; those that aren't are tested with local images
@pytest.mark.parametrize("flag", sorted(set(FLAGS) - {"extraction_failed", "edge", "oblong_pixels"}))
def test_every_morphology_flag_occurs(tiny_run, flag):
    tables = [pandas.read_parquet(path) for path in result(tiny_run, "morphology").glob("*.parquet")]
    flags = np.concatenate([t[f"{band}_morphology_flags"].to_numpy() for t in tables for band in BANDS])
    assert (flags & FLAGS[flag]).any()


def test_structure_is_packed_with_morphology_and_agrees_with_the_catalog(tiny_run):
    """Columns of every band and ring; the i band's rings and its bulge + disc hold the catalog's flux; what can't be is NaN."""
    tables = pandas.concat([pandas.read_parquet(path) for path in result(tiny_run, "structure/hsc").glob("*.parquet")])
    with h5py.File(result(tiny_run, "dataset/5x64x64_training_with_morphology.hdf5")) as handle:
        assert set(tables) <= set(handle)
        wanted = tables.set_index("object_id").loc[handle["object_id"][:]]
        assert all(np.array_equal(handle[name][:], wanted[name], equal_nan=True) for name in wanted)
        rings = np.array([handle[f"i_annulus_flux_{k}"][:] for k in range(1, 5)])
        whole = handle["i_bulge_flux"][:] + handle["i_disk_flux"][:]
        catalog = 10 ** (0.4 * (31.4 - handle["i_cmodel_mag"][:]))
        flags, fit = handle["i_annulus_flags"][:], handle["bulge_disk_flags"][:]
    assert np.median((rings.sum(axis=0) / catalog)[flags == 0]) == pytest.approx(1, abs=0.1)
    assert np.median((whole / catalog)[fit == 0]) == pytest.approx(1, abs=0.1)
    assert (flags == 0).mean() > 0.3 and (fit == 0).mean() > 0.3
    for flag in ("no_psf", "not_ok", "uncovered", "neighbours"):
        seen = np.concatenate([tables[f"{band}_annulus_flags"] & light.ANNULUS_FLAGS[flag] for band in BANDS]) != 0
        assert seen.any(), flag
        if flag in ("no_psf", "not_ok"):
            assert np.isnan(np.concatenate([tables[f"{band}_annulus_flux_1"] for band in BANDS])[seen]).all()


def test_transient_faults_leave_no_trace_and_permanent_ones_a_cause(tiny_run):
    causes = []
    for path in result(tiny_run, "cutouts/hsc").glob("*.h5"):
        with h5py.File(path) as handle:
            causes += list(handle["cause"].asstr()[:])
    assert any("wrong_scale" in cause for cause in causes)
    assert not any("r: failed" in cause for cause in causes)  # corrupt once, then fine


def test_stamps_are_calibrated_and_hold_the_galaxy(tiny_run):
    """The flux in 2 arcsec of the packed counts agrees with the catalog's magnitude within the aperture's loss."""
    with h5py.File(result(tiny_run, "dataset/5x127x127_training_with_morphology.hdf5")) as handle:
        good = handle["status"][:, 2] == 0
        image = handle["image"][good, 2]
        assert handle.attrs["zero_point"] == 27.0 and handle["image"].chunks == (1, 5, 127, 127)
        y, x = np.mgrid[:127, :127] - 63
        flux = image[:, np.hypot(x, y) < 12].sum(axis=1)
        magnitude = 27 - 2.5 * np.log10(np.maximum(flux, 1e-3))
        assert np.median(magnitude - handle["i_cmodel_mag"][good]) == pytest.approx(0.05, abs=0.15)
        peak = np.array([np.unravel_index(np.argmax(stamp[58:69, 58:69]), (11, 11)) for stamp in image])
        assert np.median(np.abs(peak - 5)) <= 1


def test_galaxiesmls_generator_reads_the_files(tiny_run):
    """Its access pattern: sorted fancy indexing of `image`, one dataset a column, the names of the paper."""
    path = result(tiny_run, "dataset/5x64x64_training_with_morphology.hdf5")
    with h5py.File(path) as handle:
        rows = np.sort(np.random.default_rng(0).permutation(len(handle["image"]))[:8])
        assert handle["image"][rows].shape == (8, 5, 64, 64)
        columns = ["object_id", "specz_redshift", "specz_redshift_err", "specz_name", "specz_mag_i", "specz_ra", "specz_dec",
                   "specz_flag_homogeneous", "coord", "skymap_id", "ra", "dec"]
        per_band = ["cmodel_mag", "cmodel_magsigma", "central_image_pop_5px_rad", "central_image_pop_10px_rad",
                    "central_image_pop_15px_rad", "ellipticity", "half_light_radius", "isophotal_area", "major_axis",
                    "minor_axis", "peak_surface_brightness", "petro_rad", "pos_angle", "sersic_index", "total_galaxies"]
        for name in columns + [f"{band}_{name}" for band in BANDS for name in per_band]:
            assert len(handle[name][rows]) == 8, name
        both = handle["image"][0], handle["object_id"][0]
    with h5py.File(result(tiny_run, "dataset/5x127x127_training_with_morphology.hdf5")) as large:
        k = int(np.flatnonzero(large["object_id"][:] == both[1])[0])
        assert np.array_equal(large["image"][k][:, 31:95, 31:95], both[0])
    csv = pandas.read_csv(str(path).replace("hdf5", "csv"))
    assert csv["object_id"][0] == both[1]


def test_metrics_have_the_contracts_shape(tiny_run):
    metrics = pandas.read_csv(result(tiny_run, "evaluation/metrics.csv"))
    assert list(metrics) == ["model", "seed", "split", "subset", "z_min", "z_max", "metric", "convention", "value", "lo68",
                             "hi68", "n"]
    overall = metrics[metrics["z_min"].isna()]
    assert {"bias", "scatter", "rms", "outlier_fraction", "mse", "loss", "nmad"} <= set(overall["metric"])
    assert overall["convention"].str.endswith("|mean").all()
    assert set(overall["seed"].astype(str)) == {"1", "all", "ensemble"}
    assert (overall["lo68"] <= overall["hi68"]).all()
    assert len(metrics[metrics["z_min"] == 3.8]) > 0


def test_the_leak_report_is_clean_and_the_page_is_self_contained(tiny_run):
    assert (pandas.read_csv(result(tiny_run, "dataset/leaks.csv"))["pairs"] == 0).all()
    page = result(tiny_run, "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 7 and "<svg" in page
    assert 'src="http' not in page and "embedded sky" in page


def traces(tiny_run):
    for path in (tiny_run / "trace").glob("*.json"):
        trace = json.loads(path.read_text())
        if trace["argv"][0].endswith("skyloom/__main__.py") and len(trace["argv"]) > 1:
            yield trace


def check_fingerprints(folder, verbs):
    """Every module that a run's verbs imported is in its verb's fingerprint, or allowed, or the sky's own."""
    # listing a registry imports its modules; that rules name those whose facts they use is tested with the fingerprints
    listed = [module for registry in (imaging.REGISTRY, spectro.REGISTRY, families.REGISTRY, exporters.REGISTRY)
              for module in (registry.package, *registry.modules.values())]
    seen = {}
    for trace in traces(folder):
        seen.setdefault(trace["argv"][1], set()).update(trace["modules"])
    assert set(seen) == verbs
    for verb, modules in seen.items():
        covered = set(fingerprint.modules(verb, *listed))
        # what only the embedded sky imports is part of the outside world, like the sky itself
        sky = {m for name in modules if name.startswith("skyloom.sky") for m in fingerprint._facts(name)[1]}
        missing = {m for m in modules if m not in covered and not fingerprint.allowed(m) and m not in sky}
        assert not missing, f"{verb} imports {missing}"


def test_every_module_a_verb_imported_is_in_its_fingerprint(tiny_run):
    check_fingerprints(tiny_run, {"query", "cut", "plan", "plan-shards", "download-cutouts", "measure", "measure-structure",
                                  "assign-splits", "pack", "support", "train", "predict", "build-catalog", "evaluate", "report"})


def test_training_and_prediction_import_no_more_than_a_gpu_box_has(tiny_run):
    checked = [t for t in traces(tiny_run) if t["argv"][1] in ("train", "predict")]
    assert len(checked) == 4
    for trace in checked:
        assert set(trace["heavy"]) <= {"torch"}, trace


def test_raw_replies_stay_in_the_cache_and_rates_in_the_environment(tiny_run):
    assert list((tiny_run / "cache" / "tiny" / "hsc").glob("*.sqlite"))
    assert list((tiny_run / "cache" / "tiny" / "train").glob("*.pt"))
