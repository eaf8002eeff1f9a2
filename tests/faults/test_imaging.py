"""The three imaging clients against their emulators: what is right, what goes wrong, and five published bugs."""

import numpy as np
import pytest

from skyloom.archives import panstarrs as ps1
from skyloom.archives import replies, viewer
from skyloom.archives.http import Client
from skyloom.cutouts import singles
from skyloom.cutouts.stamps import UNUSABLE
from skyloom.errors import InputError, ReplyError
from skyloom.progress import Progress
from skyloom.sky import coadds, population, render
from skyloom.sky import panstarrs as stacks
from skyloom.sky.servers import world
from skyloom.surveys import imaging

SETTINGS = {"psf_size": 21, "max_masked_fraction": 0.05, "max_nan_fraction": 0.01, "ivar_source": "estimated"}
OPTIONS = {"attempts": 3, "streams": 3}
SURVEYS = {"ps1": 60, "galex": 16, "unwise": 16}  # stamps of that many px
GALEX, UNWISE = (imaging.REGISTRY[name].client.of(imaging.REGISTRY[name]) for name in ("galex", "unwise"))


@pytest.fixture(scope="module")
def galaxies(sky):
    """Positions of six bright galaxies."""
    field = population.in_region(sky.seed, (150.05, 150.2, 2.05, 2.2), (population.GALAXY_TIERS[0],))
    order = np.argsort(field["i"])[:6]
    return {name: field[name][order] for name in ("ra", "dec", "id", "i")}


def download(sky, galaxies, tmp_path, name, faults=(), n=3, settings=(), timeout=20, **limits):
    """(stamps of every member, server statistics, dead) of one survey."""
    asked = {**SETTINGS, "size": SURVEYS[name], **dict(settings)}
    survey = imaging.REGISTRY[name].cutouts(asked, galaxies["ra"][:n], galaxies["dec"][:n])
    with world.server(sky, faults=list(faults), **limits).running() as server:
        client = Client(rpm=60000, streams=OPTIONS["streams"], attempts=OPTIONS["attempts"], wait_initial=0.02, timeout=timeout)
        with replies.Replies(tmp_path / f"{name}.sqlite", "test") as cache:
            dead = survey.fetch(client, world.urls(server.url)[survey.service], OPTIONS, cache, Progress(total=9, label="t"))
            return [survey.stamps(k, cache, dead)[0] for k in range(n)], server.stats(), dead


@pytest.mark.parametrize("name", sorted(SURVEYS))
def test_every_survey_serves_the_same_galaxy_in_njy(sky, galaxies, tmp_path, name):
    found, _, dead = download(sky, galaxies, tmp_path, name)
    assert not dead
    radius = {"ps1": 20, "galex": 7, "unwise": 7}[name]
    for k, stamps in enumerate(found):
        truth = light(sky, galaxies["ra"][k], galaxies["dec"][k], name, radius)
        for b, stamp in enumerate(stamps):
            if stamp.status != "ok":
                assert stamp.status in ("no_coverage", "masked") and stamp.cause is not None
                continue
            assert np.hypot(*stamp.offset) < 0.9 and stamp.ivar.max() > 0
            y, x = np.mgrid[:len(stamp.image), :len(stamp.image)] - (len(stamp.image) - 1) / 2
            inside = np.hypot(x, y) < radius
            error = np.sqrt(np.sum(1 / stamp.ivar[inside & (stamp.ivar > 0)]))
            assert abs(stamp.image[inside].sum() - truth[b]) < 3 * error + 0.02 * truth[b]  # the viewer interpolates


def light(sky, ra, dec, name, radius):
    """nJy (band,) within `radius` px of a position: what the sky's sources shine there behind the survey's PSF, drawn on a
    plane and grid of our own."""
    if name == "ps1":
        scale, fwhms, depth = stacks.SCALE, stacks.SEEING.values(), stacks.DEPTH.values()
    else:
        layer = {"galex": coadds.GALEX, "unwise": coadds.UNWISE}[name]
        scale, fwhms, depth = layer.scale, layer.fwhm, layer.depth
    sigma = np.array([10 ** (-0.4 * (d - 31.4)) / 50 for d in depth], np.float32)  # deep, so that little is cut off
    half = radius + 10
    drawn = render.render(sky.seed, (ra, dec), -half, -half, 2 * half + 1, 2 * half + 1, sigma, [f / scale for f in fwhms], scale,
                          name, sky.reddening)
    y, x = np.mgrid[-half:half + 1, -half:half + 1]
    return drawn[:, np.hypot(x, y) < radius].sum(axis=1)


@pytest.mark.parametrize("kind", ["429", "429_date", "500", "503", "truncated", "html", "stall"])
@pytest.mark.parametrize("name", sorted(SURVEYS))
def test_transient_faults_change_nothing(sky, galaxies, tmp_path, name, kind):
    calm, _, _ = download(sky, galaxies, tmp_path / "calm", name, n=1)
    fault = {"service": "ps1" if name == "ps1" else "viewer", "kind": kind, "every": 1, "times": 1, "bytes": 3000, "seconds": 1.5}
    rough, stats, dead = download(sky, galaxies, tmp_path, name, [fault], n=1, timeout=1 if kind == "stall" else 20)
    assert not dead and sum(stats["requests"].values()) > 1
    for a, b in zip(calm[0], rough[0], strict=True):
        assert a.status == b.status and np.array_equal(a.image, b.image)


