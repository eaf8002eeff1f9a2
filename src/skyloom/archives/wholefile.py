"""Files that somebody publishes whole: resumed under one validator, complete to the byte, never a page in a file's place.

`pooch` would replace little of this: it neither resumes nor knows our pace, retries, User-Agent and streams.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import time
import urllib.parse
import zlib
from dataclasses import dataclass
from pathlib import Path

from skyloom.archives import bodies
from skyloom.archives.http import shown
from skyloom.errors import InputError, Refused, ReplyError

BLOCK = 1 << 20
MOST = 100_000_000_000  # bytes of a file, packed or unpacked: the largest published catalog has some 20 GB
GZIPPED = ("gzip", "x-gzip")
CODINGS = (*GZIPPED, "deflate", "br", "zstd", "compress", "x-compress")


@dataclass
class _Part:
    """What came so far, as it came over the wire, and a note of what it is a part of."""

    path: Path
    note: Path

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def known(self) -> dict:
        """{validator, encoding, total} of the part; {} where it can't be completed."""
        try:
            known = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        known = {"validator": known} if isinstance(known, str) else known  # a tag alone, as older parts have it
        good = isinstance(known, dict) and str(known.get("validator") or "W/").startswith("W/") is False
        return known if good else {}

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def name_of(url: str) -> str:
    """The name under which the file of an address is kept: its last path segment, without query and checksum."""
    last = urllib.parse.unquote(urllib.parse.urlsplit(url).path).rsplit("/", 1)[-1]
    return re.sub(r"[^\w.+-]", "_", last).lstrip(".") or "file"


def download(client, url: str, path: Path, attempts: int = 5, checksum: str = "") -> Path:
    """The file at `url` in `path`; a part left by a break or a killed job is completed if it is still the same file.

    `checksum` (`md5=...`, `sha256=...`) may stand at the end of the address after a `#`; a file of another one is asked for
    again. Refused, ServiceError as `http.Client.open`; Refused for a page in the file's place, of which nothing is kept;
    ReplyError of the last attempt when it broke off `attempts` times; InputError where the disk is too small.
    """
    url, _, told = url.partition("#")
    path, checksum = Path(path), _checksum(checksum or told)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(path.with_name(path.name + ".part"), path.with_name(path.name + ".etag"))
    if path.exists() and not _differs(path, checksum):
        return path
    for attempt in range(attempts):
        try:
            known = _ask(client, url, part)
            try:
                _unpack(part.path, path, known, url, checksum)
            finally:
                part.forget()
            return path
        except ReplyError:
            if attempt == attempts - 1:
                raise
            time.sleep(min(client.wait_initial * 2**attempt, 60.0))
    raise ReplyError("broken_off", "no attempts allowed")


def _ask(client, url: str, part: _Part) -> dict:
    """One request, from where the last one ended; the note of the part, which is complete."""
    known, headers = part.known(), {"Accept-Encoding": "identity"}
    if not known:
        part.forget()
    size = part.size()
    if size:
        headers |= {"Range": f"bytes={size}-", "If-Range": known["validator"]}
    with client.open("GET", url, headers=headers, stream_ok=(200, 206, 416)) as response:
        first, total = _span(response)
        if response.status_code == 416 and total == size and not _other(known, response, total):
            return known  # nothing was missing
        if response.status_code != 200 and (first != size or _other(known, response, total)):
            part.forget()
            raise ReplyError("wrong_range", f"asked for bytes from {size} of {shown(url)}, got HTTP {response.status_code} "
                             f"{response.headers.get('Content-Range', 'without a range')}")
        blocks = response.raw.stream(BLOCK, decode_content=False)
        start = next(blocks, b"")
        if response.status_code == 200:
            _refuse_page(start, url, response.url if response.history else "")
            size, known = 0, {"validator": _validator(response), "encoding": response.headers.get("Content-Encoding", "")}
        _check_room(part.path.parent, total, size, url)
        known |= {"total": total}
        part.note.write_text(json.dumps(known), encoding="utf-8")
        if not size:
            part.path.unlink(missing_ok=True)
        with open(part.path, "ab") as handle:
            handle.write(start)
            for block in blocks:
                size += handle.write(block)
                if size > MOST:
                    raise Refused(f"{shown(url)} sends more than {MOST / 1e9:.0f} GB; mend the address")
    if total is not None and part.size() != total:
        raise ReplyError("broken_off", f"{part.size()} of {total} bytes of {shown(url)}")
    return known


