"""The multi-survey run end to end: compilation, stamps of four surveys, dust, one HDF5 a split."""

import json
import shutil
import subprocess
import sys

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


def test_structure_is_that_of_surveys_with_a_psf_of_their_own(multi):
    assert [folder.name for folder in (multi / "structure").iterdir()] == ["hsc"]
    with h5py.File(multi / "dataset/multi_training.hdf5") as handle:
        names = {name for name in handle if "annulus" in name or "disk" in name or "bulge" in name}
        assert {"hsc_g_annulus_flux_1", "hsc_y_annulus_cov_3_4", "hsc_i_bulge_flux", "hsc_disk_re"} <= names
        assert all(name.startswith("hsc_") for name in names)
        seen = handle["hsc_i_annulus_flags"][:] == 0
        assert seen.any() and np.isfinite(handle["hsc_i_annulus_flux_1"][:][seen]).all()


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
                                          "download-map", "measure-dust", "measure-photometry", "measure-structure",
                                          "assign-splits", "pack-multi", "train", "predict", "attribute",
                                          "summarize-attribution", "degrade", "rank-sweep",
                                          "support", "choose-z-phot", "build-catalog", "evaluate", "report"})


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


def test_the_catalog_sums_up_pz_and_qp_finds_its_rows(multi):
    catalog = store.read_parquet(multi / "catalog" / "photoz_catalog.parquet")
    for model in ("mantis_late", "mantis_optical"):
        assert {f"z_{model}_{name}" for name in ("mean", "mode", "median", "l68", "u68", "l95", "u95")} <= set(catalog)
        known = catalog[catalog[f"z_{model}"].notna()]
        low, high = known[f"z_{model}_l95"], known[f"z_{model}_u95"]
        assert (low <= known[f"z_{model}_l68"]).all() and (known[f"z_{model}_u68"] <= high).all() and (low < high).all()
        with h5py.File(multi / "catalog" / f"pz_{model}.hdf5") as handle:  # qp's layout for histograms
            assert handle["meta/pdf_name"][:].tolist() == [b"hist"] and handle["meta/bins"].shape == (1, 21)
            assert np.array_equal(handle["ancil/object_id"][:], catalog["object_id"])
            mass = handle["data/pdfs"][:] * np.diff(handle["meta/bins"][0])
        assert np.isfinite(mass).all(axis=1).tolist() == catalog[f"z_{model}"].notna().tolist()
        centres = 0.04 + 0.08 * np.arange(20)
        assert (mass @ centres)[known.index] == pytest.approx(known[f"z_{model}_mean"].to_numpy(), abs=1e-6)


def test_qp_reads_the_pz_file(multi):
    qp = pytest.importorskip("qp", reason="qp isn't installed: pip install qp-prob reads the p(z) files back")
    ensemble = qp.read(str(multi / "catalog" / "pz_mantis_late.hdf5"))
    catalog = store.read_parquet(multi / "catalog" / "photoz_catalog.parquet")
    assert ensemble.npdf == len(catalog)
    assert np.ravel(ensemble.mean()) == pytest.approx(catalog["z_mantis_late"].to_numpy(), abs=1e-3)


def test_photometry_finds_the_catalogs_magnitudes(multi):
    """Against the redshift survey's own i where it says one: the sky's truth, through three surveys."""
    columns = [store.columns(path) for path in splits(multi).values()]
    g, r, seen = (np.concatenate([c[f"ps1_{name}"] for c in columns]) for name in ("g_mag", "r_mag", "r_detected"))
    hsc = np.concatenate([c["hsc_r_mag"] for c in columns])
    bright = (seen == 1) & (r < 21)
    assert bright.sum() >= 5 and np.median(np.abs(r - hsc)[bright]) < 0.15
    assert np.nanmedian((g - r)[bright]) > 0.2 and set(np.unique(seen[np.isfinite(seen)])) <= {0.0, 1.0}


def test_tables_of_the_evaluation(multi):
    folder = multi / "evaluation"
    metrics, ablations, subsets, paired = (pandas.read_csv(folder / f"{name}.csv") for name in
                                           ("metrics", "ablations", "subsets", "paired"))
    assert ablations["model"].tolist() == ["mantis_optical", "mantis_late"]
    assert ablations["fusion"].tolist() == ["Neither", "Late"]
    one = metrics[(metrics["model"] == "mantis_late") & (metrics["seed"] == "all") & metrics["subset"].isna()]
    nmad = one[(one["metric"] == "nmad") & (one["convention"] == "1.4826mad(1+z)|mean") & one["z_min"].isna()]["value"].item()
    assert ablations["nmad_e2"].iloc[1] == pytest.approx(100 * nmad)
    assert {"mean", "mode", "median"} <= {c.rsplit("|")[-1] for c in one["convention"]} and "cde_loss" in set(one["metric"])
    assert set(subsets["sample"]) == {"ps1_detected", "wise"} and (subsets["n"] <= ablations["n"].max()).all()
    assert (paired["model_a"] < paired["model_b"]).all() and (paired["lo95"] <= paired["hi95"]).all()
    sweep = pandas.read_csv(folder / "sweep.csv")
    assert sorted(sweep["lr"]) == [1e-3, 3e-3] and sweep["nmad 1.4826mad(1+z)"].is_monotonic_increasing
    hidden = pandas.read_csv(multi / "models" / "mantis_late" / "seed1" / "degradation.csv")
    assert len(set(hidden["seen"])) == 7
    whole = hidden[(hidden["seen"] == "galex+ps1+unwise") & (hidden["convention"] == "1.4826mad(1+z)|mean")]["value"].item()
    assert whole == pytest.approx(nmad, rel=1e-6)  # nothing hidden: the catalog's own numbers


