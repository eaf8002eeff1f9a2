"""The stack and the choice as verbs, and the columns of z_phot."""

import json

import numpy as np
import pandas
import pytest

from skyloom import store
from skyloom.__main__ import main
from skyloom.errors import InputError
from skyloom.pz import distribution
from skyloom.release import catalog, flags, zphot

N, GRID = 400, [-0.1, 2.5, 0.01]
EDGES = distribution.grid(*GRID)


def mixture(middle, sigma=0.05) -> dict:
    return {"weights": np.ones((len(middle), 1)), "means": middle[:, None], "stds": np.full((len(middle), 1), sigma)}


def written(folder):
    """Packed file, predictions of two seeds of two models: `sharp` bright, `blunt` faint objects' better one."""
    rng = np.random.default_rng(1)
    ids, z, mag = rng.permutation(N) + 7, rng.uniform(0.2, 1.8, N), rng.uniform(18, 24, N)
    subset = np.array(["select"] * 150 + ["calibrate"] * 100 + [""] * 150, object)
    split = np.where(subset == "", "testing", "validation")
    mag[3] = 99.0
    store.write_columns(folder / "data.h5", {"object_id": ids, "split": split, "subset": subset, "specz_redshift": z,
                                             "g_mag": mag, "name": np.array(["x"] * N, object)}, {"magnitude_columns": "g_mag"})
    for name, scale in (("sharp", np.where(mag < 21, 0.05, 0.4)), ("blunt", np.where(mag < 21, 0.4, 0.05))):
        for seed in (1, 2):
            arrays = mixture(z + scale * rng.standard_normal(N))
            columns = {"object_id": ids, "split": split, "z": arrays["means"][:, 0], **arrays}
            store.write_columns(folder / f"{name}{seed}.h5", columns, {"model": name, "seed": seed,
                                                                         "data_hash": "x", "model_code": "y"})
    store.write_columns(folder / "support.h5", {"object_id": ids, "p_value": np.full(N, 0.5), "pattern_seen": np.ones(N, bool),
                                                "in_range": np.ones(N, bool)})
    return ids, z, subset


def stacked(folder, out="s", columns=("g_mag",), paths=("sharp1", "sharp2", "blunt1", "blunt2"), models=("sharp", "blunt"),
            data="data"):
    settings = json.dumps({"models": list(models), "columns": list(columns), "seed": 1, "grid": GRID})
    return main(["stack", "--settings", settings, "--predictions", *(str(folder / f"{path}.h5") for path in paths), "--data",
                 str(folder / f"{data}.h5"), "--out", str(folder / f"{out}.h5"), "--weights", str(folder / f"{out}.json")])


def chosen(folder, *names, z_phot="auto", learned=()):
    settings = json.dumps({"z_phot": z_phot, "learned": list(learned), "seed": 1, "grid": GRID})
    code = main(["choose-z-phot", "--settings", settings, "--predictions", *(str(folder / f"{name}.h5") for name in names),
                 "--data", str(folder / "data.h5"), "--support", str(folder / "support.h5"), "--out", str(folder / "z.json"),
                 "--cuts", str(folder / "z.csv")])
    return json.loads((folder / "z.json").read_text()) if code == 0 else code


def test_the_stack_takes_from_each_member_where_it_is_right_and_never_looks_at_calibrate_or_testing(tmp_path):
    ids, z, subset = written(tmp_path)
    assert stacked(tmp_path) == 0
    told = json.loads((tmp_path / "s.json").read_text())
    assert told["fitted_on"] == 150 and sum(told["mean_weight"].values()) == pytest.approx(1)
    scores = told["log_density"]
    assert scores["stack, out of fold"] > max(scores["sharp"], scores["blunt"]) + 0.3
    found = store.arrays(tmp_path / "s.h5", ["object_id", "split", "z", "std", "pz", "edges"])
    assert np.array_equal(found["object_id"], ids) and found["pz"].shape == (N, len(EDGES) - 1)
    mass = found["pz"].sum(axis=1)  # of what a member lays outside the grid nothing is moved inside
    assert (mass <= 1 + 1e-5).all() and np.median(mass) == pytest.approx(1, abs=1e-5) and np.isfinite(found["std"]).all()
    assert {"model", "seed", "model_code"} <= set(store.attributes(tmp_path / "s.h5"))
    # other redshifts outside `select`: the same weights, the same file
    columns, about = store.columns(tmp_path / "data.h5"), store.attributes(tmp_path / "data.h5")
    other = columns["specz_redshift"].copy()
    other[subset != "select"] = np.random.default_rng(2).permutation(other[subset != "select"])
    store.write_columns(tmp_path / "shuffled.h5", columns | {"specz_redshift": other}, about)
    assert stacked(tmp_path, "t", data="shuffled") == 0
    assert (tmp_path / "t.json").read_bytes() == (tmp_path / "s.json").read_bytes()
    assert np.array_equal(store.arrays(tmp_path / "t.h5", ["pz"])["pz"], found["pz"])
    # another redshift of one `select` object changes others' p(z), not its own
    other = columns["specz_redshift"].copy()
    other[10] += 0.9
    store.write_columns(tmp_path / "one.h5", columns | {"specz_redshift": other}, about)
    assert stacked(tmp_path, "u", data="one") == 0
    same = (store.arrays(tmp_path / "u.h5", ["pz"])["pz"] == found["pz"]).all(axis=1)
    assert same[10] and not same[subset != "select"].any()


