"""The HTTP client against a real server: pace, caps, retries, Retry-After, honesty."""

import datetime
import threading
import time
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
