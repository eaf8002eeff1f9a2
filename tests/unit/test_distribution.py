"""The three forms of p(z): closed forms of mixtures, quantiles and conversions; heads that learn them; support; tuning."""

import pickle

import numpy as np
import pytest
import torch
from scipy.stats import norm

from skyloom.errors import InputError
from skyloom.models import families, heads, tabular
from skyloom.models.card import Card
from skyloom.pz import distribution, histogram, mixture, quantiles, support, tomography
from skyloom.release import exporters
from skyloom.sample import bands, subsets
from skyloom.train import ensemble, loop, tuning

EDGES = distribution.grid(-0.1, 2.0, 0.005)
ONE = {"weights": np.array([[1.0, 0.0]]), "means": np.array([[0.8, 0.1]]), "stds": np.array([[0.05, 0.05]])}
TWO = {"weights": np.array([[0.7, 0.3]]), "means": np.array([[0.5, 1.2]]), "stds": np.array([[0.03, 0.1]])}


def test_a_mixture_of_one_is_a_gaussian():
    z = np.array([0.6, 0.8, 0.85])
    assert mixture.cdf(*ONE.values(), z)[0] == pytest.approx(norm.cdf(z, 0.8, 0.05))
    assert mixture.density(*ONE.values(), [0.85])[0] == pytest.approx(norm.pdf(0.85, 0.8, 0.05))
    assert mixture.cde_terms(*ONE.values(), [0.85])[0] == pytest.approx(1 / (2 * np.sqrt(np.pi) * 0.05)
                                                                          - 2 * norm.pdf(0.85, 0.8, 0.05))


def test_conversions_keep_the_cdf_at_the_edges_and_the_mass_outside():
    for form in (ONE, TWO):
        pz = distribution.probabilities(form, EDGES)
        below = mixture.cdf(*form.values(), EDGES)[0]
        assert np.cumsum(pz[0]) == pytest.approx(below[1:] - below[0])
        wide = {"pz": pz, "edges": EDGES}
        assert distribution.mean(wide)[0] == pytest.approx(distribution.mean(form)[0], abs=1e-4)
        assert mixture.cde_terms(*form.values(), [0.5])[0] == pytest.approx(histogram.cde_terms(pz, EDGES, [0.5])[0], abs=0.15)
        coarse = distribution.probabilities(wide, EDGES[::4])
        assert np.cumsum(coarse[0]) == pytest.approx(np.cumsum(pz[0])[3::4])
    cut = distribution.grid(0.0, 1.0, 0.01)
    assert distribution.outside(TWO, cut)[0] == pytest.approx(0.3 * norm.sf(1.0, 1.2, 0.1), abs=1e-9)
    found = distribution.summaries(TWO, cut)
    assert found["outside"][0] == pytest.approx(distribution.outside(TWO, cut)[0])
    assert found["mean"][0] == pytest.approx(0.7 * 0.5 + 0.3 * 1.2)  # the form's own, not the cut one's
    assert found["mode"][0] == pytest.approx(0.5, abs=0.0051)


def test_an_ensembles_variance_splits_into_what_its_members_agree_on_and_the_rest():
    def one(middle, std):
        return {"weights": np.array([[1.0]]), "means": np.array([[middle]]), "stds": np.array([[std]])}

    parts = [one(0.4, 0.03), one(0.6, 0.05)]
    found = distribution.uncertainty(parts)
    assert found["aleatoric"][0] == pytest.approx(np.sqrt((0.03**2 + 0.05**2) / 2))
    assert found["epistemic"][0] == pytest.approx(0.1)
    whole = distribution.variance(distribution.combined(parts))[0]
    assert found["aleatoric"][0] ** 2 + found["epistemic"][0] ** 2 == pytest.approx(whole)
    pz = distribution.probabilities(distribution.combined(parts), EDGES)
    assert distribution.variance({"pz": pz, "edges": EDGES})[0] == pytest.approx(whole, rel=0.001)
    levels = (np.arange(16) + 0.5) / 16
    assert distribution.variance({"levels": levels, "locs": 0.2 + 0.6 * levels[None]})[0] == pytest.approx(0.6**2 / 12)
    assert np.isnan(distribution.uncertainty(parts[:1])["epistemic"]).all()


