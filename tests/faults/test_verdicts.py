"""What may become a verdict about an object: never a page, a dead or mistyped service, a single empty list."""

import io
import tarfile

import pytest

from skyloom.archives import hsc_das, replies
from skyloom.archives.http import Client
from skyloom.cutouts import filelists, lists, singles
from skyloom.errors import ReplyError
from skyloom.progress import Progress
from skyloom.sky.servers.app import Reply, SkyServer
from skyloom.sky.servers.hsc_das import END_OF_TAR, rows_of, tar_member

GOOD = b"SIMPLE  = an image\0\1\2"


@pytest.fixture()
def web():
    """A server whose every path is answered by `web.answer(request)`; `web.seen` are the requests."""
    def answer(request, _):
        server.seen.append(request)
        return server.answer(request)

    server = SkyServer({"/": ("hsc", "any", answer)})
    server.seen, server.answer = [], None
    with server.running():
        yield server


@pytest.fixture()
def cache(tmp_path):
    with replies.Replies(tmp_path / "r.sqlite", "test") as opened:
        yield opened


def client(attempts=2, **options):
    return Client(**{"rpm": 600000, "timeout": 2, "attempts": attempts, "wait_initial": 0.01, "streams": 2, **options})


def check(body):
    if not body.startswith(b"SIMPLE"):
        raise ReplyError("not_fits", f"starts with {body[:20]!r}")
    if body.startswith(b"SIMPLE  = wrong"):
        raise ReplyError("wrong_scale", "twice")


def ask(web, cache, names, attempts=2):
    asks = [singles.Ask(name, web.url + "/cut", check, {"name": name}) for name in names]
    return singles.fetch(client(attempts), asks, cache, attempts, 2)


def name(request):
    return request.query.removeprefix("name=")


def states(cache):
    return dict(sorted(cache.have().items()))


PAGES = [Reply(200, b"<html>maintenance</html>", "text/html"), Reply(200, b""), Reply(200, b'{"error": "quota"}'),
         Reply(200, b"no such layer"), Reply(404, b"not here"), Reply(410, b"gone"), Reply(400, b"bad"), Reply(500, b"oops"),
         Reply(503, b"busy"), Reply(302, b"")]


@pytest.mark.parametrize("reply", PAGES, ids=lambda r: f"{r.status}-{r.body[:6].decode()}")
@pytest.mark.parametrize("count", [2, 20])
def test_a_service_that_never_works_says_nothing_about_objects(web, cache, reply, count):
    web.answer = lambda request: Reply(reply.status, reply.body, reply.kind)
    names = [f"o{k}" for k in range(count)]
    dead = ask(web, cache, names)
    assert set(dead) == set(names) and all(dead.values()) and not states(cache)
    assert len(web.seen) <= 2 * (singles.DEAD_AFTER + 8)
    web.answer = lambda request: Reply(200, GOOD)  # it is back: everything is asked
    assert not ask(web, cache, names) and set(states(cache).values()) == {"ok"}


@pytest.mark.parametrize("reply", PAGES, ids=lambda r: f"{r.status}-{r.body[:6].decode()}")
def test_a_service_that_dies_on_the_way_says_nothing_either(web, cache, reply):
    """The last requests of a shard are fewer than it takes to call a service dead."""
    web.answer = lambda request: Reply(200, GOOD) if len(web.seen) <= 5 else Reply(reply.status, reply.body, reply.kind)
    dead = ask(web, cache, [f"o{k}" for k in range(7)])
    assert list(states(cache).values()) == ["ok"] * 5 and len(dead) == 2
    web.answer = lambda request: Reply(reply.status, reply.body, reply.kind)  # the next run finds it as dead
    assert len(ask(web, cache, [f"o{k}" for k in range(7)])) == 2 and len(states(cache)) == 5


@pytest.mark.parametrize("reply", PAGES, ids=lambda r: f"{r.status}-{r.body[:6].decode()}")
def test_one_object_that_a_living_service_has_not(web, cache, reply):
    """A no of a service that works is a verdict; a page or a busy server is none, whoever else is served."""
    web.answer = lambda request: (Reply(reply.status, reply.body, reply.kind) if name(request) == "o2" else Reply(200, GOOD))
    dead = ask(web, cache, [f"o{k}" for k in range(5)])
    final = reply.status in (400, 404, 410, 500)
    assert states(cache) == {f"o{k}": "ok" for k in (0, 1, 3, 4)} | ({"o2": "bad"} if final else {})
    assert set(dead) == (set() if final else {"o2"})
    before = len(web.seen)
    ask(web, cache, [f"o{k}" for k in range(5)])
    assert (len(web.seen) == before) is final


