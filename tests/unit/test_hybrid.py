"""`hybrid`: without groups it is `tabular`; groups start at nothing, are shrunk and gated by their errors, and may be absent."""

import dataclasses
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skyloom import config, store
from skyloom.__main__ import main
from skyloom.errors import InputError
from skyloom.measure import features
from skyloom.models import artefact, families, gated, grouped, scaling
from skyloom.models.card import Card
from skyloom.models.family import Packed
from skyloom.pz import distribution
from skyloom.train import data, estimation, fitting, loop, tuning
from tests.unit import structured

CPU = torch.device("cpu")
FAMILY = families.of("hybrid")
SMALL = {"max_epochs": 12, "width": 24, "depth": 1, "outputs": 4, "group_hidden": 16}


def lesson(path, seed=1, model="hybrid", **options):
    """A network of all rows of a file, trained."""
    family = families.of(model)
    options = family.options({**SMALL, **options} if model == "hybrid" else options)
    packed = data.packed(path)
    split = data.opened(path, family.wanted(packed, options), [data.REDSHIFT])
    loop.prepare(seed, 1)
    made = fitting.begun(family, model, options, split, np.arange(split.n), packed)
    made.fitted = loop.run_epochs(made.model, made.loss, made.learn, options, seed, CPU)
    return made


def spread(made, path, change=lambda columns: None):
    """(n,) standard deviations of p(z) of a file's objects, its columns changed first."""
    split = data.of_card(path, made.card)
    change(split.columns)
    found = estimation.predicted(families.of(made.card.model), made.model, made.card, split, CPU)
    return np.sqrt(distribution.variance(found)), found["z"]


@pytest.fixture(scope="module")
def packed_file(tmp_path_factory):
    """Annuli and bulge + disc of 400 objects: rings tell the redshift, magnitudes little."""
    path = tmp_path_factory.mktemp("hybrid") / "training.hdf5"
    structured.write(path, 400, 1)
    return path


def test_without_groups_the_numbers_are_those_of_tabular(tmp_path, packed_file):
    structured.write(tmp_path / "validation.hdf5", 80, 2)
    found = []
    for model, more in (("tabular", {}), ("hybrid", {"groups": []})):
        options = {"max_epochs": 3, "width": 16, "batch_size": 64, "dropout": 0.2, **more}
        settings = {"run": "t", "release": "", "model": model, "seed": 3, "threads": 1, "device": "cpu", "precision": "fp32",
                    "options": options}
        out = tmp_path / model
        assert main(["train", "--settings", json.dumps(settings), "--training", str(packed_file), "--validation",
                     str(tmp_path / "validation.hdf5"), "--state", str(out / "state"), "--weights",
                     str(out / "model.safetensors"), "--card", str(out / "model.json"), "--history", str(out / "h.csv")]) == 0
        assert main(["predict", "--settings", '{"device": "cpu"}', "--model", str(out), "--data",
                     str(tmp_path / "validation.hdf5"), "--out", str(out / "p.h5")]) == 0
        pz = store.arrays(out / "p.h5", ["z", "weights", "means", "stds"]).values()
        found.append(((out / "model.safetensors").read_bytes(), (out / "h.csv").read_bytes(), *(v.tobytes() for v in pz)))
    assert found[0] == found[1]
    plain, none = families.options("tabular", {}), families.options("hybrid", {"groups": []})
    assert {f.name: getattr(none, f.name) for f in dataclasses.fields(plain)} == vars(plain)


def test_a_file_without_structure_is_read_without_groups(tmp_path):
    packed = data.packed(plain(tmp_path))
    assert FAMILY.wanted(packed, FAMILY.options({"groups": []})) == families.of("tabular").wanted(
        packed, families.options("tabular", {}))
    for group in ("annuli", "bulge_disk"):
        with pytest.raises(InputError, match=f"holds no measured structure, which the group `{group}` reads; .*out of `groups`"):
            FAMILY.wanted(packed, FAMILY.options({"groups": [group]}))


def test_training_begins_as_tabular(packed_file):
    made = {}
    for model in ("tabular", "hybrid"):
        family = families.of(model)
        options = family.options({"groups": ["annuli", "bulge_disk"]} if model == "hybrid" else {})
        packed = data.packed(packed_file)
        split = data.opened(packed_file, family.wanted(packed, options), [data.REDSHIFT])
        loop.prepare(1, 1)
        one = fitting.begun(family, model, options, split, np.arange(split.n), packed)
        made[model] = one.model.eval()(None, one.learn.table)
    assert torch.equal(made["tabular"], made["hybrid"])


