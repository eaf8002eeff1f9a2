"""Matches and groups of sources and detections: closed cases, injected faults."""

import numpy as np
import pytest

from skyloom.measure import matching

NOTHING = np.zeros((0, 2))


def kinds(groups):
    return sorted(matching.CLASSES[k] for k in groups.kind)


def test_the_closest_pair_is_matched_first_and_nothing_twice():
    a, b = np.array([[0.0, 0], [0.6, 0], [9, 9]]), np.array([[0.5, 0.0], [1.4, 0]])
    assert matching.nearest(a, b).tolist() == [-1, 0, -1]  # 0.1 goes before 0.5 and 0.8: what is left of a lies 1.4 away
    assert matching.nearest(a, b, 1.5).tolist() == [1, 0, -1]


@pytest.mark.parametrize("sources, detections, kind, states, told", [
    ([[0, 0]], [[0.3, 0]], "resolved", [0], [0]),
    ([[0, 0], [0.9, 0]], [[0.1, 0], [0.8, 0]], "resolved", [0, 0], [0, 0]),
    ([[0, 0], [0.9, 0]], [[0.3, 0]], "unrecognised_blend", [0, 1], [0]),
    ([[0, 0], [0.9, 0], [1.8, 0]], [[0, 0], [1.7, 0]], "partly_resolved", [0, 1, 0], [0, 0]),
    ([[0, 0]], [[0.1, 0], [0.8, 0]], "shred", [0], [0, 1]),
    ([[0, 0]], [], "missed", [2], []),
    ([], [[0, 0]], "false", [], [2]),
])
def test_a_group_of_each_class(sources, detections, kind, states, told):
    groups = matching.friends(np.array(sources or NOTHING, float), np.array(detections or NOTHING, float))
    assert kinds(groups) == [kind] and groups.source.tolist() == states and groups.detection.tolist() == told


def test_pieces_of_a_large_galaxy_are_shreds_within_its_reach_and_false_beyond():
    sources, detections = np.array([[0.0, 0.0]]), np.array([[0.0, 0.0], [3.0, 0.0]])
    assert matching.friends(sources, detections).detection.tolist() == [0, 2]
    assert matching.friends(sources, detections, reach=np.array([3.1])).detection.tolist() == [0, 1]
    assert matching.friends(sources, detections, reach=np.array([np.nan])).detection.tolist() == [0, 2]


def test_every_source_and_detection_has_one_state_and_order_does_not_matter():
    rng = np.random.default_rng(3)
    sources, detections = rng.uniform(0, 40, (300, 2)), rng.uniform(0, 40, (280, 2))
    groups = matching.friends(sources, detections)
    found = (groups.partner >= 0).sum()
    assert found == (groups.match >= 0).sum() == (groups.source == 0).sum() == (groups.detection == 0).sum() > 100
    assert (groups.match[groups.partner[groups.partner >= 0]] == np.flatnonzero(groups.partner >= 0)).all()
    turned = matching.friends(sources[::-1], detections[::-1])
    assert kinds(turned) == kinds(groups) and (turned.source[::-1] == groups.source).all()


def test_nothing_at_all_is_no_error():
    groups = matching.friends(NOTHING, NOTHING)
    assert len(groups.kind) == len(groups.source) == len(groups.detection) == 0
    assert len(matching.neighbour(NOTHING)) == 0 and matching.neighbour(np.zeros((1, 2))).tolist() == [np.inf]


def test_chords_are_separations_at_any_declination():
    for dec in (-60.0, 0.0, 89.0):
        places = matching.on_sphere([10, 10 + 1 / 3600 / np.cos(np.radians(dec)), 10], [dec, dec, dec + 2 / 3600])
        assert np.allclose(np.linalg.norm(places[1:] - places[0], axis=1), [1, 2], rtol=1e-4)
        assert np.allclose(matching.neighbour(places), [1, 1, 2], rtol=1e-4)
