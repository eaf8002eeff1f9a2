"""Regions: every way to write one, across RA 0, at the poles, and what is made of them."""

import sqlite3

import numpy as np
import pytest

from skyloom.errors import InputError
from skyloom.sample import cuts, regions, shards

GOOD = [[150.0, 151.1, 1.9, 2.9], [350, 10, -5, 5], [-10, 10, -5, 5], [350, 370, -5, 5], [-370 + 20, -340, 0, 1], [0, 360, -2, 2],
        [-180, 180, 60, 90], [170, -170, -90, -80], [359.99, 0.01, -0.01, 0.01], [20, 40, 80, 90], [150.0, 2.0, 0.5],
        {"ra": 0.1, "dec": -40, "radius": 2}, {"ra": -0.1, "dec": 89.5, "radius": 1}, [10, -90, 3], [0.0, 0.0, 100]]


def sphere(n=200_000, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def inside(value, n, seed=1):
    """Random positions of a region."""
    region, rng = regions.of(value), np.random.default_rng(seed)
    ra, dec = region.west + region.width * rng.random(n), rng.uniform(region.dec_min, region.dec_max, n)
    keep = region.contains(ra, dec)
    return ra[keep] % 360, dec[keep]


def by_hand(value, ra, dec):
    """The same from the definitions."""
    if len(value) == 4:
        low, high = value[:2] if value[1] > value[0] else (value[0], value[1] + 360)
        around = [(ra + turn >= low) & (ra + turn <= high) for turn in (-720, -360, 0, 360, 720)]
        return np.any(around, axis=0) & (dec >= value[2]) & (dec <= value[3])
    a, d, r = (value[k] for k in ("ra", "dec", "radius")) if isinstance(value, dict) else value
    return cuts.unit_vectors(ra, dec) @ cuts.unit_vectors([a], [d])[0] >= np.cos(np.radians(r))


@pytest.mark.parametrize("value", GOOD, ids=str)
def test_a_region_holds_what_its_definition_says(value):
    region, (ra, dec) = regions.of(value), sphere()
    ra, dec = np.append(ra, inside(value, 300)[0]), np.append(dec, inside(value, 300)[1])
    wanted = by_hand(value, ra, dec)
    assert wanted.any() and (region.contains(ra, dec) == wanted).all()
    assert (region.contains(ra - 360, dec) == wanted).all() and (region.contains(ra + 360, dec) == wanted).all()
    share = wanted[:200_000].mean() * 41252.96
    assert region.area_deg2() == pytest.approx(share, abs=5 * np.sqrt(share * 41252.96 / 200_000) + 0.3)


@pytest.mark.parametrize("value", GOOD, ids=str)
def test_its_boxes_and_conditions_leave_nothing_of_it_out(value):
    region, (ra, dec) = regions.of(value), inside(value, 500)
    boxes = region.boxes()
    assert 1 <= len(boxes) <= 2 and all(0 <= low < high <= 360 for low, high, _, _ in boxes)
    held = np.any([(ra >= low) & (ra <= high) & (dec >= south) & (dec <= north) for low, high, south, north in boxes], axis=0)
    assert len(ra) > 50 and held.all()
    base = sqlite3.connect(":memory:")
    base.execute("CREATE TABLE t (ra, dec)")
    far = sphere(2000)
    base.executemany("INSERT INTO t VALUES (?, ?)", zip([*ra.tolist(), *far[0].tolist()], [*dec.tolist(), *far[1].tolist()],
                                                        strict=True))
    found = np.array(base.execute(f"SELECT ra, dec FROM t WHERE 1 AND {region.between('ra', 'dec')} AND 1").fetchall())
    base.close()
    assert len(found) >= len(ra)
    if region.radius is None:
        assert region.contains(*found.T).all()


SMALL = [v for v in GOOD if regions.of(v).area_deg2() < 2000] + [[10.0, 5.0, 0.004], [9, 9.01, 0, 0.01]]


@pytest.mark.parametrize("value", SMALL, ids=str)
def test_its_plan_holds_every_position(value):
    names = shards.plan_region(value, 1300, 2000, 3)
    ra, dec = inside(value, 2000)
    home = shards.assign(names, np.arange(len(ra)), ra, dec)
    assert len(names) >= min(3, 1300 * regions.of(value).area_deg2()) and (home != "").all()


def test_the_archives_functions_are_asked_once_or_twice():
    assert regions.of([150.0, 151.1, 1.9, 2.9]).search() == "boxSearch(coord, 150.0, 151.1, 1.9, 2.9)"
    assert regions.of([359, 1, -1, 1]).search() == ("(boxSearch(coord, 359.0, 360.0, -1.0, 1.0) OR "
                                                    "boxSearch(coord, 0.0, 1.0, -1.0, 1.0))")
    assert regions.of([0, 360, -1, 1]).search() == "boxSearch(coord, 0.0, 360.0, -1.0, 1.0)"
    assert regions.of([-1, 2, 0.5]).search() == "coneSearch(coord, 359.0, 2.0, 1800.0)"


def test_poles_edges_and_positions_that_are_none():
    cap = regions.of([20, 40, 80, 90])
    assert cap.contains([30, 200, 30], [90, 90, 79]).tolist() == [True, True, False]  # a pole has no RA
    assert not cap.contains([np.nan, 30, np.inf], [85, np.nan, 85]).any()
    for value in ([-0.1, 0.1, -1, 1], [359.9, 0.1, -1, 1], [359.9, 360.1, -1, 1]):
        assert regions.of(value).contains([359.9, 0.1, 0, 360], [-1, 1, 0, 0]).all()


@pytest.mark.parametrize("value", [
    [1, 2, 3, 2], [1, 2, 300], [1, 1, 2, 3], [1, 2, -91, 3], [1, 2, 3, 95], [1, float("nan"), 2, 3], [1500, 1510, 2, 3], [1, 2],
    [1, 2, 0], {"ra": 1, "dec": 2}, {"ra": 1, "dec": 2, "radius": -1}, {"ra": 1, "dec": 2, "r": 1}, ["a", 2, 3, 4],
    [True, 2, 3, 4], [10, 95, 1]], ids=str)
def test_what_is_no_region_is_one_sentence(value):
    with pytest.raises(InputError, match="`query.region`") as error:
        regions.of(value)
    assert "\n" not in str(error.value)


def test_a_box_written_backwards_is_asked_about():
    with pytest.raises(InputError, match=r"359\.5 deg eastward .* write \[150, 150\.5, \.\.\.\], or \[150\.5, 510, \.\.\.\]"):
        regions.of([150.5, 150.0, 1, 2])
    assert regions.of([150.5, 510, 1, 2]).width == pytest.approx(359.5)
