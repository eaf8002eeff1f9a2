"""Hybrid: tabular to the last bit without groups; branches that are as loud as their measurements are good."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skyloom.errors import InputError
from skyloom.measure import features
from skyloom.models import families, gated, groups, stamps
from skyloom.models.card import Card
from skyloom.models.family import Packed
from skyloom.train import estimation, fitting, loop

CPU = torch.device("cpu")
RINGS, BANDS = 3, ("g", "r", "i")


def sample(n, seed=0, noise=0.02):
    """Objects whose redshift is half told by magnitudes and half by the share of light in the inner ring, annuli with errors."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=n)
    z = 0.5 + 0.05 * rng.normal(size=n) + 0.08 * hidden
    out = {"object_id": np.arange(n), "subset": np.array(["select"] * n), "specz_redshift": z}
    flux = 10 ** rng.normal(3, 0.2, n)
    for b, band in enumerate(BANDS):
        out[f"{band}_mag"] = 31.4 - 2.5 * np.log10(flux) + 2 * (z - 0.08 * hidden) * (1 - b) + rng.normal(0, 0.01, n)
        out[f"{band}_mag_err"] = np.full(n, 0.01)
        shares = np.stack([0.4 + 0.1 * hidden, 0.3 + 0 * hidden, 0.3 - 0.1 * hidden], axis=1)
        for k in range(RINGS):
            out[f"{band}_annulus_flux_{k + 1}"] = flux * (shares[:, k] + noise * rng.normal(size=n))
            out[f"{band}_annulus_flux_err_{k + 1}"] = flux * noise
            out |= {f"{band}_annulus_cov_{k + 1}_{j + 1}": 0 * flux for j in range(k + 1, RINGS)}
    return out


def split_of(columns, path="dataset.hdf5"):
    return SimpleNamespace(path=path, n=len(columns["object_id"]), columns=columns)


def packed_of(columns):
    return Packed("dataset.hdf5", tuple(columns), tuple(name for name in columns if name.endswith("_mag")))


def begun(family, columns, **options):
    family, options = families.of(family), families.of(family).options({"max_epochs": 8, "batch_size": 64, **options})
    loop.prepare(1, 1)
    return fitting.begun(family, family.name, options, split_of(columns), np.arange(len(columns["z"] if "z" in columns else
                         columns["object_id"])), packed_of(columns)), family


def trained(family, columns, **options):
    lesson, family = begun(family, columns, **options)
    loop.run_epochs(lesson.model, lesson.loss, lesson.learn, lesson.card.options, 1, CPU)
    lesson.model.eval()
    return lesson, family


def loss_of(lesson, family, columns):
    held = fitting.arrays(family, lesson.card, split_of(columns), np.arange(len(columns["object_id"])))
    return loop.evaluate(lesson.model, lesson.loss, held, 512, CPU, "fp32")


def test_without_groups_it_is_tabular_to_the_last_bit():
    columns = sample(300)
    (one, first), (other, second) = trained("tabular", columns, dropout=0.1), trained("hybrid", columns, dropout=0.1, groups=[])
    weights, same = one.model.state_dict(), other.model.state_dict()
    assert list(weights) == list(same) and all(torch.equal(weights[name], same[name]) for name in weights)
    a, b = (estimation.predicted(f, lesson.model, lesson.card, split_of(columns), CPU) for f, lesson in
            ((first, one), (second, other)))
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_a_training_begins_as_the_table_alone():
    columns = sample(100)
    lesson, _ = begun("hybrid", columns, groups=["annuli"])
    plain, _ = begun("tabular", columns)
    lesson.model.eval(), plain.model.eval()
    assert torch.equal(lesson.model(None, lesson.learn.table), plain.model(None, plain.learn.table))


def test_a_group_that_tells_the_redshift_lowers_the_loss_and_one_of_noise_costs_little():
    learn, held = sample(1500, 1), sample(600, 2)
    options = {"max_epochs": 25}
    alone, told = (loss_of(*trained("hybrid", learn, groups=names, **options), held) for names in ([], ["annuli"]))
    rng = np.random.default_rng(3)
    for columns in (learn, held):
        columns |= {"junk": rng.normal(size=len(columns["object_id"])), "junk_err": np.full(len(columns["object_id"]), 1.0)}
    junk = loss_of(*trained("hybrid", learn, groups=["junk"], own_groups={"junk": {"junk": "junk_err"}}, **options), held)
    assert told < alone - 0.3
    assert junk < alone + 0.1


