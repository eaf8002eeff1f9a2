"""All outgoing requests: paced, capped, retried within bounds, with an honest User-Agent.

Transient: 408, 429, 5xx, broken connections, time-outs; `Retry-After` (seconds or date) is honoured.
Every other 4xx is final. Attempts, total time and the size of a body are all bounded, so nothing is asked for ever.
"""

from __future__ import annotations

import copy
import datetime
import io
import re
import threading
import time
import urllib.parse
from contextlib import contextmanager
from email.utils import parsedate_to_datetime

import requests
import stamina
import urllib3

from skyloom import __version__
from skyloom.archives import bodies
from skyloom.errors import Refused, ReplyError, ServiceError

TRANSIENT = {408, 429, 500, 502, 503, 504}


class Transient(Exception):
    """An answer that may be better next time; `wait` is what Retry-After asked for, in seconds, or None."""

    def __init__(self, message: str, wait: float | None = None, status: int = 0):
        super().__init__(message)
        self.wait, self.status = wait, status


class Token(requests.auth.AuthBase):
    """A bearer token (RFC 6750) as the login of a `Client`; whatever prints it shows no part of it."""

    def __init__(self, secret: str):
        self.secret = secret

    def __call__(self, request):
        request.headers["Authorization"] = f"Bearer {self.secret}"
        return request

    def __repr__(self):
        return "Token(...)"


class Client:
    """A polite HTTP client for one host: at most `streams` open replies and `rpm` requests a minute.

    `auth` is a login (user, password) or a `Token`; with `handover` a GET may be sent on to another host, which isn't told the
    login. `remedy` says what to do where the login is refused.
    """

    remedy = "check the account or the User-Agent"

    def __init__(self, rpm: float, streams: int = 1, timeout: float = 60, attempts: int = 5, total_s: float = 600,
                 contact: str = "", auth: tuple[str, str] | Token | None = None, wait_initial: float = 0.5,
                 handover: bool = False):
        self.session = _Session(private=auth is not None, handover=handover)
        about = f"; {contact}" if contact else ""
        self.session.headers["User-Agent"] = f"skyloom/{__version__} (photo-z dataset builder{about})"
        self.session.trust_env = True
        self.auth, self.timeout = auth, timeout
        self.attempts, self.total_s, self.wait_initial = attempts, total_s, wait_initial
        self.interval, self.next, self.lock = 60.0 / rpm, 0.0, threading.Lock()
        self.slots = threading.BoundedSemaphore(streams)

    @contextmanager
    def open(self, method: str, url: str, stream_ok=(200,), **options):
        """A streamed reply (of status 200, or one of `stream_ok`) as a context; `raw` gives decoded bytes.

        Refused for a final 4xx, ServiceError when the bounds are used up, ReplyError `broken_off` when the
        connection breaks or stalls while the block reads.
        """
        with self.slots:
            response = self._retried(method, url, options, stream_ok)
            response.raw.decode_content = True
            try:
                yield response
            except (urllib3.exceptions.HTTPError, requests.RequestException) as error:
                raise ReplyError("broken_off", str(error)[:200]) from None
            finally:
                response.close()

    def fetch(self, method: str, url: str, limit: int = bodies.MOST, **options) -> bytes:
        """The whole body of a 200 reply; errors as `open`, ReplyError `too_large` beyond `limit` bytes."""
        with self.slots:
            return self._retried(method, url, options, (200,), limit)

    def brief(self, attempts: int = 2, seconds: float = 20) -> Client:
        """The same client, session and pace with less patience: for what must not keep a dying job alive."""
        other = copy.copy(self)
        other.attempts, other.total_s, other.timeout = attempts, seconds, min(self.timeout, seconds)
        return other

    def session_for_libraries(self) -> requests.Session:
        """A session for astroquery or pyvo: our User-Agent, pace, streams and retries under their calls."""
        session = requests.Session()
        session.headers.update(self.session.headers)
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Polite(self))
        return session

    def _retried(self, method, url, options, good, limit=None):
        """The open reply, or its body where it is bounded by `limit`."""
        deadline, tried = time.monotonic() + self.total_s, 0
        try:
            for attempt in self.attempts_at():
                with attempt:
                    tried = attempt.num
                    return self._once(method, url, options, good, limit, deadline)
        except (Transient, requests.RequestException) as error:
            times = "once" if tried == 1 else f"{tried} times"
            failed = ServiceError(f"{method} {shown(url)} failed {times}, last with: {self._hidden(str(error))}")
            failed.status = getattr(error, "status", 0)
            raise failed from None

    def attempts_at(self):
        """The attempts that one request may take: retried when transient, bounded in count and time.

        A wait that the server asks for and that is longer than the time left ends them at once, with words that say so.
        """
        deadline = time.monotonic() + self.total_s

        def again(error: Exception) -> bool | float:
            wait = _again(error)
            left = deadline - time.monotonic()
            if not isinstance(wait, bool) and wait > left:
                error.args = (f"{error}; it asks to wait {wait:.0f} s and `total_s` leaves {max(0.0, left):.0f}: run again "
                              "later",)
                return False
            return wait

        return stamina.retry_context(on=again, attempts=self.attempts, timeout=self.total_s,
                                     wait_initial=self.wait_initial, wait_max=60.0, wait_jitter=0.1)

    def _once(self, method, url, options, good, limit, deadline):
        self.pace()
        response = self.session.request(method, url, timeout=self.timeout, auth=self.auth, stream=True, **options)
        keep = False
        try:
            status = response.status_code
            if status in good:
                keep = limit is None
                return response if keep else self._own(b"".join(_bounded(response.iter_content(1 << 16), limit, deadline)))
            text = self._hidden(_excerpt(response))
            if status < 500 and self.session.handover and _origin(response.url) != _origin(url):
                raise Transient(f"HTTP {status} from the storage that {shown(url)} sent us to, whose links expire: {text}",
                                retry_after(response.headers.get("Retry-After")))
            if status in TRANSIENT:
                raise Transient(f"HTTP {status} {text}", retry_after(response.headers.get("Retry-After")), status)
            raise _refused(f"HTTP {status} from {shown(url)}: {text}", status)
        finally:
            if not keep:
                response.close()

    def _own(self, body: bytes) -> bytes:
        """The body; ReplyError where it repeats our token, which would then lie in a cache."""
        if isinstance(self.auth, Token) and self.auth.secret.encode() in body:
            raise ReplyError("repeats_token", "the reply holds the token that was sent")
        return body

    def _hidden(self, text: str) -> str:
        """A text without our token, and without the signatures of links to another host."""
        text = text.replace(self.auth.secret, "(token)") if isinstance(self.auth, Token) else text
        return re.sub(r"\?\S+=\S+", "?...", text) if self.session.handover else text

    def pace(self) -> None:
        """Sleep until this request's turn: turns are `interval` apart, whichever thread takes them."""
        with self.lock:
            now = time.monotonic()
            turn = max(now, self.next)
            self.next = turn + self.interval
        time.sleep(max(0.0, turn - now))


