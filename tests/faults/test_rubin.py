"""Rubin's client against the emulated Science Platform: equal pixels, tokens that stay at home, and what each fault becomes."""

import base64
import json

import numpy as np
import pytest
import requests

from skyloom import acquisition
from skyloom.archives import replies, rsp
from skyloom.archives.http import Client, Token
from skyloom.cutouts import patches
from skyloom.cutouts.stamps import UNUSABLE
from skyloom.errors import InputError, ReplyError, ServiceError
from skyloom.progress import Progress
from skyloom.sky import population, rubin
from skyloom.sky.hsc import Sky
from skyloom.sky.servers import rubin as platform
from skyloom.sky.servers import world
from skyloom.surveys import imaging
from skyloom.verbs import common

SETTINGS = {"psf_size": 21, "max_masked_fraction": 0.05, "max_nan_fraction": 0.01, "pad": "none"}
SURVEY = imaging.REGISTRY["rubin"]
RA, DEC, SIZE = 150.1, 2.1, 32


def edge(sky: Sky) -> tuple[float, float]:
    """A position where two patches of a tract overlap, deep in the footprint."""
    tract = rubin.tract_of(RA, DEC)
    x, y = rubin.pixel_of(tract, RA, DEC)
    return tuple(float(v) for v in rubin.position_of(tract, np.round(x / rubin.PATCH) * rubin.PATCH, y))


def download(sky, folder, where=((RA, DEC),), size=SIZE, faults=(), settings=(), token=platform.TOKEN, attempts=3, **limits):
    """(stamps and kernels of each position, requests by endpoint, the server's counts, dead) with the survey's own client."""
    ra, dec = np.array(where, float).T
    client = Client(rpm=60000, streams=2, attempts=attempts, wait_initial=0.02, timeout=60, total_s=20, auth=Token(token),
                    handover=True)
    tiles = SURVEY.tiles(SETTINGS | dict(settings), ra, dec, size)
    with world.server(sky, faults=list(faults), **limits).running() as server, replies.Replies(folder / "r.sqlite", "t") as cache:
        urls = world.urls(server.url)["rubin"]
        options = {"attempts": attempts, "streams": 2}
        dead = tiles.fetch(client, urls, options, cache, Progress(total=tiles.missing(cache), label="t"))
        found = [tiles.stamps(k, cache, dead) for k in range(len(ra))]
        again = tiles.missing(cache)
        return found, server.stats() | {"missing": again}, dead


def drawn(sky, stamp, band):
    """The sky's own pixels under a stamp, by the stamp's WCS."""
    size = len(stamp.image)
    tract = next(t for t, _ in rubin.patches_near(sky, RA, DEC, 0.2) if np.allclose(rubin.centre(t), stamp.crval))
    x0, y0 = (int(round(rubin.MIDDLE + 1 - crpix)) for crpix in stamp.crpix)
    return rubin.coadd(sky, tract, band, x0, y0, size, size)


@pytest.fixture(scope="module")
def calm(sky, tmp_path_factory):
    """Two positions, one in two patches, without a fault."""
    return download(sky, tmp_path_factory.mktemp("calm"), [(RA, DEC), edge(sky)])


