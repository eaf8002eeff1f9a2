"""From tiles to a judged catalog of every source: one small run, its catalog, redshifts, and forced positions in its tiles."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas
import pytest

from skyloom import store
from skyloom.__main__ import main
from skyloom.dataset import detections
from skyloom.measure import matching
from skyloom.release.flags import BITS
from tests.conftest import snakemake, workplace

pytestmark = [pytest.mark.xdist_group("scenes"), pytest.mark.timeout(900)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = workplace(tmp_path_factory.mktemp("scenes"))
    shutil.copy(Path(__file__).with_name("scenes.yaml"), folder)
    called(folder)
    return folder


def called(folder, *more):
    done = snakemake(folder, "--cores", "2", "--configfile", "scenes.yaml", *more, timeout=880)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def made(folder):
    return folder / "results" / "scenes"


def tables(folder, kind):
    read = detections.read if kind.startswith("detections") else store.read_parquet
    return pandas.concat([read(path).assign(part=path.stem.split("_")[0])
                          for path in sorted((folder / kind).glob("*.parquet"))], ignore_index=True)


@pytest.fixture(scope="session")
def catalog(made):
    return store.read_parquet(made / "catalog" / "photoz_catalog.parquet")


def test_every_source_found_is_a_row_of_the_catalog(made, catalog):
    found = tables(made, "detections/deepdisc")
    ledger, lost = pandas.read_csv(made / "ledger.csv"), store.read_parquet(made / "lost.parquet")
    asked = ledger[ledger["step"] == "query"]["rows_in"].sum()
    assert set(ledger["sample"]) == {"found", "targets"} and asked == len(catalog) + len(lost) <= len(found)
    assert set(catalog["object_id"]) <= set(found["object_id"]) and catalog["object_id"].is_unique
    same = found.set_index("object_id").loc[catalog["object_id"]]
    for name in ("ra", "dec", "p_star", "detect_flags", "i_flux", "i_flux_err", "half_light_radius", "snr", "score", "tile_id"):
        assert np.array_equal(catalog[name], same[name], equal_nan=True), name
    edge = (catalog["flags"] & (1 << BITS["edge"])) != 0
    assert np.array_equal(edge, (catalog["detect_flags"] & 2) != 0)
    meta = store.parquet_meta(made / "catalog" / "photoz_catalog.parquet")
    assert meta["detector"] == "deepdisc" and len(meta["detector_weights"]) == 16
    assert json.loads(meta["detect_flag_bits"])["0"] == "blended"


def test_parts_of_the_sky_are_the_splits_and_redshifts_are_those_of_gold_labels(made, catalog):
    truth = tables(made, "scenes/truth").drop_duplicates("label_id")
    known = catalog[catalog["split"] != "target"]
    assert known["z_spec"].notna().all() and catalog[catalog["split"] == "target"]["z_spec"].isna().all()
    parts = tables(made, "detections/deepdisc").set_index("object_id")["part"]
    assert np.array_equal(known["split"], parts.loc[known["object_id"]])
    assert {"training", "validation", "testing"} == set(known["split"]) and set(known["subset"]) == {"", "select", "calibrate"}
    at = matching.nearest(matching.on_sphere(known["ra"], known["dec"]), matching.on_sphere(truth["ra"], truth["dec"]))
    assert (at >= 0).all()
    own = truth.iloc[at]
    assert np.mean(own["redshift"].to_numpy() == known["z_spec"].to_numpy()) > 0.95  # S/N 1 to 5 is no label, but truth
    assert ((own["is_star"] == 0) & (own["i_flux"] > 10 ** (0.4 * (31.4 - 25.3)))).mean() > 0.95


def test_the_network_s_mixtures_are_a_model_like_any(made, catalog):
    found, parts = tables(made, "detections/deepdisc"), sorted((made / "detections" / "deepdisc").glob("*_pz.h5"))
    pz = [store.arrays(path, ("weight", "mean", "sigma")) for path in parts]
    mean = np.concatenate([(one["weight"] * one["mean"]).sum(axis=1) for one in pz])
    said = pandas.Series(mean, index=found["object_id"])
    assert catalog["z_deepdisc"].to_numpy() == pytest.approx(said.loc[catalog["object_id"]].to_numpy(), abs=1e-4)
    models = {"deepdisc", "tabular", "tabular_sep"}
    metrics = pandas.read_csv(made / "evaluation" / "metrics.csv")
    assert models <= set(metrics["model"]) and all((made / "catalog" / f"pz_{name}.hdf5").exists() for name in models)
    assert np.isfinite(catalog["z_tabular"]).all()  # of targets, too
    unseen = np.isnan(catalog["z_tabular_sep"])  # sep found no such source: nothing was read
    assert 0 < unseen.sum() < len(catalog) and catalog["z_phot"].notna().all()
    table = store.columns(made / "dataset" / "table_target.hdf5")
    assert np.isnan(table["sep_i_flux"]).any() and np.isfinite(table["i_aper_flux_1"]).all()


def test_detectors_are_judged_and_both_find_something(made):
    judged = pandas.read_csv(made / "evaluation" / "detection.csv")
    whole = judged[(judged["metric"] == "completeness") & (judged["bin"].isna()) & (judged["subset"] == "gold")]
    rates = whole.set_index("model")["value"]
    assert set(rates.index) == {"deepdisc", "sep"} and (rates > 0.5).all()
    for name in ("bars", "redshifts", "redshift_bars", "groups", "paired"):
        assert len(pandas.read_csv(made / "evaluation" / f"scenes_{name}.csv")), name
    page = (made / "report.html").read_text(encoding="utf-8")
    assert "deepdisc: photo-z against spec-z" in page


def test_forced_positions_get_what_was_found_there_and_those_outside_nothing(folder, made, catalog, tmp_path):
    bright = catalog[(catalog["snr"] > 30) & (catalog["split"] == "testing")].head(12)
    asked = pandas.concat([bright[["object_id", "ra", "dec"]], pandas.DataFrame({"object_id": [7], "ra": [151.0], "dec": [2.0]})])
    asked.to_csv(tmp_path / "asked.csv", index=False)
    words = ["forced-scenes", "--model", str(made / "models" / "deepdisc" / "seed1"), "--scenes",
             *map(str, sorted((made / "scenes" / "hsc").glob("testing_*.h5"))), "--table", str(tmp_path / "asked.csv")]
    assert main([*words, "--out", str(tmp_path / "out.parquet")]) == 0
    out = store.read_parquet(tmp_path / "out.parquet").set_index("object_id")
    assert np.isnan(out.loc[7, "z_phot"]) and out.loc[7, "flags"] & (1 << BITS["no_z_phot"])
    same = out.loc[bright["object_id"]]
    assert same["ra"].to_numpy() == pytest.approx(bright["ra"].to_numpy(), abs=1e-9)
    assert np.median(np.abs(same["z_deepdisc"].to_numpy() - bright["z_deepdisc"].to_numpy())) < 0.05
    assert np.median(np.abs(same["i_flux"].to_numpy() / bright["i_flux"].to_numpy() - 1)) < 0.1
    pandas.DataFrame({"ra": [10.0], "dec": [2.0]}).to_csv(tmp_path / "asked.csv", index=False)
    assert main([*words, "--out", str(tmp_path / "none.parquet")]) == 2 and not (tmp_path / "none.parquet").exists()
    tabular = [*words[:2], str(made / "models" / "tabular" / "seed1"), *words[3:], "--out", str(tmp_path / "none.csv")]
    assert main(tabular) == 2


def test_another_gold_sample_trains_again_and_fetches_nothing(folder):
    assert "Nothing to be done" in called(folder, "-n")
    (folder / "other.yaml").write_text("scenes: {gold: {mag: 24.0}}\n")
    plan = called(folder, "other.yaml", "-n", "-q", "rules")
    assert "train_scenes" in plan and "pack_detections" in plan and "fetch_scenes" not in plan