def test_many_neighbours_without_a_file_are_no_dead_service(web, cache):
    web.answer = lambda request: Reply(404, b"") if int(name(request)[1:]) < 30 else Reply(200, GOOD)
    assert not ask(web, cache, [f"o{k}" for k in range(40)])
    assert list(states(cache).values()).count("bad") == 30


def test_the_proof_comes_from_the_cache_where_nothing_else_is_left(web, cache):
    cache.put("o0", replies.OK, GOOD)
    web.answer = lambda request: Reply(404, b"") if name(request) == "o1" else Reply(200, GOOD)
    assert not ask(web, cache, ["o0", "o1"])
    assert states(cache) == {"o0": "ok", "o1": "bad"} and [name(r) for r in web.seen] == ["o1", "o0"]
    web.answer = lambda request: Reply(404, b"")
    assert set(ask(web, cache, ["o0", "o1", "o2"])) == {"o2"} and "o2" not in states(cache)


def test_data_that_are_wrong_are_the_objects_own(web, cache):
    web.answer = lambda request: Reply(200, b"SIMPLE  = wrong" if name(request) == "o1" else GOOD)
    assert not ask(web, cache, ["o0", "o1"])
    assert cache.get("o1")[:2] == ("bad", "wrong_scale: twice")


def test_a_body_too_large_is_not_read_and_not_stored(web, cache, monkeypatch):
    monkeypatch.setattr(singles.Client.fetch, "__defaults__", (1000,))
    web.answer = lambda request: Reply(200, GOOD * 1000)
    assert "too_large" in ask(web, cache, ["o0"])["o0"] and not states(cache)


# Lists of HSC

ROW = "pdr2_wide coadd HSC-I any {}deg 2.0deg 0.1deg 0.1deg true true true"
ROWS = [ROW.format(150 + k / 100) for k in range(6)]


def known_rows(request):
    return [(line, " ".join(row.values())) for line, row in rows_of(request)]


def tar(request, has, body=GOOD):
    parts = [tar_member(f"arch-1-1/{line}-cutout-HSC-I-9813-pdr2_wide.fits", body)
             for line, row in known_rows(request) if row in has]
    return Reply(200, iter([*parts, END_OF_TAR]), "application/x-tar")


def fetch_list(web, cache, rows=ROWS, attempts=3):
    return lists.fetch(client(attempts), web.url + "/list", hsc_das.CUTOUT, rows, lambda row, name, body: check(body), cache,
                       attempts)


def test_a_row_is_without_coverage_after_two_lists(web, cache):
    web.answer = lambda request: tar(request, ROWS[:4])
    assert not fetch_list(web, cache)
    assert [states(cache)[row] for row in ROWS] == ["ok"] * 4 + ["no_coverage"] * 2
    first, second = (dict(known_rows(request)).values() for request in web.seen)
    assert set(first) == set(ROWS)
    assert set(second) > set(ROWS[4:]) and len(second) == 3  # one more, that the service has, to see that it answers


def test_one_empty_tar_is_no_verdict(web, cache):
    web.answer = lambda request: tar(request, ROWS if len(web.seen) > 1 else [])
    assert not fetch_list(web, cache)
    assert set(states(cache).values()) == {"ok"}


def test_a_survey_that_has_nothing_there_says_it_twice(web, cache):
    web.answer = lambda request: tar(request, [])
    assert not fetch_list(web, cache)
    assert set(states(cache).values()) == {"no_coverage"} and len(web.seen) == 2


def test_empty_tars_of_a_service_that_had_something_before_are_no_verdict(web, cache):
    web.answer = lambda request: tar(request, ROWS[:3] if len(web.seen) == 1 else [])
    dead = fetch_list(web, cache)
    assert set(dead) == set(ROWS[3:]) and all("held before" in cause for cause in dead.values())
    assert [states(cache).get(row) for row in ROWS] == ["ok"] * 3 + [None] * 3 and len(web.seen) <= 5


