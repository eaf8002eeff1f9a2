"""Eight spec-z surveys: emulators asked by hand, clients against them, normalised columns against the sky's truth."""

import numpy as np
import pandas
import pytest
import requests

from skyloom.archives import flatfiles, skyserver, surveys, tap
from skyloom.archives.http import Client
from skyloom.errors import InputError, ReplyError, ServiceError
from skyloom.sample import compilation, redshifts
from skyloom.sky import specz
from skyloom.sky.hsc import Sky
from skyloom.sky.servers import redshifts as servers
from skyloom.sky.servers import world
from skyloom.sky.servers.app import SkyServer as Host
from skyloom.surveys import spectro

SURVEYS = {name: spectro.REGISTRY[name] for name in spectro.ours()}
ALL = list(SURVEYS.values())
OPTIONS = {"attempts": 3}


@pytest.fixture(scope="module")
def field():
    return Sky(seed=3, footprint=(150.0, 150.6, 1.8, 2.4))


@pytest.fixture(scope="module")
def archives(field):
    with world.server(field).running() as server:
        yield world.urls(server.url)


def client(**options):
    return Client(**({"rpm": 60000, "attempts": 3, "wait_initial": 0.02} | options))


def asked(archives, name, tmp_path, **options):
    return surveys.ask(SURVEYS[name], client(), archives[name], OPTIONS | options, tmp_path)


@pytest.mark.parametrize("name", sorted(SURVEYS))
def test_every_survey_arrives_whole_and_normalises_to_the_skys_truth(archives, field, tmp_path, name):
    frame, _ = asked(archives, name, tmp_path)
    truth = specz.observed(field, name)
    assert len(frame) == len(truth["z"]) > 10
    common = redshifts.normalise(SURVEYS[name], frame, SURVEYS[name].release)
    assert list(common) == ["survey", "survey_id", "ra", "dec", "z", "z_err", "quality", "class", "repeat_key", "release"]
    key = np.lexsort((common["dec"].round(5), common["ra"].round(5)))
    true = np.lexsort((truth["dec"].round(5), truth["ra"].round(5)))
    assert common["ra"].to_numpy()[key] == pytest.approx(truth["ra"][true], abs=2e-5)
    assert common["dec"].to_numpy()[key] == pytest.approx(truth["dec"][true], abs=2e-5)
    found = common["z"].to_numpy()[key]
    assert found[np.isfinite(found)] == pytest.approx(truth["z"][true][np.isfinite(found)], abs=1e-9)
    assert np.isfinite(found).mean() > 0.9


@pytest.mark.parametrize("name", sorted(SURVEYS))
def test_transient_faults_change_nothing_and_a_dead_service_is_one_error(archives, field, tmp_path, name):
    host = {"wigglez": "vizier", "gama": "vizier"}.get(name, name)
    calm, _ = asked(archives, name, tmp_path / "calm")
    for kind in ("503", "429", "stall"):
        fault = {"service": host, "kind": kind, "every": 1, "times": 1, "seconds": 1.5}
        with world.server(field, faults=[fault]).running() as server:
            urls = world.urls(server.url)[name]
            rough, _ = surveys.ask(SURVEYS[name], client(timeout=1 if kind == "stall" else 20), urls, OPTIONS, tmp_path / kind)
            assert sum(server.stats()["requests"].values()) >= 2
        pandas.testing.assert_frame_equal(calm, rough)
    with world.server(field, faults=[{"service": host, "kind": "503", "every": 1}]).running() as server:
        with pytest.raises(ServiceError, match="503|failed"):
            surveys.ask(SURVEYS[name], client(), world.urls(server.url)[name], OPTIONS, tmp_path / "dead")
        assert sum(server.stats()["requests"].values()) <= 8  # bounded
    assert not list((tmp_path / "dead").glob("*.fits"))