def test_a_value_is_shrunk_to_its_posterior_mean():
    """Of a Gaussian prior: v t^2 / (t^2 + s^2), the mean of the truth among many with that value."""
    rng = np.random.default_rng(1)
    truth, error = 3 + 2 * rng.standard_normal(200_000), 1.5
    value = truth + error * rng.standard_normal(len(truth))
    group = {"middle": [3.0], "spread": [2.0], "scale": 1.0}
    at = np.abs(value - 6) < 0.05
    shrunk = gated.raw(np.array([[6.0]]), np.array([[error]]), group)
    assert 3 + 2 * shrunk[0, 0] == pytest.approx(truth[at].mean(), abs=0.05)
    assert shrunk[0, 0] == pytest.approx(1.5 * 4 / (4 + error**2), rel=1e-6)
    assert shrunk[0, 1] * 2 == pytest.approx(error * 4 / (4 + error**2), rel=1e-6)  # the noise that is left in it
    found = gated.fit(value[:, None], np.full((len(value), 1), error))
    assert (found["middle"][0], found["spread"][0]) == (pytest.approx(3, abs=0.05), pytest.approx(2, rel=0.02))


def test_the_gate_falls_with_the_error_and_is_zero_where_nothing_is_known():
    group = {"middle": [0.0] * 3, "spread": [0.5] * 3, "scale": 2.0}
    errors = np.geomspace(1e-3, 1e4, 30)
    gates = gated.raw(np.ones((30, 3)), np.repeat(errors[:, None], 3, axis=1), group)[:, -1]
    assert (np.diff(gates) <= 0).all() and gates[0] > 0.999 and gates[-1] < 1e-5
    assert gated.raw(np.ones((1, 3)), np.ones((1, 3)), group)[0, -1] == pytest.approx(0.5)  # u = 1 / 0.5 = scale
    for bad in (0.0, -1.0, np.nan, np.inf):
        assert not gated.raw(np.ones((1, 3)), np.full((1, 3), bad), group).any()
    assert not gated.raw(np.full((1, 3), np.nan), np.ones((1, 3)), group).any()
    some = gated.raw(np.array([[1, 1, np.nan]]), np.array([[0.1, 0.1, 0.1]]), group)[0]
    assert some[2] == 0 and 0 < some[-1] < 1 and np.isfinite(some).all()


def drawn(rng, mean, cov, n):
    return mean + rng.standard_normal((n, len(mean))) @ np.linalg.cholesky(cov).T


@pytest.mark.parametrize("kind", ["annuli", "bulge_disk"])
def test_errors_of_features_are_the_scatter_of_draws(kind):
    rng, n = np.random.default_rng(3), 20_000
    table = np.array([[21.0, 20.3, 20.0]])
    if kind == "annuli":
        flux = np.array([[50, 90, 70, 20], [80, 150, 100, 40], [120, 200, 90, 30.0]])
        root = rng.normal(0, 1, (3, 4, 4)) + 2 * np.eye(4)
        cov = 0.3 * root @ root.transpose(0, 2, 1)
        made = features.annuli(flux[None], cov[None], list("gri"), table)
        many = np.stack([drawn(rng, f, c, n) for f, c in zip(flux, cov, strict=True)], axis=1)
        scattered = features.annuli(many, np.broadcast_to(cov, (n, 3, 4, 4)), list("gri"), table)
        assert len(made) == 3 * 3 + 2
    else:
        names = ("bulge_flux", "disk_flux")
        mean, cov = np.array([[40, 120], [90, 150], [100, 130.0]]), np.array([[30, -18], [-18, 25.0]])
        errors = {"bulge_flux_err": np.full((1, 3), 30**0.5), "disk_flux_err": np.full((1, 3), 5.0)}
        shape = {"bulge_re": [0.4], "bulge_re_err": [0.01], "disk_re": [1.2], "disk_re_err": [0.02], "disk_q": [0.7],
                 "bulge_disk_cov": np.full((1, 3), -18.0)}
        made = features.bulge_disk({name: mean[None, :, k] for k, name in enumerate(names)} | errors | shape, list("gri"), table)
        many = np.stack([drawn(rng, m, cov, n) for m in mean], axis=1)
        radii = {p: rng.normal(shape[p][0], shape[f"{p}_err"][0], n) for p in ("bulge_re", "disk_re")}
        scattered = features.bulge_disk({name: many[:, :, k] for k, name in enumerate(names)} | {
            name: np.repeat(v, n, axis=0) for name, v in (errors | shape).items()} | radii, list("gri"), table)
    for name, (value, error) in made.items():
        if name != "ln_disk_q":  # the fit gives no error of its own
            assert scattered[name][0].std() == pytest.approx(error[0], rel=0.06), name
            assert np.median(scattered[name][0]) == pytest.approx(value[0], abs=0.05 * error[0]), name


