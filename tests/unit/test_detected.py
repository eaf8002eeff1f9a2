"""Sources of scenes as a sample: redshifts of one-to-one matches, magnitudes with their states, the other detector's columns."""

import numpy as np
import pandas
import pytest

from skyloom import store
from skyloom.dataset import detections as written
from skyloom.errors import InputError
from skyloom.sample import detected
from skyloom.verbs import pack_detections

SETTINGS = {"run": "scene", "detector": "deepdisc", "least_snr": 5.0, "gold": {"band": "i", "mag": 25.3}, "match_arcsec": 1.0,
            "z_min": 0.01, "z_max": 4.0}
ARCSEC = 1 / 3600


def sources(first, ra, dec, g, i):
    n = len(ra)
    out = {"object_id": np.arange(first, first + n), "ra": ra, "dec": dec, "tile_id": 7, "p_star": 0.1, "score": 0.9}
    for band, values in (("g", g), ("i", i)):
        out |= {f"{band}_flux": values, f"{band}_flux_err": np.full(n, 20.0), f"{band}_aper_flux_1": np.asarray(values) / 2,
                f"{band}_aper_flux_err_1": np.full(n, 10.0)}
    return pandas.DataFrame(out)


def labelled(ra, dec, z, i, star, snr):
    n = len(ra)
    return pandas.DataFrame({"label_id": np.arange(n), "ra": ra, "dec": dec, "is_star": star, "redshift": z, "i_flux": i,
                             "i_snr": snr, "g_snr": np.zeros(n)})


def run(folder, detections, labels, other=None, **settings):
    paths = {name: folder / f"{name}.parquet" for name in ("training_000", "labels", "sep", "known", "targets")}
    written.write(paths["training_000"], detections, {"detector": "deepdisc"})
    store.write_parquet(paths["labels"], labels)
    words = []
    if other is not None:
        written.write(paths["sep"], other, {})
        words = ["--other", str(paths["sep"]), "--others", "sep"]
    import argparse
    import json

    parser = argparse.ArgumentParser()
    pack_detections.arguments(parser)
    pack_detections.run(parser.parse_args(["--settings", json.dumps(SETTINGS | settings), "--detections",
                                           str(paths["training_000"]), "--labels", str(paths["labels"]), *words,
                                           "--known", str(paths["known"]), "--targets", str(paths["targets"])]))
    return store.read_parquet(paths["known"]), store.read_parquet(paths["targets"]), store.parquet_meta(paths["known"])


def test_a_redshift_goes_to_the_nearest_source_of_a_gold_label_and_to_no_other(tmp_path):
    ra = 150 + np.array([0.0, 0.4, 10, 20, 30, 40, 50]) * ARCSEC
    found = sources(100, ra, np.zeros(7), [300.0] * 7, [900.0] * 7)
    labels = labelled(150 + np.array([0.1, 10, 20, 30, 40, 50]) * ARCSEC, np.zeros(6), [0.5, 0.7, 0.9, 0.8, np.nan, 5.0],
                      [900.0, 900, 100, 900, 900, 900], [0, 1, 0, 0, 0, 0], [9.0, 9, 9, 2, 9, 9])
    known, targets, meta = run(tmp_path, found, labels)
    # the second is further from the first's label, then: a star, one fainter than gold, one that can't be found, no z, z > 4
    assert known["object_id"].tolist() == [100] and known["specz_redshift"].tolist() == [0.5]
    assert targets["object_id"].tolist() == list(range(101, 107)) and "specz_redshift" not in targets
    assert set(known["part"]) == {"training"} and meta["archive_count"] == 1 and meta["detector"] == "deepdisc"


def test_magnitudes_keep_not_detected_and_not_observed_apart():
    frame = detected.with_magnitudes(sources(1, np.zeros(4), np.zeros(4), [1000.0, 15.0, -40.0, np.nan], [10.0] * 4))
    assert frame["g_mag"].tolist() == pytest.approx([31.4 - 7.5, 99, 99, -99])
    assert frame["g_magerr"][0] == pytest.approx(2.5 / np.log(10) * 0.02) and frame["g_magerr"].tolist()[1:] == [99, 99, -99]
    assert detected.bands(frame) == ["g", "i"] and (frame["g_flux"].tolist()[:3] == [1000.0, 15.0, -40.0])


def test_the_other_detector_s_columns_are_those_of_the_matched_source(tmp_path):
    ra = 150 + np.array([0.0, 10]) * ARCSEC
    found, other = sources(1, ra, np.zeros(2), [300.0] * 2, [900.0] * 2), sources(50, ra[1:], np.zeros(1), [77.0], [88.0])
    known, targets, _ = run(tmp_path, found, labelled(ra, np.zeros(2), [0.5, 0.6], [900.0] * 2, [0, 0], [9.0] * 2), other)
    assert not len(targets) and known["sep_g_flux"].tolist()[1] == 77 and known["sep_i_aper_flux_1"].tolist()[1] == 44
    assert known.filter(like="sep_").iloc[0].isna().all() and "sep_object_id" not in known and "sep_g_mag" in known