@pytest.mark.parametrize("name", sorted(SURVEYS))
def test_the_papers_cuts_keep_what_the_survey_calls_secure(archives, field, tmp_path, name):
    common = redshifts.normalise(SURVEYS[name], asked(archives, name, tmp_path)[0], "x")
    keep = np.ones(len(common), bool)
    for cut, needed, mask in redshifts.quality_cuts([SURVEYS[name]], -30, 0.0, 1.6):
        if cut.startswith(name):
            assert set(needed) <= set(common)
            keep &= np.asarray(mask(common), bool)
    truth = specz.observed(field, name)
    at = pandas.DataFrame({"ra": truth["ra"].round(6), "dec": truth["dec"].round(6), "good": truth["secure"] & ~truth["star"]})
    joined = common.assign(ra=common["ra"].round(6), dec=common["dec"].round(6), keep=keep).merge(at, on=["ra", "dec"])
    assert 0 < joined["keep"].sum() < len(joined)
    if name == "gama":  # it has no class: only the redshift tells its stars
        joined = joined[joined["z"].abs() > 0.002]
    if name not in ("vvds", "vipers"):
        assert joined.loc[joined["keep"], "good"].all()


def test_traps_of_the_columns():
    vipers = pandas.DataFrame({"num": [1, 2, 3, 4], "alpha": 150.0, "delta": 2.0, "zspec": [0.5, 9.9999, 0.6, 0.7],
                               "zflg": [4.5, 3.5, 5.0, 1.9], "classFlag": [1, 1, 0, 1]})
    common = redshifts.normalise(SURVEYS["vipers"], vipers, "x")
    assert np.isnan(common["z"][1])
    keep = [bool(v) for _, _, mask in redshifts.quality_cuts([SURVEYS["vipers"]], -30, 0, 1.6)[3:4] for v in mask(common)]
    assert keep == [True, True, False, False]  # decimals are no quality: 4.5 stays, 5.0 and 1.9 go
    sixdf = pandas.DataFrame({"targetid": [1], "rah": [10], "ram": [0], "ras": [36.0], "decd": ["-00"], "decm": [30],
                              "decs": [0.0], "cz": [29979.2458], "czerr": [45.0], "quality": [4]})
    common = redshifts.normalise(SURVEYS["6df"], sixdf, "x")
    assert (common["ra"][0], common["dec"][0], common["z"][0]) == pytest.approx((150.15, -0.5, 0.1))
    sdss = pandas.DataFrame({"specObjID": [1, 2, 3], "bestObjID": [1, 2, 3], "ra": 1.0, "dec": 1.0, "z": [0.1, 0.1, 0.1],
                             "zErr": 1e-4, "zErr_noqso": 2e-4, "zWarning": 0, "class": "GALAXY",
                             "z_noqso": [0.0, 0.2, 0.2], "z_person": [0.0, 0.0, 0.3]})
    common = redshifts.normalise(SURVEYS["sdss"], sdss, "x")
    assert common["z"].tolist() == [0.1, 0.2, 0.3] and common["z_err"].tolist() == [1e-4, 2e-4, 1e-4]


# SkyServer

def test_skyserver_pages_by_id_until_all_is_there(archives, field):
    whole = skyserver.rows(client(), archives["sdss"]["url"], SURVEYS["sdss"].columns)
    paged = skyserver.rows(client(), archives["sdss"]["url"], SURVEYS["sdss"].columns, page=7)
    assert len(whole) == len(specz.observed(field, "sdss")["z"]) and not whole["specObjID"].duplicated().any()
    pandas.testing.assert_frame_equal(whole, paged)
    box = (150.1, 150.3, 2.0, 2.2)
    part = skyserver.rows(client(), archives["sdss"]["url"], SURVEYS["sdss"].columns, box)
    inside = whole["ra"].between(*box[:2]) & whole["dec"].between(*box[2:])
    assert set(part["specObjID"]) == set(whole.loc[inside, "specObjID"]) and 0 < len(part) < len(whole)


