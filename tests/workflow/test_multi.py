"""The multi-survey run end to end: compilation, stamps of four surveys, dust, one HDF5 a split."""

import json
import shutil

import h5py
import numpy as np
import pandas
import pytest

from skyloom import store
from skyloom.cutouts.stamps import STATUS
from tests.conftest import ROOT, plan_of, snakemake, workplace
from tests.workflow.test_staleness import stale
from tests.workflow.test_tiny_run import check_fingerprints

pytestmark = [pytest.mark.xdist_group("multi"), pytest.mark.timeout(900)]
SURVEYS = {"ps1": (5, 170), "hsc": (5, 64), "galex": (2, 32), "unwise": (2, 32)}


@pytest.fixture(scope="module")
def multi(tmp_path_factory):
    """The finished run, read-only."""
    folder = workplace(tmp_path_factory.mktemp("multi") / "run")
    shutil.copy(ROOT / "tests" / "workflow" / "multi.yaml", folder / "config.yaml")
    (folder / "overrides.csv").write_text("survey,survey_id,action,z\n")
    plan_of(folder)
    done = snakemake(folder, "--cores", "2", timeout=800)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return folder / "results" / "multi"


def splits(multi):
    return {name: multi / "dataset" / f"multi_{name}.hdf5" for name in ("training", "validation", "testing")}


def test_a_group_a_survey_and_every_object_in_one_split(multi):
    seen = []
    for path in splits(multi).values():
        with h5py.File(path) as handle:
            n = len(handle["object_id"])
            seen += handle["object_id"][:].tolist()
            for name, (bands, size) in SURVEYS.items():
                group = handle[name]
                assert group["image"].shape == (n, bands, size, size) == group["ivar"].shape == group["mask"].shape
                assert group["status"].shape == (n, bands) and group["psf"].shape == (n, bands, 21, 21)
                assert group.attrs["unit"] == "nJy" and group.attrs["zero_point"] == 31.4 and group.attrs["ivar_source"]
                assert len(group.attrs["bands"].split(",")) == bands
            for column in ("ra", "dec", "specz_redshift", "survey", "ebv_csfd", "ebv_planck2013", "split"):
                assert len(handle[column]) == n
    selected = store.read_parquet(multi / "specz" / "selected.parquet")
    lost = store.read_parquet(multi / "dataset" / "lost.parquet")
    assert sorted(seen + lost["object_id"].tolist()) == sorted(selected["object_id"].tolist()) and len(seen) > 25


def test_statuses_of_the_surveys_are_kept_apart(multi):
    found = set()
    for path in splits(multi).values():
        with h5py.File(path) as handle:
            for name in SURVEYS:
                status, ivar = handle[name]["status"][:], handle[name]["ivar"][:]
                found |= {(name, STATUS[s]) for s in np.unique(status)}
                assert not ivar[np.isin(status, [STATUS.index(s) for s in ("no_coverage", "failed")])].any()
    assert {("ps1", "ok"), ("hsc", "ok"), ("galex", "ok"), ("unwise", "ok"), ("ps1", "masked"), ("unwise", "failed")} <= found


def test_one_galaxy_has_like_fluxes_in_two_surveys(multi):
    """The same band in HSC and PS1, in 3 arcsec: agreement within noise and the filters' difference."""
    ratio = []
    for path in splits(multi).values():
        with h5py.File(path) as handle:
            both = (handle["hsc"]["status"][:, 2] == 0) & (handle["ps1"]["status"][:, 2] == 0)
            for k in np.flatnonzero(both):
                fluxes = [_aperture(handle[s]["image"][k, 2], scale, 3.0) for s, scale in (("hsc", 0.168), ("ps1", 0.25))]
                if fluxes[0] > 20000:
                    ratio.append(fluxes[1] / fluxes[0])
    assert len(ratio) >= 5 and np.median(ratio) == pytest.approx(0.95, abs=0.12)  # PS1's PSF puts more outside 3 arcsec


def _aperture(image, scale, radius):
    y, x = (np.mgrid[:len(image), :len(image)] - (len(image) - 1) / 2) * scale
    return image[np.hypot(x, y) < radius].sum()


