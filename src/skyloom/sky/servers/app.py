"""The HTTP side shared by all emulated services: routing, limits, statistics, faults."""

from __future__ import annotations

import collections
import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from skyloom.sky.servers.faults import Faults


@dataclass
class Request:
    """What a service function sees."""

    method: str
    path: str
    query: str
    headers: dict
    body: bytes
    attempt: int = 0


@dataclass
class Reply:
    """Status, body (bytes or an iterator of bytes) and headers of an answer."""

    status: int = 200
    body: object = b""
    kind: str = "text/plain"
    headers: dict = field(default_factory=dict)


class Limits:
    """Streams at a time and a token bucket of requests per second; keeps the peaks that /_stats shows."""

    def __init__(self, streams: int | None, rate: float | None):
        self.streams, self.rate, self.lock = streams, rate, threading.Lock()
        self.open, self.peak_streams, self.refused = 0, 0, 0
        self.tokens, self.filled = (rate or 0) + 1.0, time.monotonic()
        self.times: collections.deque = collections.deque()
        self.peak_rate = 0

    def enter(self) -> int:
        """HTTP status for one more request: 200, 429 over the rate, 503 over the streams."""
        with self.lock:
            now = time.monotonic()
            self.times.append(now)
            while self.times[0] < now - 1:
                self.times.popleft()
            self.peak_rate = max(self.peak_rate, len(self.times))
            if self.rate:
                self.tokens = min(self.rate + 1.0, self.tokens + (now - self.filled) * self.rate)
                self.filled = now
                if self.tokens < 1:
                    self.refused += 1
                    return 429
                self.tokens -= 1
            self.peak_streams = max(self.peak_streams, self.open + 1)
            if self.streams and self.open >= self.streams:
                self.refused += 1
                return 503
            self.open += 1
            return 200

    def leave(self) -> None:
        with self.lock:
            self.open -= 1


class SkyServer(ThreadingHTTPServer):
    """An emulated archive on a loopback port; `routes` maps path prefixes to (service, endpoint, function)."""

    daemon_threads = True

    def __init__(self, routes: dict, port: int = 0, seed: int = 1, rate=None, streams=None, faults=(), log=None):
        super().__init__(("127.0.0.1", port), Handler)
        self.routes, self.log = routes, log
        # each service is a host of its own, with limits of its own
        self.limits = {service: Limits(streams, rate) for service, _, _ in routes.values()}
        self.faults = Faults(seed, faults)
        self.counts: collections.Counter = collections.Counter()
        self.statuses: collections.Counter = collections.Counter()
        self.objects: collections.Counter = collections.Counter()
        self.started = time.monotonic()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stats(self) -> dict:
        """Requests by endpoint and status, rows asked for, peak streams, peak requests in one second."""
        seconds = time.monotonic() - self.started
        limits = {name: {"peak_streams": limit.peak_streams, "peak_rate": limit.peak_rate, "refused": limit.refused}
                  for name, limit in self.limits.items()}
        worst = {key: max(limit[key] for limit in limits.values()) for key in ("peak_streams", "peak_rate")}
        return {"requests": dict(self.counts), "statuses": {str(k): v for k, v in self.statuses.items()},
                "rows": dict(self.objects), **worst, "refused": sum(limit["refused"] for limit in limits.values()),
                "services": limits, "seconds": seconds}

    def handle_error(self, request, client_address):
        """A client that hangs up is no error of ours."""

    @contextlib.contextmanager
    def running(self):
        """Serve in a thread for the block."""
        thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()


class Handler(BaseHTTPRequestHandler):
    """Reads a request, applies limits and faults, hands it to the service, writes the reply."""

    protocol_version = "HTTP/1.1"

    def log_message(self, text, *args):
        pass

    def do_GET(self):
        self._answer()

    def do_POST(self):
        self._answer()

    def do_DELETE(self):
        self._answer()

    def _answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        path, _, query = self.path.partition("?")
        request = Request(self.command, path, query, dict(self.headers), self.rfile.read(length))
        if path == "/_stats":
            return self._write(Reply(200, json.dumps(self.server.stats()).encode(), "application/json"))
        found = next((self.server.routes[p] for p in self.server.routes if path.startswith(p)), None)
        if found is None:
            return self._write(Reply(404, b"not found"))
        service, endpoint, function = found
        endpoint = endpoint or path.rstrip("/").rsplit("/", 1)[-1]
        self.server.counts[f"{service}.{endpoint}"] += 1
        limits = self.server.limits[service]
        status = limits.enter()
        if status != 200:
            return self._write(Reply(status, b"too many requests", headers={"Retry-After": "1"}))
        try:
            fault = self.server.faults.for_request(service, endpoint, request)
            self._write(_spoiled(function, request, fault, self.server))
        finally:
            limits.leave()

    def _write(self, reply: Reply):
        self.server.statuses[reply.status] += 1
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if isinstance(reply.body, bytes):
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)
            return
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        for part in reply.body:
            self.wfile.write(part)


def _spoiled(function, request: Request, fault: dict | None, server: SkyServer) -> Reply:
    """The service's reply with a fault of the whole request applied."""
    kind = fault["kind"] if fault else None
    if kind in ("500", "502", "503"):
        return Reply(int(kind), b"<html><body>proxy error</body></html>", "text/html")
    if kind == "429":
        return Reply(429, b"slow down", headers={"Retry-After": "1"})
    if kind == "429_date":
        return Reply(429, b"slow down", headers={"Retry-After": formatdate(time.time() + 1, usegmt=True)})
    if kind == "html":
        return Reply(200, b"<html><body>The service is under maintenance.</body></html>", "text/html")
    if kind == "422":
        return Reply(422, b"UsageError: Unknown parameter")
    if kind == "empty":
        return Reply(200, b"", "application/x-tar")
    if kind == "revoked":
        return Reply(401, b"Unauthorized", headers={"WWW-Authenticate": 'Basic realm="hsc-ssp"'})
    if kind == "latency":
        time.sleep(fault.get("seconds", 0.5))
    reply = function(request, server)
    if kind == "truncated" and reply.status == 200:
        reply.body = _cut(reply.body, fault.get("bytes", 200_000))
    if kind == "stall":
        reply.body = _stall(reply.body, fault.get("seconds", 3.0))
    return reply


def _parts(body):
    return iter([body]) if isinstance(body, bytes) else body


def _cut(body, limit: int):
    for part in _parts(body):
        yield part[:limit]
        limit -= len(part)
        if limit <= 0:
            return


def _stall(body, seconds: float):
    for number, part in enumerate(_parts(body)):
        if number == 0:
            yield part[: len(part) // 2]
            time.sleep(seconds)
            yield part[len(part) // 2:]
        else:
            yield part