def test_a_stack_s_bad_input_is_one_sentence(tmp_path, capsys):
    ids, *_ = written(tmp_path)
    arrays = store.arrays(tmp_path / "blunt1.h5", ["object_id", "split", "z", "weights", "means", "stds"])
    store.write_columns(tmp_path / "others.h5", arrays | {"object_id": ids + 1}, store.attributes(tmp_path / "blunt1.h5"))
    store.write_columns(tmp_path / "point.h5", {name: arrays[name] for name in ("object_id", "split", "z")},
                        store.attributes(tmp_path / "blunt1.h5"))
    for words, said in (({"columns": ["i_mag"]}, "`stack.columns` names i_mag, which"),
                        ({"columns": ["name"]}, "a column of text"),
                        ({"paths": ["sharp1", "others"]}, "a stack of models on different objects"),
                        ({"paths": ["sharp1", "point"]}, "blunt, which gives no p(z)"),
                        ({"models": ["sharp", "dull"]}, "names dull, of which there are no predictions; there are sharp, blunt")):
        assert stacked(tmp_path, "bad", **words) == 2
        line = capsys.readouterr().err.strip()
        assert line.startswith("skyloom: ") and said in line and "\n" not in line
        assert not (tmp_path / "bad.h5").exists() and not (tmp_path / "bad.json").exists()


def test_the_choice_is_made_on_select_alone(tmp_path, capsys):
    *_, subset = written(tmp_path)
    assert stacked(tmp_path, "stack") == 0
    told = chosen(tmp_path, "sharp1", "sharp2", "blunt1", "blunt2", "stack")
    assert told["model"] == "stack" and told["why"].startswith("stack has the lowest CDE loss") and told["cuts_on"] == "select"
    assert [row["n"] for row in told["candidates"]] == [150] * 3 and told["candidates"][0]["cde_above_chosen"] == 0
    assert all(row["cde_above_lo95"] > 0 for row in told["candidates"][1:])
    cuts = pandas.read_csv(tmp_path / "z.csv")
    assert set(cuts["subset"]) == {"select"} and cuts["n"][0] == 150
    named = chosen(tmp_path, "sharp1", "sharp2", "stack", z_phot="sharp", learned=["sharp"])
    assert named["model"] == "sharp" and named["why"] == "sharp is named by `release.z_phot`"
    assert named["cuts_on"] == "calibrate" and set(pandas.read_csv(tmp_path / "z.csv")["subset"]) == {"calibrate"}
    alone = chosen(tmp_path, "sharp1", "sharp2", learned=["sharp"])
    assert alone["model"] == "sharp" and alone["why"] == "sharp is the only model that gives p(z)"
    for names, words, said in ((("sharp1", "blunt1"), {"learned": ["sharp", "blunt"]}, "every model learned from `select`"),
                               (("sharp1",), {"z_phot": "blunt"}, "`release.z_phot` names blunt, which gives no p(z) in this")):
        assert chosen(tmp_path, *names, **words) == 2
        assert said in capsys.readouterr().err


def block(z, **more):
    return {"arrays": mixture(np.asarray(z, float)), **more}


