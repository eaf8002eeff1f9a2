"""How a run asks for its data: public addresses, whose service hands out what, and what a stamp depends on."""

from __future__ import annotations

import os
import re
import urllib.parse

from skyloom.errors import InputError
from skyloom.provenance.canonical import digest
from skyloom.surveys import imaging, spectro

LIVE = {
    "hsc": {
        "sql_url": "https://hsc-release.mtk.nao.ac.jp/datasearch/api/catalog_jobs/",
        "cutout_url": "https://hsc-release.mtk.nao.ac.jp/das_cutout/pdr2/cgi-bin/cutout",
        "psf_url": "https://hsc-release.mtk.nao.ac.jp/psf/pdr2/cgi/getpsf",
    },
    "ps1": {
        "filenames_url": "https://ps1images.stsci.edu/cgi-bin/ps1filenames.py",
        "fitscut_url": "https://ps1images.stsci.edu/cgi-bin/fitscut.cgi",
    },
    "viewer": {"url": "https://www.legacysurvey.org/viewer/fits-cutout"},
    "sdss": {"url": "https://skyserver.sdss.org"},
    "desi": {"url": "https://data.desi.lbl.gov/public/edr/spectro/redux/fuji/zcatalog/zall-pix-fuji.fits"},
    "deep2": {"url": "https://deep.ps.uci.edu/DR4/data/zcat.deep2.dr4.uniq.fits.gz"},
    "gama": {
        "url": "https://www.gama-survey.org/dr4/data/cat/SpecCat/v27/SpecObjv27.fits",
        "tap_url": "https://tapvizier.cds.unistra.fr/TAPVizieR/tap",
    },
    "vvds": {
        "url": " ".join(
            f"https://cesam.lam.fr/vvds/cesam_vvds_sp{field}_Full.txt"
            for field in ("CDFS_DEEP", "F02_DEEP", "F02_UDEEP", "F10_WIDE", "F14_WIDE", "F22_WIDE")
        )
    },
    "vipers": {
        "url": " ".join(
            f"http://vipers.inaf.it/data/pdr2/catalogs/VIPERS_{field}_SPECTRO_PDR2.txt.gz"
            for field in ("W1", "W4")
        )
    },
    "6df": {"url": "http://www-wfau.roe.ac.uk/6dFGS/6dFGSzDR3.txt.gz"},
    "wigglez": {"url": "https://tapvizier.cds.unistra.fr/TAPVizieR/tap"},
}
LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1")
HOST = {"galex": "viewer", "unwise": "viewer"}  # surveys whose stamps another service hands out


def services(config: dict) -> dict:
    """The services with their addresses as verbs get them in SKYLOOM_SERVICES: public ones where a live run names none."""
    out = {name: dict(block) for name, block in config["services"].items()}
    if config["archive"] == "live":
        for name, urls in LIVE.items():
            out[name] |= {key: out[name][key] or url for key, url in urls.items()}
    return out | {"archive": config["archive"], "embedded": config["embedded"]}


def identity(archive: str, release: str, embedded: dict, name: str = "", urls=None) -> str:
    """What raw replies of the service `name` depend on besides the request; `embedded` without its faults.

    `urls` {key: addresses}, of which those count that are not the service's public ones: what another server answered in a
    rehearsal is not the archive's. The embedded sky is the same wherever on this machine it is served.
    """
    elsewhere = set()
    for key, value in (urls or {}).items():
        public = {place(url) for url in LIVE.get(name, {}).get(key, "").split()} if archive == "live" else set()
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
    known = {survey.service.name: survey.service for survey in (*imaging.REGISTRY.values(), *spectro.REGISTRY.values())}
    slots = known[name].slots if name in known else 2 if name == "hsc" else 1
    return max(1, min(slots, options["streams"], int(options["rpm"])))


def check_account_hosts(urls: dict) -> None:
    """InputError unless every address may be told the HSC account.

    These are the hosts of its public addresses by https, and whatever SKYLOOM_HSC_HOSTS names: `host` or `host:port` (by
    https; on this machine by http too), `http://host:port`.
    """
    home = {urllib.parse.urlsplit(url).hostname for url in LIVE["hsc"].values()}
    named = os.environ.get("SKYLOOM_HSC_HOSTS", "").replace(",", " ").lower().split()
    for url in (url for value in urls.values() for url in value.split()):
        parts = urllib.parse.urlsplit(place(url))
        host, spelled = parts.hostname or "", {parts.hostname, parts.netloc}
        near = parts.scheme == "https" or LOOPBACK.fullmatch(host)
        known = (parts.scheme == "https" and host in home) or (near and spelled.intersection(named))
        if not known and f"{parts.scheme}://{parts.netloc}" not in named:
            raise InputError(f"{parts.scheme}://{parts.netloc} is refused the account of HSC, which belongs to "
                             f"{', '.join(sorted(home))} by https; mend `services.hsc` or name the host in SKYLOOM_HSC_HOSTS")


def stamp_settings(stamps: dict, survey: str, rerun: str, identity: str) -> dict:
    """What the stamps of a survey depend on besides their positions, from the block `stamps`."""
    out = {k: v for k, v in stamps.items() if k not in ("surveys", "sizes", "ivar_source", "packed")}
    if survey in stamps["sizes"]:
        out |= {"size": stamps["sizes"][survey], "ivar_source": stamps["ivar_source"][survey]}
    return out | {"rerun": rerun, "identity": identity}