@pytest.mark.parametrize("reply", PAGES, ids=lambda r: f"{r.status}-{r.body[:6].decode()}")
def test_a_page_is_no_list(web, cache, reply):
    web.answer = lambda request: Reply(reply.status, reply.body, reply.kind)
    assert set(fetch_list(web, cache)) == set(ROWS) and not states(cache) and len(web.seen) <= 3


@pytest.mark.parametrize("page", [b"", b"<html>busy</html>", b"error"])
def test_members_that_are_pages_are_not_kept(web, cache, page):
    web.answer = lambda request: tar(request, ROWS, page)
    dead = fetch_list(web, cache)
    assert set(dead) == set(ROWS) and not states(cache)


def big_header(size):
    member = tarfile.TarInfo("arch-1-1/2-cutout-HSC-I-9813-pdr2_wide.fits")
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def long_name(size):
    member = tarfile.TarInfo("././@LongLink")
    member.size, member.type = size, tarfile.GNUTYPE_LONGNAME
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("head", [big_header(10**12), long_name(10**11)], ids=["member", "name"])
def test_a_tar_can_not_fill_the_memory(monkeypatch, head):
    monkeypatch.setattr(hsc_das, "MEMBER", 1_000_000)

    class Endless(io.RawIOBase):
        given = 0

        def read(self, size=-1):
            start, self.given = self.given, self.given + size
            return (head + b"x" * size)[start:start + size] if start < len(head) else b"x" * size

    source = Endless()
    with pytest.raises(ReplyError, match="too_large"):
        list(hsc_das.members(source))
    assert source.given < 3_000_000


def test_endless_zeros_after_a_tar_end(monkeypatch):
    monkeypatch.setattr(hsc_das, "MEMBER", 1_000_000)

    class Zeros(io.RawIOBase):
        def read(self, size=-1):
            return b"\0" * size

    with pytest.raises(ReplyError, match="too_large"):
        list(hsc_das.members(Zeros()))


# File lists of Pan-STARRS1

HEADER = "projcell subcell ra dec filter mjd type filename shortname badflag"
WHERE = {f"list {k}": (150.0 + k / 10, 2.0) for k in range(4)}


def listed(request, has):
    text = request.body.split(b"\r\n\r\n")[-1].split(b"\r\n--")[0].decode()
    lines = [line.split() for line in text.splitlines() if line.strip()]
    rows = [f"1360 059 {ra} {dec} g 0.0 stack /a.fits a.fits 0" for ra, dec in lines if (float(ra), float(dec)) in has]
    return Reply(200, "\n".join([HEADER, *rows]).encode())


def fetch_files(web, cache, where=None):
    def form(positions):
        return {"files": {"file": ("positions.txt", "".join(f"{ra:.10f} {dec:.10f}\n" for ra, dec in positions))}}

    return filelists.fetch(client(), web.url + "/files", where or WHERE, form, 2, cache, Progress(total=9, label="t"))


def test_an_empty_file_list_is_asked_for_twice(web, cache):
    has = list(WHERE.values())[:3]
    web.answer = lambda request: listed(request, has if len(web.seen) > 1 else [])
    assert not fetch_files(web, cache)
    assert list(states(cache).values()) == ["ok"] * 3 + ["no_coverage"]


def test_file_lists_of_a_service_gone_blank_are_no_verdict(web, cache):
    web.answer = lambda request: listed(request, list(WHERE.values())[:1] if len(web.seen) == 1 else [])
    dead = fetch_files(web, cache)
    assert set(dead) == set(list(WHERE)[1:]) and list(states(cache).values()) == ["ok"]


def test_beyond_the_surveys_edge_one_answer_is_enough(web, cache):
    web.answer = lambda request: listed(request, [])
    assert not fetch_files(web, cache, {"a": (10.0, -45.0)}) and len(web.seen) == 1
    assert not fetch_files(web, cache, {"b": (10.0, -29.0)}) and len(web.seen) == 3


@pytest.mark.parametrize("body", [b"", b"<html>", HEADER.encode() + b"\n1 2 here there g 0 stack a b 0", b'{"detail": "no"}'])
def test_what_is_no_file_list_is_no_verdict(web, cache, body):
    web.answer = lambda request: Reply(200, body)
    assert set(fetch_files(web, cache)) == set(WHERE) and not states(cache)
