"""A sample divided: every pair of sides apart, near-duplicates in one half, objects without a position by themselves and told."""

import json

import numpy as np
import pandas
import pytest

from skyloom import store
from skyloom.__main__ import main
from skyloom.sample import assignment, cuts, splits, subsets

SETTINGS = {"method": "sky_block", "fractions": [0.6, 0.2, 0.2], "seed": 1, "order": 11, "group_arcsec": 1.0, "stamp_arcsec": 0.0}


def sample(n=600, seed=0, box=0.5, **more):
    rng = np.random.default_rng(seed)
    return pandas.DataFrame({"sample": "specz", "object_id": np.arange(1, n + 1), "row": np.arange(n),
                             "ra": rng.uniform(359.8, 359.8 + box, n) % 360, "dec": rng.uniform(-box / 2, box / 2, n), **more})


def sides(found) -> dict:
    return dict(zip(found.kept["object_id"], zip(found.kept["split"], found.kept["subset"], strict=True), strict=True))


def test_every_pair_of_splits_is_apart_and_testing_loses_nothing():
    frame, wide = sample(), {**SETTINGS, "stamp_arcsec": 30.0}
    alone, found = assignment.assign(frame, SETTINGS), assignment.assign(frame, wide)
    counts = [one.kept["split"].value_counts() for one in (alone, found)]
    assert counts[0]["testing"] == counts[1]["testing"]
    assert counts[0]["validation"] > counts[1]["validation"] and counts[0]["training"] > counts[1]["training"]
    assert set(found.dropped["reason"]) == {"split_overlap"} and len(found.kept) + len(found.dropped) == len(frame)
    kept = found.kept
    pairs = splits.touching(kept["ra"], kept["dec"], 30.0)
    names = kept["split"].to_numpy()
    assert len(pairs) and (names[pairs[:, 0]] == names[pairs[:, 1]]).all()
    assert [row[0] for row in found.leaks] == ["same_object_id", "repeated_object_id", "within_1_arcsec", "stamps_overlap",
                                              "within_1_arcsec_select_calibrate", "stamps_overlap_validation_testing"]
    assert all(row[1:] == (0, 0, "sky_block") for row in found.leaks)
    assert found.told == ""


def test_a_validation_row_that_goes_takes_no_training_row_with_it():
    split = np.array(["training", "validation", "testing"], object)
    ra, dec = np.array([10.0, 10.0 + 15 / 3600, 10.0 + 30 / 3600]), np.zeros(3)
    assert splits.separated(split, ra, dec, 20.0, 1.0).tolist() == ["", "split_overlap", ""]
    assert splits.separated(split[:2], ra[:2], dec[:2], 20.0, 1.0).tolist() == ["split_overlap", ""]


def test_each_objects_own_stamp_counts():
    split, ra, dec = np.array(["training", "testing"], object), np.array([10.0, 10.0 + 20 / 3600]), np.zeros(2)
    assert splits.separated(split, ra, dec, np.array([30.0, 5.0]), 1.0).tolist() == ["", ""]  # 17.5 arcsec together
    assert splits.separated(split, ra, dec, np.array([40.0, 5.0]), 1.0).tolist() == ["split_overlap", ""]


def test_a_given_evaluation_table_is_kept_and_its_twins_leave_training():
    frame = sample(100, part="training")
    twins = frame[:30].assign(object_id=np.arange(1001, 1031), part="evaluation", ra=frame["ra"][:30] + 0.4 / 3600)
    found = assignment.assign(pandas.concat([frame, twins], ignore_index=True), SETTINGS)
    assert found.kept["object_id"].tolist() == [*range(31, 101), *range(1001, 1031)]
    assert (found.dropped["reason"] == "near_duplicate").all()
    assert set(found.kept["split"][-30:]) == {"testing"} and not (found.kept["split"][:-30] == "testing").any()


def test_near_duplicates_stay_in_one_half():
    frame = sample(400)
    twins = frame.assign(object_id=frame["object_id"] + 5000, dec=frame["dec"] + 0.5 / 3600)
    found = sides(assignment.assign(pandas.concat([frame, twins], ignore_index=True), SETTINGS))
    assert all(found[k] == found[k + 5000] for k in range(1, 401))
    subset = np.array(["select", "calibrate"], object)
    broken = splits.held_leaks(np.array(["validation"] * 2, object), subset, np.array([5.0, 5.0]), np.zeros(2), 0.0, 1.0)
    assert broken == [("within_1_arcsec_select_calibrate", 1)]


@pytest.mark.parametrize("method", ["sky_block", "hash", "random"])
def test_a_few_objects_without_a_position_change_nobody_elses_side(method):
    frame, settings = sample(), {**SETTINGS, "method": method, "stamp_arcsec": 10.0}
    holes = frame.copy()
    holes.loc[[3, 77], "ra"] = np.nan
    holes.loc[200, "dec"] = -999.0  # a declination that is none
    whole, found = sides(assignment.assign(frame, settings)), assignment.assign(holes, settings)
    some = sides(found)
    for k in set(whole) & set(some) - {4, 78, 201}:
        assert whole[k] == some[k]
    assert {4, 78, 201} <= set(some) and len(set(some) - set(whole)) < 12
    assert "3 of 600 objects have no position" in found.told
    assert found.method == ("sky_block, hash for 3 without a position" if method == "sky_block" else method)
    unchecked = {row[0]: row[2] for row in found.leaks}
    assert unchecked["same_object_id"] == 0 and unchecked["within_1_arcsec"] == 3 == unchecked["stamps_overlap"]