def test_shapley_values_add_up_to_what_the_light_changes(multi):
    for model, bands in (("mantis_late", 9), ("mantis_optical", 5)):
        table = store.read_parquet(multi / "models" / model / "attribution.parquet")
        catalog = store.read_parquet(multi / "catalog" / "photoz_catalog.parquet").set_index("object_id")
        assert len(table) == 4 * bands and (table["z_phot"].to_numpy() == pytest.approx(
            catalog.loc[table["object_id"], f"z_{model}"].to_numpy(), abs=1e-5))
        share = table.groupby("object_id")["mm_shap"].sum()
        assert share.to_numpy() == pytest.approx(1) and table["shapley"].abs().max() > 0
    mean = pandas.read_csv(multi / "evaluation" / "attribution.csv")
    assert mean.groupby(["model", "survey", "band"])["n"].sum().eq(4).all()
    assert (multi / "evaluation" / "attribution.png").exists()


def forced(multi, tmp_path, *words, model="mantis_late"):
    from tests.conftest import environment

    out = tmp_path / "forced.parquet"
    done = subprocess.run([sys.executable, "-m", "skyloom", "forced-photoz", "--model", str(multi / "models" / model / "seed1"),
                           *map(str, words), "--cache", str(tmp_path / "cache"), "--out", str(out)], text=True, check=False,
                          env=environment() | {"PYTHONPATH": str(multi.parents[1] / "src")}, capture_output=True, timeout=200)
    return done, store.read_parquet(out) if done.returncode == 0 else None


def test_forced_photoz_equals_the_runs_own_value(multi, tmp_path):
    catalog = store.read_parquet(multi / "catalog" / "photoz_catalog.parquet")
    same = catalog[(catalog[["status_ps1", "status_galex", "status_unwise"]] == "ok").all(axis=1)].iloc[:3]
    same[["object_id", "ra", "dec"]].to_csv(tmp_path / "positions.csv", index=False)
    done, table = forced(multi, tmp_path, "--table", tmp_path / "positions.csv")
    assert done.returncode == 0, done.stderr
    assert table["object_id"].tolist() == same["object_id"].tolist()
    for name in [name for name in catalog if name.startswith("z_mantis_late")]:
        if not name.endswith("_std"):
            one_seed = name.endswith("_epistemic")  # undefined: it is the scatter over seeds
            assert table[name].to_numpy() == pytest.approx(same[name].to_numpy(), abs=1e-6, nan_ok=one_seed), name
    assert (table[["status_ps1", "status_galex", "status_unwise"]] == "ok").all(axis=None)
    assert set(table["z_phot_model"]) == {"mantis_late"}
    assert table["z_phot"].to_numpy() == pytest.approx(same["z_mantis_late_median"].to_numpy(), abs=1e-6)


def test_forced_photoz_where_nobody_looked_and_with_bad_positions(multi, tmp_path):
    done, table = forced(multi, tmp_path, "--ra", 40, "--dec", -70, model="mantis_optical")
    assert done.returncode == 0 and "1 of 1 positions were seen by no survey of the model" in done.stderr
    assert np.isnan(table["z_mantis_optical"]).all() and table["status_ps1"].tolist() == ["no_coverage"]
    assert (table["flags"] & (1 << 7)).all() and (table["flags"] & (1 << 17)).all()
    for words, said in ((("--ra", 10, "--dec", 95), "got row 0: ra 10.0, dec 95.0"), (("--ra", 10), "needs both --ra and --dec"),
                        ((), "needs either --ra and --dec or --table")):
        done, _ = forced(multi, tmp_path, *words)
        assert done.returncode == 2 and done.stderr.startswith("skyloom: ") and said in done.stderr


def test_nothing_leaks(multi):
    assert (pandas.read_csv(multi / "dataset" / "leaks.csv")["pairs"] == 0).all()


def test_a_second_call_does_nothing_and_a_dead_archive_is_not_asked(multi):
    folder = multi.parents[1]
    again = snakemake(folder, "--cores", "2")
    assert again.returncode == 0 and "Nothing to be done" in again.stdout + again.stderr
