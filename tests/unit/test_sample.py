"""Cuts, shards, splits, ledger."""

import numpy as np
import pandas
import pytest

from skyloom.errors import InputError, SkyloomError
from skyloom.provenance import ledger
from skyloom.sample import cuts, plan, shards, splits, weights

OPTIONS = {"z_min": 0.01, "z_max": 4.0, "sigma_z": "code", "sigma_z_max": 0.005, "isprimary": False, "magnitudes": True,
           "mag_min": 0, "mag_max": 50}
MAGS = ["g_cmodel_mag"]


def frame(**columns):
    n = len(next(iter(columns.values())))
    base = {"object_id": np.arange(n), "specz_name": [f"n{k}" for k in range(n)], "specz_redshift": np.full(n, 0.5),
            "specz_redshift_err": np.full(n, 1e-4), "g_cmodel_mag": np.full(n, 20.0), "isprimary": np.full(n, True)}
    return pandas.DataFrame(base | columns)


def test_importance_weights_are_the_ratio_of_densities():
    rng = np.random.default_rng(0)
    training, others = rng.uniform(18, 24, (4000, 1)), rng.normal(22.5, 0.5, (3000, 1))
    found = weights.toward(training, others)
    assert found.mean() == pytest.approx(1) and np.average(training[:, 0], weights=found) == pytest.approx(22.5, abs=0.05)
    spread = np.sqrt(np.average((training[:, 0] - 22.5) ** 2, weights=found))
    assert spread == pytest.approx(0.5, abs=0.05)
    alike = weights.toward(training, rng.uniform(18, 24, (4000, 1)))
    assert weights.effective(alike) > 0.85 * 4000 > weights.effective(found)
    holes = training.copy()
    holes[:10] = np.nan  # too few to compare: the ratio of shares, of which the others have none
    assert (weights.toward(holes, others)[:10] == 0).all()
    assert (weights.toward(training, others[:0]) == 1).all()


def test_each_cut_rejects_its_own_rows_with_reason_and_value():
    table = frame(specz_redshift=[0.5, 0.005, 4.5, 0.5, 0.5, 0.5, 0.5, np.nan, -9.9],
                  specz_redshift_err=[1e-4, 1e-4, 1e-4, 0.0076, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4],
                  g_cmodel_mag=[20, 20, 20, 20, np.nan, 20, 20, 20, 20],
                  specz_name=["a", "b", "c", "d", "e", "a", "g", "h", "i"],
                  object_id=[1, 2, 3, 4, 5, 6, 1, 8, 9])
    kept, rejected, counts = cuts.apply_cuts(table, cuts.masks(OPTIONS, MAGS))
    assert kept["object_id"].tolist() == [1]
    assert rejected[["cut", "object_id"]].to_numpy().tolist() == [
        ["redshift_finite", 8], ["redshift_finite", 9], ["redshift_range", 2], ["redshift_range", 3], ["sigma_z_code", 4],
        ["magnitude_range", 5], ["duplicate_specz_name", 6], ["duplicate_object_id", 1]]
    assert rejected["value"][2] == "0.005"
    assert (counts["rows_in"] - counts["rejected"].astype(int) == counts["rows_out"]).all()


def test_the_papers_printed_error_cut_is_stricter_at_high_redshift():
    table = frame(specz_redshift=[1.0, 1.0], specz_redshift_err=[0.004, 0.002])
    for option, left in (("code", 2), ("paper", 1), ("none", 2)):
        kept, _, counts = cuts.apply_cuts(table, cuts.masks({**OPTIONS, "sigma_z": option}, MAGS))
        assert len(kept) == left
    assert not any("sigma" in name for name in counts["cut"])


def test_an_absent_column_is_not_applicable_and_isprimary_has_its_own_row():
    table = frame(isprimary=[True, False]).drop(columns="specz_redshift_err")
    _, _, counts = cuts.apply_cuts(table, cuts.masks({**OPTIONS, "isprimary": True}, MAGS))
    by_name = counts.set_index("cut")["rejected"]
    assert by_name["sigma_z_code"] == "not applicable" and by_name["isprimary"] == 1


def test_targets_lose_what_the_sample_has_by_id_or_position():
    targets = pandas.DataFrame({"object_id": [1, 2, 3], "ra": [10.0, 20.0, 30.0], "dec": [0.0, 0.0, 0.0]})
    assert cuts.without(targets, [1], [20.0001], [0.0]).tolist() == [False, False, True]