def test_skyserver_over_the_rate_says_so_with_200_and_is_waited_for(field, monkeypatch):
    waits = []
    monkeypatch.setattr(skyserver.time, "sleep", waits.append)
    service = servers.SkyServer(field, per_minute=2)
    with Host({"/sdss/": ("sdss", "sql", service.answer)}).running() as server:
        url = server.url + "/sdss"
        address, query = skyserver.payload(("specObjID",), -1, page=1)
        for _ in range(2):
            assert requests.get(url + address, params=query, timeout=10).text.startswith("#Table1")
        over = requests.get(url + address, params=query, timeout=10)
        assert over.status_code == 200 and over.text.startswith("ERROR: Maximum 2 queries allowed per minute. Rejected query: ")
        with pytest.raises(ServiceError, match="over_rate"):
            skyserver.rows(client(), url, ("specObjID",), attempts=3, wait=61)
    assert [wait for wait in waits if wait > 60] == [61, 61]


def test_skyserver_errors_inside_html_are_one_sentence(archives):
    with pytest.raises(InputError, match="SkyServer rejected the SQL.*no such column"):
        skyserver.rows(client(), archives["sdss"]["url"], ("specObjID", "zz"))
    assert skyserver.parse("No objects have been found") is None
    with pytest.raises(ReplyError, match="html"):
        skyserver.parse("<html><body>maintenance</body></html>")


# TAP

def test_tap_sync_and_async_agree_and_an_overflow_is_never_the_whole(archives, field):
    adql = tap.query("J/MNRAS/474/4151/wigglez", SURVEYS["wigglez"].columns)
    whole = tap.rows(client(), archives["wigglez"]["url"], adql)
    cut = tap.rows(client(), archives["wigglez"]["url"], adql, maxrec=5)  # overflows: goes async
    assert len(whole) == len(specz.observed(field, "wigglez")["z"])
    pandas.testing.assert_frame_equal(whole, cut)
    text = requests.get(archives["wigglez"]["url"] + "/sync", timeout=10, params={
        "REQUEST": "doQuery", "LANG": "ADQL", "QUERY": adql, "MAXREC": 5}).text
    assert 'value="OVERFLOW"' in text and text.count("<TR>") == 5


def test_tap_errors_are_one_sentence(archives):
    with pytest.raises(InputError, match="rejected the query.*no such column"):
        tap.rows(client(), archives["wigglez"]["url"], 'SELECT "zz" FROM "J/MNRAS/474/4151/wigglez"')


def test_tap_survives_transient_faults(field):
    faults = [{"service": "vizier", "kind": "503", "every": 1, "times": 1}]
    with world.server(field, faults=faults).running() as server:
        frame = tap.rows(client(), world.urls(server.url)["wigglez"]["url"], tap.query(SURVEYS["wigglez"].where, ("z",)))
        assert len(frame) > 10 and server.statuses[503] >= 1


# Files

def test_a_file_is_resumed_under_its_etag(archives, tmp_path):
    url = archives["desi"]["url"]
    body = requests.get(url, timeout=30).content
    path = tmp_path / "zall.fits"
    (tmp_path / "zall.fits.part").write_bytes(body[:1000])
    (tmp_path / "zall.fits.etag").write_text('"\\"another\\""')
    assert flatfiles.download(client(), url, path).read_bytes() == body  # another file's part is thrown away
    path.unlink()
    tag = requests.get(url, timeout=30).headers["ETag"]
    (tmp_path / "zall.fits.part").write_bytes(body[:1000])
    (tmp_path / "zall.fits.etag").write_text(pandas.io.json.ujson_dumps(tag))
    asked_for = requests.get(url, headers={"Range": "bytes=1000-", "If-Range": tag}, timeout=30)
    assert asked_for.status_code == 206 and asked_for.content == body[1000:]
    assert flatfiles.download(client(), url, path).read_bytes() == body
    assert sorted(p.name for p in tmp_path.iterdir()) == ["zall.fits"]


def test_a_file_that_breaks_off_is_no_file(field, tmp_path):
    with world.server(field, faults=[{"service": "desi", "kind": "truncated", "bytes": 2000, "every": 1}]).running() as server:
        path = tmp_path / "zall.fits"
        flatfiles.download(client(), world.urls(server.url)["desi"]["url"], path)  # no length was told
    with pytest.raises(InputError, match="no fits catalog"):
        flatfiles.read(path, "fits", "ZCATALOG", ("Z",))


