"""What a body is before anybody parses it: a page in the place of data; packed bytes, unpacked within bounds."""

from __future__ import annotations

import gzip
import io
import zlib

from skyloom.errors import ReplyError

MOST = 200_000_000  # bytes of one reply in memory: the largest table page of a survey is some 80 MB
TABLE = 4_000_000_000  # bytes of a table that an archive made for us, or of an unpacked catalog
GZIP = b"\x1f\x8b"


def page(body: bytes) -> str:
    """`empty`, `html`, `json` or `text` for a body that was written to be read, "" for one that holds bytes of data.

    Such a body in the place of an image or a tar says nothing about the object: the service is down, has moved, or wants
    a login. A FITS file, whose header is text, is data.
    """
    head = body[:1024].removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if not head:
        return "empty" if len(body) < 1024 else ""
    if head.startswith(b"SIMPLE"):
        return ""
    if head.startswith((b"<", b"\xff\xfe<", b"\xfe\xff\0<")):
        return "html"
    if head[:1] in b"{[":
        return "json"
    text = sum(byte >= 32 or byte in b"\t\r\n\f" for byte in head) == len(head)
    try:
        head[:-4].decode()
    except UnicodeDecodeError:
        return ""
    return "text" if text else ""


def unzipped(body: bytes, limit: int = TABLE) -> bytes:
    """The bytes of a gzip file, other bytes as they are; ReplyError `too_large` beyond `limit`, `broken_off` if damaged."""
    if not body.startswith(GZIP):
        return body
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as handle:
            whole = handle.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ReplyError("broken_off", f"the gzip file is damaged ({error})") from None
    if len(whole) > limit:
        raise ReplyError("too_large", f"more than {limit / 1e6:.0f} MB unpacked")
    return whole
