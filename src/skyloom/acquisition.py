"""How a run asks for its data: public addresses, whose service hands out what, and what a stamp depends on."""

from __future__ import annotations

import os
import re
import urllib.parse

from skyloom.errors import InputError
from skyloom.provenance.canonical import digest
from skyloom.surveys import imaging, spectro
from skyloom.surveys.service import Service

LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1")


def known_services() -> dict[str, Service]:
    """{name: Service} of all surveys; InputError where two surveys describe one service differently."""
    out: dict[str, Service] = {}
    for survey in (*imaging.REGISTRY.values(), *spectro.REGISTRY.values()):
        if out.setdefault(survey.service.name, survey.service) != survey.service:
            raise InputError(f"the survey {survey.name} describes the service {survey.service.name} otherwise than another "
                             "survey does; let both share one, or give it another name")
    return out


def services(config: dict) -> dict:
    """The services with their addresses as verbs get them in SKYLOOM_SERVICES: public ones where a live run names none."""
    from skyloom.archives import hsc_releases

    out = {name: dict(block) for name, block in config["services"].items()}
    release = hsc_releases.name(config["query"]["release"]) or "pdr2"
    if config["archive"] == "live":
        for name in known_services():
            out[name] |= {key: out[name][key] or url for key, url in addresses(name, release).items()}
    return out | {"archive": config["archive"], "embedded": config["embedded"] | {"release": release}}