CAUSES = {"corrupt_fits": "not_fits", "wrong_scale": "wrong_scale", "off_centre": "off_centre", "unknown_unit": "unknown_unit"}


@pytest.mark.parametrize("kind", sorted(CAUSES))
@pytest.mark.parametrize("name", sorted(SURVEYS))
def test_a_reply_that_is_not_what_was_asked_for_is_named(sky, galaxies, tmp_path, name, kind):
    endpoint = "fitscut" if name == "ps1" else "cutout"
    found, stats, dead = download(sky, galaxies, tmp_path, name, [
        {"service": name, "endpoint": endpoint, "kind": kind, "objects": 1.0}], n=1)
    assert not dead
    looked = [stamp for stamp in found[0] if stamp.cause != "no stack"]
    assert looked and all(s.status == "failed" and s.cause.startswith(CAUSES[kind]) for s in looked)
    assert all((s.mask & UNUSABLE).all() and not s.ivar.any() for s in looked)
    rows = stats["rows"]["fitscut" if name == "ps1" else name]
    assert rows == OPTIONS["attempts"] * (len(looked) if name == "ps1" else 1)  # bounded, not for ever


@pytest.mark.parametrize(("kind", "status"), [("all_zero", "no_coverage"), ("all_nan", "failed")])
def test_empty_cubes(sky, galaxies, tmp_path, kind, status):
    found, _, _ = download(sky, galaxies, tmp_path, "unwise", [{"service": "unwise", "kind": kind, "objects": 1.0}], n=1)
    assert [stamp.status for stamp in found[0]] == [status] * 2


@pytest.mark.parametrize(("kind", "status", "cause"), [("all_nan", "no_coverage", "all_nan"), ("all_zero", "failed", "all_zero"),
                                                       ("some_nan", "masked", "0.0")])
def test_undefined_ps1_pixels(sky, galaxies, tmp_path, kind, status, cause):
    found, stats, _ = download(sky, galaxies, tmp_path, "ps1", [{"service": "ps1", "endpoint": "fitscut", "kind": kind,
                                                                 "objects": 1.0}], n=1)
    looked = [stamp for stamp in found[0] if stamp.cause != "no stack"]
    assert looked and all(s.status == status and s.cause.startswith(cause) for s in looked)
    asked = {"all_nan": 1, "all_zero": OPTIONS["attempts"], "some_nan": 1}[kind]  # no coverage is an answer
    assert stats["rows"]["fitscut"] == asked * len(looked)


@pytest.mark.parametrize("name", ["galex", "unwise"])
def test_planes_in_another_order_are_named(sky, galaxies, tmp_path, name):
    found, _, _ = download(sky, galaxies, tmp_path, name, [{"service": name, "kind": "wrong_order", "objects": 1.0}], n=1)
    assert all(s.status == "failed" and s.cause.startswith("wrong_order") for s in found[0])


def test_a_dead_service_is_left_soon_and_nothing_is_stored(sky, galaxies, tmp_path):
    found, stats, dead = download(sky, galaxies, tmp_path, "galex", [{"service": "viewer", "kind": "503", "every": 1}], n=6)
    assert len(dead) == 6 and all("503" in cause for cause in dead.values())
    assert all(stamp.status == "failed" and "503" in stamp.cause for stamps in found for stamp in stamps)
    assert sum(stats["requests"].values()) <= OPTIONS["attempts"] * (singles.DEAD_AFTER + 2 * OPTIONS["streams"])
    again, _, dead = download(sky, galaxies, tmp_path, "galex", n=6)  # the service is back: a rerun asks for all
    assert not dead and {stamp.status for stamps in again for stamp in stamps} <= {"ok", "no_coverage"}


def test_one_position_that_always_gives_500_fails_alone(sky, galaxies, tmp_path):
    """A miss of the viewer's bricks is a 500 for ever: bounded, named, the others go on, a rerun asks nothing."""
    fault = {"service": "viewer", "kind": "500", "objects": 0.3}
    found, stats, dead = download(sky, galaxies, tmp_path, "unwise", [fault], n=6)
    status = [stamps[0].status for stamps in found]
    assert not dead and status.count("failed") >= 1 and status.count("ok") >= 3
    _, stats, _ = download(sky, galaxies, tmp_path, "unwise", n=6)
    assert not stats["requests"]


