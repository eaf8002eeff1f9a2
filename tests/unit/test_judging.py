"""Judging of detectors and of p(z) on scenes: closed forms of every number, injected faults, empty tables."""

import numpy as np
import pytest

from skyloom.measure import bars, judging, overlap
from skyloom.pz import distribution, scenes
from skyloom.pz.tiles import Estimate, Tiles, difference, limits, nmad

BANDS, GOLD = ["g", "i"], {"band": "i", "mag": 25.3}
NJY = 10 ** (0.4 * (31.4 - 24.2))


def truth(n=40, apart=20.0, tiles=4):
    """Isolated galaxies on a line, every fourth a star, of i = 24.2 and S/N 20."""
    ones = np.ones(n)
    return {"label_id": np.arange(n), "tile_id": np.arange(n) % tiles, "ra": 10 + np.arange(n) * apart / 3600, "dec": 0 * ones,
            "is_star": (np.arange(n) % 4 == 0).astype(int), "redshift": ones, "half_light_radius": 0.3 * ones,
            "blendedness": 0 * ones, "g_flux": NJY * ones, "i_flux": NJY * ones, "g_snr": 5 * ones, "i_snr": 20 * ones}


def found(of, **more):
    """A detector that is never wrong."""
    names = ("tile_id", "ra", "dec", "g_flux", "i_flux", "half_light_radius")
    return {name: of[name].copy() for name in names} | {"g_flux_err": of["g_flux"] / 10, "i_flux_err": of["i_flux"] / 10,
        "snr": of["i_snr"], "score": np.full(len(of["ra"]), 0.9), "p_star": of["is_star"].astype(float)} | more


def judged(of, seen, **more):
    known = judging.known(of, BANDS, GOLD, 5.0)
    sample = judging.matched(known, seen, "i", **more)
    return judging.judged(sample, Tiles(np.concatenate([of["tile_id"], seen["tile_id"]]), 60), BANDS, sample.groups.partner >= 0)


def value(numbers, metric, subset="gold", where=judging.ALL, band=""):
    return numbers[subset, *where, metric, band].value


def joined(seen, rows, **changed):
    """The detections with copies of some rows behind them."""
    extra = {name: np.asarray(values)[rows] for name, values in seen.items()} | changed
    return {name: np.concatenate([seen[name], extra[name]]) for name in seen}


def test_a_perfect_detector_has_perfect_numbers():
    of = truth()
    numbers = judged(of, found(of))
    for metric in ("completeness", "star_completeness", "star_purity", "galaxy_completeness", "galaxy_purity"):
        assert value(numbers, metric) == 1
    assert value(numbers, "purity", "detections") == 1
    assert {value(numbers, f"{rate}_rate", "findable") for rate in ("shred", "false", "missed", "unrecognised_blend")} == {0}
    assert value(numbers, "flux_nmad", band="i") == value(numbers, "flux_bias", band="i") == 0
    assert value(numbers, "completeness", where=("mag", 24.0, 25.0)) == 1
    assert ("gold", "mag", 22.0, 23.0, "completeness", "") not in numbers


def test_a_shred_a_blend_and_a_false_source_move_their_own_numbers():
    of = truth()
    seen = found(of)
    shredded = judged(of, joined(seen, [3], ra=seen["ra"][[3]] + 0.8 / 3600))
    assert value(shredded, "shred_rate", "findable") == 1 / 40 and value(shredded, "false_rate", "findable") == 0
    assert value(shredded, "purity", "detections") == 40 / 41 and value(shredded, "completeness") == 1
    wrong = judged(of, joined(seen, [3, 4], dec=np.full(2, 0.01)))  # 36" away, on one another
    assert value(wrong, "false_rate", "findable") == 2 / 40 and value(wrong, "shred_rate", "findable") == 0
    close = {name: values.copy() for name, values in of.items()}
    close["ra"][5] = close["ra"][4] + 0.9 / 3600
    blended = judged(close, {name: np.delete(values, 5) for name, values in found(close).items()})
    assert value(blended, "unrecognised_blend_rate", "findable") == 1 / 40 and value(blended, "missed_rate", "findable") == 0
    assert value(blended, "completeness", where=("within_arcsec", 0.0, 2.0)) == 0.5
    lost = judged(of, {name: np.delete(values, 5) for name, values in seen.items()})
    assert value(lost, "missed_rate", "findable") == 1 / 40 and value(lost, "completeness") == 39 / 40


def test_a_shuffled_truth_ruins_the_score():
    of = truth()
    of["i_flux"] *= np.exp(np.linspace(-2, 1, 40))
    seen = found(of)
    moved = {**of, "dec": of["dec"] + np.random.default_rng(1).uniform(-0.01, 0.01, 40)}
    assert value(judged(moved, seen), "completeness") < 0.1
    mixed = np.random.default_rng(2).permutation(40)
    shuffled = judged(of, seen | {name: seen[name][mixed] for name in ("i_flux", "p_star")})
    assert value(shuffled, "flux_nmad", band="i") > 0.3 and value(shuffled, "star_purity") < 0.7


