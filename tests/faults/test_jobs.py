"""HSC's catalog jobs: tidied up however they end, bounded, and nulls in any column."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from skyloom import signals
from skyloom.archives import hsc_sql
from skyloom.archives.http import Client
from skyloom.errors import InputError, ReplyError, ServiceError
from skyloom.sky.servers.app import Reply, SkyServer

ROWS = b"# object_id,ra\r\n1,150.5\r\n2,150.6\r\n"


class Api:
    """A stand-in for the job API: `answers[verb]` overrides what a call says."""

    def __init__(self):
        self.calls, self.answers, self.polls = [], {}, 0

    def answer(self, request, _):
        verb = request.path.rsplit("/", 1)[-1]
        self.calls.append(verb)
        given = self.answers.get(verb)
        given = given.pop(0) if isinstance(given, list) and given else given
        if isinstance(given, Reply):
            return Reply(given.status, given.body, given.kind, given.headers)
        if verb == "download":
            return Reply(200, ROWS, "text/csv")
        default = {"submit": {"id": 7, "status": "waiting"}, "status": {"id": 7, "status": "done"},
                   "preview": {"result": {"count": 2, "fields": ["object_id", "ra"], "rows": []}}}.get(verb, {})
        return Reply(200, json.dumps(given or default).encode(), "application/json")


@pytest.fixture()
def api():
    found = Api()
    server = SkyServer({"/jobs/": ("hsc", "", found.answer)})
    with server.running():
        found.url = server.url + "/jobs/"
        yield found


def jobs(api, attempts=2, **options):
    client = Client(rpm=600000, timeout=3, attempts=attempts, wait_initial=0.01, auth=("me", "secret"))
    return hsc_sql.CatalogJobs(client, api.url, ("me", "secret"), poll_s=0.01, **options)


def test_rows_arrive_and_the_job_is_deleted(api):
    assert jobs(api).run("SELECT 1", "pdr2") == ROWS and api.calls == ["submit", "status", "download", "delete"]


@pytest.mark.parametrize("reply", [Reply(500, b"oops"), Reply(406, b"no such job 7"), Reply(401, b"who?"), Reply(200, b"<html>")])
def test_a_delete_that_fails_loses_no_row(api, capsys, reply):
    api.answers["delete"] = reply
    assert jobs(api).run("SELECT 1", "pdr2") == ROWS
    assert ("didn't delete job 7" in capsys.readouterr().err) is (reply.status != 200)


@pytest.mark.parametrize("delete", [None, Reply(500, b"oops")])
def test_a_download_that_fails_keeps_its_error(api, delete):
    api.answers |= {"download": Reply(503, b"proxy error"), **({"delete": delete} if delete else {})}
    with pytest.raises(ServiceError, match="download failed 2 times.*proxy error"):
        jobs(api).run("SELECT 1", "pdr2")
    assert "delete" in api.calls and "cancel" not in api.calls


def test_a_job_that_never_ends_is_cancelled_and_deleted(api):
    api.answers["status"] = {"status": "running"}
    started = time.monotonic()
    with pytest.raises(ServiceError, match="still running after 0 s and cancelled.*services.hsc.job_s"):
        jobs(api, job_s=0.3).run("SELECT 1", "pdr2")
    assert api.calls[-2:] == ["cancel", "delete"] and time.monotonic() - started < 3


@pytest.mark.parametrize(("status", "words"), [("error", "could not run the SQL .no column.; mend"),
                                               ("canceled", "was canceled")])
def test_a_job_that_ends_badly_is_deleted(api, status, words):
    api.answers["status"] = {"status": status, "error": "no column"}
    with pytest.raises((InputError, ServiceError), match=words):
        jobs(api).run("SELECT 1", "pdr2")
    assert api.calls == ["submit", "status", "delete"]


def test_a_page_between_two_polls_passes_and_pages_for_ever_do_not(api):
    page = Reply(200, b"<html>proxy</html>", "text/html")
    api.answers["status"] = [page, {"status": "running"}, page, {"status": "done"}]
    assert jobs(api).run("SELECT 1", "pdr2") == ROWS
    api.answers["status"] = page
    with pytest.raises(ReplyError, match="not_json.*`status`.*html"):
        jobs(api).run("SELECT 1", "pdr2")
    assert api.calls[-2:] == ["cancel", "delete"]


@pytest.mark.parametrize("verb", ["submit", "preview"])
@pytest.mark.parametrize("body", [b"<html>login</html>", b"", b"[]", b"{}", b"null", b'{"result": 5, "ID": 3}'])
def test_strange_answers_are_one_sentence(api, verb, body):
    api.answers[verb] = Reply(200, body)
    with pytest.raises(ReplyError, match="not_json"):
        jobs(api).run("SELECT 1", "pdr2") if verb == "submit" else jobs(api).count("SELECT 1", "pdr2")


def test_a_preview_that_times_out_is_counted_by_a_job(api):
    api.answers |= {"preview": Reply(406, b"canceling statement due to statement timeout"),
                    "download": Reply(200, b"# n\r\n12\r\n")}
    assert jobs(api).describe("SELECT 1", "pdr2") == (12, [])
    api.answers["download"] = Reply(200, b"# n\r\n")
    with pytest.raises(ServiceError, match="no number for the count"):
        jobs(api).describe("SELECT 1", "pdr2")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_stopped_process_leaves_no_job_behind(api, number):
    api.answers["status"] = {"status": "running"}
    code = ("import signal, sys\nfrom skyloom import signals\nfrom skyloom.archives import hsc_sql\n"
            "from skyloom.archives.http import Client\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell ignores it in its background
            "with signals.raised():\n"
            "    client = Client(rpm=600000, timeout=3)\n"
            "    hsc_sql.CatalogJobs(client, sys.argv[1], ('a', 'b'), poll_s=0.05).run('SELECT 1', 'pdr2')\n")
    with subprocess.Popen([sys.executable, "-c", code, api.url], stderr=subprocess.DEVNULL, env=os.environ) as process:
        while "status" not in api.calls:
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(20) != 0
    assert api.calls[-2:] == ["cancel", "delete"]


def test_signals_are_themselves_again_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as error, signals.raised():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    assert error.value.code == 143 and signal.getsignal(signal.SIGTERM) is before


# Tables

HEAD = "# object_id,ra,specz_redshift,specz_name,isprimary,i_extendedness_flag,parent_id,coord,skymap_id\r\n"
GOOD = "42063891789747507,150.1,0.5,zcosmos-1,True,f,7,\"(1,2,3)\",98130204\r\n"


def parsed(*rows):
    return hsc_sql.parse_csv((HEAD + "".join(rows)).encode())


@pytest.mark.parametrize("null", ["", "NULL", "null", "NaN", "\\N"])
def test_nulls_are_states_in_every_column_but_the_id(null, capsys):
    one = GOOD.split(",")
    frame = parsed(GOOD, ",".join([one[0], *[null] * 8]) + "\r\n")
    assert frame["object_id"].tolist() == [42063891789747507] * 2 and frame["object_id"].dtype == np.int64
    assert np.isnan(frame["ra"][1]) and np.isnan(frame["specz_redshift"][1]) and np.isnan(frame["parent_id"][1])
    assert frame["specz_name"].isna().tolist() == [False, True] == frame["coord"].isna().tolist()
    assert frame["isprimary"].tolist() == [True, None] and frame["i_extendedness_flag"].tolist() == [False, None]
    assert np.asarray(frame["isprimary"], bool).tolist() == [True, False]  # what a cut makes of it: not true
    assert "1 of 2 rows have no value of isprimary" in capsys.readouterr().err
    assert frame["skymap_id"][0] == 98130204 and frame["skymap_id"].isna()[1]
    with pytest.raises(InputError, match="1 of 2 rows .* have no object_id"):
        parsed(GOOD, GOOD.replace(one[0], null))


def test_large_integers_beside_a_null_stay_whole():
    frame = parsed(GOOD.replace(",7,", ",42063891789747507,"), GOOD.replace(",7,", ",,"))
    assert int(frame["parent_id"][0]) == 42063891789747507 and frame["parent_id"].isna()[1]


def test_a_table_without_nulls_or_rows_has_its_plain_types(tmp_path):
    for frame in (parsed(GOOD), parsed()):
        kinds = [str(kind) for kind in frame.dtypes]
        assert kinds[:4] == ["int64", "float64", "float64", "str"] and kinds[4:6] == ["bool", "bool"] and kinds[8] == "int64"


def test_nulls_survive_the_table_on_disk(tmp_path):
    from skyloom import store

    store.write_parquet(tmp_path / "t.parquet", parsed(GOOD, GOOD.replace("True", "").replace("98130204", "")))
    back = store.read_parquet(tmp_path / "t.parquet")
    assert np.asarray(back["isprimary"], bool).tolist() == [True, False]


@pytest.mark.parametrize(("body", "words"), [
    (b"<html><body>Please log in</body></html>", "sent html in the place of a table"), (b"", "sent empty"),
    (b'{"message": "internal error"}', "sent json"), (b"ERROR: out of memory", "lacks the column object_id"),
    (b"# ra,dec\r\n1,2\r\n", "lacks the column object_id"), (b"# object_id,object_id\r\n1,1\r\n", "names a column twice"),
    (b"# object_id,ra\r\n1,150.1,3\r\n1,2,3,4\r\n", "no table"), (b"# object_id,ra\r\nx,1\r\n", "no whole numbers"),
    (b"# object_id,ra\r\n1e300,1\r\n", "no whole numbers"), (b"# object_id,ra\r\n99999999999999999999,1\r\n", "no whole numbers"),
    (b"# object_id,ra\r\n1,***\r\n", "column ra .* no number: '\\*\\*\\*'"),
    (b"# object_id,isprimary\r\n1,perhaps\r\n", "holds no booleans: 'perhaps'")])
def test_what_is_no_table_is_one_sentence(body, words):
    with pytest.raises(ServiceError, match=words):
        hsc_sql.parse_csv(body)


def test_a_reply_without_an_asked_column_is_refused_even_without_rows():
    with pytest.raises(ServiceError, match="lacks the column dec"):
        hsc_sql.parse_csv(b"# object_id,ra\r\n", ("object_id", "ra", "dec"))
    assert len(hsc_sql.parse_csv(b"# SELECT x\r\n# object_id,ra\r\n", ("object_id", "ra"))) == 0
