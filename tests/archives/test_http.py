"""The HTTP client against a real server: pace, caps, retries, Retry-After, honesty."""

import datetime
import gzip
import threading
import time
import tracemalloc
from email.utils import format_datetime

import pytest

from skyloom import __version__
from skyloom.archives.http import Client, retry_after
from skyloom.errors import Refused, ReplyError, ServiceError
from skyloom.sky.servers.app import Reply, SkyServer


def client(**options):
    return Client(**{"rpm": 60000, "timeout": 3, "attempts": 3, "wait_initial": 0.02, **options})


@pytest.fixture()
def server():
    """A server whose /x answers what `server.answers` says, one after another."""
    answers = []

    def answer(request, _):
        server.seen.append(request)
        return answers.pop(0) if answers else Reply(200, b"fine")

    server = SkyServer({"/x": ("hsc", "x", answer)})
    server.answers, server.seen = answers, []
    with server.running():
        yield server


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_transient_answers_are_retried(server, status):
    server.answers += [Reply(status, b"busy")]
    assert client().fetch("GET", server.url + "/x") == b"fine"
    assert len(server.seen) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406])
def test_final_answers_are_not(server, status):
    server.answers += [Reply(status, b"no such table")] * 5
    with pytest.raises(Refused, match="no such table") as error:
        client().fetch("GET", server.url + "/x")
    assert error.value.status == status and len(server.seen) == 1


def test_attempts_are_bounded(server):
    server.answers += [Reply(503, b"busy")] * 50
    with pytest.raises(ServiceError, match="failed 3 times.*503"):
        client().fetch("GET", server.url + "/x")
    assert len(server.seen) == 3


def test_total_time_is_bounded(server):
    server.answers += [Reply(503, b"busy")] * 50
    started = time.monotonic()
    with pytest.raises(ServiceError):
        client(attempts=50, total_s=0.5, wait_initial=0.1).fetch("GET", server.url + "/x")
    assert time.monotonic() - started < 3


def test_a_dead_host_is_a_service_error():
    with pytest.raises(ServiceError):
        client().fetch("GET", "http://127.0.0.1:9/x")


def test_retry_after_is_honoured_in_seconds(server):
    server.answers += [Reply(429, b"", headers={"Retry-After": "1"})]
    started = time.monotonic()
    client().fetch("GET", server.url + "/x")
    assert 0.95 < time.monotonic() - started < 3


def test_retry_after_in_both_forms():
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    assert retry_after("7") == 7
    assert retry_after(format_datetime(now + datetime.timedelta(seconds=30), usegmt=True), now) == 30
    assert retry_after(format_datetime(now - datetime.timedelta(seconds=30), usegmt=True), now) == 0
    assert retry_after(None) is None and retry_after("soon") is None


def test_requests_are_paced_whatever_the_threads(server):
    paced = client(rpm=600, streams=4)
    started = time.monotonic()
    threads = [threading.Thread(target=paced.fetch, args=("GET", server.url + "/x")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started >= 0.7 - 0.02
    assert server.stats()["peak_streams"] <= 4


def test_a_stalled_stream_is_a_reply_error(server):
    def slow():
        yield b"a"
        time.sleep(5)
        yield b"b"

    server.answers += [Reply(200, slow())]
    with pytest.raises(ReplyError) as error, client(timeout=0.3).open("GET", server.url + "/x") as response:
        response.raw.read()
    assert error.value.cause == "broken_off"


def test_the_user_agent_is_honest(server):
    client(contact="astro@example.org").fetch("GET", server.url + "/x")
    agent = server.seen[0].headers["User-Agent"]
    assert f"skyloom/{__version__}" in agent and "astro@example.org" in agent and "Mozilla" not in agent


def test_a_wait_longer_than_the_time_left_ends_at_once_and_says_so(server):
    server.answers += [Reply(429, b"slow down", headers={"Retry-After": "3600"})] * 5
    started = time.monotonic()
    with pytest.raises(ServiceError, match="failed once.*asks to wait 3600 s and `total_s` leaves .*run again later"):
        client(total_s=5).fetch("GET", server.url + "/x")
    assert time.monotonic() - started < 1 and len(server.seen) == 1


def test_a_body_that_dribbles_is_bounded_in_time(server):
    def slowly():
        for _ in range(100):
            yield b"a" * 70_000
            time.sleep(0.1)

    server.answers += [Reply(200, slowly())] * 5
    started = time.monotonic()
    with pytest.raises(ServiceError, match="not over within `total_s`"):
        client(total_s=0.5).fetch("GET", server.url + "/x")
    assert time.monotonic() - started < 4


def endless():
    while True:
        yield b"x" * 65536


def test_bodies_have_a_size_limit_packed_or_not(server):
    server.answers += [Reply(200, endless())]
    with pytest.raises(ReplyError, match="too_large"):
        client().fetch("GET", server.url + "/x", limit=1_000_000)
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 100_000
    server.answers += [Reply(200, bomb, headers={"Content-Encoding": "gzip"})]
    tracemalloc.start()
    with pytest.raises(ReplyError, match="too_large"):
        client().fetch("GET", server.url + "/x", limit=1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_an_endless_error_is_read_to_its_first_words(server):
    server.answers += [Reply(404, endless())]
    with pytest.raises(Refused, match="HTTP 404"):
        client().fetch("GET", server.url + "/x")


def test_a_library_gets_no_endless_reply_either(server):
    server.answers += [Reply(200, iter([b"x" * 65536] * 40))]
    mine = client()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ReplyError, match="too_large"):
        patch.setattr("skyloom.archives.bodies.MOST", 1_000_000)
        mine.session_for_libraries().get(server.url + "/x")


@pytest.fixture()
def elsewhere():
    """A second origin, and what reached it."""
    def answer(request, _):
        server.seen.append(request)
        return Reply(200, b"mine now")

    server = SkyServer({"/": ("hsc", "y", answer)})
    server.seen = []
    with server.running():
        yield server


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_login_follows_no_redirect_to_another_origin(server, elsewhere, status, method):
    server.answers += [Reply(status, b"", headers={"Location": elsewhere.url + "/steal"})]
    with pytest.raises(Refused, match="is moved to .*/steal.*account isn't sent") as error:
        client(auth=("me", "secret")).fetch(method, server.url + "/x", json={"credential": {"password": "secret"}})
    assert not elsewhere.seen and "secret" not in str(error.value) and error.value.status == status


def test_an_upload_does_not_become_a_question(server, elsewhere):
    server.answers += [Reply(301, b"", headers={"Location": elsewhere.url + "/x"})]
    with pytest.raises(Refused, match="would drop what was uploaded; mend the address"):
        client().fetch("POST", server.url + "/x", data=b"rows")
    assert client().fetch("GET", server.url + "/x") == b"fine"
    server.answers += [Reply(302, b"", headers={"Location": elsewhere.url + "/x"})]
    assert client().fetch("GET", server.url + "/x") == b"mine now"  # a public question may move


def test_addresses_are_shown_without_their_login(server):
    server.answers += [Reply(404, b"no")]
    with pytest.raises(Refused) as error:
        client().fetch("GET", server.url.replace("//", "//me:secret@") + "/x")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("value", ["\u00b2", "-5", "Thu, 01 Jan 2026 00:00:00 -0000", "Thu, 99 Foo", "1e400", "", "nan"])
def test_strange_waits_are_no_tracebacks(value):
    found = retry_after(value)
    assert found is None or found >= 0