def test_faint_sources_explain_no_detection_and_are_not_asked_for():
    of = truth()
    of["i_snr"][:10], of["g_snr"][:10] = 2.0, 0.1  # not real
    of["i_snr"][10:20], of["g_snr"][10:20] = 4.0, 0.1  # real, not findable
    numbers = judged(of, found(of))
    assert value(numbers, "purity", "detections") == 30 / 40 and value(numbers, "purity_findable", "detections") == 20 / 40
    assert numbers["findable", *judging.ALL, "completeness", ""].n == 20


def test_flux_scatter_bias_and_colour_are_those_that_were_put_in():
    of, rng = truth(4000, tiles=8), np.random.default_rng(3)
    seen = found(of)
    seen["i_flux"] = of["i_flux"] * (1.05 + 0.1 * rng.standard_normal(4000))
    numbers = judged(of, seen)
    assert abs(value(numbers, "flux_nmad", band="i") - 0.1) < 0.006 and abs(value(numbers, "flux_bias", band="i") - 0.05) < 0.006
    assert abs(value(numbers, "flux_pull_nmad", band="i") - 1) < 0.06
    assert abs(value(numbers, "colour_nmad", band="g-i") - 0.1 * 1.0857 / 1.05) < 0.008
    low, high = numbers["gold", *judging.ALL, "flux_nmad", "i"].limits()
    assert low < 0.1 < high and high - low < 0.02


def test_the_threshold_is_the_lowest_score_that_stays_pure():
    score, true = np.array([0.9, 0.8, 0.7, 0.7, 0.6, 0.5]), np.array([1, 1, 1, 0, 1, 0])
    assert judging.threshold(score, true, 0.8) == 0.6  # 4 of 5; at .7, which two share, 3 of 4
    assert judging.threshold(score, true, 0.96) == 0.8
    assert judging.threshold(score, np.zeros(6), 0.5) == np.inf
    assert judging.threshold(score, np.ones(6)) == 0 == judging.threshold(np.zeros(0), np.zeros(0))


def test_tuning_takes_the_most_complete_setting_that_can_be_pure():
    of = truth()
    seen, known = found(of), judging.known(of, BANDS, GOLD, 5.0)
    few = {name: values[:30] for name, values in seen.items()}
    dirty = joined(seen, np.arange(40), dec=np.full(40, 0.01), score=np.full(40, 0.95))  # complete, never pure
    best, rows = judging.tuned(known, [{"k": 0}, {"k": 1}, {"k": 2}], [few, seen, dirty], "i")
    assert best == 1 and [row["completeness"] for row in rows] == [0.75, 1.0, 0.0] and rows[0]["purity"] == 1


def test_no_detections_and_no_truth_are_outcomes():
    of = truth()
    nothing = {name: values[:0] for name, values in found(of).items()}
    numbers = judged(of, nothing)
    assert value(numbers, "completeness") == 0 and value(numbers, "missed_rate", "findable") == 1
    assert not any(key[0] == "detections" or "flux" in key[4] for key in numbers)
    empty = judged({name: values[:0] for name, values in of.items()}, found(of))
    assert value(empty, "purity", "detections") == 0 and not any(key[0] in ("gold", "findable") for key in empty)


def test_intervals_draw_whole_tiles():
    """All hits in one of four tiles: the share varies as the number of times that the tile is drawn, whatever a tile holds."""
    for each in (10, 1000):
        tile = np.repeat(np.arange(4), each)
        share = Tiles(tile, 4000, 1).share(tile == 0, tile)
        assert share.value == 0.25 and abs(share.draws.std() - np.sqrt(4 * 0.25 * 0.75) / 4) < 0.01
        mean = Tiles(tile, 4000, 1).mean((tile == 0).astype(float), tile)
        assert np.allclose(mean.draws, share.draws)
        again = Tiles(tile, 200, 1)
        assert np.allclose(again.statistic(np.mean, [(tile == 0).astype(float)], tile).draws,
                           again.share(tile == 0, tile).draws)


def test_pairs_share_their_tiles():
    rng = np.random.default_rng(4)
    tile = np.repeat(np.arange(30), 20)
    hard = rng.random(30)[tile]
    a, b = rng.random(600) < hard, rng.random(600) < hard
    tiles = Tiles(tile, 500, 2)
    one, two = tiles.share(a, tile), tiles.share(b, tile)
    apart = limits(one.draws - two.draws[::-1])
    diff, low, high, ratio, *_ = difference(one, two)
    assert diff == one.value - two.value and ratio == one.value / two.value and high - low < 0.6 * (apart[1] - apart[0])
    assert np.isnan(difference(one, Estimate(0.0, np.zeros(500), 600))[3])


