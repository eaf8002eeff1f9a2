"""Every emulated archive, each a host of its own in its limits, on one port."""

from __future__ import annotations

from skyloom.sky import hsc as hsc_survey
from skyloom.sky.servers import hsc, rubin
from skyloom.sky.servers.app import SkyServer as Host
from skyloom.sky.servers.dustmaps import Maps
from skyloom.sky.servers.panstarrs import Stacks
from skyloom.sky.servers.redshifts import FILES, Files, SkyServer, Tap
from skyloom.sky.servers.viewer import Viewer

PATHS = {"ps1": {"filenames_url": "/ps1/cgi-bin/ps1filenames.py", "fitscut_url": "/ps1/cgi-bin/fitscut.cgi"},
         "viewer": {"url": "/viewer/fits-cutout"}, "rubin": rubin.PUBLISHED,
         "dust": {"url": "/dust/"}, "sdss": {"url": "/sdss"}, "wigglez": {"url": "/vizier/tap"},
         "gama": {"url": "/files/gama/SpecObjv27.fits", "tap_url": "/vizier/tap"},
         **{survey: {"url": " ".join(f"/files/{name}" for name in FILES if name.startswith(survey + "/"))}
            for survey in ("desi", "deep2", "vvds", "vipers", "6df")}}


def routes(sky: hsc_survey.Sky, account) -> dict:
    """{path: (service, endpoint, function)} of all archives."""
    stacks, viewer = Stacks(sky), Viewer(sky)
    return hsc.routes(sky, account) | rubin.Platform(sky).routes() | {
        PATHS["ps1"]["filenames_url"]: ("ps1", "filenames", stacks.filenames),
        PATHS["ps1"]["fitscut_url"]: ("ps1", "fitscut", stacks.fitscut),
        PATHS["viewer"]["url"]: ("viewer", "cutout", viewer.cutout),
        PATHS["dust"]["url"]: ("dust", "map", Maps(sky).answer),
        "/sdss/": ("sdss", "sql", SkyServer(sky).answer), "/vizier/tap/": ("vizier", "tap", Tap(sky).answer),
        **{f"/files/{name}": (name.split("/")[0], "file", Files(sky).answer) for name in FILES}}


def server(sky: hsc_survey.Sky, account=hsc.ACCOUNT, **options) -> Host:
    """A host of all archives; options as for `app.SkyServer`."""
    return Host(routes(sky, account), seed=sky.seed, **options)


def urls(base: str, release: str = "pdr2") -> dict[str, dict[str, str]]:
    """{service: {key: address}} below a server's base URL; `release` is HSC's."""
    out = {name: {key: " ".join(base + path for path in each.split()) for key, each in paths.items()}
           for name, paths in PATHS.items()}
    return out | {"hsc": hsc.urls(base, release)}
