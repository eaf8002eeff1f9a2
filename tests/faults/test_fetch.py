"""Every fault of the emulator against the client: what is retried, what is named, what is never lost."""

import numpy as np
import pytest

from skyloom.archives import hsc_das, replies
from skyloom.archives.http import Client
from skyloom.archives.plane import Plane
from skyloom.cutouts import lists, stamps
from skyloom.errors import InputError
from skyloom.sky import catalog
from skyloom.sky.servers import hsc
from skyloom.surveys.imaging import hsc as stamps_of_hsc


@pytest.fixture(scope="module")
def rows(sky):
    table = catalog.forced(sky, sky.footprint)
    good = np.flatnonzero((table["kind"] == 0) & table["isprimary"] & (abs(table["ra"] - 150.15) < 0.1)
                          & (abs(table["dec"] - 2.15) < 0.1))[:4]
    return [row for k in good for row in hsc_das.cutout_rows(table["ra"][k], table["dec"][k], 63, "pdr2_wide", "grizy", 0.168)]


def fetch(sky, rows, tmp_path, faults=(), attempts=3, account=hsc.ACCOUNT, timeout=5, **limits):
    with hsc.server(sky, faults=list(faults), **limits).running() as server:
        client = Client(rpm=60000, timeout=timeout, attempts=attempts, auth=account, wait_initial=0.02)
        with replies.Replies(tmp_path / "r.sqlite", "test") as store:
            dead = lists.fetch(client, hsc.urls(server.url)["cutout_url"], hsc_das.CUTOUT, rows, stamps_of_hsc.check_cutout,
                               store, attempts)
            states = {row: (store.get(row) or ("absent", "", "", None)) for row in rows}
        return states, dead, server.stats()


def fault(kind, **more):
    return {"service": "hsc", "endpoint": "cutout", "kind": kind, **more}


@pytest.mark.parametrize("kind", ["latency", "429", "429_date", "500", "502", "503", "truncated", "html", "empty"])
def test_transient_faults_end_well(sky, rows, tmp_path, kind):
    states, dead, stats = fetch(sky, rows, tmp_path, [fault(kind, times=1, bytes=100_000, seconds=0.1)])
    assert not dead and all(state[0] in (replies.OK, replies.NO_COVERAGE) for state in states.values())
    asked = stats["requests"]["hsc.cutout"]
    # what is left of a truncated list is a new request, truncated once itself, until nothing is left
    assert asked == {"latency": 1}.get(kind, 2) if kind != "truncated" else 2 <= asked <= len(rows) + 1


def test_a_stalled_stream_is_cut_off_and_asked_again_for_the_rest(sky, rows, tmp_path):
    states, dead, _ = fetch(sky, rows, tmp_path, [fault("stall", times=1, seconds=2)], timeout=0.5)
    assert not dead and all(state[0] != "absent" for state in states.values())


@pytest.mark.parametrize("kind", ["503", "html", "empty"])
def test_a_dead_service_is_left_after_bounded_attempts(sky, rows, tmp_path, kind):
    states, dead, stats = fetch(sky, rows, tmp_path, [fault(kind)])
    assert set(dead) == set(rows) and all(dead.values())
    assert all(state[0] == "absent" for state in states.values())  # nothing stored: a rerun asks again
    assert stats["requests"]["hsc.cutout"] <= 9


@pytest.mark.parametrize(("kind", "cause"), [("corrupt_fits", "not_fits"), ("wrong_scale", "wrong_scale"),
                                             ("all_nan", "all_nan")])
def test_a_bad_member_is_retried_then_named_and_the_others_go_on(sky, rows, tmp_path, kind, cause):
    states, dead, _ = fetch(sky, rows, tmp_path, [fault(kind, objects=1.0, band="i")])
    assert not dead
    for row, (state, why, _, _) in states.items():
        if "HSC-I" in row:
            assert state == replies.BAD and why.startswith(cause)
        else:
            assert state in (replies.OK, replies.NO_COVERAGE)
    once, _, _ = fetch(sky, rows, tmp_path / "once", [fault(kind, objects=1.0, band="i", times=1)])
    assert all(state[0] != replies.BAD for state in once.values())


def test_a_revoked_credential_is_one_sentence(sky, rows, tmp_path):
    with pytest.raises(InputError, match="SKYLOOM_HSC_USER"):
        fetch(sky, rows, tmp_path, [fault("revoked")])
    with pytest.raises(InputError, match="SKYLOOM_HSC_USER"):
        fetch(sky, rows, tmp_path / "b", account=("x", "y"))


def test_what_is_there_is_not_asked_for_again(sky, rows, tmp_path):
    fetch(sky, rows[:10], tmp_path)
    states, _, stats = fetch(sky, rows, tmp_path)
    assert stats["rows"]["cutout"] == len(rows) - 10 and all(s[0] != "absent" for s in states.values())
    _, _, stats = fetch(sky, rows, tmp_path)
    assert "hsc.cutout" not in stats["requests"]


def test_a_foreign_or_broken_cache_is_refused(tmp_path):
    with replies.Replies(tmp_path / "r.sqlite", "embedded 1"):
        pass
    with pytest.raises(InputError, match="embedded 1.*cache --prune"), replies.Replies(tmp_path / "r.sqlite", "live pdr2"):
        pass
    (tmp_path / "x.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(InputError, match="delete it and rerun"), replies.Replies(tmp_path / "x.sqlite", "a"):
        pass


def plane(shape=(70, 70), **changes):
    base = {"image": np.random.default_rng(0).normal(0, 1, shape).astype(np.float32), "mask": np.zeros(shape, np.int32),
            "bad": np.zeros(shape, bool), "variance": np.ones(shape, np.float32), "zero_point": 27.0, "crval": (150.0, 2.0),
            "crpix": (35.5, 35.5), "cd": np.array([[-0.168, 0], [0, 0.168]]) / 3600}
    return Plane(**(base | changes))


def test_states_of_a_stamp():
    assert stamps.cut_stamp(plane(), 150.0, 2.0, 63, 0.05).status == "ok"
    assert stamps.cut_stamp(plane((50, 50), crpix=(25.5, 25.5)), 150.0, 2.0, 63, 0.05).status == "too_small"
    padded = stamps.cut_stamp(plane((50, 50), crpix=(25.5, 25.5)), 150.0, 2.0, 63, 0.5, pad=True)
    assert padded.status == "ok" and (padded.ivar[:5] == 0).all() and (padded.mask[:5] & stamps.UNUSABLE).all()
    bad = np.zeros((70, 70), bool)
    bad[25:45, 25:45] = True
    masked = stamps.cut_stamp(plane(bad=bad), 150.0, 2.0, 63, 0.05)
    assert masked.status == "masked" and masked.cause and (masked.ivar[30, 30] == 0)
    assert stamps.cut_stamp(plane(), 151.0, 2.0, 63, 0.05).status == "failed"
    none = stamps_of_hsc.stamp_of_reply((replies.NO_COVERAGE, "", "", None), 150.0, 2.0, 63, 0.05, False)
    assert none.status == "no_coverage" and not none.ivar.any()


def test_counts_become_njy_by_the_headers_own_zero_point():
    for zero_point in (27.0, 25.0):
        stamp = stamps.cut_stamp(plane(image=np.full((70, 70), 2.0, np.float32), zero_point=zero_point), 150.0, 2.0, 63, 0.05)
        assert stamp.image[31, 31] == pytest.approx(2 * 10 ** (0.4 * (31.4 - zero_point)), rel=1e-6)
        assert stamp.zero_point == zero_point
