"""Scores of p(z) against closed forms, scipy, and edge cases."""

import numpy as np
import pytest
from scipy import stats

from skyloom.pz import scores

EDGES = np.linspace(0.0, 1.6, 801)


def gaussians(mean, sigma):
    return np.diff(stats.norm.cdf(EDGES[None], np.asarray(mean)[:, None], sigma), axis=1)


@pytest.fixture(scope="module")
def calibrated():
    rng = np.random.default_rng(1)
    mean = rng.uniform(0.4, 1.2, 4000)
    return gaussians(mean, 0.05), mean + 0.05 * rng.standard_normal(4000), mean


def by_name(rows):
    return {row[0]: row[2:] for row in rows if row[0] != "coverage"} | {row[:2]: row[2:] for row in rows}


def test_a_calibrated_gaussian(calibrated):
    pz, z, mean = calibrated
    got = by_name(scores.pz_metrics(pz, EDGES, z, 100))
    x = (z - mean) / 0.05
    crps = 0.05 * (x * (2 * stats.norm.cdf(x) - 1) + 2 * stats.norm.pdf(x) - 1 / np.sqrt(np.pi))
    assert got["crps"][0] == pytest.approx(crps.mean(), rel=2e-3)
    assert got["log_score"][0] == pytest.approx(-stats.norm.logpdf(z, mean, 0.05).mean(), abs=5e-3)
    cde = 1 / (2 * np.sqrt(np.pi) * 0.05) - 2 * stats.norm.pdf(z, mean, 0.05)
    assert got["cde_loss"][0] == pytest.approx(cde.mean(), rel=2e-3)
    for level in ("0.68", "0.90", "0.95"):
        assert got["coverage", level][0] == pytest.approx(float(level), abs=0.02)
    assert got["pit_ks"][0] < 0.03 and got["pit_outlier_rate"][0] < 0.002
    assert all(values[1] <= values[2] for values in got.values())


def test_pit_statistics_are_those_of_scipy(calibrated):
    pz, z, mean = calibrated
    u = scores.pit(pz, EDGES, z)
    assert u == pytest.approx(stats.norm.cdf(z, mean, 0.05), abs=2e-3)
    assert scores.ks(u) == pytest.approx(stats.kstest(u, "uniform").statistic)
    assert scores.cvm(u) == pytest.approx(stats.cramervonmises(u, "uniform").statistic)
    assert scores.ad(np.array([0.3])) == pytest.approx(-1 - np.log(0.3) - np.log(0.7))
    even = (np.arange(1000) + 0.5) / 1000
    assert scores.ks(even) == pytest.approx(0.0005) and scores.cvm(even) == pytest.approx(1 / 12000) and scores.ad(even) < 0.02
    assert scores.ks(np.stack([even, even**2])).shape == (2,)


def test_overconfidence_is_seen(calibrated):
    _, z, mean = calibrated
    narrow = by_name(scores.pz_metrics(gaussians(mean, 0.02), EDGES, z, 0))
    right = by_name(scores.pz_metrics(calibrated[0], EDGES, z, 0))
    for name in ("crps", "log_score", "cde_loss", "pit_ks", "pit_cvm", "pit_ad", "pit_outlier_rate"):
        assert narrow[name][0] > right[name][0], name
    assert narrow["coverage", "0.68"][0] < 0.4 and np.isnan(narrow["crps"][1])


def test_degenerate_pz_and_truth_outside_have_their_values():
    one = np.zeros((3, 800))
    one[:, 400] = 1.0  # all mass in 0.8 to 0.802
    z = np.array([0.801, 0.1, 2.0])
    assert scores.pit(one, EDGES, z) == pytest.approx([0.5, 0, 1])
    assert scores.brier_terms(one, EDGES, z) == pytest.approx([0, 2, 2])
    assert scores.crps_terms(one, EDGES, z) == pytest.approx([0.002 / 12, 0.701 - 0.001 / 1.5, 1.199 - 0.001 / 1.5], abs=2e-3)
    assert scores.log_terms(one, EDGES, z) == pytest.approx([-np.log(500), -np.log(1e-3), -np.log(1e-3)])
    flat = np.full((1, 800), 1 / 800)
    assert scores.brier_terms(flat, EDGES, [0.5])[0] == pytest.approx(1 - 1 / 800)
    assert scores.crps_terms(flat, EDGES, [0.8])[0] == pytest.approx(1.6 / 12)
    # what a row lacks to 1 lies above the bins: it is not moved inside
    assert scores.pit(np.repeat(flat * 0.6, 2, axis=0), EDGES, [1.6, 5.0]) == pytest.approx([0.6, 0.6])


def test_five_objects_nan_rows_and_nobody():
    pz = np.full((5, 800), 1 / 800)
    pz[1] = np.nan
    rows = scores.pz_metrics(pz, EDGES, [0.1, 0.2, 0.3, np.nan, 0.5], 50)
    assert all(row[-1] == 3 and np.isfinite(row[2]) for row in rows)
    assert all(row[-1] == 0 and np.isnan(row[2]) for row in scores.pz_metrics(pz[:0], EDGES, [], 50))