def test_stamps_are_the_skys_pixels_in_njy_on_one_grid(sky, calm):
    found, stats, dead = calm
    assert not dead and stats["missing"] == 0 and stats["rows"].get("rubin.logins_at_storage", 0) == 0
    for (stamps, kernels, digests), (ra, dec) in zip(found, [(RA, DEC), edge(sky)], strict=True):
        assert [stamp.status for stamp in stamps] == ["ok"] * 6 and all(len(digest) == 64 for digest in digests)
        for stamp, kernel, band in zip(stamps, kernels, rubin.BANDS, strict=True):
            image, planes, variance = drawn(sky, stamp, band)
            good = (stamp.mask & UNUSABLE) == 0
            assert np.array_equal(stamp.image[good], image[good]) and good.mean() > 0.9
            assert np.allclose(stamp.ivar[good] * variance[good], 1, rtol=1e-6)
            assert np.array_equal(stamp.mask & np.uint32(0x7FFFFFFF), planes.astype(np.uint32))
            assert np.abs(stamp.offset).max() <= 0.5 and stamp.zero_point == 31.4
            assert stamp.crpix == stamps[0].crpix and stamp.crval == stamps[0].crval  # one pixel grid for all bands
            x, y = (stamp.offset[k] + (SIZE - 1) / 2 for k in (0, 1))
            tract = next(t for t, _ in rubin.patches_near(sky, ra, dec, 0.2) if np.allclose(rubin.centre(t), stamp.crval))
            sigma = rubin.seeing(sky, tract, band) / 2.3548 / rubin.SCALE
            grid = np.arange(21) - 10
            assert kernel.sum() == pytest.approx(1) and (kernel.sum(0) * grid**2).sum() == pytest.approx(sigma**2, rel=0.02)
            px, py = rubin.pixel_of(tract, ra, dec)
            at = x + rubin.MIDDLE + 1 - stamp.crpix[0], y + rubin.MIDDLE + 1 - stamp.crpix[1]
            assert at == pytest.approx((px, py), abs=1e-6)


def lonely(sky, ra, dec):
    near = population.near(sky.seed, ra, dec, 6, (population.GALAXY_TIERS[0], population.STARS))
    return (np.hypot(near["ra"] - ra, near["dec"] - dec) < 8 / 3600).sum() == 1


def test_a_star_has_its_flux_in_every_band(sky, tmp_path):
    field = population.in_region(sky.seed, (150.05, 150.25, 2.05, 2.25), (population.STARS,))
    k = next(k for k in np.argsort(field["i"]) if field["i"][k] > 18.6 and lonely(sky, field["ra"][k], field["dec"][k]))
    (stamps, _, _), = download(sky, tmp_path, [(field["ra"][k], field["dec"][k])], 64)[0]
    source = population.near(sky.seed, field["ra"][k], field["dec"][k], 1, (population.STARS,), "rubin")
    own = source["disc"][source["id"] == field["id"][k]][0]
    assert 31.4 - 2.5 * np.log10(own[3]) == pytest.approx(field["i"][k], abs=1e-3) and own[0] < own[1]
    y, x = np.mgrid[:64, :64] - 31.5
    inside = np.hypot(x, y) < 20
    for stamp, flux in zip(stamps, own, strict=True):
        error = np.sqrt(np.sum(1 / stamp.ivar[inside & (stamp.ivar > 0)]))
        assert stamp.image[inside].sum() == pytest.approx(flux, abs=float(4 * error + 0.06 * flux))


def test_a_position_in_two_patches_is_asked_of_one_that_holds_it_whole(calm):
    assert calm[1]["rows"]["rubin.cutout"] == calm[1]["requests"]["rubin.storage"] == 12  # six bands of two positions


def test_a_tile_larger_than_the_overlap_is_joined_without_a_seam(sky, tmp_path):
    ra, dec = edge(sky)
    size = 2 * rubin.BORDER + 60
    (stamps, _, _), = download(sky, tmp_path, [(ra, dec)], size, settings={"pad": "masked"}.items())[0]
    assert [stamp.status for stamp in stamps] == ["ok"] * 6
    image, planes, _ = drawn(sky, stamps[2], "r")
    good = np.isfinite(image)
    assert np.array_equal(np.where(good, stamps[2].image, 0) * ((stamps[2].mask & UNUSABLE) == 0),
                          np.where(good, image, 0) * ((stamps[2].mask & UNUSABLE) == 0))
    assert ((stamps[2].mask & UNUSABLE) == 0).mean() > 0.95


