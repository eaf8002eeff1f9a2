"""The embedded HSC archive as one server: SQL jobs, cutouts, PSFs."""

from __future__ import annotations

from skyloom.sky import hsc
from skyloom.sky.servers.app import SkyServer
from skyloom.sky.servers.hsc_das import Das
from skyloom.sky.servers.hsc_sql import Jobs

ACCOUNT = ("embedded", "sky")
RELEASES = ("pdr2", "pdr3")


def paths(release: str) -> dict[str, str]:
    """The addresses of a release's services below the server's."""
    return {"sql_url": "/hsc/datasearch/api/catalog_jobs/", "cutout_url": f"/hsc/das_cutout/{release}/cgi-bin/cutout",
            "psf_url": f"/hsc/psf/{release}/cgi/getpsf"}


def routes(sky: hsc.Sky, account) -> dict:
    """{path: (service, endpoint, function)} of the three HSC services, in every release."""
    jobs, das = Jobs(sky, account), Das(sky, account)
    out = {}
    for release in RELEASES:
        here = paths(release)
        out |= {here["sql_url"]: ("hsc", None, jobs.answer), here["cutout_url"]: ("hsc", "cutout", das.cutout),
                here["psf_url"]: ("hsc", "psf", das.psf)}
    return out


def server(sky: hsc.Sky, account=ACCOUNT, **options) -> SkyServer:
    """A SkyServer with the three HSC services; options as for SkyServer."""
    return SkyServer(routes(sky, account), seed=sky.seed, **options)


def urls(base: str, release: str = "pdr2") -> dict[str, str]:
    """The service addresses below a server's base URL."""
    return {name: base + path for name, path in paths(release).items()}