def test_quantiles_of_a_flat_density_are_exact_and_compression_keeps_its_bound():
    levels = (np.arange(16) + 0.5) / 16
    flat = {"levels": levels, "locs": 0.2 + 0.6 * levels[None]}
    assert quantiles.cdf(levels, flat["locs"], [0.2, 0.35, 0.8])[0] == pytest.approx([0, 0.25, 1])
    assert quantiles.mean(levels, flat["locs"])[0] == pytest.approx(0.5)
    pz = np.concatenate([distribution.probabilities(form, EDGES) for form in (ONE, TWO, flat)])
    levels, locs, error = distribution.compressed({"pz": pz, "edges": EDGES}, EDGES)
    assert len(levels) == 32 and error[[0, 2]].max() <= 0.005 < error[1] <= 0.03  # one mode, a flat one; two modes with a gap
    assert len(distribution.compressed({"pz": pz[:1], "edges": EDGES}, EDGES)[0]) <= 16
    again = distribution.probabilities({"levels": levels, "locs": locs}, EDGES)
    assert np.abs(np.cumsum(again, axis=1) - np.cumsum(pz, axis=1)).max() == pytest.approx(error.max(), abs=1e-6)


def test_the_mean_of_seeds_is_the_mean_of_their_cdfs():
    both = distribution.combined([ONE, TWO])
    z = np.linspace(0, 2, 21)
    assert mixture.cdf(*both.values(), z) == pytest.approx((mixture.cdf(*ONE.values(), z) + mixture.cdf(*TWO.values(), z)) / 2)
    with pytest.raises(InputError, match="one grid"):
        distribution.combined([ONE, {"pz": np.ones((1, 2)) / 2, "edges": np.arange(3.0)}])


@pytest.mark.parametrize("arrays", [
    {"pz": np.array([[0.5, -0.1]]), "edges": np.arange(3.0)}, {"pz": np.array([[0.9, 0.9]]), "edges": np.arange(3.0)},
    {"pz": np.array([[0.5, 0.5]]), "edges": np.array([0.0, 2.0, 1.0])},
    {"levels": np.array([0.2, 0.8]), "locs": np.array([[1.0, 0.5]])},
    {**ONE, "stds": np.array([[0.0, 1.0]])}])
def test_impossible_pz_is_refused(arrays):
    with pytest.raises(InputError):
        distribution.check(arrays)
    distribution.check(ONE)
    distribution.check({"pz": np.array([[np.nan, np.nan], [0.0, 0.0], [-1e-16, 1.0]]), "edges": np.arange(3.0)})


def test_qp_reads_all_three_forms(tmp_path):
    qp = pytest.importorskip("qp", reason="qp isn't installed: pip install qp-prob reads the p(z) files back")
    levels = (np.arange(32) + 0.5) / 32
    three = {"hist": {"pz": distribution.probabilities(TWO, EDGES), "edges": EDGES}, "mixmod": TWO,
             "quant": {"levels": levels, "locs": np.interp(levels, mixture.cdf(*TWO.values(), EDGES)[0], EDGES)[None]}}
    z = np.array([0.45, 0.5, 0.55, 1.2])
    for name, arrays in three.items():
        rows = exporters.blocks_of({"object_id": np.array([5]), **arrays}, shared=distribution.SHARED)
        exporters.export(exporters.REGISTRY["qp"], tmp_path / f"{name}.hdf5", rows, {})
        found = qp.read(str(tmp_path / f"{name}.hdf5"))
        assert found.npdf == 1 and np.ravel(found.ancil["object_id"]).tolist() == [5]
        assert np.ravel(found.cdf(z)) == pytest.approx(mixture.cdf(*TWO.values(), z)[0], abs=0.02), name


