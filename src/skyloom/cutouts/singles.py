"""Services that answer one request at a time: several streams, every reply kept as it arrives."""

from __future__ import annotations

import collections
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from skyloom.archives import replies
from skyloom.archives.http import Client
from skyloom.errors import InputError, Refused, ReplyError, ServiceError

DEAD_AFTER = 4  # requests in a row that used up their attempts: the service is gone, not the object


@dataclass
class Ask:
    """One request: its key in the cache, how to send it, and `check(body)`, which raises ReplyError for a bad body."""

    key: str
    url: str
    check: Callable[[bytes], None]
    params: dict = field(default_factory=dict)


def fetch(client: Client, asks: list[Ask], cache: replies.Replies, attempts: int, streams: int, progress=None) -> dict[str, str]:
    """Ask for everything without a final reply in `cache`.

    A bad body is asked for again, up to `attempts` times, then kept as bad with its cause; so is a final 4xx. A request
    that used up its attempts while others went through is kept as bad too. After `DEAD_AFTER` such requests without a
    good one between them the service counts as dead and nothing more is asked. Returns {key: cause} of the requests
    that the service never answered; they aren't stored, so a rerun asks again. InputError if the account is refused.
    """
    have = cache.have()
    queue = collections.deque(ask for ask in asks if ask.key not in have)
    tries: collections.Counter = collections.Counter()
    given_up: dict[str, str] = {}
    barren, dead, running = 0, "", {}
    with ThreadPoolExecutor(streams) as pool:
        while (queue and not dead) or running:
            while queue and not dead and len(running) < 2 * streams:
                ask = queue.popleft()
                running[pool.submit(client.fetch, "GET", ask.url, params=ask.params)] = ask
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                ask = running.pop(done)
                try:
                    again = _keep(ask, done, cache, tries, attempts)
                except ServiceError as error:
                    given_up[ask.key], barren = str(error), barren + 1
                    dead = dead or (str(error) if barren >= DEAD_AFTER else "")
                    continue
                barren = 0
                if again:
                    queue.append(ask)
                elif progress:
                    progress.step()
    if not dead and len(given_up) < len(asks):
        for key, cause in given_up.items():
            cache.put(key, replies.BAD, None, cause)
        given_up = {}
    cache.commit()
    return given_up | {ask.key: dead for ask in queue}


def _keep(ask: Ask, done, cache, tries, attempts) -> bool:
    """Store a finished request's reply; True if it has to be asked again. ServiceError when its attempts are used up."""
    try:
        body = done.result()
        ask.check(body)
    except Refused as error:
        if getattr(error, "status", 0) in (401, 403):
            raise InputError(f"the service refused the request ({error}); check the account or the User-Agent") from None
        cache.put(ask.key, replies.BAD, None, f"http_{getattr(error, 'status', 0)}: {error}")
        return False
    except ReplyError as error:
        tries[ask.key] += 1
        if tries[ask.key] < attempts:
            return True
        cache.put(ask.key, replies.BAD, body, str(error))
        return False
    cache.put(ask.key, replies.OK, body)
    return False