def test_shards_split_until_small_and_hold_every_object():
    rng = np.random.default_rng(1)
    ra, dec = np.concatenate([rng.uniform(150, 153, 300), rng.uniform(151, 151.1, 700)]), rng.uniform(1, 2, 1000)
    names = shards.plan_sky(ra, dec, most=200)
    home = shards.assign(names, np.arange(1000), ra, dec)
    counts = pandas.Series(home).value_counts()
    assert counts.max() <= 200 and set(home) <= set(names) and len(set(names)) == len(names)
    assert plan.read_plan(plan.write_plan(names)) == names
    with pytest.raises(InputError, match="--extend"):
        shards.assign(names, [5], [10.0], [80.0])


def test_a_region_plan_covers_its_region_from_the_config_alone():
    names = shards.plan_region((359.5, 360.5, -0.5, 0.5), 1300, 200, 6)
    rng = np.random.default_rng(2)
    shards.assign(names, np.arange(2000), rng.uniform(359.5, 360.5, 2000) % 360, rng.uniform(-0.5, 0.5, 2000))
    assert len(names) >= 6


def test_hash_shards_fill_evenly_and_never_move():
    names = plan.plan_hash(4)
    home = shards.assign(names, np.arange(4000))
    assert pandas.Series(home).value_counts().min() > 900
    assert (shards.assign(names, np.arange(5000))[:4000] == home).all()


def sphere(n, seed=0):
    rng = np.random.default_rng(seed)
    return np.arange(n) * 7 + 1, rng.uniform(150, 152, n), rng.uniform(1, 3, n)


def test_sky_blocks_keep_the_fractions_and_adding_galaxies_moves_none():
    ids, ra, dec = sphere(6000)
    split = splits.assign_splits(ids, ra, dec, "sky_block", (0.6, 0.2, 0.2), 1, 10)
    share = pandas.Series(split).value_counts(normalize=True)
    assert share["training"] == pytest.approx(0.6, abs=0.05) and share["testing"] == pytest.approx(0.2, abs=0.05)
    part = splits.assign_splits(ids[:3000], ra[:3000], dec[:3000], "sky_block", (0.6, 0.2, 0.2), 1, 10)
    lone = splits.groups(ids, ra, dec, 1.0) == np.arange(6000)
    assert (part == split[:3000])[lone[:3000]].all()
    blocks = shards.pixels(10, ra, dec)
    assert pandas.DataFrame({"b": blocks[lone], "s": split[lone]}).groupby("b").s.nunique().max() == 1


def test_close_pairs_share_a_split_and_overlaps_leave_training():
    ids, ra, dec = sphere(4000, 3)
    ra[:500] = ra[500:1000] + 0.5 / 3600  # half an arcsecond away, often across a block's edge
    dec[:500] = dec[500:1000]
    split = splits.assign_splits(ids, ra, dec, "hash", (0.6, 0.2, 0.2), 1, 10)
    assert (split[:500] == split[500:1000]).all()
    overlap = splits.overlapping(split, ra, dec, 21.0)
    assert overlap.any() and (split[overlap] == "training").all()
    kept = ~overlap
    report = dict(splits.leaks(split[kept], ids[kept], ra[kept], dec[kept], 21.0))
    assert report == {"same_object_id": 0, "repeated_object_id": 0, "within_1_arcsec": 0, "stamps_overlap": 0}
    broken = dict(splits.leaks(split, ids, ra, dec, 21.0))
    assert broken["stamps_overlap"] == overlap.sum()


def test_overlap_is_a_square_not_a_circle():
    split = np.array(["training", "testing", "training"], object)
    ra, dec = np.array([10.0, 10.0 + 20 / 3600, 10.0]), np.array([0.0, 20 / 3600, -30 / 3600])
    assert splits.overlapping(split, ra, dec, 21.0).tolist() == [True, False, False]


def test_the_random_split_has_exact_fractions_and_halves_are_halves():
    ids = np.arange(1000)
    split = splits.assign_splits(ids, None, None, "random", (0.6, 0.2, 0.2), 1, 10)
    assert pandas.Series(split).value_counts().to_dict() == {"training": 600, "validation": 200, "testing": 200}
    assert np.mean(splits.halves(ids, 1) == "select") == pytest.approx(0.5, abs=0.05)


def test_the_ledger_refuses_what_does_not_add_up():
    steps = pandas.DataFrame([("specz", "query", 5, 5), ("specz", "cut", 5, 4)],
                             columns=["sample", "step", "rows_in", "rows_out"])
    lost = pandas.DataFrame([(1, 0, "specz", "cut", "redshift_range", "5")], columns=ledger.LOST_COLUMNS)
    assert ledger.build_ledger(steps, lost)["rows_lost"].tolist() == [0, 1]
    with pytest.raises(SkyloomError, match="lost 1 rows, but lost.parquet names 0"):
        ledger.build_ledger(steps, lost.iloc[:0])
    steps.loc[1, "rows_in"] = 6
    with pytest.raises(SkyloomError, match="starts with 6 rows, expected 5"):
        ledger.build_ledger(steps, lost)
