"""p(z) histograms, paired comparison, subsets, photometry: closed forms."""

import numpy as np
import pytest
import sep
from scipy.stats import norm

from skyloom.errors import InputError
from skyloom.flux import NJY_ZERO_POINT
from skyloom.measure import photometry, target
from skyloom.pz import comparison, histogram, metrics
from skyloom.release import tables
from skyloom.sample import subsets

EDGES = np.linspace(0.0, 1.6, 401)


def gaussian(mean, sigma):
    return np.diff(norm.cdf(EDGES, mean, sigma))[None]


def test_summaries_of_a_gaussian():
    got = histogram.summaries(gaussian(0.8, 0.05), EDGES)
    assert got["mean"][0] == pytest.approx(0.8, abs=1e-6) and got["median"][0] == pytest.approx(0.8, abs=1e-6)
    assert got["mode"][0] == pytest.approx(0.8, abs=0.0021)
    for name, sigmas in (("l68", norm.ppf(0.16)), ("u68", norm.ppf(0.84)), ("l95", norm.ppf(0.025)), ("u95", norm.ppf(0.975))):
        assert got[name][0] == pytest.approx(0.8 + 0.05 * sigmas, abs=2e-4)


def test_degenerate_and_unknown_rows():
    one = np.zeros((1, 400))
    one[0, 7] = 1.0
    got = histogram.summaries(np.concatenate([one, np.full((1, 400), np.nan)]), EDGES)
    assert got["mode"][0] == pytest.approx(0.03) and EDGES[7] < got["l95"][0] < got["u95"][0] < EDGES[8]
    assert all(np.isnan(values[1]) for values in got.values())
    uneven = np.array([0.0, 1.0, 1.1])
    assert histogram.mode(np.array([[0.6, 0.4]]), uneven)[0] == pytest.approx(1.05)  # density, not mass
    # mass that the bins don't hold is not moved inside
    assert histogram.quantile(np.array([[0.3, 0.2]]), uneven, 0.9)[0] == 1.1
    assert histogram.quantile(np.array([[0.5, 0.5]]), uneven, 0.25)[0] == pytest.approx(0.5)


def test_cde_loss_of_a_gaussian_and_of_a_truth_outside():
    """Integral of p^2 = 1 / (2 sqrt(pi) sigma); its mean over truths drawn from p is minus the same."""
    sigma, rng = 0.05, np.random.default_rng(1)
    z = rng.normal(0.8, sigma, 20000)
    terms = histogram.cde_terms(np.repeat(gaussian(0.8, sigma), len(z), axis=0), EDGES, z)
    value, low, high, n = metrics.mean_of(terms, 100)
    expected = -1 / (2 * np.sqrt(np.pi) * sigma)
    assert n == 20000 and value == pytest.approx(expected, rel=0.02) and low < value < high
    flat = np.full((2, 400), 1 / 400)
    assert histogram.cde_terms(flat, EDGES, [0.4, 2.0]) == pytest.approx([1 / 1.6 - 2 / 1.6, 1 / 1.6])


def test_paired_differences_see_what_two_intervals_would_not():
    """Two models with the same large scatter and a small constant difference: the difference is known well."""
    rng = np.random.default_rng(2)
    zs = rng.uniform(0.1, 1.4, 800)
    base = zs + 0.1 * (1 + zs) * rng.standard_normal(800)
    rows = comparison.paired({"a": [base + 0.01 * (1 + zs)], "b": [base]}, zs, {}, 300)
    bias = next(row for row in rows if row[2] == "bias")
    assert bias[:2] == ("a", "b") and bias[4] == pytest.approx(0.01) and bias[8] - bias[7] < 1e-9
    separate = metrics.point_metrics(base, zs, 300)[0]
    assert separate[4] - separate[3] > 0.005
    # seeds that differ widen the interval
    seeds = comparison.paired({"a": [base + d * (1 + zs) for d in (0.0, 0.02)], "b": [base, base]}, zs, {}, 300)
    wide = next(row for row in seeds if row[2] == "bias")
    assert wide[4] == pytest.approx(0.01) and wide[8] - wide[7] == pytest.approx(0.02, abs=1e-3) and wide[10] == 2
    with_terms = comparison.paired({"a": [base], "b": [base]}, zs, {"a": [zs], "b": [zs + 1]}, 50)
    assert next(row for row in with_terms if row[2] == "cde_loss")[4] == pytest.approx(-1)
    assert comparison.paired({"a": [np.full(800, np.nan)], "b": [base]}, zs, {}, 10) == []


def test_subsets_are_conditions_on_columns():
    columns = {"r": np.array([17.0, 18.0, np.nan]), "w": np.array([1.0, 0.0, 1.0]), "s": np.array(["a", "b", "a"], object)}
    assert subsets.select("x", "r < 17.77", columns).tolist() == [True, False, False]
    assert subsets.select("x", "r - 1 < 17 or w == 1 and not s == 'b'", columns).tolist() == [True, False, True]
    assert subsets.select("x", "16 < r <= 18", columns).tolist() == [True, True, False]
    assert subsets.select("x", "r != 17", columns).tolist() == [False, True, False]  # NaN is no value


