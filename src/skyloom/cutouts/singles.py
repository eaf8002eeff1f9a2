"""Services that answer one request at a time: several streams, every reply kept as it arrives."""

from __future__ import annotations

import collections
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from skyloom.archives import bodies, replies
from skyloom.archives.http import Client
from skyloom.errors import InputError, Refused, ReplyError, ServiceError

DEAD_AFTER = 4  # requests in a row that used up their attempts: the service is gone, not the object


@dataclass
class Ask:
    """One request: its key in the cache, how to send it, `check(body)`, which raises ReplyError for a bad body, and, optional,
    `keep(body)`: what of a good one is stored."""

    key: str
    url: str
    check: Callable[[bytes], None]
    params: dict = field(default_factory=dict)
    keep: Callable[[bytes], bytes] = bytes


def fetch(client: Client, asks: list[Ask], cache: replies.Replies, attempts: int, streams: int, progress=None) -> dict[str, str]:
    """Ask for everything without a final reply in `cache`; {key: cause} of what has none afterwards.

    Stored are good bodies; data that are not what was asked for, after `attempts` tries, as bad with their cause; and a
    final 4xx or a 500 as bad too, but only if a good reply came afterwards, where need be to a question that was answered
    well before. Nothing else is said about an object, and a rerun asks again: a page in the place of data, a busy or silent
    server, a no from a service that isn't seen to work. After `DEAD_AFTER` used-up requests in a row that question decides
    whether the service is gone; then nothing more is asked. InputError if the account is refused.
    """
    have = cache.have()
    queue = collections.deque(ask for ask in asks if ask.key not in have)
    known = next((ask for ask in asks if have.get(ask.key) == replies.OK), None)
    work = _Work(client, cache, attempts, known)
    dead, running = "", {}
    with ThreadPoolExecutor(streams) as pool:
        while (queue and not dead) or running:
            while queue and not dead and len(running) < 2 * streams:
                work.sent += 1  # from both ends while nothing is known to work: neighbours may share a file that is gone
                ask = queue.popleft() if work.known or work.sent % 2 else queue.pop()
                running[pool.submit(client.fetch, "GET", ask.url, params=ask.params)] = ask, work.sent
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                ask, number = running.pop(done)
                if work.keep(ask, number, done):
                    queue.append(ask)
                elif progress and ask.key not in work.causes:
                    progress.step()
            if not dead or not work.barren:
                dead = work.gone()
    work.judge(bool(dead))
    cache.commit()
    return work.causes | {ask.key: dead for ask in queue}


class _Work:
    """What came of the requests so far, and what that says about the service.

    `causes` {key: cause} of those without a reply to store; `verdicts` {key: requests sent until then} of the 4xx and 500
    among them; `proof` number of the last request that was answered well; `barren` tries in a row without a good reply;
    `known` a request that was answered well.
    """

    def __init__(self, client: Client, cache: replies.Replies, attempts: int, known: Ask | None):
        self.client, self.cache, self.attempts, self.known = client, cache, attempts, known
        self.causes: dict[str, str] = {}
        self.verdicts: dict[str, int] = {}
        self.tries: collections.Counter = collections.Counter()
        self.barren, self.sent, self.proof = 0, 0, 0

    def keep(self, ask: Ask, number: int, done) -> bool:
        """Take note of a finished request; True if it has to be asked again."""
        body = b""
        try:
            body = done.result()
            ask.check(body)
        except ReplyError as error:
            return self._bad(ask, body, error)
        except ServiceError as error:
            status = getattr(error, "status", 0)
            if isinstance(error, Refused) and status in (401, 403):
                remedy = getattr(self.client, "remedy", Client.remedy)
                raise InputError(f"the service refused the request ({error}); {remedy}") from None
            self.causes[ask.key] = f"http_{status}: {error}" if isinstance(error, Refused) else str(error)
            if 400 <= status <= 500 and status not in (408, 429):
                self.verdicts[ask.key] = self.sent
            self.barren += self.attempts
            return False
        self.cache.put(ask.key, replies.OK, ask.keep(body))
        self.known, self.proof, self.barren = ask, max(self.proof, number), 0
        return False

    def _bad(self, ask: Ask, body: bytes, error: ReplyError) -> bool:
        self.tries[ask.key] += 1
        page = bodies.page(body)  # an empty body where the reply was too large to be read
        self.barren = self.barren + 1 if page else 0
        if self.tries[ask.key] < self.attempts:
            return True
        if page:
            self.causes[ask.key] = f"{page}: no data in a reply with status 200 ({error})"
        else:
            self.cache.put(ask.key, replies.BAD, body, str(error))
        return False

    def gone(self) -> str:
        """Why nothing more should be asked; empty while the service works, as far as one can see."""
        if self.barren < DEAD_AFTER * self.attempts or self._works():
            return ""
        return next(reversed(self.causes.values()), "pages in the place of data")

    def _works(self) -> bool:
        """Whether the service still answers a question that it has answered before."""
        if self.known is None:
            return False
        try:
            self.known.check(self.client.fetch("GET", self.known.url, params=self.known.params))
        except ServiceError:
            return False
        self.sent += 1
        self.proof, self.barren = self.sent, 0
        return True

    def judge(self, dead: bool) -> None:
        """Store the verdicts after which a request was sent that was answered well."""
        if not dead and any(sent >= self.proof for sent in self.verdicts.values()):
            self._works()
        for key, sent in self.verdicts.items():
            if sent < self.proof:
                self.cache.put(key, replies.BAD, None, self.causes.pop(key))
