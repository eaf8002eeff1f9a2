"""Whole files from web servers as they are: packed on the way, in parts, changed, moved, behind a login, damaged."""

import gzip
import hashlib
import json

import pytest

from skyloom.archives import flatfiles, wholefile
from skyloom.archives.http import Client
from skyloom.errors import InputError, Refused, ReplyError
from skyloom.sky.servers.app import Reply, SkyServer

TEXT = b"# NUM ALPHA DELTA Z\n" + b"".join(b"%d 150.%04d 2.1 0.5\n" % (k, k) for k in range(4000))
PACKED = gzip.compress(TEXT, mtime=0)
TAG = '"one"'


@pytest.fixture()
def web():
    """A server on which every path answers with `web.answer(request)`; `web.seen` are the requests."""
    def answer(request, _):
        server.seen.append(request)
        return server.answer(request)

    server = SkyServer({"/": ("hsc", "file", answer)})
    server.seen, server.answer = [], None
    with server.running():
        yield server


def client(**options):
    return Client(**{"rpm": 600000, "timeout": 3, "attempts": 2, "wait_initial": 0.01, **options})


def get(web, path, name="f.txt", **options):
    return wholefile.download(client(), web.url + "/" + name, path, **options)


def part_of(path, body, tag=TAG, **more):
    """Leave the part of a broken download."""
    path.with_name(path.name + ".part").write_bytes(body)
    path.with_name(path.name + ".etag").write_text(json.dumps({"validator": tag, "encoding": "", "total": None} | more))


def ranged(body, tag=TAG, **headers):
    """A server of one file that knows ranges."""
    def answer(request):
        told = {"ETag": tag} | headers
        at = request.headers.get("Range")
        if at and request.headers.get("If-Range") == tag:
            first = int(at[6:].split("-")[0])
            if first >= len(body):
                return Reply(416, b"", headers={"Content-Range": f"bytes */{len(body)}"})
            return Reply(206, body[first:], headers=told | {"Content-Range": f"bytes {first}-{len(body) - 1}/{len(body)}"})
        return Reply(200, body, headers=told)

    return answer


def left(path):
    return sorted(p.name for p in path.parent.iterdir())


@pytest.mark.parametrize(("name", "sent", "encoding", "kept"), [
    ("f.txt", TEXT, "", TEXT), ("f.txt", PACKED, "gzip", TEXT), ("f.txt", PACKED, "x-gzip", TEXT),
    ("f.txt.gz", PACKED, "x-gzip", PACKED), ("f.txt.gz", PACKED, "gzip", PACKED), ("f.txt.gz", PACKED, "", PACKED),
    ("f.txt.gz", gzip.compress(PACKED), "gzip", PACKED), ("f.txt", TEXT, "identity", TEXT), ("f.txt", TEXT, "gzip", TEXT),
    ("f.txt", TEXT, "utf-8", TEXT), ("f.txt", PACKED, "aws-chunked, GZIP", TEXT)])
def test_whatever_is_packed_for_the_way_arrives_as_published(web, tmp_path, name, sent, encoding, kept):
    web.answer = ranged(sent, **({"Content-Encoding": encoding} if encoding else {}))
    path = get(web, tmp_path / name, name)
    assert path.read_bytes() == kept and left(path) == [name]
    assert len(web.seen) == 1 and web.seen[0].headers["Accept-Encoding"] == "identity"
    assert len(flatfiles.read(path, "text", "NUM", ("Z",))) == 4000