def test_the_compilation_counts_every_row(multi):
    raw, rejected = (store.read_parquet(multi / "specz" / f"{name}.parquet") for name in ("raw", "rejected"))
    selected, counts = store.read_parquet(multi / "specz" / "selected.parquet"), pandas.read_csv(multi / "specz" / "cuts.csv")
    own = {path.stem: len(store.read_parquet(path)) for path in (multi / "specz" / "surveys").glob("*.parquet")}
    assert len(own) == 8 and sum(own.values()) == len(raw) == store.parquet_meta(multi / "specz" / "raw.parquet")["archive_count"]
    assert len(raw) == len(rejected) + len(selected) == len(rejected) + counts["rows_out"].iloc[-1]
    assert (counts["rows_in"].iloc[1:].to_numpy() == counts["rows_out"].iloc[:-1].to_numpy()).all()
    assert not selected["object_id"].duplicated().any() and set(rejected["cut"]) <= set(counts["cut"])


def test_dust_says_which_map_it_is(multi):
    with h5py.File(splits(multi)["training"]) as handle:
        maps = {entry["map"]: entry for entry in json.loads(handle.attrs["dust_maps"])}
        ratio = handle["ebv_planck2013"][:] / handle["ebv_csfd"][:]
    assert maps["csfd"]["scale"] == "sfd" and maps["planck2013"]["scale"] == "true" and maps["csfd"]["sha256"]
    assert ratio == pytest.approx(0.86, abs=0.03)


def test_every_module_a_verb_imported_is_in_its_fingerprint(multi):
    check_fingerprints(multi.parents[1], {"query-survey", "compile-redshifts", "plan", "plan-shards", "download-cutouts",
                                          "download-map", "measure-dust", "assign-splits", "pack-multi", "train", "predict",
                                          "build-catalog", "evaluate", "report"})


def test_a_changed_cut_or_match_reruns_the_compilation_and_asks_no_survey(multi, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(multi.parents[1], folder, ignore=shutil.ignore_patterns("trace", "*.sqlite"))
    before = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(before.replace("z_max: 1.6", "z_max: 1.2"))
    stale_rules = stale(folder)
    assert "compile_redshifts" in stale_rules and not stale_rules & {"query_survey", "download_map"}
    (folder / "config.yaml").write_text(before.replace("rpm: 60000", "rpm: 30000"))
    assert stale(folder) == set()
    path = folder / "src" / "skyloom" / "measure" / "dust.py"
    path.write_text(path.read_text().replace("order=1", "order=3"))
    assert {"measure_dust", "pack_multi"} <= stale(folder) and "download_cutouts" not in stale(folder)


def test_catalog_and_ledger_of_the_compilation(multi):
    catalog = store.read_parquet(multi / "catalog" / "photoz_catalog.parquet")
    ledger = pandas.read_csv(multi / "ledger.csv")
    lost = store.read_parquet(multi / "lost.parquet")
    raw = store.parquet_meta(multi / "specz" / "raw.parquet")["archive_count"]
    assert ledger["rows_in"].iloc[0] == raw and ledger["rows_out"].iloc[-1] == len(catalog) == raw - len(lost)
    assert np.isfinite(catalog["z_mantis_late"]).all() and catalog["z_mantis_late"].between(0, 1.6).all()
    assert {"status_ps1", "status_hsc", "status_galex", "status_unwise"} <= set(catalog)
    bit = 1 << 18
    assert ((catalog["flags"] & bit != 0) == (catalog["status_galex"] != "ok")).all()
    with h5py.File(multi / "models" / "mantis_late" / "seed1" / "predictions.h5") as handle:
        assert handle["pz"].shape == (len(catalog), 20) and handle["pz"][:].sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (multi / "report.html").exists()


def test_nothing_leaks(multi):
    assert (pandas.read_csv(multi / "dataset" / "leaks.csv")["pairs"] == 0).all()


def test_a_second_call_does_nothing_and_a_dead_archive_is_not_asked(multi):
    folder = multi.parents[1]
    again = snakemake(folder, "--cores", "2")
    assert again.returncode == 0 and "Nothing to be done" in again.stdout + again.stderr