def test_heads_learn_the_distribution_they_are_shown():
    """Without inputs that tell anything, the best p(z) is that of the training redshifts."""
    rng = np.random.default_rng(0)
    z = np.where(rng.random(4000) < 0.7, rng.normal(0.5, 0.03, 4000), rng.normal(1.2, 0.1, 4000))
    z = torch.tensor(z, dtype=torch.float32)
    cases = (("binned", 100, {"edges": np.linspace(0, 1.6, 101)}, 0.02), ("mixture", 4, {}, 0.03), ("quantile", 24, {}, 0.03))
    for kind, size, own, bound in cases:
        head, out = heads.Head(kind, size, 0.0, 1.6), torch.nn.Linear(1, 3 * size if kind == "mixture" else size)
        torch.manual_seed(0)
        torch.nn.init.zeros_(out.weight)
        torch.nn.init.zeros_(out.bias)
        head.start(out)
        optimiser = torch.optim.Adam([out.bias], lr=0.05)
        for _ in range(600):
            loss = head.loss(out(torch.zeros(len(z), 1)), z)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        found = head.pz(out(torch.zeros(1, 1)).detach())
        assert set(own) <= set(found)
        edges = own.get("edges", EDGES)
        pz = head.bins(out(torch.zeros(1, 1)), edges).numpy()
        assert pz == pytest.approx(distribution.probabilities(found, edges), abs=1e-6)
        assert head.mean(out(torch.zeros(1, 1))).item() == pytest.approx(distribution.mean(found)[0], abs=1e-3)
        below = np.cumsum(distribution.probabilities(found, EDGES)[0])
        truth = 0.7 * norm.cdf(EDGES[1:], 0.5, 0.03) + 0.3 * norm.cdf(EDGES[1:], 1.2, 0.1)
        assert np.abs(below - truth).max() < bound, kind
    with pytest.raises(InputError, match="unknown head"):
        heads.Head("softmax", 3, 0, 1)
    outside = heads.Head("binned", 4, 0.0, 1.0).loss(torch.zeros(2, 4), torch.tensor([0.5, 7.0]))
    assert outside.item() == pytest.approx(np.log(4))  # a redshift outside the edges doesn't count


def table_of(n, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.1, 1.0, n)
    columns = {"r_mag": rng.uniform(18, 22, n), "g_mag": np.zeros(n), "i_mag": np.full(n, 20.0)}
    columns["g_mag"] = columns["r_mag"] + 2 * z
    columns |= {f"{b}_magerr": np.full(n, 0.02) for b in "gr"}
    for b in "gr":
        columns[f"{b}_mag"] = columns[f"{b}_mag"] + 0.02 * rng.standard_normal(n)
    return columns, z


def test_tabular_features_keep_missing_apart_and_bear_constants():
    columns, _ = table_of(200)
    columns["g_mag"][:3] = [99.0, -99.0, np.nan]
    names = bands.by_wavelength(["r_mag", "i_mag", "g_mag"])
    errors = bands.errors_of(columns, names)
    assert names == ["g_mag", "r_mag", "i_mag"] and errors == {"g_mag": "g_magerr", "r_mag": "r_magerr"}
    table = tabular.fit(columns, names, errors, [])
    raw = tabular.raw(columns, table)
    assert raw[:3, 6].tolist() == [0, 0, 0] and raw[:3, 9].tolist() == [1, 0, 0]  # detected; observed
    features = tabular.Features(3, 0)
    features.fit(torch.from_numpy(raw))
    x = features(torch.from_numpy(raw))
    assert torch.isfinite(x).all() and x[:, 2].abs().max() == 0  # a constant magnitude tells nothing
    assert x[3:, 0].mean().abs() < 0.05 and x[:3, 0].tolist() == [0, 0, 0]
    again = tabular.Features(3, 0)
    again.load(features.constants())
    assert torch.equal(again(torch.from_numpy(raw)), x)
    noisy = tabular.jitter(torch.from_numpy(raw), 3, 1.0, torch.Generator().manual_seed(0))
    scatter = ((noisy - torch.from_numpy(raw))[:, 0] / torch.from_numpy(raw)[:, 3])[3:]
    assert scatter.std().item() == pytest.approx(1, abs=0.15) and torch.equal(noisy[:, 3:], torch.from_numpy(raw)[:, 3:])


