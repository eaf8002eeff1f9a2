"""Stacks of p(z), and the choice of one redshift."""

import numpy as np
import pytest

from skyloom.errors import InputError
from skyloom.pz import choice, stack


def densities(n=4000, seed=1):
    """Two members, each right on its side of x = 0: (densities at the truth, x)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    z = rng.normal(size=n)
    sigma = {"a": np.where(x < 0, 0.3, 1.5), "b": np.where(x < 0, 1.5, 0.3)}
    out = {}
    for name, s in sigma.items():
        miss = np.where(s > 1, rng.normal(0, 1.5, n), rng.normal(0, 0.3, n)) if name == "a" else rng.normal(0, s)
        out[name] = np.exp(-0.5 * (miss / s) ** 2) / s / np.sqrt(2 * np.pi)
    return out, x, z


def test_weights_follow_the_column_that_tells_who_is_right():
    found, x, _ = densities()
    weights = stack.fit(found, {"x": x}, ("x",))
    low, high = weights.of({"x": np.array([-2.0, 2.0])}, 2)
    assert low[0] > 0.8 and high[1] > 0.8
    both = weights.of({"x": x}, len(x))
    alone = max(np.mean(np.log(d)) for d in found.values())
    assert np.mean(np.log(both[:, 0] * found["a"] + both[:, 1] * found["b"])) > alone + 0.1
    again = stack.from_facts(weights.facts())
    assert np.array_equal(again.of({"x": x}, len(x)), both)


def test_a_column_that_tells_nothing_changes_nothing():
    rng = np.random.default_rng(2)
    a = rng.uniform(0.5, 2, 3000)
    weights = stack.fit({"a": a, "b": 0.5 * a}, {"x": rng.normal(size=3000)}, ("x",))
    found = weights.of({"x": np.array([-3.0, 0.0, 3.0, np.nan])}, 4)
    assert found[:, 0] == pytest.approx(1, abs=0.02)
    assert found[3] == pytest.approx(found[1])


def test_constant_weights_are_the_likelihood_s():
    """Two members that hold the truth in disjoint halves: the weights are the halves' shares (closed form)."""
    first = np.zeros(1000)
    first[:300] = 1.0
    weights = stack.fit({"a": first + 1e-9, "b": 1 - first + 1e-9}, {})
    assert weights.of({}, 1)[0] == pytest.approx([0.3, 0.7], abs=0.01)


def test_few_objects_give_equal_weights_and_one_member_is_refused():
    assert stack.fit({"a": np.ones(10), "b": np.ones(10)}, {}).of({}, 1)[0].tolist() == [0.5, 0.5]
    with pytest.raises(InputError, match="two models"):
        stack.fit({"a": np.ones(100)}, {})
    with pytest.raises(InputError, match="can't depend on mag"):
        stack.fit({"a": np.ones(100), "b": np.ones(100)}, {"x": np.ones(100)}, ("mag",))


def test_a_member_without_pz_leaves_its_weight_to_the_others():
    parts = [np.array([[0.5, 0.5], [np.nan, np.nan], [np.nan, np.nan]]), np.array([[1.0, 0.0], [0.2, 0.8], [np.nan, np.nan]])]
    found = stack.combined(parts, np.full((3, 2), 0.5))
    assert found[0] == pytest.approx([0.75, 0.25])
    assert found[1] == pytest.approx([0.2, 0.8])
    assert np.isnan(found[2]).all()


def test_the_lowest_loss_is_taken_unless_its_pit_is_worse():
    rng = np.random.default_rng(3)
    u = rng.uniform(size=2000)
    good, biased = (rng.normal(-5, 1, 2000), u), (rng.normal(-6, 1, 2000), u**2)
    name, why, rows = choice.choose({"plain": good, "sharp": biased})
    assert name == "plain" and "sharp had a lower loss but a worse PIT" in why
    assert [row["model"] for row in rows] == ["sharp", "plain"] and rows[0]["pit_worse_lo95"] > 0
    name, why, _ = choice.choose({"plain": good, "sharp": (biased[0], rng.uniform(size=2000))})
    assert name == "sharp" and "no worse" in why
    assert choice.choose({"plain": good})[0] == "plain"


