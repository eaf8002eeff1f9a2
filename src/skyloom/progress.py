"""Progress of long work: a line on stderr at most every few seconds, with the time left."""

from __future__ import annotations

import sys
import time


class Progress:
    """Report `done of total` with a time left; used as `for item in Progress(items, "verb")` or by `step`."""

    def __init__(self, items=None, label: str = "", total: int | None = None, every: float = 5.0):
        self.items, self.label, self.every = items, label, every
        self.total = total if total is not None else len(items)
        self.done, self.start = 0, time.monotonic()
        self.last = self.start

    def __iter__(self):
        for item in self.items:
            yield item
            self.step()

    def step(self, by: int = 1, note: str = "") -> None:
        """Count `by` more items as done and, if it is time, say so."""
        self.done += by
        now = time.monotonic()
        if now - self.last >= self.every or self.done >= self.total:
            self.last = now
            left = (now - self.start) / max(self.done, 1) * max(self.total - self.done, 0)
            note = f", {note}" if note else ""
            print(f"{self.label}: {self.done} of {self.total}, {left:.0f} s left{note}", file=sys.stderr, flush=True)