def test_no_positions_at_all_are_the_hash_and_half_of_them_is_told():
    bare = sample().drop(columns=["ra", "dec"])
    found = assignment.assign(bare, SETTINGS)
    assert found.method == "hash" and found.told == "" and {row[2] for row in found.leaks[2:]} == {600}
    half = assignment.assign(sample().drop(columns="dec"), SETTINGS)
    assert "the sample has ra alone" in half.told and sides(half) == sides(found)
    targets = assignment.assign(sample(5).assign(sample="targets"), {**SETTINGS, "stamp_arcsec": 20.0})
    assert set(targets.kept["split"]) == {"target"} and all(row[1] == 0 for row in targets.leaks)


def test_the_verb_takes_the_largest_stamp_of_any_survey_and_records_the_method(tmp_path, capsys):
    frame = sample(4, seed=3).assign(ra=[10.0, 10.0 + 50 / 3600, 11.0, np.nan])
    store.write_parquet(tmp_path / "m.parquet", frame.assign(dec=0.0))
    for name, scale, size in (("ps1", 0.25, 20), ("unwise", 2.75, 32)):
        with store.writing(tmp_path / f"{name}.h5") as handle:
            for column, values in {"object_id": frame["object_id"], "cause": [""] * 4}.items():
                store.put(handle, column, values)
            store.put(handle, "status", np.zeros((4, 2), np.uint8))
            store.put(handle, "pixel_scale", np.full((4, 2), scale))
            store.create(handle, "image", (4, 2, size, size), "f4")
    seed = next(s for s in range(50) if {"training", "testing"} == set(splits.assign_splits(
        frame["object_id"][:2], frame["ra"][:2], [0.0, 0.0], "hash", (0.6, 0.2, 0.2), s, 11)))
    settings = {**SETTINGS, "method": "hash", "seed": seed, "stamp_arcsec": 5.0, "overlap_arcsec": None}
    words = ["--members", str(tmp_path / "m.parquet"), "--cutouts", str(tmp_path / "ps1.h5"), str(tmp_path / "unwise.h5"),
             *(f"--{name}={tmp_path / name}" for name in ("splits", "lost", "leaks"))]
    assert main(["assign-splits", "--settings", json.dumps(settings), *words]) == 0
    assert "1 of 4 objects have no position" in capsys.readouterr().err
    lost = store.read_parquet(tmp_path / "lost")
    assert lost["reason"].tolist() == ["split_overlap"] and store.parquet_meta(tmp_path / "splits")["split_method"] == "hash"
    leaks = pandas.read_csv(tmp_path / "leaks")
    assert (leaks["pairs"] == 0).all() and leaks["unchecked"].max() == 1
    assert main(["assign-splits", "--settings", json.dumps({**settings, "overlap_arcsec": 5.0}), *words]) == 0
    assert not len(store.read_parquet(tmp_path / "lost"))  # what the user says decides


def test_nan_is_no_name_and_no_value_of_a_subset():
    table = pandas.DataFrame({"specz_name": ["a", np.nan, None, "a", "", np.nan], "specz_redshift": 0.5, "object_id": range(6)})
    options = {"z_min": 0, "z_max": 4, "sigma_z": "none", "sigma_z_max": 1, "isprimary": False, "magnitudes": False}
    kept, rejected, _ = cuts.apply_cuts(table, cuts.masks(options, []))
    assert kept["object_id"].tolist() == [0, 1, 2, 4, 5] and rejected["cut"].tolist() == ["duplicate_specz_name"]
    columns = {"a": np.array([1.0, np.nan, 2.0, np.nan]), "b": np.array([1.0, 1.0, np.nan, np.nan]),
               "s": np.array(["x", np.nan, None, "y"], object)}
    assert not subsets.select("x", "a != b", columns).any()
    assert subsets.select("x", "1 != a", columns).tolist() == [False, False, True, False]
    assert subsets.select("x", "s != 'x'", columns).tolist() == [False, False, False, True]
    assert subsets.select("x", "not (a == b)", columns).tolist() == [False, True, True, True]  # what is said is what is meant


def test_parts_of_the_sky_are_the_splits_as_they_are():
    frame = sample(30, seed=2).assign(part=["training"] * 10 + ["validation"] * 15 + ["testing"] * 5)
    found = assignment.assign(frame, {**SETTINGS, "method": "part", "stamp_arcsec": 0.0})
    assert found.kept["split"].tolist() == frame["part"].tolist() and found.method == "part" and not len(found.dropped)
    assert set(found.kept["subset"][10:25]) == {"select", "calibrate"} and set(found.kept["subset"][:10]) == {""}
    targets = assignment.assign(frame.assign(sample="targets"), {**SETTINGS, "method": "part", "stamp_arcsec": 0.0})
    assert set(targets.kept["split"]) == {"target"}