def test_fluxes_enter_as_they_are_negative_ones_too():
    """A flux column and the magnitude of the same light give the same features; a negative one is a number, no state."""
    rng = np.random.default_rng(3)
    flux = {b: rng.uniform(50, 900, 300) for b in "gr"}
    columns = {f"{b}_flux": values for b, values in flux.items()} | {f"{b}_flux_err": np.full(300, 5.0) for b in "gr"}
    columns |= {"g_aper_flux_1": flux["g"] / 2, "g_aper_flux_err_1": np.full(300, 2.0)}
    columns |= {f"{b}_mag": 31.4 - 2.5 * np.log10(values) for b, values in flux.items()}
    columns |= {f"{b}_magerr": tabular.POGSON * 5.0 / values for b, values in flux.items()}
    names = bands.named(columns, ["?_flux", "?_aper_flux_?"])
    assert names == ["g_flux", "r_flux", "g_aper_flux_1"] and bands.named(columns, ["?_mag", "g*"])[:2] == ["g_mag", "r_mag"]
    errors = bands.errors_of(columns, names)
    assert errors == {"g_flux": "g_flux_err", "r_flux": "r_flux_err", "g_aper_flux_1": "g_aper_flux_err_1"}
    mags = ["g_mag", "r_mag"]
    raw = [tabular.raw(columns, tabular.fit(columns, n, bands.errors_of(columns, n), [])) for n in (names[:2], mags)]
    assert raw[0] == pytest.approx(raw[1], rel=1e-5)
    columns["g_flux"][:2] = [-40.0, np.nan]
    now = tabular.raw(columns, tabular.fit(columns, names, errors, []))
    assert now[0, 0] == pytest.approx(-8) and now[:2, 6].tolist() == [1, 0] == now[:2, 9].tolist()
    with pytest.raises(InputError, match="no column is named sep_"):
        bands.named(columns, ["sep_?_flux"])


def test_a_tabular_network_learns_a_colour():
    columns, z = table_of(1500)
    names, errors = ["g_mag", "r_mag"], {"g_mag": "g_magerr", "r_mag": "r_magerr"}
    table = tabular.fit(columns, names, errors, [])
    head = heads.Head("mixture", 3, 0.1, 1.0)
    options = families.options("tabular", {"max_epochs": 30, "width": 32, "depth": 2, "batch_size": 128})
    torch.manual_seed(0)
    card = Card("tabular", options, table=table, head=head.facts())
    model, raw = families.of("tabular").build(card), torch.from_numpy(tabular.raw(columns, table))
    model.features.fit(raw)
    part = [loop.Arrays(None, raw[rows], torch.tensor(z[rows], dtype=torch.float32))
            for rows in (slice(0, 1000), slice(1000, None))]
    loop.run_epochs(model, head.loss, part[0], options, 1, torch.device("cpu"))
    with torch.no_grad():
        found = head.pz(model.eval()(None, part[1].table))
    miss = distribution.mean(found) - z[1000:]
    assert np.std(miss) < 0.03  # the colour's error of 0.028 mag is 0.014 in z
    assert np.mean(np.abs(miss) < 2 * 0.03) > 0.9


def test_an_ensemble_on_stamps_is_the_same_object_by_object_and_refuses_other_shapes():
    rng = np.random.default_rng(0)
    columns = {"g": rng.normal(21, 1, 40), "image": rng.normal(0, 1, (40, 2, 32, 32)).astype(np.float32),
               "ivar": np.ones((40, 2, 32, 32), np.float32)}
    model = ensemble.fit_images(columns, ["g"], "image", "ivar", rng.uniform(0.1, 1, 40), {"max_epochs": 1, "ivar": True}, [1, 2])
    whole = ensemble.predict(pickle.loads(pickle.dumps(model)), columns)
    part = ensemble.predict(model, {name: values[7:9] for name, values in columns.items()})
    assert whole["weights"].shape == (40, 16) and part["means"] == pytest.approx(whole["means"][7:9], abs=1e-5)
    with pytest.raises(InputError, match="trained on 2 bands of 32 px"):
        ensemble.predict(model, columns | {"image": np.zeros((40, 2, 64, 64))})
    with pytest.raises(InputError, match="it must be"):
        ensemble.fit_images(columns | {"image": np.zeros((40, 2, 8, 8))}, ["g"], "image", "ivar", np.ones(40), {}, [1])


