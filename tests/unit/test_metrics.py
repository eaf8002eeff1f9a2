"""Point metrics against closed forms and edge cases."""

import numpy as np
import pytest

from skyloom.pz import metrics


def by_name(rows):
    return {(metric, convention): value for metric, convention, value, *_ in rows}


def test_a_constant_offset():
    zs = np.linspace(0.1, 1.5, 50)
    got = by_name(metrics.point_metrics(zs + 0.1 * (1 + zs), zs, 0))
    assert got["bias", "mean(1+z)"] == pytest.approx(0.1) and got["bias", "median(1+z)"] == pytest.approx(0.1)
    assert got["rms", "(1+z)"] == pytest.approx(0.1)
    assert got["scatter", "1.48mad(1+z)"] == pytest.approx(0, abs=1e-12)
    assert got["scatter", "1.48mad_unscaled"] > 0.01  # unscaled offsets differ with z
    assert got["outlier_fraction", "0.15"] == 0 and got["outlier_fraction", "0.05"] == 1
    assert got["mse", "unscaled"] == pytest.approx(np.mean((0.1 * (1 + zs)) ** 2))


def test_gaussian_errors_give_their_sigma_and_intervals_cover_it():
    rng = np.random.default_rng(1)
    zs = rng.uniform(0.1, 1.0, 20000)
    rows = metrics.point_metrics(zs + 0.03 * (1 + zs) * rng.standard_normal(20000), zs, 200)
    got = by_name(rows)
    for name in (("nmad", "1.4826mad(1+z)"), ("sigma_iqr", "iqr/1.349"), ("sigma_68", "(p84-p16)/2"), ("rms", "(1+z)")):
        assert got[name] == pytest.approx(0.03, rel=0.03)
    width = {row[0]: row[4] - row[3] for row in rows if row[1] == "(1+z)"}["rms"]
    assert width == pytest.approx(2 * 0.03 / np.sqrt(2 * 20000), rel=0.3)  # standard error of a standard deviation


def test_the_loss_of_one_object():
    got = by_name(metrics.point_metrics([0.8], [0.5], 0))
    assert got["loss", "eq1,gamma=0.15"] == pytest.approx(1 - 1 / (1 + (0.3 / 1.8 / 0.15) ** 2))


def test_the_outlier_limit_is_strict_and_scaled():
    got = by_name(metrics.point_metrics([0.5 + 0.15 * 1.5 - 1e-9, 0.5 + 0.15 * 1.5 + 1e-9], [0.5, 0.5], 0))
    assert got["outlier_fraction", "0.15"] == 0.5


def test_empty_and_not_finite_are_not_counted():
    assert all(np.isnan(row[2]) and row[5] == 0 for row in metrics.point_metrics([], [], 10))
    assert all(row[5] == 1 for row in metrics.point_metrics([np.nan, 0.5], [0.5, 0.5], 10))


def test_bins_cover_zero_to_four_and_hold_their_objects():
    zs = np.array([0.0, 0.19999, 0.2, 3.99, 4.0])
    rows = metrics.binned(zs, zs, 0.2, 4.0, 0)
    counts = {(low, high): n for low, high, metric, convention, *_, n in rows if metric == "mse"}
    assert len(counts) == 20 and counts[0.0, 0.2] == 2 and counts[0.2, 0.4] == 1 and counts[3.8, 4.0] == 1
    assert sum(counts.values()) == 4