def share(config: dict, service: str) -> tuple[int, int]:
    """(slots, requests a minute) of one job that asks a service: with fewer jobs at a time than the service has slots a job takes
    more of them, so that all jobs together never open more streams, nor ask faster, than the config says."""
    block = config["services"][service]
    together, known = jobs(service, block), known_services()
    return -(-(known[service].slots if service in known else 1) // together), max(1, block["rpm"] // together)


def addresses(name: str, release: str = "pdr2") -> dict[str, str]:
    """{key of the config: public addresses} of a service, empty for one that is no survey's; HSC's hold its `release`, given as
    in `query.release`."""
    from skyloom.archives import hsc_releases  # here, because every verb imports this module

    known, release = known_services(), hsc_releases.name(release) or "pdr2"
    return {key: url.replace("{release}", release) for key, url in known[name].urls.items()} if name in known else {}


def several(config: dict) -> bool:
    """Whether stamps are packed a group a survey: in all runs but those of local data or of one survey of GalaxiesML's layout."""
    surveys = config["stamps"]["surveys"]
    alone = len(surveys) == 1 and imaging.REGISTRY[surveys[0]].layout == "galaxiesml"
    return config["archive"] != "local" and not alone


def largest_stamp(config: dict) -> float:
    """Side in arcsec of the largest stamp that a run fetches or reads, over all its imaging surveys; 0 without images."""
    stamps, local = config["stamps"], config["local"]
    if config["archive"] == "local":
        return round(stamps["size"] * local["pixel_scale"], 6) if local["images"] else 0.0
    sides = {name: stamps["sizes"].get(name, stamps["size"]) * imaging.REGISTRY[name].scale for name in stamps["surveys"]}
    return round(max(sides.values()), 6)


def scene_scale(config: dict) -> float:
    """arcsec/px of a run's scenes."""
    survey = config["scenes"]["survey"]
    return config["local"]["pixel_scale"] if config["archive"] == "local" else imaging.REGISTRY[survey].scale


def check_scenes(config: dict) -> None:
    """InputError for scenes whose parts, labels or detectors make no sense in this run."""
    block, archive, survey = config["scenes"], config["archive"], config["scenes"]["survey"]
    if not survey:
        return
    if (survey == "local") != (archive == "local"):
        raise InputError(f"`scenes.survey` is {survey}, but `archive` is {archive}; images of your own need local in both")
    if survey == "local" and not config["local"]["images"]:
        raise InputError("`scenes.survey` is local, but `local.images` is empty; name the manifest of your images")
    if block["labels"] == "truth" and archive != "embedded":
        raise InputError(f"`scenes.labels` is truth, which only the embedded sky tells, but `archive` is {archive}; take catalog")
    if block["detector"] not in block["detectors"]:
        raise InputError(f"`scenes.detector` is {block['detector']}, which `scenes.detectors` doesn't name "
                         f"({', '.join(block['detectors'])}); add it there")
    bands = imaging.REGISTRY[survey].bands if survey != "local" else ()
    if bands and block["gold"]["band"] not in bands:
        raise InputError(f"`scenes.gold.band` is {block['gold']['band']}, but {survey} has {', '.join(bands)}; name one of those")
    from skyloom.sample import scenes  # a run without scenes decides nothing by it

    scenes.check(block, scene_scale(config))


def sky_options(embedded: dict) -> dict:
    """What makes the embedded sky: the block `embedded` without faults and without options that are off, so that a sky which
    has none of them is known by the name that it always had."""
    off = {"deep": False, "rubin_depth": "dp1"}
    return {key: value for key, value in embedded.items() if key != "faults" and value != off.get(key)}


def identity(archive: str, release: str, embedded: dict, name: str = "", urls=None) -> str:
    """What raw replies of the service `name` depend on besides the request; `embedded` without its faults.

    `urls` {key: addresses}, of which those count that are not the service's public ones: what another server answered in a
    rehearsal is not the archive's. The embedded sky is the same wherever on this machine it is served.
    """
    elsewhere = set()
    known = addresses(name, release) if archive == "live" else {}
    for key, value in (urls or {}).items():
        public = {place(url) for url in known.get(key, "").split()}
        elsewhere |= {place(url) for url in value.split()} - public if key.endswith("url") and value else set()
    if archive == "embedded":
        elsewhere = {where for where in elsewhere if not LOOPBACK.fullmatch(urllib.parse.urlsplit(where).hostname or "")}
    known = f"embedded sky {digest(embedded)}" if archive == "embedded" else f"{archive} {release}"
    return known + (f" at {' '.join(sorted(elsewhere))}" if elsewhere else "")


def place(url: str) -> str:
    """An address in one spelling: scheme, host, port and path; without login, query and checksum."""
    parts = urllib.parse.urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        raise InputError(f"the address {url} has no port that is a number; mend it in `services`") from None
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = "" if port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{port}"
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"


def jobs(name: str, options: dict) -> int:
    """Jobs at a time that may talk to a service. They share its `streams` and its `rpm`, of which each takes an equal part."""
    known = known_services()
    return max(1, min(known[name].slots if name in known else 1, options["streams"], int(options["rpm"])))


def check_account_hosts(urls: dict, name: str = "hsc", variable: str = "SKYLOOM_HSC_HOSTS",
                        what: str = "the account of HSC") -> None:
    """InputError unless every address may be told the account (or token: `what`) of the service `name`.

    These are the hosts of its public addresses by https, and whatever the environment's `variable` names: `host` or `host:port`
    (by https; on this machine by http too), `http://host:port`.
    """
    home = {urllib.parse.urlsplit(url).hostname for url in addresses(name).values()}
    named = os.environ.get(variable, "").replace(",", " ").lower().split()
    for url in (url for value in urls.values() for url in value.split()):
        parts = urllib.parse.urlsplit(place(url))
        host, spelled = parts.hostname or "", {parts.hostname, parts.netloc}
        near = parts.scheme == "https" or LOOPBACK.fullmatch(host)
        known = (parts.scheme == "https" and host in home) or (near and spelled.intersection(named))
        if not known and f"{parts.scheme}://{parts.netloc}" not in named:
            raise InputError(f"{parts.scheme}://{parts.netloc} is refused {what}, which belongs to "
                             f"{', '.join(sorted(home))} by https; mend `services.{name}` or name the host in {variable}")


def stamp_settings(stamps: dict, survey: str, rerun: str, identity: str) -> dict:
    """What the stamps of a survey depend on besides their positions, from the block `stamps`."""
    out = {k: v for k, v in stamps.items() if k not in ("surveys", "sizes", "ivar_source", "packed")}
    own = (("size", stamps["sizes"]), ("ivar_source", stamps["ivar_source"]))
    out |= {key: chosen[survey] for key, chosen in own if survey in chosen}
    return out | {"rerun": rerun, "identity": identity}