def test_cuts_on_the_width_buy_accuracy():
    rng = np.random.default_rng(4)
    width = rng.uniform(0.01, 0.2, 5000)
    truth = rng.uniform(0, 1, 5000)
    z = truth + width / 2 * rng.normal(size=5000) * (1 + truth)
    flagged = rng.random(5000) < 0.1
    rows = choice.cuts(z, width, flagged, truth)
    assert rows[0]["kept"] == 1 and rows[1]["kept"] == pytest.approx((~flagged).mean())
    values = [row["nmad 1.4826mad(1+z)"] for row in rows]
    assert values[-1] < 0.7 * values[1]
    assert rows[-1]["kept"] == pytest.approx(0.5 * (~flagged).mean(), abs=0.01)


def test_weights_of_a_fold_have_not_seen_its_objects():
    found, x, _ = densities(600)
    whole, without, fold = stack.crossed(found, {"x": x}, ("x",))
    changed = {name: values.copy() for name, values in found.items()}
    changed["a"][fold == 2] *= 50.0
    other, others, same = stack.crossed(changed, {"x": x}, ("x",))
    assert np.array_equal(fold, same) and sorted(np.bincount(fold)) == [120] * 5
    assert np.array_equal(others[2].slopes, without[2].slopes)
    assert all(not np.array_equal(others[k].slopes, without[k].slopes) for k in (0, 1, 3, 4))
    assert not np.array_equal(other.slopes, whole.slopes)


def test_an_out_of_fold_score_is_no_better_than_chance_where_columns_are_noise():
    """Twenty columns of noise: fitted on 200 objects without a ridge they gain by heart, out of fold they don't."""
    rng = np.random.default_rng(5)
    a, b = np.exp(rng.normal(size=(2, 200)))
    x = {f"x{k}": rng.normal(size=200) for k in range(20)}
    whole, without, fold = stack.crossed({"a": a, "b": b}, x, tuple(x))
    seen = whole.of(x, 200)
    apart = np.stack([without[k].of({name: values[i:i + 1] for name, values in x.items()}, 1)[0] for i, k in enumerate(fold)])
    inside, outside = (np.log(w[:, 0] * a + w[:, 1] * b).mean() for w in (seen, apart))
    assert outside <= inside and outside == pytest.approx(np.log((a + b) / 2).mean(), abs=0.05)


def test_a_model_without_pz_of_these_objects_decides_nothing():
    rng = np.random.default_rng(6)
    blind = np.full(500, np.nan), np.full(500, np.nan)
    name, why, rows = choice.choose({"plain": (rng.normal(-5, 1, 500), rng.uniform(size=500)), "blind": blind})
    assert name == "plain" and "blind was left out: it gives no p(z) of these objects" in why and len(rows) == 1
    assert choice.choose({"plain": (np.zeros(0), np.zeros(0)), "b": (np.zeros(0), np.zeros(0))})[0] == "plain"


def test_the_same_cuts_are_made_on_another_sample():
    rng = np.random.default_rng(7)
    z, width = rng.uniform(0, 1, 900), rng.uniform(0.01, 0.1, 900)
    flag = rng.random(900) < 0.2
    rows = choice.cuts(z, width, flag, z, {"broad": flag}, limits=[0.05])
    assert [row["cut"] for row in rows] == ["all", "without broad", "unflagged", "unflagged, width <= 0.05"]
    assert rows[1]["n"] == rows[2]["n"] == (~flag).sum() and rows[3]["n"] == (~flag & (width <= 0.05)).sum()
    assert all(row["nmad 1.4826mad(1+z)"] == 0 for row in rows)
