"""Recalibration: a model that is too sure of itself is mended, a calibrated one left alone, intervals keep their promise."""

import numpy as np
import pytest
from scipy.stats import norm

from skyloom.pz import calibration, histogram, scores, umnn

EDGES = np.arange(-0.1, 2.2, 0.01)
METHODS = sorted(set(calibration.METHODS) - {"mantis"})


def sample(n, width, seed=0, true=0.05):
    """(p(z) of a stated `width`, truths that scatter by `true`, features) around known means."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(0.3, 1.5, n)
    true = true(mean) if callable(true) else np.full(n, true)
    width = true if width is None else np.full(n, width)
    pz = np.diff(norm.cdf((EDGES[None] - mean[:, None]) / width[:, None]), axis=1)
    return pz, mean + true * rng.standard_normal(n), mean[:, None]


@pytest.mark.parametrize("method", METHODS)
def test_an_overconfident_model_is_mended_and_a_calibrated_one_left_alone(method):
    pz, z, x = sample(1000, 0.02)
    verdict = calibration.gate(method, pz, EDGES, z, x, folds=2)
    assert verdict["kept"] and verdict["cde"] < -3, verdict["why"]
    fitted = calibration.METHODS[method](pz, EDGES, z, x)
    new, truth, features = sample(1000, 0.02, seed=1)
    after = fitted(new, EDGES, features)
    before, mended = (scores.ks(scores.pit(p, EDGES, truth)) for p in (new, after))
    assert before > 0.2 and mended < 0.08  # 0.043 is what 1,000 truths of a perfect p(z) exceed one time in twenty
    assert np.nansum(after, axis=1) == pytest.approx(1, abs=1e-3) and (after >= 0).all()
    wide, truth, features = sample(1000, None)
    right = calibration.gate(method, wide, EDGES, truth, features, folds=2)
    assert not right["kept"], right["why"]


def test_a_local_map_sees_what_a_global_one_cannot():
    """Right on the average, too wide at one end, too narrow at the other: uniform PIT is not enough."""
    grows = lambda mean: 0.02 + 0.08 * (mean - 0.3) / 1.2  # noqa: E731
    pz, z, x = sample(3000, 0.05, true=grows)
    new, truth, features = sample(3000, 0.05, seed=1, true=grows)
    loss = {}
    for method in METHODS:
        after = calibration.METHODS[method](pz, EDGES, z, x)(new, EDGES, features)
        loss[method] = histogram.cde_terms(after, EDGES, truth).mean()
        faint = features[:, 0] > 1.2
        cover = np.mean(np.abs(scores.pit(after, EDGES, truth)[faint] - 0.5) < 0.34)
        assert (abs(cover - 0.68) < 0.08) == (method == "local"), (method, cover)
    assert loss["local"] < min(loss["pit"], loss["temperature"]) - 0.2


def test_the_published_networks_output_is_the_integral_of_its_slope_and_rises():
    import torch

    torch.manual_seed(0)
    net, x = umnn.Umnn(3, 16), torch.randn(5, 3)
    levels = torch.linspace(0.02, 1, 50)
    table = net.table(x, levels)
    assert (table.diff(dim=1) > 0).all()
    torch.testing.assert_close(table, net(x, levels.expand(5, -1)), atol=1e-3, rtol=0)  # two rules for the same integral
    colours = umnn.pairs(np.array([[20.0, 19.5, 19.2]]), np.array([[0.04]]))
    assert colours[0] == pytest.approx([20, 19.5, 19.2, 0.5, 0.8, 0.3, 0.04])


def test_conformal_intervals_keep_their_promise_for_a_wrong_model():
    pz, z, x = sample(500, 0.02)
    half = calibration.conformal(pz, EDGES, z, 0.9)
    new, truth, _ = sample(4000, 0.02, seed=5)
    low, high = (histogram.quantile(new, EDGES, 0.5 + sign * half) for sign in (-1, 1))
    assert np.mean((truth >= low) & (truth <= high)) > 0.87
    assert calibration.conformal(pz[:5], EDGES, z[:5], 0.9) == 0.5  # five objects can't promise 90 %


def test_the_published_recipe_flattens_the_pit_and_the_gate_judges_it(monkeypatch):
    for name, value in (("WIDTH", 32), ("EPOCHS", 40), ("RATE", 1e-2)):
        monkeypatch.setattr(umnn, name, value)  # its own width is for a GPU
    pz, z, x = sample(600, 0.02)
    new, truth, features = sample(1000, 0.02, seed=1)
    after = calibration.mantis(pz, EDGES, z, x)(new, EDGES, features)
    before, mended = (scores.ks(scores.pit(p, EDGES, truth)) for p in (new, after))
    assert mended < 0.75 * before and (after >= 0).all()
    monkeypatch.setattr(umnn, "EPOCHS", 3)
    verdict = calibration.gate("mantis", pz[:200], EDGES, z[:200], x[:200])
    assert verdict["kept"] == (verdict["cde_hi68"] < 0 and "worse" not in verdict["why"])


def test_few_objects_and_unknown_rows():
    pz, z, x = sample(5, 0.02)
    verdict = calibration.gate("pit", pz, EDGES, z, x)
    assert not verdict["kept"] and "5 objects" in verdict["why"]
    pz, z, x = sample(200, 0.02)
    for method in METHODS:
        blind = np.concatenate([pz[:2], np.full((1, pz.shape[1]), np.nan)])
        after = calibration.METHODS[method](pz, EDGES, z, x)(blind, EDGES, np.array([[0.5], [np.nan], [0.5]]))
        assert np.isfinite(after[:2]).all() and np.isnan(after[2]).all()
