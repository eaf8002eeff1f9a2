"""Pan-STARRS1's file lists: which stacks hold a position, asked for many positions at a time."""

from __future__ import annotations

from collections.abc import Callable

from skyloom.archives import panstarrs as ps1
from skyloom.archives import replies
from skyloom.archives.http import Client
from skyloom.errors import ReplyError, ServiceError


def fetch(client: Client, url: str, where: dict, form: Callable, attempts: int, cache: replies.Replies,
          progress) -> dict[str, str]:
    """Ask for the file lists of `where` {key: (ra, dec) in deg} that `cache` lacks; {key: cause} of what was not answered.

    `form(positions)` makes the keyword arguments of a request (see `panstarrs.list_form`).
    A position without a file has no coverage at once only where the survey never looked; elsewhere after two lists, the
    second of which names files of a position that has some, where one is known.
    """
    have = cache.have()
    known = next((where[key] for key in where if have.get(key) == replies.OK), None)
    todo = [key for key in where if key not in have]
    waiting, absent = todo, set()
    while waiting:
        part = waiting[:ps1.POSITIONS - 1]
        asked = [where[key] for key in part]
        proof = [known] if known and absent.intersection(part) else []
        try:
            found = _listed(client, url, asked + proof, form, attempts)
            if proof and not found[-1]:
                raise ReplyError("empty", "a list without a position that it held before")
        except ServiceError as error:
            return dict.fromkeys(waiting, str(error))
        for key, files in zip(part, found[:len(part)], strict=True):
            if files:
                known = where[key]
                lines = [" ".join(files[0]), *(" ".join(row.values()) for row in files)]
                cache.put(key, replies.OK, "\n".join(lines).encode())
            elif key in absent or where[key][1] < ps1.SOUTHERN_EDGE:
                cache.put(key, replies.NO_COVERAGE)
            else:
                absent.add(key)
                continue
            progress.step()
        cache.commit()
        have = cache.have()
        waiting = [key for key in waiting if key not in have]
    return {}


def _listed(client: Client, url: str, where, form: Callable, attempts: int) -> list[list[dict]]:
    """The files of each position, asked for again while the reply is no list; ServiceError in the end."""
    for attempt in range(attempts):
        try:
            text = client.fetch("POST", url, **form(where)).decode("utf-8", "replace")
            return ps1.by_position(ps1.parse_list(text), where)
        except (ReplyError, ValueError) as error:
            if attempt == attempts - 1:
                raise error if isinstance(error, ReplyError) else ReplyError("not_a_list", str(error)) from None
    raise ServiceError("no attempts allowed")
