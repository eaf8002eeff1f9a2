"""The embedded HSC archive as one server: SQL jobs, cutouts, PSFs."""

from __future__ import annotations

from skyloom.sky import hsc
from skyloom.sky.servers.app import SkyServer
from skyloom.sky.servers.hsc_das import Das
from skyloom.sky.servers.hsc_sql import Jobs

ACCOUNT = ("embedded", "sky")
PATHS = {"sql_url": "/hsc/datasearch/api/catalog_jobs/", "cutout_url": "/hsc/das_cutout/pdr2/cgi-bin/cutout",
         "psf_url": "/hsc/psf/pdr2/cgi/getpsf"}


def routes(sky: hsc.Sky, account) -> dict:
    """{path: (service, endpoint, function)} of the three HSC services."""
    jobs, das = Jobs(sky, account), Das(sky, account)
    return {PATHS["sql_url"]: ("hsc", None, jobs.answer), PATHS["cutout_url"]: ("hsc", "cutout", das.cutout),
            PATHS["psf_url"]: ("hsc", "psf", das.psf)}


def server(sky: hsc.Sky, account=ACCOUNT, **options) -> SkyServer:
    """A SkyServer with the three HSC services; options as for SkyServer."""
    return SkyServer(routes(sky, account), seed=sky.seed, **options)


def urls(base: str) -> dict[str, str]:
    """The service addresses below a server's base URL."""
    return {name: base + path for name, path in PATHS.items()}
