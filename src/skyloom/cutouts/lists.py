"""Services that take lists of rows: ask for what is missing, keep every reply as it arrives."""

from __future__ import annotations

import collections

from skyloom.archives import bodies, hsc_das, replies
from skyloom.archives.http import Client
from skyloom.errors import InputError, Refused, ReplyError, ServiceError

MEMBERS = 10  # of a row at most: tracts overlap


def fetch(client: Client, url: str, columns: str, rows: list[str], check, store: replies.Replies, attempts: int,
          progress=None) -> dict[str, str]:
    """Ask the list service at `url` for every row without a final reply in `store`.

    `check(row, name, body)` raises ReplyError for a reply that isn't what the row asked for; such a row is asked
    again, up to `attempts` times, then kept as bad with its cause (a page in the place of data is not kept). A row that is
    left out by two lists that ended well has no coverage; the second holds a row that the service has, where one is known.
    A list that breaks off is asked again for what is missing; after `attempts` rounds without a single new reply the
    service counts as dead.
    Returns {row: cause} of the rows that the service never answered; they aren't stored, a rerun asks again.
    InputError if the service refuses the account.
    """
    have = store.have()
    known = next((row for row in rows if have.get(row) == replies.OK), "")
    lists = _Lists(client, url, columns, check, store, attempts, known)
    waiting = sorted((row for row in rows if row not in have), key=hsc_das.sort_key)
    barren, dead = 0, ""
    while waiting and not dead:
        before = len(waiting)
        try:
            new, broken = lists.ask(waiting[:hsc_das.ROWS - 1])
        except ServiceError as error:
            if isinstance(error, Refused) and getattr(error, "status", 0) == 401:
                raise InputError("the HSC archive refused the account; set SKYLOOM_HSC_USER and "
                                 "SKYLOOM_HSC_PASSWORD to a valid pair") from None
            new, broken, dead = 0, "", str(error)
        finally:
            store.commit()
        waiting = [row for row in waiting if row not in lists.done]
        if progress:
            progress.step(before - len(waiting))
        barren = 0 if new else barren + 1
        if barren >= attempts:
            dead = broken or "no reply to any row"
    return lists.causes | dict.fromkeys(waiting, dead)


class _Lists:
    """The requests of one service: `done` rows aren't asked again, `causes` are those of them that aren't stored either,
    `absent` were left out once; `known` is a row that the service has."""

    def __init__(self, client, url, columns, check, store, attempts, known):
        self.client, self.url, self.columns, self.check, self.store = client, url, columns, check, store
        self.attempts, self.known = attempts, known
        self.done: set[str] = set()
        self.absent: set[str] = set()
        self.causes: dict[str, str] = {}
        self.tries: collections.Counter = collections.Counter()

    def ask(self, batch: list[str]) -> tuple[int, str]:
        """One request: how much more is known afterwards, and why the list broke off (empty if it didn't)."""
        before, seen = self._learnt(), set()
        proof = self.known if self.absent.intersection(batch) and self.known not in batch else ""
        asked = [*batch, proof] if proof else batch
        try:
            with self.client.open("POST", self.url, files=hsc_das.list_file(self.columns, asked)) as response:
                for count, (index, name, body) in enumerate(hsc_das.members(response.raw)):
                    if count > MEMBERS * len(asked):
                        raise ReplyError("too_large", f"more than {count} members for {len(asked)} rows")
                    if not 0 <= index < len(asked):
                        raise ReplyError("wrong_line", f"{name} in a list of {len(asked)} rows")
                    seen.add(asked[index])
                    if asked[index] != proof:
                        self._take(asked[index], name, body)
            if proof and proof not in seen:
                raise ReplyError("empty", "a list without a row that it held before")
        except ReplyError as error:
            return self._learnt() - before, str(error)
        for row in batch:
            if row not in seen:
                self._left_out(row)
        return self._learnt() - before, ""

    def _learnt(self) -> int:
        return len(self.done) + len(self.absent)

    def _take(self, row: str, name: str, body: bytes) -> None:
        """Keep a member, or ask for its row again."""
        try:
            self.check(row, name, body)
            self.store.put(row, replies.OK, body)
            self.known = row
        except ReplyError as error:
            self.tries[row] += 1
            if self.tries[row] < self.attempts:
                return
            if bodies.page(body):
                self.causes[row] = str(error)
            else:
                self.store.put(row, replies.BAD, body, str(error))
        self.done.add(row)

    def _left_out(self, row: str) -> None:
        """The list ended well without the row: no coverage, if that isn't the first time."""
        if row in self.absent:
            self.store.put(row, replies.NO_COVERAGE)
            self.done.add(row)
        self.absent.add(row)
