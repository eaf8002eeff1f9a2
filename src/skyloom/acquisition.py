"""How a run asks for its data: public addresses, whose service hands out what, and what a stamp depends on."""

from __future__ import annotations

from skyloom.provenance.canonical import digest

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
HOST = {"galex": "viewer", "unwise": "viewer"}  # surveys whose stamps another service hands out


def services(config: dict) -> dict:
    """The services with their addresses as verbs get them in SKYLOOM_SERVICES: public ones where a live run names none."""
    out = {name: dict(block) for name, block in config["services"].items()}
    if config["archive"] == "live":
        for name, urls in LIVE.items():
            out[name] |= {key: out[name][key] or url for key, url in urls.items()}
    return out | {"archive": config["archive"], "embedded": config["embedded"]}


def identity(archive: str, release: str, embedded: dict) -> str:
    """What raw replies depend on besides the request; `embedded` without its faults."""
    return f"embedded sky {digest(embedded)}" if archive == "embedded" else f"{archive} {release}"


def stamp_settings(stamps: dict, survey: str, rerun: str, identity: str) -> dict:
    """What the stamps of a survey depend on besides their positions, from the block `stamps`."""
    out = {k: v for k, v in stamps.items() if k not in ("surveys", "sizes", "ivar_source", "packed")}
    if survey in stamps["sizes"]:
        out |= {"size": stamps["sizes"][survey], "ivar_source": stamps["ivar_source"][survey]}
    return out | {"rerun": rerun, "identity": identity}