def corners(x0, x1, y0=-0.1, y1=0.1):
    return ((RA + x1, DEC + y0), (RA + x1, DEC + y1), (RA + x0, DEC + y1), (RA + x0, DEC + y0))


def coadd(band, tract, patch, *box):
    return rsp.Coadd(f"{tract}-{patch}-{band}", band, tract, patch, corners(*box))


def test_which_patches_hold_a_stamp():
    left, right = coadd("g", 1, 7, -0.1, 0.005), coadd("g", 1, 8, -0.005, 0.1)
    assert patches.chosen([left, right], RA, DEC, 10)["g"] == [left]  # as deep in both: the lower number
    assert patches.chosen([left, right], RA + 0.003, DEC, 10)["g"] == [right]
    assert {c.patch for c in patches.chosen([left, right], RA, DEC, 100)["g"]} == {7, 8}
    # another tract has it whole, in one band; all bands come from the tract that shows more
    whole = [coadd(band, 2, 1, -0.2, 0.2) for band in "gr"]
    assert patches.chosen([left, right, coadd("r", 1, 7, -0.1, 0.0), *whole], RA, DEC, 100) == {"g": whole[:1], "r": whole[1:]}
    assert patches.chosen([coadd("g", 1, 1, 0.01, 0.1)], RA, DEC, 10) == {} == patches.chosen([], RA, DEC, 10)


def test_patches_on_other_grids_are_not_joined(sky):
    ones, zeros = np.ones((4, 4), np.float32), np.zeros((4, 4), np.int32)
    planes = [rsp.Plane(ones, zeros, zeros > 0, ones, 31.4, (RA, DEC), crpix, np.diag([-0.2, 0.2]) / 3600)
              for crpix in ((1.0, 1.0), (-1.0, 1.0), (-1.5, 1.0))]
    both = patches.joined(planes[:2])
    assert both.image.shape == (4, 6) and np.isfinite(both.image).all() and both.crpix == (1.0, 1.0)
    with pytest.raises(ReplyError, match="wrong_grid"):
        patches.joined([planes[0], planes[2]])


def test_a_band_that_was_never_coadded_and_a_place_beyond_the_survey_have_no_coverage(tmp_path):
    bare = Sky(seed=1, footprint=(150.0, 150.3, 2.0, 2.3), gap_rate=0.1)  # u and y lack everywhere
    found = download(bare, tmp_path, [(RA, DEC), (10.0, -45.0)])[0]
    here = dict(zip(rubin.BANDS, found[0][0], strict=True))
    assert [here[band].status for band in "uy"] == ["no_coverage"] * 2 and here["u"].cause == "no coadd"
    assert "ok" in [here[band].status for band in "griz"]
    assert {stamp.status for stamp in found[1][0]} == {"no_coverage"} and not found[1][0][0].ivar.any()


def test_no_data_is_masked_and_a_stamp_without_any_has_no_coverage(sky, tmp_path):
    west = sky.footprint[0]
    found = download(sky, tmp_path, [(west + 0.5 / 3600, DEC), (west - 8 / 3600, DEC)])[0]
    on = found[0][0][2]
    image, planes, _ = drawn(sky, on, "r")
    empty = planes & (1 << rubin.MASK_BITS["NO_DATA"]) > 0
    assert on.status == "masked" and 0.2 < empty.mean() < 0.8
    assert ((on.mask & UNUSABLE) != 0)[empty].all() and not on.ivar[empty].any() and np.isnan(image[empty]).all()
    assert {stamp.status for stamp in found[1][0]} == {"no_coverage"}


CAUSES = {"corrupt_fits": "not_fits", "wrong_scale": "wrong_scale", "off_centre": "off_centre", "unknown_unit": "unknown_unit",
          "wrong_band": "wrong_band"}


