"""How a run asks for its data: public addresses, whose service hands out what, and what a stamp depends on."""

from __future__ import annotations

from skyloom.errors import InputError
from skyloom.provenance.canonical import digest
from skyloom.surveys import imaging, spectro
from skyloom.surveys.service import Service

LIVE = {
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
    out = {name: dict(block) for name, block in config["services"].items()}
    if config["archive"] == "live":
        for name, urls in {**LIVE, **{name: service.urls for name, service in known_services().items()}}.items():
            out[name] |= {key: out[name][key] or url for key, url in urls.items()}
    return out | {"archive": config["archive"], "embedded": config["embedded"]}


def share(config: dict, service: str) -> tuple[int, int]:
    """(slots, requests a minute) of one job that asks an imaging service.

    As many jobs as the service has slots work at a time, never more than its streams: with fewer streams a job takes more slots,
    so that all jobs together never open more streams, nor ask faster, than the config says.
    """
    most, block = known_services()[service].slots, config["services"][service]
    jobs = min(most, block["streams"])
    return -(-most // jobs), max(1, block["rpm"] // jobs)


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


def identity(archive: str, release: str, embedded: dict) -> str:
    """What raw replies depend on besides the request; `embedded` without its faults."""
    return f"embedded sky {digest(embedded)}" if archive == "embedded" else f"{archive} {release}"


def stamp_settings(stamps: dict, survey: str, rerun: str, identity: str) -> dict:
    """What the stamps of a survey depend on besides their positions, from the block `stamps`."""
    out = {k: v for k, v in stamps.items() if k not in ("surveys", "sizes", "ivar_source", "packed")}
    own = (("size", stamps["sizes"]), ("ivar_source", stamps["ivar_source"]))
    out |= {key: chosen[survey] for key, chosen in own if survey in chosen}
    return out | {"rerun": rerun, "identity": identity}