def test_what_is_there_is_not_asked_for_again(sky, galaxies, tmp_path):
    for name in SURVEYS:
        first, stats, _ = download(sky, galaxies, tmp_path, name)
        assert sum(stats["requests"].values()) > 0
        again, stats, _ = download(sky, galaxies, tmp_path, name)
        assert not stats["requests"]
        assert all(np.array_equal(a.image, b.image) for x, y in zip(first, again, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("name", sorted(SURVEYS))
def test_the_archives_weights_and_our_estimate_agree_on_the_noise(sky, galaxies, tmp_path, name):
    own, stats, _ = download(sky, galaxies, tmp_path / "own", name, n=2, settings={"ivar_source": "archive"}.items())
    ours, fewer, _ = download(sky, galaxies, tmp_path, name, n=2)
    ratio = [np.sqrt(np.median(b.ivar[b.ivar > 0]) / np.median(a.ivar[a.ivar > 0]))
             for x, y in zip(own, ours, strict=True) for a, b in zip(x, y, strict=True) if a.status == b.status == "ok"]
    # the estimate is a scatter of pixels: in unWISE's crowded stamps, where sources cover most of them, it is larger
    low = 0.4 if name == "unwise" else 0.8
    assert len(ratio) >= 2 and low < np.median(ratio) < 1.2
    if name == "ps1":  # its weights know the sources, an estimate is one number
        assert max(np.ptp(s.ivar[s.ivar > 0]) for x in own for s in x if s.status == "ok") > 0
    asked = [sum(count for key, count in s["requests"].items() if "filenames" not in key) for s in (stats, fewer)]
    assert asked[0] == (2 if name == "ps1" else 1) * asked[1]  # only PS1's weights cost requests


def test_positions_outside_a_footprint_are_no_coverage(sky, tmp_path):
    far = {"ra": np.array([150.1, 10.0]), "dec": np.array([-45.0, -80.0])}
    found, stats, dead = download(sky, far, tmp_path, "ps1", n=2)
    assert not dead and {(s.status, s.cause) for stamps in found for s in stamps} == {("no_coverage", "no stack")}
    assert stats["requests"] == {"ps1.filenames": 1}  # nothing more was asked for


def test_a_refused_agent_is_one_sentence(tmp_path):
    class Client403:
        def fetch(self, *_, **__):
            from skyloom.errors import Refused

            error = Refused("HTTP 403 from x")
            error.status = 403
            raise error

    with replies.Replies(tmp_path / "r.sqlite", "test") as cache, pytest.raises(InputError, match="User-Agent"):
        singles.fetch(Client403(), [singles.Ask("a", "http://x", lambda body: None)], cache, 2, 1)


# The five bugs of a published client. Each test fails on that client's behaviour.

def test_bug_1_unwise_is_asked_for_at_its_own_scale_and_another_is_refused(sky):
    query = viewer.params(UNWISE, 150.1, 2.1, 32)
    assert query["pixscale"] == "2.75"
    with world.server(sky).running() as server:
        url = world.urls(server.url)["viewer"]["url"]
        body = Client(rpm=60000).fetch("GET", url, params=query | {"pixscale": "1.5"})
    with pytest.raises(ReplyError, match="wrong_scale"):
        viewer.parse(UNWISE, body, 150.1, 2.1, 32)


def test_bug_2_ps1_exposure_time_sets_the_zero_point(sky, galaxies, tmp_path):
    found, _, _ = download(sky, galaxies, tmp_path, "ps1", n=1)
    for stamp in found[0]:
        if stamp.status == "ok":
            assert stamp.zero_point > 25 + 2.5 * np.log10(150)
    from skyloom.sky import panstarrs as stacks

    cell, skycell = stacks.cell_of(galaxies["ra"][0], galaxies["dec"][0])
    expected = [25 + 2.5 * np.log10(stacks.exposure_time(sky, cell, skycell, band)) for band in stacks.BANDS]
    got = [stamp.zero_point for stamp in found[0]]
    assert [g for g in got if np.isfinite(g)] == pytest.approx([e for e, g in zip(expected, got, strict=True) if np.isfinite(g)])


def test_bug_3_galex_planes_are_nuv_then_fuv(sky, galaxies, tmp_path):
    found, _, _ = download(sky, galaxies, tmp_path, "galex", n=1)
    assert GALEX.bands == ("nuv", "fuv")
    assert [s.zero_point for s in found[0] if s.status == "ok"] == [20.08, 18.82][:sum(s.status == "ok" for s in found[0])]


def test_bug_4_a_missing_band_does_not_shift_the_others():
    positions = [(150.1, 2.1), (150.2, 2.2)]
    header = "projcell subcell ra dec filter mjd type filename shortname badflag"
    rows = [f"1360 059 {ra:.10f} {dec:.10f} {band} 0.0 stack /{band}{k}.fits {band}{k}.fits 0"
            for k, (ra, dec) in enumerate(positions) for band in "grizy" if (k, band) != (0, "r")]
    found = ps1.by_position(ps1.parse_list("\n".join([header, *reversed(rows)])), positions)
    assert ps1.filenames(found[0]) == {band: f"/{band}0.fits" for band in "gizy"}
    assert ps1.filenames(found[1]) == {band: f"/{band}1.fits" for band in "grizy"}


def test_bug_5_retries_are_bounded_in_count_and_time(sky, galaxies, tmp_path):
    _, stats, dead = download(sky, galaxies, tmp_path, "unwise", [{"service": "viewer", "kind": "500", "every": 1}], n=1)
    assert len(dead) == 1 and sum(stats["requests"].values()) == OPTIONS["attempts"]