@pytest.mark.parametrize("kind", sorted(CAUSES))
def test_a_reply_that_is_not_what_was_asked_for_is_named(sky, tmp_path, kind):
    fault = {"service": "rubin", "endpoint": "cutout", "kind": kind, "objects": 1.0, "band": "r"}
    (stamps, _, _), = download(sky, tmp_path, faults=[fault])[0]
    status = [stamp.status for stamp in stamps]
    assert status == ["ok", "ok", "failed", "ok", "ok", "ok"] and stamps[2].cause.startswith(CAUSES[kind])
    assert not stamps[2].ivar.any() and (stamps[2].mask & UNUSABLE).all()


@pytest.mark.parametrize("fault", [{"endpoint": "cutout", "kind": "expired_link", "objects": 1.0, "times": 1},
                                   {"endpoint": "cutout", "kind": "429", "every": 1, "times": 1},
                                   {"endpoint": "sia", "kind": "429_date", "every": 1, "times": 1},
                                   {"endpoint": "links", "kind": "html", "every": 1, "times": 1},
                                   {"endpoint": "tap", "kind": "truncated", "every": 1, "times": 1, "bytes": 900}],
                         ids=lambda fault: f"{fault['endpoint']}-{fault['kind']}")
def test_passing_faults_change_nothing(sky, calm, tmp_path, fault):
    found, stats, dead = download(sky, tmp_path, faults=[{"service": "rubin", **fault}])
    assert not dead and stats["missing"] == 0
    for ours, theirs in zip(found[0][0], calm[0][0][0], strict=True):
        assert ours.status == theirs.status and np.array_equal(ours.image, theirs.image)


def test_a_link_that_always_expires_and_a_usage_error_fail_their_stamp_alone(sky, tmp_path):
    expired = {"service": "rubin", "endpoint": "cutout", "kind": "expired_link", "objects": 1.0, "band": "z"}
    found, stats, dead = download(sky, tmp_path / "a", faults=[expired])
    stamp, (cause,) = found[0][0][4], dead.values()
    assert stamp.status == "failed" and "whose links expire" in stamp.cause and "Signature" not in cause
    assert stats["missing"] == 1  # it says nothing about the object: a rerun asks again
    usage = {"service": "rubin", "endpoint": "cutout", "kind": "422", "every": 1}
    found, stats, dead = download(sky, tmp_path / "b", faults=[usage])
    assert {stamp.status for stamp in found[0][0]} == {"failed"} and "http_422" in found[0][0][0].cause
    assert "UsageError" in found[0][0][0].cause and stats["requests"]["rubin.cutout"] < 20


def test_a_wait_longer_than_what_is_left_ends_in_its_words(sky, tmp_path):
    """Case of a quota of 15 minutes: Retry-After is heard, and told."""
    client = Client(rpm=60000, attempts=3, wait_initial=0.02, total_s=5, auth=Token(platform.TOKEN), handover=True)
    doors = platform.Platform(sky, quota={"sia": 1}).routes()
    with world.Host(doors, seed=1).running() as server:
        url, query = world.urls(server.url)["rubin"]["sia_url"], rsp.search_params(RA, DEC, 0.01)
        assert rsp.parse_search(client.fetch("GET", url, params=query), rubin.BANDS)
        with pytest.raises(ServiceError, match=r"HTTP 429 Quota used up; it asks to wait \d{3} s and `total_s` leaves"):
            client.fetch("GET", url, params=query)


# the token

def test_a_refused_token_is_one_sentence_without_it(sky, tmp_path):
    with pytest.raises(InputError, match="refused the request .*HTTP 401.*check the account") as error:
        download(sky, tmp_path, token="gt-secret.wrong")
    assert "gt-secret" not in str(error.value) and b"gt-secret" not in (tmp_path / "r.sqlite").read_bytes()


