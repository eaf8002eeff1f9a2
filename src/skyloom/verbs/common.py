"""What several verbs share: settings from the command line, services from the environment, provenance."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys

from skyloom import __version__, acquisition, locks
from skyloom.errors import InputError
from skyloom.provenance.canonical import digest
from skyloom.provenance.fingerprint import fingerprint


def settings_argument(parser) -> None:
    """`--settings JSON`: the science settings of a rule, so that no verb reads config.yaml."""
    parser.add_argument("--settings", type=json.loads, required=True, metavar="JSON")


def fetching_arguments(parser) -> None:
    """Where pixels come from, a service or a manifest, and where they go."""
    parser.add_argument("--survey", default="hsc", help="an imaging survey, or the name that a manifest's images get")
    parser.add_argument("--cache", help="SQLite file of raw replies")
    parser.add_argument("--manifest", default="", help="manifest of local images instead of a service")
    parser.add_argument("--rpm", type=float, default=60)
    parser.add_argument("--out", required=True)


def provenance(settings: dict, code: str = "") -> dict:
    """Attributes that every output carries; `code` stands in for the fingerprint of the verb at work."""
    verb = os.environ.get("SKYLOOM_VERB", "")
    return {"skyloom_version": __version__, "config_hash": settings.get("config_hash") or digest(settings),
            "code_hash": code or (fingerprint(verb) if verb else ""), "run": settings.get("run", ""),
            "release": settings.get("release", "")}


@contextlib.contextmanager
def service(name: str, rpm: float):
    """(client, urls, account, options) of an archive service as SKYLOOM_SERVICES says.

    With `archive: embedded` and no url set, a server of the embedded sky runs inside the job for the block; otherwise the
    block holds one of the service's places, of which all processes on this machine share few. InputError if a live service
    needs credentials that the environment lacks, or would be sent them and isn't theirs.
    """
    from skyloom import acquisition
    from skyloom.archives.http import Client

    everything = json.loads(os.environ.get("SKYLOOM_SERVICES") or "{}")
    options = everything.get(name)
    if options is None:
        raise InputError(f"SKYLOOM_SERVICES does not describe the service {name}; run the verb through snakemake "
                         "or `python -m skyloom run`")
    known = acquisition.known_services().get(name)
    urls = _Addresses(name, {key: value for key, value in options.items() if key.endswith("url") and value})
    with contextlib.ExitStack() as stack:
        many = acquisition.jobs(name, options)
        account = _account(everything["archive"], urls) if known and known.account else None
        token = _token(known, everything["archive"], urls) if known and known.token else None
        if everything["archive"] == "embedded" and not urls:
            urls = stack.enter_context(_embedded(name, everything["embedded"], account))
        else:
            where = f"{name}-{digest(sorted(acquisition.place(u) for v in urls.values() for u in v.split()))}"
            stack.enter_context(locks.slot(where, many, tell=lambda text: print(text, file=sys.stderr, flush=True)))
        client = Client(rpm=rpm, streams=options["streams"] // many, timeout=options["timeout_s"], attempts=options["attempts"],
                        total_s=options["total_s"], contact=options["contact"], auth=account or token,
                        wait_initial=options["wait_initial_s"], handover=bool(known and known.handover))
        if token:
            client.remedy = f"set {known.token} to a valid token"
        yield client, urls, account, options


class _Addresses(dict):
    """The addresses of a service by key; InputError for one that is missing."""

    def __init__(self, name: str, urls: dict):
        super().__init__(urls)
        self.name = name

    def __missing__(self, key):
        raise InputError(f"the config names no address `services.{self.name}.{key}`, and no public one is known; set it")


def _account(archive: str, urls: dict) -> tuple[str, str]:
    """The login of the environment for HSC's own hosts; the embedded sky has one of its own and is never told a real one."""
    if archive == "embedded":
        return "embedded", "sky"
    user, password = os.environ.get("SKYLOOM_HSC_USER"), os.environ.get("SKYLOOM_HSC_PASSWORD")
    if not (user and password):
        raise InputError("the HSC archive needs an account; set SKYLOOM_HSC_USER and SKYLOOM_HSC_PASSWORD")
    acquisition.check_account_hosts(urls)
    return user, password


def _token(service, archive: str, urls: dict):
    """The bearer token of the environment for the service's own hosts; the embedded sky has one of its own, as for `_account`."""
    from skyloom.archives.http import Token

    if archive == "embedded":
        from skyloom.sky.servers import rubin

        return Token(rubin.TOKEN)
    secret = os.environ.get(service.token, "").strip()
    if not secret:
        raise InputError(f"the archive {service.name} needs a token; set {service.token}")
    if not re.fullmatch(r"[\x21-\x7e]+", secret):
        raise InputError(f"{service.token} holds characters that no token has (blanks, line ends, other alphabets); set it anew")
    hosts = service.token.removesuffix("_TOKEN") + "_HOSTS"
    acquisition.check_account_hosts(urls, service.name, hosts, f"the token {service.token}")
    return Token(secret)


@contextlib.contextmanager
def _embedded(name: str, options: dict, account):
    from skyloom.sky.servers import world

    with world.server(embedded_sky(options), account=account, faults=options["faults"]).running() as running:
        urls = world.urls(running.url, options.get("release") or "pdr2")
        if name not in urls:
            raise InputError(f"the embedded sky has no service {name}; set the addresses `services.{name}` of a server that has")
        yield urls[name]


def embedded_sky(options: dict):
    """The Sky that the `embedded` block describes."""
    from skyloom.sky.hsc import Sky

    return Sky(seed=options["seed"], footprint=tuple(options["footprint"]), hole_rate=options["hole_rate"],
               gap_rate=options["gap_rate"], reddening=options["reddening"], rubin_depth=options.get("rubin_depth", "dp1"),
               deep=options.get("deep", False))