@pytest.mark.parametrize("name", ["f.txt", "f.txt.gz"])
def test_a_packed_file_is_resumed_too(web, tmp_path, name):
    web.answer = ranged(PACKED, **{"Content-Encoding": "gzip"})
    part_of(tmp_path / name, PACKED[:1000], encoding="gzip", total=len(PACKED))
    assert get(web, tmp_path / name, name).read_bytes() == (PACKED if name.endswith(".gz") else TEXT)
    assert web.seen[0].headers["Range"] == "bytes=1000-"


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_another_packing_is_refused_in_a_sentence(web, tmp_path, encoding):
    web.answer = ranged(b"\xce\xb2\xcf\x81" * 100, **{"Content-Encoding": encoding})
    with pytest.raises(Refused, match=f"packed as {encoding} although"):
        get(web, tmp_path / "f.txt")
    assert left(tmp_path / "f.txt") == []


def test_a_part_is_completed_from_where_it_ends(web, tmp_path):
    web.answer = ranged(TEXT)
    part_of(tmp_path / "f.txt", TEXT[:5000])
    assert get(web, tmp_path / "f.txt").read_bytes() == TEXT
    assert [r.headers.get("Range") for r in web.seen] == ["bytes=5000-"] and left(tmp_path / "f.txt") == ["f.txt"]


@pytest.mark.parametrize("size", [len(TEXT), len(TEXT) + 700])
def test_a_part_that_is_whole_or_too_long_ends_well(web, tmp_path, size):
    web.answer = ranged(TEXT)
    part_of(tmp_path / "f.txt", (TEXT + b"x" * 700)[:size])
    assert get(web, tmp_path / "f.txt").read_bytes() == TEXT
    assert len(web.seen) == (1 if size == len(TEXT) else 2)


@pytest.mark.parametrize("headers", [
    {"Content-Range": f"bytes 0-{len(TEXT) - 1}/{len(TEXT)}"}, {"Content-Range": "bytes 900-999/1000"}, {},
    {"Content-Range": "lines 5-9/10"}, {"Content-Range": f"bytes 5000-{len(TEXT) - 1}/{len(TEXT)}", "ETag": '"two"'},
    {"Content-Range": f"bytes 5000-{len(TEXT) - 1}/{len(TEXT)}", "Content-Encoding": "gzip"}])
def test_a_partial_reply_that_does_not_fit_is_thrown_away(web, tmp_path, headers):
    web.answer = lambda request: (Reply(206, TEXT[5000:], headers=headers) if "Range" in request.headers else Reply(200, TEXT))
    part_of(tmp_path / "f.txt", TEXT[:5000])
    assert get(web, tmp_path / "f.txt").read_bytes() == TEXT
    assert ["Range" in r.headers for r in web.seen] == [True, False]


def test_a_file_that_changed_or_a_server_without_ranges_starts_anew(web, tmp_path):
    web.answer = lambda request: Reply(200, TEXT)
    part_of(tmp_path / "f.txt", b"other" * 99)
    assert get(web, tmp_path / "f.txt").read_bytes() == TEXT


@pytest.mark.parametrize(("told", "resumes"), [
    ({"ETag": TAG}, True), ({"ETag": 'W/"one"'}, False), ({"Last-Modified": "Mon, 02 Jan 2023 00:00:00 GMT"}, True),
    ({"ETag": 'W/"one"', "Last-Modified": "Mon, 02 Jan 2023 00:00:00 GMT"}, True), ({}, False)])
def test_a_part_is_trusted_only_under_a_strong_validator(web, tmp_path, told, resumes):
    def answer(request):
        if "Range" in request.headers:
            assert request.headers["If-Range"] in told.values() and not request.headers["If-Range"].startswith("W/")
            span = {"Content-Range": f"bytes 3000-{len(TEXT) - 1}/{len(TEXT)}"}
            return Reply(206, TEXT[3000:], headers=told | span)
        # breaks off the first time: the length tells more than comes
        return Reply(200, iter([TEXT[:3000]]) if len(web.seen) == 1 else TEXT,
                     headers=told | ({"Content-Length": str(len(TEXT))} if len(web.seen) == 1 else {}))

    web.answer = answer
    assert get(web, tmp_path / "f.txt").read_bytes() == TEXT
    assert len(web.seen) == 2 and ("Range" in web.seen[1].headers) is resumes