@pytest.mark.parametrize(("url", "hosts", "allowed"), [
    ("https://data.lsst.cloud/api/tap", "", True), ("https://data.lsst.cloud:8443/x", "", True),
    ("http://data.lsst.cloud/api/tap", "", False), ("https://elsewhere.org/tap", "", False),
    ("https://elsewhere.org/tap", "elsewhere.org", True), ("http://127.0.0.1:1/tap", "127.0.0.1", True),
    ("http://127.0.0.1:1/tap", "", False)])
def test_the_token_goes_to_its_own_hosts_only(monkeypatch, tmp_path, url, hosts, allowed):
    monkeypatch.setenv("SKYLOOM_RSP_TOKEN", "gt-real.secret\n")
    monkeypatch.setenv("SKYLOOM_RSP_HOSTS", hosts)
    options = {"streams": 1, "timeout_s": 5, "attempts": 1, "total_s": 5, "contact": "", "wait_initial_s": 0.1, "rpm": 60}
    own = dict(SURVEY.service.urls) | {"tap_url": url}
    monkeypatch.setenv("SKYLOOM_SERVICES", json.dumps({"archive": "live", "embedded": {}, "rubin": options | own}))
    if allowed:
        with common.service("rubin", 60) as (client, _, account, _):
            assert client.auth.secret == "gt-real.secret" and account is None and client.session.handover
            assert "secret" not in repr(client.auth) + repr(vars(client)) and "SKYLOOM_RSP_TOKEN" in client.remedy
    else:
        with pytest.raises(InputError, match="is refused the token SKYLOOM_RSP_TOKEN") as error, common.service("rubin", 60):
            raise AssertionError
        assert "gt-real" not in str(error.value)


@pytest.mark.parametrize(("token", "words"), [(None, "needs a token; set SKYLOOM_RSP_TOKEN"), ("  ", "needs a token"),
                                              ("gt-a\nb.c", "holds characters"), ("gt-ä", "holds characters")])
