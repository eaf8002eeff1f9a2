"""How a run asks for its data: public addresses, whose service hands out what, and what a stamp depends on."""

from __future__ import annotations

from skyloom.provenance.canonical import digest
from skyloom.surveys import releases, spectro

# HSC's addresses hold the release
LIVE = {
    "hsc": {
        "sql_url": "https://hsc-release.mtk.nao.ac.jp/datasearch/api/catalog_jobs/",
        "cutout_url": "https://hsc-release.mtk.nao.ac.jp/das_cutout/{release}/cgi-bin/cutout",
        "psf_url": "https://hsc-release.mtk.nao.ac.jp/psf/{release}/cgi/getpsf",
    },
    "ps1": {
        "filenames_url": "https://ps1images.stsci.edu/cgi-bin/ps1filenames.py",
        "fitscut_url": "https://ps1images.stsci.edu/cgi-bin/fitscut.cgi",
    },
    "viewer": {"url": "https://www.legacysurvey.org/viewer/fits-cutout"},
}
HOST = {"galex": "viewer", "unwise": "viewer"}  # surveys whose stamps another service hands out


def services(config: dict) -> dict:
    """The services with their addresses as verbs get them in SKYLOOM_SERVICES: public ones where a live run names none."""
    out = {name: dict(block) for name, block in config["services"].items()}
    release = releases.name(config["query"]["release"]) or "pdr2"
    if config["archive"] == "live":
        for name, urls in public().items():
            out[name] |= {key: out[name][key] or url.replace("{release}", release) for key, url in urls.items()}
    return out | {"archive": config["archive"], "embedded": config["embedded"] | {"release": release}}


def public() -> dict:
    """{service: {key: public address}}; `{release}` stands for HSC's."""
    return LIVE | {survey.service.name: dict(survey.service.urls) for survey in spectro.REGISTRY.values()}


def identity(archive: str, release: str, embedded: dict) -> str:
    """What raw replies depend on besides the request; `embedded` without its faults."""
    return f"embedded sky {digest(embedded)}" if archive == "embedded" else f"{archive} {release}"


def stamp_settings(stamps: dict, survey: str, rerun: str, identity: str) -> dict:
    """What the stamps of a survey depend on besides their positions, from the block `stamps`."""
    out = {k: v for k, v in stamps.items() if k not in ("surveys", "sizes", "ivar_source", "packed")}
    if survey in stamps["sizes"]:
        out |= {"size": stamps["sizes"][survey], "ivar_source": stamps["ivar_source"][survey]}
    return out | {"rerun": rerun, "identity": identity}
