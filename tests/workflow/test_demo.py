"""The demo's results, where `make run` has left them: every status and flag occurs, the splits keep their shares."""

from pathlib import Path

import h5py
import numpy as np
import pandas
import pytest

from skyloom.cutouts.stamps import STATUS
from skyloom.measure.sources import FLAGS
from skyloom.sample.shards import pixels

DEMO = Path(__file__).resolve().parents[2] / "results" / "demo"
pytestmark = pytest.mark.skipif(not (DEMO / "report.html").exists(), reason="the demo has not been run here: make run")


def test_every_status_occurs():
    seen = set()
    for path in (DEMO / "cutouts" / "hsc").glob("*.h5"):
        with h5py.File(path) as handle:
            seen |= {STATUS[code] for code in np.unique(handle["status"])}
    assert seen == set(STATUS)


# the sky's pixels are squares; those that aren't are tested with local images
@pytest.mark.parametrize("flag", sorted(set(FLAGS) - {"extraction_failed", "oblong_pixels"}))
def test_every_flag_occurs(flag):
    tables = [pandas.read_parquet(path) for path in (DEMO / "morphology").glob("*.parquet")]
    assert any((t[f"{band}_morphology_flags"] & FLAGS[flag]).any() for t in tables for band in "grizy")


def test_splits_keep_their_shares_over_400_blocks():
    splits = pandas.read_parquet(DEMO / "dataset" / "splits.parquet").query("sample == 'specz'")
    share = splits["split"].value_counts(normalize=True)
    for name, wanted in (("training", 0.6), ("validation", 0.2), ("testing", 0.2)):
        assert share[name] == pytest.approx(wanted, abs=0.05)
    assert len(np.unique(pixels(11, splits["ra"], splits["dec"]))) >= 400


def test_one_object_in_five_is_a_target():
    catalog = pandas.read_parquet(DEMO / "catalog" / "photoz_catalog.parquet")
    assert len(catalog) >= 1200
    assert np.mean(catalog["split"] == "target") == pytest.approx(0.2, abs=0.07)


def test_the_nn_scatters_like_the_real_survey():
    metrics = pandas.read_csv(DEMO / "evaluation" / "metrics.csv")
    row = metrics[(metrics["model"] == "galaxiesml_nn") & (metrics["convention"] == "1.48mad(1+z)|mean")
                  & metrics["z_min"].isna() & (metrics["seed"] == "ensemble")]
    assert 0.025 < row["value"].iloc[0] < 0.06


def test_the_catalog_carries_pz_of_every_object():
    catalog = pandas.read_parquet(DEMO / "catalog" / "photoz_catalog.parquet")
    known = catalog[["z_tabular_median", "z_tabular_l68", "z_tabular_u68", "z_tabular_c68_low", "z_tabular_c68_high"]]
    assert np.isfinite(known).all(axis=None) and (DEMO / "catalog" / "pz_tabular.hdf5").exists()
    tested = catalog[catalog["split"] == "testing"]
    inside = tested["z_spec"].between(tested["z_tabular_c95_low"], tested["z_tabular_c95_high"])
    assert inside.mean() > 0.88  # 95 % promised, some 280 objects