@pytest.mark.parametrize(("text", "said"), [
    ("q < 3", "names q, which is no column of the testing file; known: r"), ("r <", "which is no expression"),
    ("r + 1", "which is no condition"), ("__import__('os')", "holds Call; only comparisons"), ("r < 'x'", "can't be computed")])
def test_bad_subsets_are_one_sentence(text, said):
    with pytest.raises(InputError, match="`evaluation.subsets.bad`") as error:
        subsets.select("bad", text, {"r": np.array([1.0, 2.0])})
    assert said in str(error.value)


def stamp(flux, size=81, sigma=2.5, noise=1.0, seed=0):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    light = np.exp(-(x**2 + y**2) / 2 / sigma**2) / (2 * np.pi * sigma**2)
    return (flux * light + np.random.default_rng(seed).normal(0, noise, (size, size))).astype(np.float32)


def test_kron_flux_of_a_bright_star_and_its_error():
    none, ivar = np.zeros((81, 81), bool), np.ones((81, 81), np.float32)
    got = photometry.measure(stamp(20000.0), ivar, none, 4.0)
    assert got["detected"] == 1 and got["flux"] == pytest.approx(20000, rel=0.03)
    assert got["mag"] == pytest.approx(NJY_ZERO_POINT - 2.5 * np.log10(got["flux"]))
    scatter = [photometry.measure(stamp(2000.0, seed=k), ivar, none, 4.0) for k in range(40)]
    spread = np.std([s["flux"] for s in scatter])
    assert spread == pytest.approx(np.median([s["flux_err"] for s in scatter]), rel=0.6)
    assert got["mag_err"] == pytest.approx(1.0857 * got["flux_err"] / got["flux"], rel=1e-3)


def test_an_upright_ellipse_is_one_that_sep_takes_back():
    """sep gives theta as float32: pi / 2 is then more than its own apertures allow."""
    kinds = [(name, np.float32 if name == "theta" else np.float64) for name in ("x", "y", "a", "b", "theta")]
    row = np.array([(40.0, 40.0, 6.0, 2.0, np.float32(np.pi / 2))], dtype=kinds)[0]
    with pytest.raises(Exception, match="invalid aperture"):
        sep.sum_ellipse(stamp(0.0), *([row[name]] for name in ("x", "y", "a", "b", "theta")), 3.0)
    flux, _, _ = sep.sum_ellipse(stamp(0.0) + 1, *target.Target(stamp(0.0), row, 1.0).ellipse, 3.0, subpix=5)
    assert flux[0] == pytest.approx(np.pi * 12 * 9, rel=0.1)


def test_forced_flux_where_nothing_is_detected_and_nothing_where_nobody_looked():
    none, ivar = np.zeros((81, 81), bool), np.ones((81, 81), np.float32)
    faint = [photometry.measure(stamp(0.0, seed=k), ivar, none, 4.0) for k in range(30)]
    forced = [f for f in faint if not f["detected"]]
    assert len(forced) > 20 and abs(np.mean([f["flux"] for f in forced])) < 6  # sigma = sqrt(50 px) = 7, over 5
    assert forced[0]["flux_err"] == pytest.approx(np.sqrt(np.pi * 16), rel=0.01)
    assert all(np.isnan(f["mag"]) == (f["flux"] <= 0) for f in forced)
    nothing = photometry.measure(stamp(500.0), ivar * 0, ~none, 4.0)
    assert np.isnan(nothing["flux"]) and nothing["detected"] == 0


def test_tables_in_the_papers_layout():
    import pandas

    rows = [("mantis_late", "all", "testing", subset, "", "", metric, convention, value, value - 0.001, value + 0.001, 50)
            for subset in ("", "mgs") for metric, convention, value in (
                ("nmad", "1.4826mad(1+z)|mean", 0.02), ("bias", "mean(1+z)|mean", 0.01), ("outlier_fraction", "0.05|mean", 0.2),
                ("cde_loss", "histogram", -8.0))]
    rows += [("mantis_optical", *row[1:]) for row in rows]
    frame = pandas.DataFrame(rows, columns=["model", "seed", "split", "subset", "z_min", "z_max", "metric", "convention", "value",
                                            "lo68", "hi68", "n"])
    table = tables.ablations(frame, {"mantis_late": ["ps1", "galex", "unwise"], "mantis_optical": ["ps1"]})
    assert table[["fusion", "data"]].to_numpy().tolist() == [["Neither", "Optical only"], ["Late", "Optical, UV, and IR"]]
    assert table["nmad_e2"].tolist() == pytest.approx([2.0, 2.0]) and table["nmad_e2_err"].iloc[0] == pytest.approx(0.1)
    assert table["eta_percent"].iloc[0] == pytest.approx(20) and table["cde_loss"].iloc[1] == -8
    named = tables.subsets(frame)
    assert named[["sample", "model"]].to_numpy().tolist() == [["mgs", "mantis_late"], ["mgs", "mantis_optical"]]