def test_gamas_server_turns_our_agent_away_and_vizier_is_taken(archives, field, tmp_path):
    assert requests.get(archives["gama"]["url"], timeout=10).status_code == 403
    assert requests.get(archives["gama"]["url"], headers={"User-Agent": "Mozilla/5.0"}, timeout=10).status_code == 200
    frame, where = asked(archives, "gama", tmp_path)
    assert "refused our agent" in where and len(frame) == len(specz.observed(field, "gama")["z"])


def test_an_expected_column_that_is_missing_is_named(archives, tmp_path):
    path = flatfiles.download(client(), archives["deep2"]["url"], tmp_path / "deep2.fits.gz")
    with pytest.raises(InputError, match="lacks the column ZQUALITY2; it has .*ZBEST"):
        flatfiles.read(path, "fits", "1", ("Z", "ZQUALITY2"))
    with pytest.raises(InputError, match="no text catalog"):
        flatfiles.read(path, "text", "zflg", ("z",))


# The compilation

def rows(*values):
    columns = ("survey", "survey_id", "ra", "dec", "z", "z_err", "quality")
    return pandas.DataFrame(values, columns=columns).assign(**{"class": "", "release": "x", "override": ""})


def test_the_best_of_several_surveys_is_kept_and_conflicts_are_recorded():
    frame = rows(("vvds", "1", 150.0, 2.0, 0.500, 1e-3, 3.0), ("sdss", "2", 150.0001, 2.0, 0.501, 1e-4, 0.0),
                 ("vipers", "3", 150.0, 2.0002, 0.9, 5e-4, 4.5), ("desi", "4", 151.0, 2.0, 0.3, 5e-5, 0.0))
    keep, conflicts = compilation.best(frame, 1.0, ALL)
    assert keep.tolist() == [False, True, False, True]
    assert conflicts[["kept_id", "survey_id"]].to_numpy().tolist() == [["2", "3"]]  # 0.500 and 0.501 agree
    assert conflicts["dz"][0] == pytest.approx(0.399) and conflicts["arcsec"][0] == pytest.approx(0.8, abs=0.1)
    apart, _ = compilation.best(frame, 0.1, ALL)
    assert apart.all()


def test_overrides_drop_prefer_and_set():
    frame = rows(("vvds", "1", 150.0, 2.0, 0.5, 1e-3, 3.0), ("sdss", "2", 150.0, 2.0, 0.6, 1e-4, 0.0))
    table = pandas.DataFrame({"survey": ["vvds", "sdss"], "survey_id": ["1", "2"], "action": ["prefer", "set_z"],
                              "z": [np.nan, 0.7]})
    changed = compilation.override(frame, table)
    assert changed["z"].tolist() == [0.5, 0.7]
    assert compilation.best(changed, 1.0, ALL)[0].tolist() == [True, False]


@pytest.mark.parametrize(("row", "words"), [
    (("sdss", "9", "drop", 0), "names sdss 9, which no survey has"),
    (("vvds", "1", "remove", 0), "action 'remove'; use one of drop"),
    (("vvds", "1", "set_z", np.nan), "sets no redshift")])
def test_a_bad_override_is_one_sentence(row, words):
    table = pandas.DataFrame([row], columns=["survey", "survey_id", "action", "z"])
    with pytest.raises(InputError, match=words):
        compilation.override(rows(("vvds", "1", 150.0, 2.0, 0.5, 1e-3, 3.0)), table)


def test_registry_pins_what_each_normaliser_reads():
    for name, survey in SURVEYS.items():
        values = dict.fromkeys(survey.columns, [1.0]) | ({"decd": ["+01"]} if name == "6df" else {})
        assert len(redshifts.normalise(survey, pandas.DataFrame(values), "x")) == 1
        for column in survey.columns:
            with pytest.raises(KeyError):
                redshifts.normalise(survey, pandas.DataFrame(values).drop(columns=column), "x")
        assert survey.licence and survey.citation and survey.release
