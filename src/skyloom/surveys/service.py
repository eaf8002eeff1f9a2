"""A service: where it lives, how often and how many at a time it may be asked. Several surveys may share one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Service:
    """`urls` {key of the config: public address, empty where none lasts}; requests a minute and streams at a time of all
    jobs together (`most_streams` can't be exceeded); bounds of a request; `options` {key: JSON schema with a default}
    that no other service has; `slots` jobs at a time. `account`: asked for with a login, sent to no other host; `token`: the
    environment variable of a bearer token that is asked for and treated alike, {token without _TOKEN}_HOSTS names further hosts
    of it; `handover`: replies may lie on another host, which is asked without either."""

    name: str
    urls: Mapping[str, str]
    rpm: int = 20
    streams: int = 1
    most_streams: int = 2
    timeout_s: float = 600
    attempts: int = 5
    total_s: float = 900
    wait_initial_s: float = 1.0
    slots: int = 1
    account: bool = False
    token: str = ""
    handover: bool = False
    options: Mapping[str, dict] = field(default_factory=dict)

    def schema(self, shared: dict) -> dict:
        """The block `services.<name>` of the config's schema: `shared` (keys that all have) with this service's defaults."""
        own = {name: {**shared["properties"][name], "default": getattr(self, name)}
               for name in ("rpm", "streams", "timeout_s", "attempts", "total_s", "wait_initial_s")}
        own["streams"] |= {"maximum": self.most_streams, "description": "at a time, all jobs together"}
        own["rpm"]["description"] = "requests a minute, all jobs together"
        urls = {key: {"type": "string", "default": "", "description": address or "no public address lasts"}
                for key, address in self.urls.items()}
        return {**shared, "default": {}, "properties": {**shared["properties"], **urls, **own, **self.options}}
