"""Services that take lists of rows: ask for what is missing, keep every reply as it arrives."""

from __future__ import annotations

import collections

from skyloom.archives import hsc_das, replies
from skyloom.archives.http import Client
from skyloom.errors import InputError, Refused, ReplyError, ServiceError


def fetch(client: Client, url: str, columns: str, rows: list[str], check, store: replies.Replies, attempts: int,
          progress=None) -> dict[str, str]:
    """Ask the list service at `url` for every row without a final reply in `store`.

    `check(row, name, body)` raises ReplyError for a reply that isn't what the row asked for; such a row is asked
    again, up to `attempts` times, then kept as bad with its cause. A list that breaks off is asked again for what
    is missing; after `attempts` rounds without a single new reply the service counts as dead.
    Returns {row: cause} of the rows that the service never answered; they aren't stored, a rerun asks again.
    InputError if the service refuses the account.
    """
    have = store.have()
    waiting = sorted((row for row in rows if row not in have), key=hsc_das.sort_key)
    tries: collections.Counter = collections.Counter()
    barren, dead = 0, ""
    while waiting and not dead:
        batch = waiting[:hsc_das.ROWS]
        before = len(waiting)
        try:
            done, broken = _ask(client, url, columns, batch, check, store, tries, attempts)
        except ServiceError as error:
            if isinstance(error, Refused) and getattr(error, "status", 0) == 401:
                raise InputError("the HSC archive refused the account; set SKYLOOM_HSC_USER and "
                                 "SKYLOOM_HSC_PASSWORD to a valid pair") from None
            done, broken, dead = set(), "", str(error)
        finally:
            store.commit()
        waiting = [row for row in waiting if row not in done]
        if progress:
            progress.step(before - len(waiting))
        barren = 0 if done else barren + 1
        if barren >= attempts:
            dead = broken or "no reply to any row"
    return dict.fromkeys(waiting, dead)


def _ask(client, url, columns, batch, check, store, tries, attempts) -> tuple[set[str], str]:
    """One request: the rows that got a final reply, and why the list broke off (empty if it didn't)."""
    done: set[str] = set()
    again: set[str] = set()
    try:
        with client.open("POST", url, files=hsc_das.list_file(columns, batch)) as response:
            for index, name, body in hsc_das.members(response.raw):
                if not 0 <= index < len(batch):
                    raise ReplyError("wrong_line", f"{name} in a list of {len(batch)} rows")
                row = batch[index]
                try:
                    check(row, name, body)
                    store.put(row, replies.OK, body)
                except ReplyError as error:
                    tries[row] += 1
                    if tries[row] < attempts:
                        again.add(row)
                        continue
                    store.put(row, replies.BAD, body, str(error))
                done.add(row)
    except ReplyError as error:
        return done, str(error)
    for row in batch:
        if row not in done and row not in again:  # the list ended well and left these out: no coverage
            store.put(row, replies.NO_COVERAGE)
            done.add(row)
    return done, ""