PAGES = [b"<!DOCTYPE html><html><body>Please log in</body></html>", b"\n\n  <html>maintenance</html>",
         b'{"error": "no token"}', b"", b"\xef\xbb\xbf<HTML>"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_page_in_the_place_of_a_file_is_refused_and_a_good_part_stays(web, tmp_path, page, encoding):
    body = gzip.compress(page) if encoding else page
    web.answer = lambda request: Reply(200, body, "text/html", {"Content-Encoding": encoding} if encoding else {})
    part_of(tmp_path / "f.txt", TEXT[:5000])
    with pytest.raises(Refused, match="not a file; mend the address"):
        get(web, tmp_path / "f.txt")
    assert "f.txt" not in left(tmp_path / "f.txt")
    assert encoding or (tmp_path / "f.txt.part").read_bytes() == TEXT[:5000]
    assert len(web.seen) == 1  # a page is no accident


def test_a_redirect_to_a_login_names_where_it_led(web, tmp_path):
    web.answer = lambda request: (Reply(200, PAGES[0], "text/html") if "login" in request.path
                                  else Reply(302, b"", headers={"Location": "/login?next=f"}))
    with pytest.raises(Refused, match="/f.txt sent a web page, perhaps a login .by redirects from .*/login"):
        get(web, tmp_path / "f.txt")
    assert left(tmp_path / "f.txt") == []


def test_an_honest_redirect_is_followed(web, tmp_path):
    web.answer = lambda request: (Reply(200, TEXT) if "mirror" in request.path
                                  else Reply(301, b"", headers={"Location": "/mirror"}))
    assert get(web, tmp_path / "f.txt").read_bytes() == TEXT


def test_a_packed_file_without_a_length_is_read_to_its_end_before_it_counts(web, tmp_path):
    web.answer = lambda request: Reply(200, iter([PACKED[:3000] if len(web.seen) == 1 else PACKED]))
    assert get(web, tmp_path / "f.gz").read_bytes() == PACKED and len(web.seen) == 2


def test_checksums_are_the_publishers(web, tmp_path):
    web.answer = lambda request: Reply(200, TEXT[:-1] + b"?" if len(web.seen) == 1 else TEXT)
    told = "sha256=" + hashlib.sha256(TEXT).hexdigest()
    assert get(web, tmp_path / "f.txt", name=f"f.txt#{told}").read_bytes() == TEXT
    assert len(web.seen) == 2 and "#" not in web.seen[0].path
    (tmp_path / "f.txt").write_bytes(b"damaged on the disk")
    assert get(web, tmp_path / "f.txt", checksum=told).read_bytes() == TEXT and len(web.seen) == 3
    get(web, tmp_path / "f.txt", checksum="md5:" + hashlib.md5(TEXT).hexdigest())
    assert len(web.seen) == 3
    with pytest.raises(ReplyError, match="wrong_checksum"):
        get(web, tmp_path / "g.txt", checksum="md5=" + "0" * 32)
    assert "g.txt" not in left(tmp_path / "g.txt")
    with pytest.raises(InputError, match="md5=... or sha256=..."):
        get(web, tmp_path / "h.txt", checksum="crc32=12")


def test_a_small_disk_is_one_sentence_before_the_first_byte(web, tmp_path, monkeypatch):
    import collections

    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(wholefile.shutil, "disk_usage", lambda folder: usage(1, 1, 1000))
    web.answer = ranged(TEXT)
    with pytest.raises(InputError, match="GB free; free some space"):
        get(web, tmp_path / "f.txt")


def test_names_of_files_come_from_the_path_alone():
    assert wholefile.name_of("https://x.org/a/zcat.fits.gz?token=1#sha256=00") == "zcat.fits.gz"
    assert wholefile.name_of("https://x.org/a/%2e%2e%2fb c.txt") == "b_c.txt"
    assert wholefile.name_of("https://x.org/") == "file"