def _span(response) -> tuple[int | None, int | None]:
    """(first byte, length of the whole file) that a reply tells, None where it doesn't."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() and "Transfer-Encoding" not in response.headers else None
    found = re.fullmatch(r"bytes\s+(?:\*|(\d+)-(\d+))/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if found is None:
        return None, None
    first, last, total = found.groups()
    if total == "*":
        return int(first or 0), int(last) + 1 if last else None
    return int(first) if first else None, int(total)


def _validator(response) -> str:
    """What tells whether the file is still the same: a strong ETag, else the date; nothing where neither is told."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _other(known: dict, response, total: int | None) -> bool:
    """True if a partial reply says that it belongs to another file than the part."""
    name = "ETag" if known["validator"].startswith('"') else "Last-Modified"
    told = {response.headers.get(name, known["validator"]), known["validator"]}
    lengths = {total, known.get("total")} - {None}
    encodings = {response.headers.get("Content-Encoding", ""), known.get("encoding", "")}
    return len(told) > 1 or len(lengths) > 1 or (len(encodings) > 1 and response.status_code == 206)


def _refuse_page(start: bytes, url: str, moved: str = "") -> None:
    """Refused for a page, or nothing at all, in the place of a file; `moved` is where redirects led."""
    kind = bodies.page(start)
    if kind in ("html", "json", "empty"):
        what = {"html": "a web page, perhaps a login", "json": "a message in JSON", "empty": "nothing"}[kind]
        where = f" (by redirects from {shown(moved)})" if moved else ""
        raise Refused(f"{shown(url)} sent {what}{where}, not a file; mend the address in `services` or try later")


def _check_room(folder: Path, total: int | None, size: int, url: str) -> None:
    free = shutil.disk_usage(folder).free
    if total is not None and total - size > free:
        raise InputError(f"{shown(url)} needs {(total - size) / 1e9:.2f} GB and {folder} has {free / 1e9:.2f} GB free; "
                         "free some space and run again")


def _unpack(part: Path, path: Path, known: dict, url: str, checksum: tuple[str, str] | None) -> None:
    """Move a complete part to `path`, without the packing that the server put around it for the way.

    A file that is published packed and is only labelled so (`x-gzip`) stays as it is.
    """
    told = [word for word in re.split(r"[,\s]+", known.get("encoding", "").lower()) if word in CODINGS]  # else a mere label
    if len(told) > 1 or not set(told) <= set(GZIPPED):
        raise Refused(f"{shown(url)} comes packed as {', '.join(told)} although plain bytes were asked for; fetch it by other "
                      "means")
    with open(part, "rb") as handle:
        packed = handle.read(2) == bodies.GZIP
    wrapped = bool(told) and packed
    plain = path.with_name(path.name + ".plain")
    try:
        # where no length was told only the packing itself tells that all has come
        start = _gunzip(part, plain if wrapped else None) if packed and (wrapped or known.get("total") is None) else b""
        if wrapped:
            _refuse_page(start, url)
        published = wrapped and path.suffix in (".gz", ".tgz") and not start.startswith(bodies.GZIP)
        chosen = plain if wrapped and not published else part
        found = _differs(chosen, checksum)
        if found:
            raise ReplyError("wrong_checksum", f"{shown(url)} has {found}, not {'='.join(checksum)}")
        chosen.rename(path)
    finally:
        plain.unlink(missing_ok=True)


def _gunzip(part: Path, out: Path | None) -> bytes:
    """The first bytes of an unpacked file, the whole of which goes to `out`; ReplyError `damaged`, `too_large`."""
    start, size = b"", 0
    try:
        with gzip.open(part) as source, open(out or os.devnull, "wb") as target:
            while block := source.read(BLOCK):
                start, size = start or block[:1024], size + target.write(block)
                if size > MOST:
                    raise ReplyError("too_large", f"more than {MOST / 1e9:.0f} GB unpacked")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ReplyError("damaged", f"the packed file is not whole ({error})") from None
    return start


def _checksum(text: str) -> tuple[str, str] | None:
    """(kind, hexadecimal digits) of `md5=...` or `sha256=...`, None for no text; InputError for anything else."""
    if not text:
        return None
    kind, _, value = text.lower().replace(":", "=").partition("=")
    if len(value) != {"md5": 32, "sha256": 64}.get(kind) or not re.fullmatch("[0-9a-f]+", value):
        raise InputError(f"the checksum {text!r} is none; write md5=... or sha256=... in hexadecimal digits")
    return kind, value


def _differs(path: Path, checksum: tuple[str, str] | None) -> str:
    """The checksum of a file in words where it isn't the one told, else an empty string."""
    if checksum is None:
        return ""
    kind, value = checksum
    with open(path, "rb") as handle:
        found = hashlib.file_digest(handle, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
    return "" if found == value else f"{kind}={found}"