def test_features_of_one_band_and_of_dead_bands():
    one = features.annuli(np.ones((2, 1, 3)), np.eye(3)[None, None].repeat(2, 0), ["r"], np.full((2, 1), 20.0))
    assert set(one) == {"share_r_1", "share_r_2"}
    flux = np.ones((2, 2, 3))
    flux[0, 0], flux[1, 1] = -1, np.nan
    made = features.annuli(flux, np.eye(3)[None, None].repeat(2, 0).repeat(2, 1), ["g", "r"], np.full((2, 2), 20.0))
    assert np.isnan(made["share_g-r_1"][0]).all() and np.isfinite(made["share_r_1"][0]).tolist() == [True, False]
    assert np.isnan(made["colour_g-r"][0]).all()


def test_a_group_that_tells_lowers_the_loss_and_one_of_noise_costs_little(tmp_path, packed_file):
    rng, columns = np.random.default_rng(5), store.columns(packed_file)
    columns |= {"noise_a": rng.standard_normal(400), "noise_a_err": np.full(400, 0.1), "noise_b": rng.standard_normal(400),
                "b_sigma": np.full(400, 0.1)}
    path = tmp_path / "more.hdf5"
    store.write_columns(path, columns, store.attributes(packed_file))
    structured.write(tmp_path / "held.hdf5", 400, 9)
    held = store.columns(tmp_path / "held.hdf5") | {name: columns[name] for name in list(columns)[-4:]}
    store.write_columns(tmp_path / "held.hdf5", held, store.attributes(packed_file))
    losses = {}
    noise = {"nothing": {"columns": ["noise_a", "noise_b"], "errors": {"noise_b": "b_sigma"}}}
    for name, groups in (("none", []), ("annuli", ["annuli"]), ("noise", noise)):
        made = lesson(path, max_epochs=25, groups=groups, batch_size=64, dropout=0.1)
        split = data.of_card(tmp_path / "held.hdf5", made.card, [data.REDSHIFT])
        losses[name] = loop.evaluate(made.model, made.loss, fitting.arrays(FAMILY, made.card, split, np.arange(400)), 400, CPU,
                                     "fp32")
    assert losses["annuli"] < losses["none"] - 0.3
    assert losses["noise"] < losses["none"] + 0.15


@pytest.fixture(scope="module")
def learned(packed_file):
    """(with annuli, without) trained on these."""
    given = {"max_epochs": 40, "batch_size": 40, "dropout": 0.0, "lr": 0.01, "group_dropout": 0.0, "group_absent": 0.3}
    return [lesson(packed_file, groups=groups, **given) for groups in (["annuli"], [])]


@pytest.mark.parametrize("how", ["nan", "zero errors", "nan errors"])
def test_an_object_that_lacks_its_group_gets_p_of_z_as_broad_as_the_table_tells(packed_file, learned, how):
    made, table = learned

    def lacking(columns):
        for name in columns:
            if "_annulus_" in name and (how == "nan" or "_flux_err_" in name or "_cov_" in name):
                columns[name] = np.full(len(columns[name]), 0.0 if how == "zero errors" else np.nan)

    with_group, _ = spread(made, packed_file)
    without, z = spread(made, packed_file, lacking)
    alone, _ = spread(table, packed_file)
    assert np.isfinite(z).all() and np.median(without) > 3 * np.median(with_group)
    assert np.median(without) == pytest.approx(np.median(alone), rel=0.2)
    split = data.of_card(packed_file, made.card)
    lacking(split.columns)
    assert not FAMILY.arrays(made.card, split, np.arange(split.n)).table[:, -1].any()


def test_a_group_that_no_training_object_has_is_one_sentence(tmp_path, packed_file):
    columns = store.columns(packed_file)
    for name in columns:
        if "_annulus_" in name and "_flux_" in name and "_err_" not in name:
            columns[name] = np.full(400, np.nan)
    store.write_columns(tmp_path / "none.hdf5", columns, store.attributes(packed_file))
    with pytest.raises(InputError, match="no 10 objects to learn from have the group `annuli`.*; measure it"):
        lesson(tmp_path / "none.hdf5")