def test_what_has_no_redshift_or_comes_twice_is_one_sentence(tmp_path):
    found = sources(1, np.array([150.0, 150.1]), np.zeros(2), [300.0] * 2, [900.0] * 2)
    with pytest.raises(InputError, match="none of 2 sources .* that has a redshift"):
        run(tmp_path, found, labelled([151.0], [0.0], [0.5], [900.0], [0], [9.0]))
    with pytest.raises(InputError, match="none of 2 sources"):
        run(tmp_path, found, labelled([], [], [], [], [], []))
    with pytest.raises(InputError, match="hold object_id 1 twice"):
        run(tmp_path, found.assign(object_id=1), labelled([150.0], [0.0], [0.5], [900.0], [0], [9.0]))


def test_mixtures_of_a_network_become_predictions_in_the_dataset_s_order(tmp_path):
    import json

    from skyloom.__main__ import main
    from skyloom.dataset.predictions import Prediction

    rng = np.random.default_rng(1)
    weight = rng.dirichlet(np.ones(5), 6).astype(np.float32)
    pz = {"weight": weight, "mean": rng.uniform(0, 2, (6, 5)), "sigma": np.full((6, 5), 0.1)}
    for k in range(2):
        rows = slice(3 * k, 3 * k + 3)
        written.write(tmp_path / f"d{k}.parquet", {"object_id": np.arange(10, 16)[rows]}, {})
        store.write_columns(tmp_path / f"d{k}_pz.h5", {name: values[rows] for name, values in pz.items()})
    ids = np.array([14, 10, 13])
    store.write_columns(tmp_path / "testing.hdf5", {"object_id": ids, "split": np.array(["testing"] * 3)})
    card = {"model": "deepdisc", "seed": 1, "data_hash": "d", "code_hash": "c"}
    (tmp_path / "model.json").write_text(json.dumps(card))
    words = ["predict-scenes", "--settings", "{}", "--card", str(tmp_path / "model.json"), "--detections",
             *(str(tmp_path / f"d{k}.parquet") for k in range(2)), "--pz", *(str(tmp_path / f"d{k}_pz.h5") for k in range(2)),
             "--data", str(tmp_path / "testing.hdf5"), "--out", str(tmp_path / "out.h5")]
    assert main(words) == 0
    found = Prediction(tmp_path / "out.h5")
    assert found.model == "deepdisc" and found.object_id.tolist() == ids.tolist() and found.pz.kind == "mixture"
    assert found.z == pytest.approx((pz["weight"] * pz["mean"]).sum(axis=1)[ids - 10], abs=1e-5)
    store.write_columns(tmp_path / "testing.hdf5", {"object_id": ids + 5, "split": np.array(["testing"] * 3)})
    assert main(words) == 2


def test_the_catalog_carries_what_a_detector_says_and_shares_its_flags():
    from skyloom.release import catalog, flags

    ids = np.array([5, 3, 4])
    table = {"object_id": ids, "split": np.array(["target"] * 3, object), "subset": np.array([""] * 3, object),
             "detect_flags": np.array([1 + 16, 2, 4 + 8]), "p_star": np.array([0.5, 0.3, 0.4])}
    models = {"m": {"object_id": ids, "mean": np.ones(3), "std": np.ones(3)}}
    found = catalog.build(table, None, [], [], models, "", carried=["p_star", "detect_flags"])
    assert found["p_star"].tolist() == [0.3, 0.4, 0.5] and found["detect_flags"].tolist() == [2, 12, 17]
    raised = [{name for name, bit in flags.BITS.items() if value & (1 << bit)} for value in found["flags"]]
    assert raised == [{"edge"}, set(), {"blend", "masked_pixels"}]


def test_a_source_that_two_tiles_count_is_counted_once(tmp_path, capsys):
    ra = 150 + np.array([0.0, 0.2, 0.0, 0.2]) * ARCSEC
    found = sources(1, ra, np.array([0, 0, 0.01, 0.01]), [300.0] * 4, [900.0] * 4)
    found["tile_id"], found["score"] = [1, 2, 3, 3], [0.5, 0.9, 0.8, 0.7]  # the second pair is one tile's own: it knows better
    known, targets, _ = run(tmp_path, found, labelled(ra[:1], [0.0], [0.5], [900.0], [0], [9.0]))
    assert known["object_id"].tolist() == [2] and targets["object_id"].tolist() == [3, 4]
    assert "1 of 4 sources were found by two tiles" in capsys.readouterr().err