def test_an_object_without_its_group_is_gated_off_and_its_density_is_wider():
    learn, held = sample(1500, 1), sample(300, 2)
    lesson, family = trained("hybrid", learn, groups=["annuli"], max_epochs=25)
    blind = {name: np.full(300, np.nan) if "annulus" in name else values for name, values in held.items()}
    arrays = family.arrays(lesson.card, split_of(blind), np.arange(300))
    assert (arrays.table[:, -1] == 0).all() and torch.isfinite(arrays.table).all()
    seen, not_seen = (estimation.predicted(family, lesson.model, lesson.card, split_of(c), CPU) for c in (held, blind))

    def width(found):
        second = (found["weights"] * (found["stds"] ** 2 + found["means"] ** 2)).sum(1)
        return np.median(np.sqrt(second - found["z"] ** 2))

    assert np.isfinite(not_seen["z"]).all()
    assert width(not_seen) > 1.15 * width(seen)


@pytest.mark.parametrize("error", [0.0, -1.0, np.nan, np.inf])
def test_errors_that_are_none_gate_an_object_off(error):
    columns = sample(200)
    for name in columns:
        if "annulus_flux_err" in name:
            columns[name] = columns[name].copy()
            columns[name][:20] = error
    lesson, family = begun("hybrid", columns, groups=["annuli"])
    gate = family.arrays(lesson.card, split_of(columns), np.arange(200)).table[:, -1]
    assert torch.isfinite(lesson.learn.table).all()
    if error != -1.0:  # a square hides its sign
        assert (gate[:20] == 0).all()
    assert (gate[20:] > 0.1).all()


@pytest.mark.parametrize("error", [0.0, np.nan])
def test_a_group_without_a_usable_error_is_one_sentence(error):
    columns = {name: np.full(200, error) if "annulus_flux_err" in name else values for name, values in sample(200).items()}
    with pytest.raises(InputError, match="group `annuli` has 10 training objects with a finite value and an error above 0; mend"):
        begun("hybrid", columns, groups=["annuli"])


def test_names_that_are_not_there_are_one_sentence():
    columns = sample(60)
    bare = {name: values for name, values in columns.items() if "annulus" not in name}
    with pytest.raises(InputError, match=r"holds no column `\.\.\._annulus_flux_1`.*`structure.measure: true`"):
        begun("hybrid", bare, groups=["annuli"])
    with pytest.raises(InputError, match="`rings` is no group of columns; known are annuli, bulge_disk, stamp"):
        begun("hybrid", columns, groups=["rings"])
    with pytest.raises(InputError, match="has no column `w1_err`, which the group `ir` names"):
        begun("hybrid", columns, groups=["ir"], own_groups={"ir": {"g_mag": "w1_err"}})
    with pytest.raises(InputError, match="name of the stamp's own group"):
        begun("hybrid", columns, groups=["stamp"], own_groups={"stamp": {"g_mag": "g_mag_err"}})


def test_one_band_and_an_object_in_one_survey_only():
    columns = sample(200)
    one = {name: values for name, values in columns.items() if not name.startswith(("r_", "i_"))}
    lesson, _ = trained("hybrid", one, groups=["annuli"], max_epochs=2)
    assert torch.isfinite(lesson.model(None, lesson.learn.table)).all()
    named = {f"hsc_{name}" if "annulus" in name or "_mag" in name else name: values for name, values in columns.items()}
    named |= {name.replace("hsc_", "ps1_"): np.where(np.arange(200) < 50, np.nan, values) for name, values in named.items()
              if "annulus" in name}
    lesson, family = begun("hybrid", named, groups=["annuli"])
    assert [group["name"] for group in lesson.card.table["groups"]] == ["hsc_annuli", "ps1_annuli"]
    table = lesson.learn.table.split(lesson.model.parts, dim=1)
    assert (table[1][:, -1] > 0).all() and (table[2][:50, -1] == 0).all() and (table[2][50:, -1] > 0).all()


def test_shrinkage_is_the_posterior_mean_and_the_gate_falls_with_the_error():
    rng = np.random.default_rng(5)
    truth = rng.normal(2.0, 0.5, 20_000)
    error = rng.uniform(0.01, 1.5, 20_000)
    value = truth + error * rng.normal(size=20_000)
    facts = gated.fit(value[:, None], error[:, None])
    assert facts["middle"][0] == pytest.approx(2, abs=0.02) and facts["spread"][0] == pytest.approx(0.5, rel=0.05)
    out = gated.raw(value[:, None], error[:, None], facts, 0.5)
    estimate = facts["middle"][0] + facts["spread"][0] * out[:, 0]
    best = (value / error**2 + 2 / 0.25) / (1 / error**2 + 1 / 0.25)
    assert np.max(np.abs(estimate - best)) < 0.15
    left = np.std(estimate - truth)
    assert left < np.std(value - truth) and left == pytest.approx(np.std(best - truth), rel=0.02)
    assert (np.diff(out[np.argsort(error), -1]) <= 0).all()