def test_structure_of_several_surveys_is_a_group_a_survey(tmp_path):
    """An object seen by one of them lacks the other's alone."""
    path = tmp_path / "multi.hdf5"
    structured.write(path, 200, 1, prefixes=("hsc_", "ps1_"))
    made = lesson(path, max_epochs=1)
    groups = made.card.facts["groups"]
    assert [group["survey"] for group in groups] == ["hsc_", "ps1_"] and groups[1]["table"]["g"] == "ps1_g_mag"
    assert all(group["bands"] == list("gri") and group["rings"] == 3 for group in groups)
    split = data.of_card(path, made.card)
    for name in split.columns:
        if name.startswith("ps1_") and "_annulus_" in name:
            split.columns[name] = np.full(split.n, np.nan)
    table = FAMILY.arrays(made.card, split, np.arange(split.n)).table
    assert not table[:, -1].any() and (table[:, -1 - gated.numbers(groups[1])] > 0).all()


def test_one_band(tmp_path):
    path = tmp_path / "one.hdf5"
    structured.write(path, 60, 1, bands="r")
    made = lesson(path, max_epochs=2, groups=["annuli", "bulge_disk"])
    assert made.card.facts["groups"][0]["columns"] == ["share_r_1", "share_r_2"]
    assert np.isfinite(spread(made, path)[0]).all()


def test_it_is_reproducible_and_comes_back_from_its_files(tmp_path, packed_file):
    first, second = lesson(packed_file, groups=["annuli", "bulge_disk"]), lesson(packed_file, groups=["annuli", "bulge_disk"])
    assert artefact.weights_bytes(first.model) == artefact.weights_bytes(second.model)
    (tmp_path / "model.safetensors").write_bytes(artefact.weights_bytes(first.model))
    (tmp_path / "model.json").write_text(json.dumps(first.card.plain()), encoding="utf-8")
    model, card = artefact.load(tmp_path)
    again = SimpleNamespace(model=model, card=card)
    for before, after in zip(spread(first, packed_file), spread(again, packed_file), strict=True):
        assert np.array_equal(before, after)


