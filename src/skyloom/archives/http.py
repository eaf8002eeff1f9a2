"""All outgoing requests: paced, capped, retried within bounds, with an honest User-Agent.

Transient: 408, 429, 5xx, broken connections, time-outs; `Retry-After` (seconds or date) is honoured.
Every other 4xx is final. Attempts and total time are both bounded, so nothing is asked for ever.
"""

from __future__ import annotations

import datetime
import io
import threading
import time
from contextlib import contextmanager
from email.utils import parsedate_to_datetime

import requests
import stamina
import urllib3

from skyloom import __version__
from skyloom.errors import Refused, ReplyError, ServiceError

TRANSIENT = {408, 429, 500, 502, 503, 504}


class Transient(Exception):
    """An answer that may be better next time; `wait` is what Retry-After asked for, in seconds, or None."""

    def __init__(self, message: str, wait: float | None = None):
        super().__init__(message)
        self.wait = wait


class Client:
    """A polite HTTP client for one host: at most `streams` open replies and `rpm` requests a minute."""

    def __init__(self, rpm: float, streams: int = 1, timeout: float = 60, attempts: int = 5, total_s: float = 600,
                 contact: str = "", auth: tuple[str, str] | None = None, wait_initial: float = 0.5):
        self.session = requests.Session()
        about = f"; {contact}" if contact else ""
        self.session.headers["User-Agent"] = f"skyloom/{__version__} (photo-z dataset builder{about})"
        self.session.trust_env = True
        self.auth, self.timeout = auth, timeout
        self.attempts, self.total_s, self.wait_initial = attempts, total_s, wait_initial
        self.interval, self.next, self.lock = 60.0 / rpm, 0.0, threading.Lock()
        self.slots = threading.BoundedSemaphore(streams)

    @contextmanager
    def open(self, method: str, url: str, stream_ok=(200,), **options):
        """A streamed reply (of status 200, or one of `stream_ok`) as a context.

        Refused for a final 4xx, ServiceError when the bounds are used up, ReplyError `broken_off` when the
        connection breaks or stalls while the block reads.
        """
        with self.slots:
            response = self._retried(method, url, options, stream_ok)
            try:
                yield response
            except (urllib3.exceptions.HTTPError, requests.RequestException) as error:
                raise ReplyError("broken_off", str(error)[:200]) from None
            finally:
                response.close()

    def fetch(self, method: str, url: str, **options) -> bytes:
        """The whole body of a 200 reply; errors as `open`."""
        with self.slots:
            return self._retried(method, url, options, (200,), whole=True).content

    def session_for_libraries(self) -> requests.Session:
        """A session for astroquery or pyvo: our User-Agent, pace, streams and retries under their calls."""
        session = requests.Session()
        session.headers.update(self.session.headers)
        session.auth = self.auth
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Polite(self))
        return session

    def _retried(self, method, url, options, good, whole=False):
        try:
            for attempt in self.attempts_at():
                with attempt:
                    return self._once(method, url, options, good, whole)
        except (Transient, requests.RequestException) as error:
            raise ServiceError(f"{method} {url} failed {self.attempts} times, last with: {error}") from None

    def attempts_at(self):
        """The attempts that one request may take: retried when transient, bounded in count and time."""
        return stamina.retry_context(on=_again, attempts=self.attempts, timeout=self.total_s,
                                     wait_initial=self.wait_initial, wait_max=60.0, wait_jitter=0.1)

    def _once(self, method, url, options, good, whole):
        self.pace()
        response = self.session.request(method, url, timeout=self.timeout, auth=self.auth, stream=not whole, **options)
        if response.status_code in good:
            return response
        text = " ".join(response.text.split())[:300]
        response.close()
        if response.status_code in TRANSIENT:
            raise Transient(f"HTTP {response.status_code} {text}", retry_after(response.headers.get("Retry-After")))
        error = Refused(f"HTTP {response.status_code} from {url}: {text}")
        error.status = response.status_code
        raise error

    def pace(self) -> None:
        """Sleep until this request's turn: turns are `interval` apart, whichever thread takes them."""
        with self.lock:
            now = time.monotonic()
            turn = max(now, self.next)
            self.next = turn + self.interval
        time.sleep(max(0.0, turn - now))


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
        response = None
        try:
            for attempt in self.client.attempts_at():
                with attempt, self.client.slots:
                    self.client.pace()
                    response = super().send(request, **options)
                    body = response.content
                    response.headers.pop("Content-Encoding", None)
                    response.raw = urllib3.HTTPResponse(io.BytesIO(body), response.headers, response.status_code,
                                                        preload_content=False)
                    if response.status_code in TRANSIENT:
                        raise Transient(f"HTTP {response.status_code}", retry_after(response.headers.get("Retry-After")))
        except Transient:
            pass
        return response


def _again(error: Exception) -> bool | float:
    """Whether stamina may retry: the seconds Retry-After asked for, else yes for what is transient."""
    if isinstance(error, Transient):
        return error.wait if error.wait is not None else True
    return isinstance(error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError)


def retry_after(value: str | None, now: datetime.datetime | None = None) -> float | None:
    """Seconds of a Retry-After header in either form (RFC 9110, 10.2.3), None if absent or unreadable."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    now = now or datetime.datetime.now(datetime.UTC)
    return max(0.0, (at - now).total_seconds())