def test_support_promises_its_rate_and_sees_a_shift():
    """Trained bright, tested faint; and a pattern of missing bands that training lacks."""
    rng = np.random.default_rng(3)
    draw = lambda n, shift=0.0: support.features(rng.normal(20, 1, (n, 1)) + shift + rng.normal(0, 0.3, (n, 4)))  # noqa: E731
    train, held = draw(1500), draw(999)
    p, seen = support.p_values(train, held, draw(4000))
    assert seen.all() and np.mean(p <= 0.1) == pytest.approx(0.1, abs=0.03) and np.mean(p <= 0.01) < 0.02
    p, _ = support.p_values(train, held, draw(500, 5.0))
    assert np.mean(p <= 0.01) > 0.9
    odd = draw(3)
    odd[:, [0, 4]] = np.nan
    p, seen = support.p_values(train, held, odd)
    assert not seen.any() and p == pytest.approx(1 / 1000)


def test_coordinate_search_finds_the_minimum_and_wants_more_than_noise():
    calls = []

    def score(settings):
        """Least at a = 0, b = 1, but a = 0 pays only where c is 1; b = 2 is better within the scatter of the folds alone."""
        calls.append(tuple(settings.items()))
        loss = settings["a"] ** 2 - settings["c"] + 5 * (settings["a"] == 0 and settings["c"] == 0)
        return [loss - 0.001 * (settings["b"] == 2) * (-1) ** k - 1e-5 * (settings["b"] == 2) for k in range(4)]

    path = ("a", (3, 2, 1, 0))
    best, rows = tuning.search(score, (path, ("c", (0, 1)), path, ("b", (1, 2, 3))))
    assert best == {"a": 0, "b": 1, "c": 1} and len(rows) == len(calls) == len(set(calls)) == 7
    assert [row["chosen"] for row in rows] == [True, True, True, False, True, True, False]  # b = 3 is not reached
    fold = tuning.folds(np.arange(3000), 3)
    assert np.bincount(fold) == pytest.approx([1000] * 3, abs=120) and np.array_equal(fold, tuning.folds(np.arange(3000), 3))


def test_an_ensemble_is_plain_data_and_predicts_what_its_members_do():
    columns, z = table_of(300)
    read = ensemble.Columns(["g_mag", "r_mag"], {"g_mag": "g_magerr", "r_mag": "r_magerr"}, [])
    model = ensemble.fit(columns, read, z, {"max_epochs": 3, "width": 16, "depth": 1}, [1, 2])
    found = ensemble.predict(pickle.loads(pickle.dumps(model)), columns)
    assert found["weights"].shape == (300, 16) and found["weights"].sum(axis=1) == pytest.approx(1)
    alone = [ensemble.predict({**model, "members": [one]}, columns) for one in model["members"]]
    assert distribution.mean(found) == pytest.approx((distribution.mean(alone[0]) + distribution.mean(alone[1])) / 2)
    with pytest.raises(InputError, match="no column `g_mag`"):
        ensemble.predict(model, {})


def test_second_peaks_and_tomographic_bins():
    """70 % at 0.5, 30 % at 1.2: a truth at 1.2 is lost to the mode and found by the second peak."""
    pz = np.repeat(distribution.probabilities(TWO, EDGES), 4, axis=0)
    single = distribution.probabilities(ONE, EDGES)
    assert tomography.second_mode(pz, EDGES)[0] == pytest.approx(1.2, abs=0.006)
    assert np.isnan(tomography.second_mode(single, EDGES)[0])
    assert tomography.recovered(pz, EDGES, [0.5, 1.2, 1.21, 1.9]).tolist() == [1.0, 1.0, 0.0]
    rng = np.random.default_rng(0)
    mean = rng.uniform(0.2, 1.4, 3000)
    pz = np.diff(norm.cdf((EDGES[None] - mean[:, None]) / 0.05), axis=1)
    rows = tomography.stacks(pz, EDGES, mean, mean + 0.01 + 0.05 * rng.standard_normal(3000), 3, 200)
    assert [row[0] for row in rows] == [1, 2, 3] and [row[3] for row in rows] == [1000] * 3
    assert all(row[6] == pytest.approx(-0.01, abs=0.006) and row[7] < row[6] < row[8] for row in rows)


def test_bins_of_any_expression():
    conditions = subsets.binned({"g - r": [0, 1, 2]})
    chosen = {k: subsets.select(k, v, {"g": np.array([1.0, 2.5, 9, np.nan]), "r": np.ones(4)}) for k, v in conditions.items()}
    assert {k: v.tolist() for k, v in chosen.items()} == {"g - r [0, 1)": [True, False, False, False],
                                                         "g - r [1, 2)": [False, True, False, False]}
