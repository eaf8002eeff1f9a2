"""Faults on demand: functions of (seed, request, attempt), never of the clock.

A fault is a mapping: `service`, `endpoint`, `kind`, one of `every` (about one request in N) or `objects` (a
fraction of the positions), and `times` (attempts that it hits; absent = all of them, a permanent failure).
"""

from __future__ import annotations

import collections
import threading

from skyloom.sky import hashing

REQUEST_KINDS = ("latency", "429", "429_date", "500", "502", "503", "stall", "truncated", "html", "empty", "revoked", "422")
MEMBER_KINDS = ("corrupt_fits", "wrong_scale", "all_nan", "all_zero", "off_centre", "wrong_order", "unknown_unit", "some_nan",
                "expired_link", "wrong_band")


class Faults:
    """The fault list of a server with its count of attempts."""

    def __init__(self, seed: int, faults):
        for fault in faults:
            if fault.get("kind") not in REQUEST_KINDS + MEMBER_KINDS:
                raise ValueError(f"unknown fault kind {fault.get('kind')!r}; known: "
                                 + ", ".join(REQUEST_KINDS + MEMBER_KINDS))
        self.seed, self.faults = seed, list(faults)
        self.attempts: collections.Counter = collections.Counter()
        self.lock = threading.Lock()

    def for_request(self, service: str, endpoint: str, request) -> dict | None:
        """The fault that hits this whole request, if any. Its body without the boundary line is its identity."""
        body = b"\n".join(line for line in request.body.splitlines() if not line.startswith(b"--"))
        return self._find(REQUEST_KINDS, service, endpoint, hashing.key(request.path, request.query, body))

    def for_member(self, service: str, endpoint: str, ra: float, dec: float, band: str) -> dict | None:
        """The fault that hits one position and band of a list, if any."""
        return self._find(MEMBER_KINDS, service, endpoint, hashing.key(f"{ra:.6f}", f"{dec:.6f}"), band)

    def _find(self, kinds, service, endpoint, identity, band=""):
        for number, fault in enumerate(self.faults):
            if (fault["kind"] not in kinds or fault["service"] != service
                    or fault.get("endpoint", endpoint) != endpoint or fault.get("band", band) != band):
                continue
            chance = fault["objects"] if "objects" in fault else 1.0 / fault.get("every", 1)
            if hashing.uniform(self.seed, "fault", number, identity) >= chance:
                continue
            with self.lock:
                attempt = self.attempts[(number, identity, band)]
                self.attempts[(number, identity, band)] += 1
            if attempt < fault.get("times", float("inf")):
                return fault
        return None