def test_jitter_draws_on_the_generator_s_device_and_leaves_the_table_alone():
    groups = [{"kind": "annuli", "columns": ["a", "b"], "jitter": 0.5, "absent": 0.25}]
    table = torch.ones(4000, 4 + 5)
    table[:, 6:8] = 0.4
    out = gated.jitter(table, 4, groups, torch.Generator().manual_seed(1))
    assert torch.equal(out[:, :4], table[:, :4]) and torch.equal(out[:, 6:8], table[:, 6:8])
    assert out[:, 4:6].std().item() == pytest.approx(0.2, rel=0.05)
    assert (out[:, -1] == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    with torch.device("meta"):
        gated.Gated([{**groups[0], "hidden": 4, "dropout": 0.1}], 5, 0, 8, 16, 1, 0.0)


def stamps(path, n, seed, structure=False):
    """Packed stamps whose width tells the redshift; every third object has none."""
    rng = np.random.default_rng(seed)
    columns = structured.columns(n, seed, structure=structure, bands="gr")
    y, x = np.mgrid[:64, :64] - 31.5
    width = 2 + 6 * columns["specz_redshift"]
    blob = np.exp(-0.5 * (x**2 + y**2) / width[:, None, None] ** 2)
    image = np.repeat((20 * blob)[:, None], 2, axis=1) + rng.standard_normal((n, 2, 64, 64))
    ivar = np.ones((n, 2, 64, 64), np.float32)
    image[::3], ivar[::3] = 0, 0
    meta = {"magnitude_columns": "g_mag,r_mag", "bands": "g,r", "zero_point": 27.0, "pixel_scale": 0.2}
    with store.writing(path, meta) as handle:
        for name, values in {**columns, "image": image.astype(np.float32), "ivar": ivar}.items():
            store.put(handle, name, values)


def test_stamps_enter_by_the_same_door(tmp_path):
    stamps(tmp_path / "a.hdf5", 60, 1)
    made = lesson(tmp_path / "a.hdf5", groups=["stamp"], max_epochs=2, batch_size=20)
    assert made.card.image["ivar"] and made.card.bands == ["g", "r"] and made.card.options.augment is True
    split = data.of_card(tmp_path / "a.hdf5", made.card)
    arrays = FAMILY.arrays(made.card, split, np.arange(60))
    image = torch.from_numpy(arrays.images(np.arange(60)))
    made.model.eval()
    assert image.shape[1] == 4
    changed = image.clone()
    changed[:, :2] += 1.0
    with torch.no_grad():
        before, after = (made.model(one, arrays.table) for one in (image, changed))
        bare = made.model(image, torch.cat([arrays.table[:, :-1], torch.zeros(60, 1)], dim=1))
    lacking = torch.arange(60) % 3 == 0
    assert torch.equal(before[lacking], after[lacking]) and torch.equal(before[lacking], bare[lacking])
    assert not torch.equal(before[~lacking], after[~lacking])
    assert FAMILY.size(made.card.options) == 64 and FAMILY.size(FAMILY.options({})) is None
    assert FAMILY.at_once(made.card.options) < FAMILY.at_once(FAMILY.options({}))


def test_the_stamp_s_signal_to_noise_is_the_closed_form():
    pixels, ivar = np.zeros((3, 2, 21, 21), np.float32), np.full((3, 2, 21, 21), 0.25, np.float32)
    pixels[:] = 5.0  # 2.5 sigma a pixel
    ivar[1] = 1.0  # deeper by 2 than the band's usual noise
    ivar[2] = 0.0
    image = scaling.image(pixels, {"kind": "default", "sigma": [2.0, 2.0], "ivar": True}, ivar)
    inside = (np.hypot(*np.mgrid[-10:11, -10:11]) <= 4).sum()
    found = gated.signal_to_noise(torch.from_numpy(image), 4.0).numpy()
    assert found == pytest.approx([2.5 * inside**0.5, 5 * inside**0.5, 0], rel=1e-4)


@pytest.mark.parametrize(("groups", "words"), [
    (["anuli"], "names anuli .did you mean `annuli`.., which has no `columns`"), (["An nuli"], "lower-case words"),
    ({"annuli": {"scal": 1}}, "`annuli` has no option `scal`.*did you mean `scale`"),
    ({"annuli": {"scale": "x"}}, "`scale` is 'x'; it must be of type number"),
    ({"annuli": {"dropout": 2}}, "`dropout` is 2; it must be at most 0.9"),
    ({"annuli": {"scale": 0}}, "`scale` is 0; it must be above 0"),
    ({"annuli": 3}, "`groups.annuli` is 3; it must be a mapping"),
    ({"stamp": {"encoder": "vit"}}, "`encoder` is 'vit'; it must be one of 'cnn'"),
    ({"mine": {"columns": []}}, "mine, which has no `columns`")])
def test_groups_that_nobody_knows_are_one_sentence(groups, words):
    with pytest.raises(InputError, match=words) as error:
        FAMILY.options({"groups": groups})
    assert "\n" not in str(error.value)


def test_own_columns_that_a_file_lacks_and_stamps_that_are_learned_from_again_are_one_sentence():
    packed = Packed("f.hdf5", ("g_mag", "a"), ("g_mag",))
    with pytest.raises(InputError, match="f.hdf5 lacks the column `a_err`, which the group `mine` reads"):
        FAMILY.wanted(packed, FAMILY.options({"groups": {"mine": {"columns": ["a"]}}}))
    with pytest.raises(InputError, match="can't `refit` on stamps"):
        FAMILY.options({"groups": ["stamp"], "refit": True})


def test_tuning_chooses_groups_and_keeps_tabular_s_moves_without(packed_file):
    packed = data.packed(packed_file)
    _, moves = FAMILY.moves(packed, FAMILY.options({}))
    choices = [values for name, values in moves if name == "groups"]
    assert {values[1] for values in choices} == {("annuli", "bulge_disk"), ("bulge_disk",), ()}
    start = {name: values[0] for name, values in moves}
    assert start == {name: getattr(FAMILY.options({}), name) for name in start}  # the defaults
    none = FAMILY.options({"groups": []})
    assert FAMILY.moves(packed, none)[1] == families.of("tabular").moves(packed, families.options("tabular", {}))[1]


def test_a_path_that_another_led_away_from_is_walked_from_its_second_value():
    worth = {"a": 3.0, "b": 2.0, "ab": 1.0, "": 4.0}
    moves = (("groups", ("a", "b")), ("groups", ("a", "ab")), ("groups", ("a", "")))
    best, rows = tuning.search(lambda s: [worth[s["groups"]]] * 3, moves)
    assert best == {"groups": "ab"} and [row["groups"] for row in rows] == ["a", "b", "ab", ""]


def test_a_card_of_groups_is_plain_json(packed_file):
    made = lesson(packed_file, max_epochs=1, groups={"annuli": {"scale": 0.25, "hidden": 8}})
    again = Card.read(json.loads(json.dumps(made.card.plain())))
    assert again == made.card and made.card.facts["groups"][0]["scale"] == 0.25
    assert grouped.settings(again.options.groups)["annuli"].hidden == 8


def test_the_config_knows_where_groups_can_be_had():
    base, several = {"run": "x", "archive": "embedded"}, {"stamps": {"surveys": ["ps1"]}}
    config.complete({**base, **several, "models": {"hybrid": {"groups": {"annuli": {"scale": 0.2}}}}})
    with pytest.raises(InputError, match="`models.hybrid` needs `stamps.surveys: .hsc.` or local data"):
        config.complete({**base, **several, "models": {"hybrid": {"groups": ["stamp"]}}})
    with pytest.raises(InputError, match="`models` names hybrid, which needs images"):
        config.complete({"run": "x", "archive": "local", "local": {"tables": {"training": "a.csv"}},
                         "models": {"hybrid": {"groups": ["stamp"]}}})
    for bad in ({"groups": 3}, {"groups": ["annuli", "annuli"]}, {"groups": {"annuli": {"scal": 1}}}, {"group_scale": 0}):
        with pytest.raises(InputError) as error:
            config.complete({**base, "models": {"hybrid": bad}})
        assert "\n" not in str(error.value)


def test_what_tune_chooses_is_trained_and_other_verbs_say_what_they_can_t(tmp_path, packed_file, capsys):
    structured.write(tmp_path / "validation.hdf5", 60, 2)
    given = {"max_epochs": 8, "width": 16, "noise": 0.7, "dropout": 0.0, "errors": True, "batch_size": 40, "lr": 0.01,
             "group_dropout": 0.0, "group_scale": 0.5}
    common = {"run": "t", "release": "", "model": "hybrid", "seed": 1, "threads": 1, "device": "cpu", "options": given}
    assert main(["tune", "--settings", json.dumps({**common, "folds": 2, "share": 1.0}), "--training", str(packed_file), "--out",
                 str(tmp_path / "tuned.json")]) == 0
    tuned = json.loads((tmp_path / "tuned.json").read_text(encoding="utf-8"))
    assert set(tuned["chosen"]) == {"groups"} and tuned["chosen"]["groups"]  # the magnitudes alone tell nothing
    losses = {tuple(trial["groups"]): trial["loss"] for trial in tuned["trials"]}
    assert set(losses) == {("annuli",), ("bulge_disk",), ("annuli", "bulge_disk"), ()}
    assert losses[tuple(tuned["chosen"]["groups"])] < losses[()] - 0.2
    model = tmp_path / "m"
    assert main(["train", "--settings", json.dumps({**common, "precision": "fp32"}), "--training", str(packed_file),
                 "--validation", str(tmp_path / "validation.hdf5"), "--tuned", str(tmp_path / "tuned.json"), "--state",
                 str(tmp_path / "state"), "--weights", str(model / "model.safetensors"), "--card", str(model / "model.json"),
                 "--history", str(model / "h.csv")]) == 0
    made = json.loads((model / "model.json").read_text(encoding="utf-8"))
    assert [group["name"] for group in made["facts"]["groups"]] == tuned["chosen"]["groups"]
    for words, said in ((["forced-photoz", "--model", str(model), "--ra", "1", "--dec", "1", "--out", str(tmp_path / "o.csv")],
                         "forced-photoz is not supported for it"),
                        (["attribute", "--settings", '{"objects": 1}', "--model", str(model), "--data", str(packed_file), "--out",
                          str(tmp_path / "a.parquet")], "doesn't see several surveys"),
                        (["predict", "--settings", "{}", "--model", str(model), "--data", str(plain(tmp_path)), "--out",
                          str(tmp_path / "p.h5")], "annulus_flux|bulge_flux")):
        capsys.readouterr()
        assert main(words) == 2
        text = capsys.readouterr().err.strip().splitlines()[-1]
        assert text.startswith("skyloom: ") and re.search(said, text), text
    assert not (tmp_path / "p.h5").exists() and not (tmp_path / "o.csv").exists()


def plain(folder):
    """A file without structure."""
    structured.write(folder / "plain.hdf5", 30, 1, structure=False)
    return folder / "plain.hdf5"