def test_columns_are_the_median_with_conformal_intervals_where_there_are():
    """Gaussians of 0.05: quantiles in closed form (norm.ppf(0.84) = 0.99446, of 0.9: 1.28155, of 0.975: 1.95996)."""
    one = block([0.5, np.nan])
    yes, no = np.ones(2, bool), np.zeros(2, bool)
    found = zphot.columns("m", one, EDGES, yes, no)
    assert tuple(found) == zphot.NAMES and found["z_phot_flags"].dtype == np.int32
    assert [found[name][0] for name in zphot.NAMES[:5]] == pytest.approx([0.5, 0.45028, 0.54972, 0.40200, 0.59800], abs=4e-4)
    assert all(np.isnan(found[name][1]) for name in zphot.NAMES[:5])
    assert found["z_phot_flags"].tolist() == [0, 1 << zphot.BITS["no_z_phot"]] and found["z_phot_model"].tolist() == ["m", "m"]
    # conformal, of which 0.95 had too few objects
    wide = zphot.columns("m", one | {"conformal": (one["arrays"], {0.68: 0.4, 0.95: 0.5})}, EDGES, yes, no)
    assert [wide[name][0] for name in zphot.NAMES[1:5]] == pytest.approx([0.43592, 0.56408, 0.40200, 0.59800], abs=4e-4)
    # p(z) moved by its calibration out of the interval of what it was before: the interval reaches to the point
    moved = zphot.columns("m", {**block([0.8]), "conformal": (mixture(np.array([0.5])), {0.68: 0.3, 0.95: 0.4})}, EDGES, yes[:1],
                          no[:1])
    assert moved["z_phot"][0] == pytest.approx(0.8, abs=1e-4) and moved["z_phot_u68"][0] == moved["z_phot"][0]


def test_every_flag_of_z_phot_is_raised_by_its_cause():
    two = {"weights": np.array([[0.7, 0.3]]), "means": np.array([[0.5, 1.2]]), "stds": np.full((1, 2), 0.02)}
    causes = {"broad": {"arrays": mixture(np.array([1.0]), 0.25)}, "multi_modal": {"arrays": two},
              "outside_grid": block([2.5]), "no_z_phot": block([np.nan]), "no_band_observed": block([0.5]),
              "extrapolated": block([0.5])}
    assert set(causes) == set(zphot.BITS)
    assert {name: bit for name, bit in zphot.BITS.items() if name in flags.BITS} == {"no_z_phot": 7, "extrapolated": 21}
    assert all(flags.BITS[name] == zphot.BITS[name] for name in ("no_z_phot", "extrapolated"))
    for name, one in causes.items():
        found = zphot.columns("m", one, EDGES, np.array([name != "no_band_observed"]), np.array([name == "extrapolated"]))
        raised = {flag for flag, bit in zphot.BITS.items() if found["z_phot_flags"][0] & (1 << bit)}
        assert raised == {name} | ({"broad"} if name == "multi_modal" else set()), name
    assert not zphot.columns("m", block([0.5]), EDGES, np.ones(1, bool), np.zeros(1, bool))["z_phot_flags"].any()


def test_no_band_observed_tells_99_from_minus_99():
    table = {"object_id": np.arange(4), "g_mag": np.array([20.0, 99.0, -99.0, np.nan])}
    assert zphot.observed(table, ["g_mag"]).tolist() == [True, True, False, False]
    status = np.array([[1], [1], [0], [1]])
    assert zphot.observed(table, ["g_mag"], status).tolist() == [True, True, True, False]
    assert zphot.observed(table, [], None, {"ps1": status}).tolist() == [False, False, True, False]
    assert zphot.observed(table, []).all()


def test_the_catalog_has_the_columns_where_they_are_asked_for():
    ids = np.array([5, 3])
    table = {"object_id": ids, "split": np.array(["testing"] * 2, object), "subset": np.array([""] * 2, object)}
    models = catalog.combine_predictions([{"model": "m", "seed": 1, "object_id": ids, "z": np.array([0.4, 0.6]),
                                           **mixture(np.array([0.4, 0.6]))}])
    found = catalog.build(table, None, [], [], models, "", EDGES, stands="m")
    assert tuple(found)[:10] == ("object_id", "ra", "dec", *zphot.NAMES)
    assert found["z_phot"] == pytest.approx([0.6, 0.4], abs=1e-4)
    empty = catalog.build(table, None, [], [], models, "", EDGES, stands="")
    assert np.isnan(empty["z_phot"]).all() and empty["z_phot_flags"].tolist() == [128, 128] and set(empty["z_phot_model"]) == {""}
    assert not set(zphot.NAMES) & set(catalog.build(table, None, [], [], models, "", EDGES))


def test_a_choice_of_other_objects_is_refused(tmp_path):
    from skyloom.verbs import choose_z_phot

    ids, *_ = written(tmp_path)
    args = type("Args", (), {"predictions": [str(tmp_path / "sharp1.h5")], "calibrated": [], "data": [str(tmp_path / "data.h5")]})
    with pytest.raises(InputError, match="hold other objects than .*rerun predict"):
        choose_z_phot._models(args, ids + 1)