class _Session(requests.Session):
    """Follows redirects, but carries a login to no other origin and makes no question out of an upload.

    With `handover` another origin is asked, without the login."""

    def __init__(self, private: bool, handover: bool = False):
        super().__init__()
        self.private, self.handover = private, handover

    def get_redirect_target(self, response):
        """As requests has it. Refused where a body or a login would go elsewhere, or the body be left behind."""
        target = super().get_redirect_target(response)
        if target is None:
            return None
        there = urllib.parse.urljoin(response.url, target)
        moved = f"{shown(response.url)} is moved to {shown(there)} (HTTP {response.status_code})"
        if self.private and not self.handover and _origin(there) != _origin(response.url):
            raise _refused(f"{moved}, where the account isn't sent; mend the address in `services`", response.status_code)
        if response.request.method == "POST" and response.status_code in (301, 302, 303):
            raise _refused(f"{moved}, which would drop what was uploaded; mend the address in `services`",
                           response.status_code)
        return target

    def rebuild_auth(self, prepared_request, response):
        """No login after a redirect to another origin: requests keeps it from http to https of one host."""
        if _origin(prepared_request.url) != _origin(response.request.url):
            prepared_request.headers.pop("Authorization", None)
        super().rebuild_auth(prepared_request, response)


class _Polite(requests.adapters.HTTPAdapter):
    """Sends what a library asks for with a client's pace, streams and retries."""

    def __init__(self, client: Client):
        super().__init__()
        self.client = client

    def send(self, request, **options):
        """The whole reply; a transient status that outlives the attempts is handed to the library as it is.

        The body is read here, where a stalled one is asked for again; the library finds it in `raw` all the same.
        """
        options["timeout"] = options.get("timeout") or self.client.timeout
        response, deadline = None, time.monotonic() + self.client.total_s
        try:
            for attempt in self.client.attempts_at():
                with attempt, self.client.slots:
                    self.client.pace()
                    response = super().send(request, **options)
                    parts = response.raw.stream(1 << 16, decode_content=True)
                    body = b"".join(_bounded(parts, bodies.MOST, deadline))
                    response.headers.pop("Content-Encoding", None)
                    response.raw = urllib3.HTTPResponse(io.BytesIO(body), response.headers, response.status_code,
                                                        preload_content=False)
                    if response.status_code in TRANSIENT:
                        raise Transient(f"HTTP {response.status_code}", retry_after(response.headers.get("Retry-After")))
        except Transient:
            pass
        except urllib3.exceptions.HTTPError as error:
            raise requests.ConnectionError(error) from None
        return response


def _bounded(parts, limit: int, deadline: float):
    """The parts of a body; ReplyError `too_large` beyond `limit` bytes, Transient when they dribble past `deadline`."""
    size = 0
    for part in parts:
        size += len(part)
        if size > limit:
            raise ReplyError("too_large", f"a reply of more than {limit / 1e6:.0f} MB")
        if time.monotonic() > deadline:
            raise Transient(f"the reply was not over within `total_s`, {size} bytes had come")
        yield part


def _excerpt(response) -> str:
    """The first words of an error's body, however long it is."""
    try:
        head = next(response.iter_content(4096), b"")
    except (urllib3.exceptions.HTTPError, requests.RequestException):
        head = b""
    return " ".join(head.decode("utf-8", "replace").split())[:300]


def _refused(text: str, status: int) -> Refused:
    error = Refused(text)
    error.status = status
    return error


def _origin(url: str) -> tuple:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def shown(url: str) -> str:
    """An address without the login that it may hold."""
    return re.sub(r"//[^/@\s]*@", "//", url)


def _again(error: Exception) -> bool | float:
    """Whether stamina may retry: the seconds Retry-After asked for, else yes for what is transient."""
    if isinstance(error, Transient):
        return error.wait if error.wait is not None else True
    return isinstance(error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError
                      | requests.exceptions.ContentDecodingError | urllib3.exceptions.HTTPError)


def retry_after(value: str | None, now: datetime.datetime | None = None) -> float | None:
    """Seconds of a Retry-After header in either form (RFC 9110, 10.2.3), None if absent or unreadable."""
    if not value:
        return None
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", value.strip()):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)  # a zone of -0000 is UTC
    now = now or datetime.datetime.now(datetime.UTC)
    return max(0.0, (at - now).total_seconds())