def test_errors_of_features_are_those_of_draws():
    rng = np.random.default_rng(7)
    flux = np.array([[[300.0, 200.0, 100.0], [500.0, 300.0, 250.0]]])
    root = rng.normal(size=(2, 3, 3))
    cov = (root @ root.transpose(0, 2, 1) * 4 + 9 * np.eye(3))[None]
    drawn = np.stack([rng.multivariate_normal(flux[0, b], cov[0, b], 20_000) for b in range(2)], axis=1)
    table = np.array([[25.0, 24.5]])
    told = features.annuli(flux, cov, table)
    seen = features.annuli(drawn, np.repeat(cov, 20_000, axis=0), np.repeat(table, 20_000, axis=0))
    assert all(np.std(seen[name][0]) == pytest.approx(told[name][1][0], rel=0.05) for name in told)
    fit = {"bulge_flux": [[80.0, 120.0]], "disk_flux": [[200.0, 260.0]], "bulge_flux_err": [[8.0, 9.0]],
           "disk_flux_err": [[7.0, 6.0]],
           "bulge_disk_cov": [[-30.0, -25.0]], "bulge_re": [0.4], "bulge_re_err": [0.02], "disk_re": [0.8], "disk_re_err": [0.03],
           "disk_q": [0.6]}
    fit = {name: np.array(values) for name, values in fit.items()}
    parts = [rng.multivariate_normal([fit["bulge_flux"][0, b], fit["disk_flux"][0, b]],
                                     [[fit["bulge_flux_err"][0, b] ** 2, fit["bulge_disk_cov"][0, b]],
                                      [fit["bulge_disk_cov"][0, b], fit["disk_flux_err"][0, b] ** 2]], 20_000) for b in range(2)]
    many = {name: np.repeat(values, 20_000, axis=0) for name, values in fit.items()}
    many |= {"bulge_flux": np.stack([p[:, 0] for p in parts], 1), "disk_flux": np.stack([p[:, 1] for p in parts], 1)}
    told, seen = features.bulge_disk(fit, table), features.bulge_disk(many, np.repeat(table, 20_000, axis=0))
    for name in ("bulge_0", "bulge_1", "bulge_0-1", "colour_0-1"):
        assert np.std(seen[name][0]) == pytest.approx(told[name][1][0], rel=0.06), name


def test_the_stamp_enters_by_a_gate_of_its_signal_to_noise():
    torch.manual_seed(0)
    branch = stamps.Stamp("cnn", 5, 16, 0.0, 0.5)
    grid = np.hypot(*np.mgrid[-16:16, -16:16])
    shape = torch.tensor(np.exp(-grid**2 / 18), dtype=torch.float32)
    images = torch.stack([torch.arcsinh(peak * shape / 3).expand(5, 32, 32) for peak in (0.0, 2.0, 20.0, 2000.0)])
    gate = branch.gate(images)[:, 0]
    assert gate[0] == 0 and gate[-1] > 0.99 and (gate.diff() > 0).all()
    assert torch.equal(branch(images), torch.zeros(4, 16))
    torch.nn.init.normal_(branch.last.weight)
    assert (branch(images)[0] == 0).all() and (branch(images)[3] != 0).any()


def test_a_card_rebuilds_the_network():
    columns = sample(200)
    lesson, family = trained("hybrid", columns, groups=["annuli", "junk"], own_groups={"junk": {"g_mag": "g_mag_err"}},
                             max_epochs=2)
    import json

    card = Card.read(json.loads(json.dumps(dataclasses.replace(lesson.card, model="hybrid_b").plain())))
    again = family.build(card)
    again.load_state_dict(lesson.model.state_dict())
    again.eval()
    arrays = family.arrays(card, split_of(columns), np.arange(200))
    assert torch.equal(again(None, arrays.table), lesson.model(None, lesson.learn.table))


def test_tuning_walks_from_the_table_alone_to_the_groups_that_the_file_has():
    columns = sample(60)
    family = families.of("hybrid")
    options, moves = family.moves(packed_of(columns), family.options({"tune": True}))
    assert options.groups == ("annuli",) and dict(moves)["groups"] == ((), ("annuli",))
    assert {"gate", "group_dropout", "noise"} <= set(dict(moves))


def test_noise_is_drawn_where_the_generator_is_and_only_on_values():
    inputs = torch.ones(5, 7)
    out = gated.jitter(inputs, 0.5, torch.Generator().manual_seed(1))
    assert torch.equal(out[:, 3:], inputs[:, 3:]) and (out[:, :3] != inputs[:, :3]).all()


def test_groups_read_what_they_name():
    columns = sample(10)
    found = groups.found(tuple(columns), packed_of(columns).magnitudes, ("annuli",), {}, "x")[0]
    assert found["bands"] == list(BANDS) and found["rings"] == RINGS and found["table"] == ["g_mag", "r_mag", "i_mag"]
    assert set(groups.columns(found)) <= set(columns)