def test_masks_by_a_closed_form():
    left, right = np.zeros((4, 8), np.float32), np.zeros((4, 8), np.float32)
    left[:, :5], right[:, 3:] = 3.0, 5.0  # right is brighter where both are
    owner = overlap.owners([(0, 0, left), (0, 0, right)], (4, 8), 1.0)
    assert (owner[:, :3] == 0).all() and (owner[:, 3:] == 1).all()
    assert (overlap.owners([(-2, -1, left)], (4, 8), 1.0) == 0).sum() == 3 * 3  # a stamp that hangs out of the tile
    boxes = [(0, 0, np.ones((4, 5), bool)), (3, 0, np.ones((4, 5), bool))]
    assert overlap.iou(owner, [0, 1], boxes) == pytest.approx([12 / 20, 1.0])
    assert overlap.iou(owner, [1, 0], [None, boxes[1]]) == pytest.approx([0.0, 0.0])
    assert np.isnan(overlap.iou(overlap.owners([(0, 0, left)], (4, 8), 9.0), [0], boxes[:1])).all()


def stored(z, sigma, second=None, weight=0.0):
    """Mixtures of two Gaussians."""
    second = z if second is None else second
    arrays = {"weights": np.stack([np.full(len(z), 1 - weight), np.full(len(z), weight)], 1), "means": np.stack([z, second], 1),
              "stds": np.full((len(z), 2), sigma)}
    return distribution.Stored(len(z), "mixture", {}, lambda rows: {name: values[rows] for name, values in arrays.items()})


def columns(z, rng):
    return {"redshift": z, "mag": rng.uniform(20, 25.3, len(z)), "blendedness": rng.uniform(0, 1, len(z)),
            "neighbour_arcsec": rng.uniform(0, 5, len(z)), "psf_fwhm": rng.uniform(0.5, 0.7, len(z))}


def test_redshifts_that_are_right_win_against_wrong_ones():
    rng = np.random.default_rng(5)
    z, tile, edges = rng.uniform(0.3, 2, 600), np.arange(600) % 20, distribution.grid(0, 3, 0.02)
    tiles, parts = Tiles(tile, 20), scenes.subsets(columns(z, rng))
    noise = rng.standard_normal(600)
    good, bad = (scenes.judged(scenes.said(stored(z + s * noise, s), np.arange(600), z, edges), z, parts, tile, tiles)
                 for s in (0.02, 0.2))
    key = (*judging.ALL, "nmad", "1.4826mad(1+z)|mode")
    e = 0.02 * noise / (1 + z)
    assert abs(good[key].value - nmad(e)) < 0.003 and good[key].n == 600
    assert good[*judging.ALL, "pit_ks", "D"].value < 1.36 / np.sqrt(600) * 1.3
    assert {where[0] for where in parts} == {"", "mag", "within_arcsec", "redshift", "blendedness", "psf_fwhm"}
    rows = scenes.compared(good, bad)
    assert len(rows) == len(good)
    met = {row[0]: row[6] for row in bars.of_redshifts("good", rows, good)}
    assert met["good: NLL minus the classical chain's"] and met["good: CDE loss of i < 23 minus the classical chain's"]
    back = {row[0]: row[6] for row in bars.of_redshifts("bad", scenes.compared(bad, good), bad)}
    assert not any(ok for name, ok in back.items() if "minus" in name and " of " not in name and "with" not in name)
    mixed = scenes.judged(scenes.said(stored(rng.permutation(z), 0.02), np.arange(600), z, edges), z, parts, tile, tiles)
    assert mixed[key].value > 10 * good[key].value


def test_second_peaks_that_hold_the_truth_are_counted():
    z, edges = np.full(100, 1.0), distribution.grid(0, 4, 0.01)
    first = np.where(np.arange(100) < 12, 2.0, 1.0)  # 12 outliers, of which a third has the truth in the second peak
    second = np.where(np.arange(100) < 4, 1.0, 3.0)
    one = scenes.said(stored(first, 0.02, second, 0.35), np.arange(100), z, edges)
    rows = scenes.recovery(one, z, np.arange(100) % 5, Tiles(np.arange(5), 50))
    assert rows[0][2] == pytest.approx(1 / 3) and rows[0][-1] == 12
    assert [row[:2] for row in rows[1:]] == [(0.3, 0.4)] and rows[1][2] == pytest.approx(1 / 3)
    right = scenes.said(stored(z, 0.02), np.arange(100), z, edges)
    assert scenes.recovery(right, z, np.arange(100), Tiles(np.arange(100), 9)) == []


def test_bars_tell_met_from_missed():
    of = truth(400, tiles=10)
    seen = found(of, i_flux=of["i_flux"] * (1 + 0.05 * np.random.default_rng(6).standard_normal(400)))
    worse = {name: values[40:] for name, values in joined(seen, [50, 60], ra=seen["ra"][[50, 60]] + 0.8 / 3600).items()}
    ours, theirs = judged(of, seen), judged(of, worse)
    met = {row[0]: row[6] for row in bars.of_detection(ours, theirs)}
    assert met["gold completeness"] and met["shreds per source over the classical chain's"] and met["star purity"]
    back = {row[0]: (row[1], row[6]) for row in bars.of_detection(theirs, ours)}
    assert back["gold completeness"] == (0.9, False)
    assert not back["shreds per source minus the classical chain's (which has none)"][1]
    worst = next(name for name in back if name.startswith("completeness minus"))
    assert "24 to 25" in worst and back[worst][0] == pytest.approx(-0.1) and not back[worst][1]
