"""A polite end: signals that would kill a process on the spot let it tidy up first."""

from __future__ import annotations

import contextlib
import signal
import threading


@contextlib.contextmanager
def raised(*kinds: str):
    """Turn the signals `kinds` (default SIGTERM, SIGHUP) into SystemExit for the block, so that its `finally` clauses run.

    Outside the main thread, where Python takes no handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number, _frame):
        raise SystemExit(128 + number)

    before = {getattr(signal, name): signal.signal(getattr(signal, name), end) for name in kinds or ("SIGTERM", "SIGHUP")}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