def test_a_token_that_is_missing_or_none_is_one_sentence(monkeypatch, token, words):
    monkeypatch.delenv("SKYLOOM_RSP_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("SKYLOOM_RSP_TOKEN", token)
    options = {"streams": 1, "timeout_s": 5, "attempts": 1, "total_s": 5, "contact": "", "wait_initial_s": 0.1, "rpm": 60}
    block = {"archive": "live", "embedded": {}, "rubin": options | dict(SURVEY.service.urls)}
    monkeypatch.setenv("SKYLOOM_SERVICES", json.dumps(block))
    with pytest.raises(InputError, match=words) as error, common.service("rubin", 60):
        raise AssertionError
    assert "gt-" not in str(error.value)


def test_the_embedded_sky_never_sees_a_real_token(monkeypatch):
    monkeypatch.setenv("SKYLOOM_RSP_TOKEN", "gt-real.secret")
    options = {"streams": 1, "timeout_s": 5, "attempts": 1, "total_s": 5, "contact": "", "wait_initial_s": 0.1, "rpm": 60}
    block = {"archive": "embedded", "embedded": {}, "rubin": options | {"tap_url": "http://127.0.0.1:1/tap"}}
    monkeypatch.setenv("SKYLOOM_SERVICES", json.dumps(block))
    with common.service("rubin", 60) as (client, _, _, _):
        assert client.auth.secret == platform.TOKEN


def test_a_reply_that_repeats_the_token_is_neither_kept_nor_told():
    class Echo(platform.Platform):
        def routes(self):
            def answer(request, server):
                status = 418 if "418" in request.query else 200
                return platform.Reply(status, request.headers["Authorization"].encode())
            return {"/echo": ("rubin", "echo", answer)}

    client = Client(rpm=60000, attempts=2, wait_initial=0.02, auth=Token("gt-real.secret"), handover=True)
    with world.Host(Echo(None).routes(), seed=1).running() as server:
        for query in ({}, {"status": "418"}):
            with pytest.raises(ServiceError) as error:
                client.fetch("GET", f"{server.url}/echo", params=query)
            assert "gt-real" not in str(error.value) and ("(token)" in str(error.value) or "repeats_token" in str(error.value))


def test_no_address_that_a_reply_names_is_asked(sky):
    """Case: links of another host in a search or among a dataset's links would be sent the token."""
    row = rsp.Coadd("ivo://org.rubinobs/lsst-dp1?repo=dp1&id=a", "g", 1, 2, corners(-0.1, 0.1))
    region = "POLYGON ICRS " + " ".join(f"{v}" for corner in row.corners for v in corner)
    cells = [("access_url", "https://evil.example/links?ID=ivo%3A%2F%2Forg.rubinobs%2Flsst-dp1%3Frepo%3Ddp1%26id%3Da"),
             ("dataproduct_subtype", "lsst.deep_coadd"), ("lsst_band", "g"), ("s_region", region)]
    text = "".join(f'<FIELD name="{name}" datatype="char" arraysize="*"/>' for name, _ in cells)
    text += '<FIELD name="lsst_tract" datatype="long"/><FIELD name="lsst_patch" datatype="long"/><DATA><TABLEDATA><TR>'
    text += "".join(f"<TD>{value}</TD>" for _, value in cells) + "<TD>1</TD><TD>2</TD></TR></TABLEDATA></DATA>"
    body = f'<VOTABLE version="1.3"><RESOURCE type="results"><TABLE>{text}</TABLE></RESOURCE></VOTABLE>'.encode()
    found, = rsp.parse_search(body, "ugrizy")
    assert found.dataset == row.dataset and np.allclose(found.corners, row.corners)


# the emulator by hand

@pytest.fixture(scope="module")
def hand(sky):
    with world.server(sky).running() as server:
        urls = world.urls(server.url)["rubin"]
        headers = {"Authorization": f"Bearer {platform.TOKEN}"}
        yield urls, lambda key, query, **more: requests.get(urls[key] + ("/sync" if key == "tap_url" else ""), params=query,
                                                            headers=headers, timeout=60, **more)


def test_the_platform_by_hand(hand):
    urls, ask = hand
    assert requests.get(urls["sia_url"], timeout=60).status_code == 401
    both = base64.b64encode(f"x-oauth-basic:{platform.TOKEN}".encode()).decode()
    assert requests.get(urls["tap_url"] + "/sync", headers={"Authorization": f"Basic {both}"}, timeout=60).status_code == 400
    coadds = rsp.parse_search(ask("sia_url", rsp.search_params(RA, DEC, 0.02)).content, "g")
    did = rsp.parse_links(ask("datalink_url", {"ID": patches.chosen(coadds, RA, DEC, 1)["g"][0].dataset}).content)
    assert ask("datalink_url", {"ID": did + "0"}).status_code == 404
    circle = {"ID": did, "POS": f"CIRCLE {RA} {DEC} 0.001"}
    reply = ask("soda_url", circle, allow_redirects=False)
    assert reply.status_code == 303 and reply.headers["Location"].startswith("http://localhost:")
    from astropy.io import fits

    for detail, planes in (("Image", 1), ("MaskedImage", 3)):
        with fits.HDUList.fromstring(ask("soda_url", circle | {"CUTOUTDETAIL": detail}).content) as hdus:
            assert len(hdus) == 1 + planes and hdus["IMAGE"].header["BUNIT"] == "nJy" and hdus["IMAGE"].data.shape == (36, 36)
    assert len(fits.HDUList.fromstring(ask("soda_url", circle).content)) == 2  # the default since 5.0
    signed = reply.headers["Location"]
    assert requests.get(signed.replace("Expires=1", "Expires=2"), timeout=60).status_code == 403
    assert requests.get(signed, headers={"Authorization": "Bearer x"}, timeout=60).status_code == 400
    for bad in ({"CUTOUTDETAIL": "Everything"}, {"POS": "RANGE 1 2 3 4"}, {"ID": "x"}, {"POS": f"CIRCLE {RA + 5} {DEC} 0.001"}):
        refused = ask("soda_url", circle | bad)
        assert refused.status_code == 422 and refused.text.startswith("UsageError: ")
    assert "No intersection between cutout and image" in refused.text
    assert b"ERROR" in ask("tap_url", {"QUERY": "SELECT * FROM dp1.Object"}).content


def test_the_object_table_in_our_words(hand, sky):
    from skyloom.surveys.imaging import rubin as survey

    client = Client(rpm=60000, attempts=2, wait_initial=0.02, auth=Token(platform.TOKEN), handover=True)
    frame = survey.objects(client, hand[0], RA, DEC, 0.01)
    source = population.near(sky.seed, RA, DEC, 36, survey="rubin")
    assert len(frame) > 20 and frame["object_id"].is_unique and frame["object_id"].dtype == np.int64
    pulls = []
    for row in frame.to_dict("records"):
        k = int(np.argmin(np.hypot(source["ra"] - row["ra"], source["dec"] - row["dec"])))
        pulls.append((row["i_flux"] - source["disc"][k, 3] - source["bulge"][k, 3]) / row["i_flux_err"])
        assert row["is_star"] in (0, 1) and 0 < row["q"] <= 1.0001 or source["kind"][k] == 1
        if source["kind"][k] == 0:
            turn = abs(np.sin(row["pa"] - source["pa"][k]))
            assert row["q"] == pytest.approx(source["q_disc"][k], abs=1e-3) and (turn < 0.01 or row["q"] > 0.99)
    assert 0.7 < np.std(pulls) < 1.3 and abs(np.mean(pulls)) < 0.5
    with pytest.raises(ReplyError, match="cut_off"):
        columns = rsp.object_columns(rubin.BANDS)
        rsp.parse_cone(client.fetch("GET", hand[0]["tap_url"] + "/sync", params=rsp.cone(columns, RA, DEC, 0.01, 5)), columns)


def test_years_are_deeper_and_sharper():
    skies = {depth: Sky(seed=1, rubin_depth=depth) for depth in ("dp1", "y1", "y5")}
    for band in rubin.BANDS:
        noise = {depth: rubin.sky_sigma(sky, band) * rubin.seeing(sky, 1, band) for depth, sky in skies.items()}
        assert noise["y1"] / noise["y5"] == pytest.approx(np.sqrt(5), rel=1e-6) and noise["dp1"] > noise["y5"]
        assert rubin.seeing(skies["y1"], 1, band) == rubin.seeing(skies["y5"], 1, band) < rubin.seeing(skies["dp1"], 1, band)


def test_every_position_lies_in_its_tract_and_patch():
    rng = np.random.default_rng(3)
    for ra, dec in zip(360 * rng.random(300), np.degrees(np.arcsin(2 * rng.random(300) - 1)), strict=True):
        x, y = rubin.pixel_of(rubin.tract_of(ra, dec), ra, dec)
        assert 0 <= x < rubin.SIDE and 0 <= y < rubin.SIDE
    x0, y0, width, height = rubin.box(11)
    assert (x0, y0) == (rubin.PATCH - rubin.BORDER,) * 2 and width == height == rubin.PATCH + 2 * rubin.BORDER


def test_the_config_knows_the_token_and_the_depth():
    from skyloom import config

    whole = config.complete({"run": "x", "archive": "live", "stamps": {"surveys": ["rubin"]}, "models": {}})
    assert whole["embedded"]["rubin_depth"] == "dp1" and whole["stamps"]["sizes"]["rubin"] == 128
    assert acquisition.services(whole)["rubin"]["soda_url"] == "https://data.lsst.cloud/api/cutout/sync"
    with pytest.raises(InputError, match=r"`embedded.rubin_depth` is 'y2'"):
        config.complete({"run": "x", "archive": "live", "embedded": {"rubin_depth": "y2"}})
