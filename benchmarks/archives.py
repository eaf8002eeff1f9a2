"""All imaging services at once at a known rate, against a naive client: one band, one object a request. Prints JSON.

Each service is a host of its own with the same allowed rate. The naive client is paced as ours is, so that what differs
is how much it asks for: PS1 one list and one cutout a band, the viewer one request a band, HSC one row a list.
"""

import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from skyloom.archives import hsc_das, replies
from skyloom.archives import panstarrs as ps1
from skyloom.archives.http import Client
from skyloom.progress import Progress
from skyloom.sky.hsc import Sky
from skyloom.sky.servers import world
from skyloom.sky.servers.hsc import ACCOUNT
from skyloom.surveys import imaging

SETTINGS = {"psf_size": 21, "max_masked_fraction": 0.05, "max_nan_fraction": 0.01, "ivar_source": "estimated",
            "rerun": "pdr2_wide"}
SURVEYS = {"ps1": [("ps1", 64)], "viewer": [("galex", 16), ("unwise", 16)], "hsc": [("hsc", 31)]}


def ours(service, client, urls, where, folder):
    """Our own requests for a service's surveys."""
    for name, size in SURVEYS[service]:
        survey = imaging.REGISTRY[name].cutouts({**SETTINGS, "size": size}, *where)
        with replies.Replies(Path(folder) / f"{name}.sqlite", "benchmark") as cache:
            survey.fetch(client, urls, {"attempts": 5, "streams": 2}, cache, Progress(total=10**9, label=service, every=1e9))


def naive(service, client, urls, where, _):
    """One band, one object a request."""
    for ra, dec in zip(*where, strict=True):
        if service == "ps1":
            for band in imaging.REGISTRY["ps1"].bands:
                text = client.fetch("GET", urls["filenames_url"], params={"ra": ra, "dec": dec, "filters": band}).decode()
                for name in ps1.filenames(ps1.parse_list(text)).values():
                    client.fetch("GET", urls["fitscut_url"], params=ps1.cutout_params(ra, dec, name, 64))
        elif service == "viewer":
            for layer, scale, letters in (("galex", 1.5, "nf"), ("unwise-neo7", 2.75, "12")):
                for letter in letters:
                    client.fetch("GET", urls["url"], params={"ra": ra, "dec": dec, "layer": layer, "pixscale": scale,
                                                             "size": 16, "bands": letter})
        else:
            cutouts = hsc_das.cutout_rows(ra, dec, 31, "pdr2_wide", "grizy", 0.168)
            kernels = hsc_das.psf_rows(ra, dec, "pdr2_wide", "grizy")
            for columns, url, rows in ((hsc_das.CUTOUT, urls["cutout_url"], cutouts),
                                       (hsc_das.PSF, urls["psf_url"] + "?bulk=on", kernels)):
                for row in rows:
                    client.fetch("POST", url, files=hsc_das.list_file(columns, [row]))


def race(way, rate, galaxies):
    """{service: requests and seconds per 1,000 galaxies, share of the allowance, share of 429s}; all services at once."""
    rng = np.random.default_rng(4)
    out, sky = {}, Sky(footprint=(150.0, 150.1, 2.0, 2.1))

    def run(service, server, folder):
        where = 150.02 + 0.06 * rng.random(galaxies[service]), 2.02 + 0.06 * rng.random(galaxies[service])
        client = Client(rpm=60 * rate, streams=2, timeout=60, auth=ACCOUNT if service == "hsc" else None)
        started = time.perf_counter()
        way(service, client, world.urls(server.url)[service], where, folder)
        seconds, stats = time.perf_counter() - started, server.stats()
        asked = sum(v for key, v in stats["requests"].items())
        refused = stats["services"][service]["refused"]
        share = round((asked - refused) / seconds / rate, 3) if asked > 10 else f"n/a: {asked} requests, drawing-bound"
        out[service] = {"requests_per_1000": round(1000 * (asked - refused) / galaxies[service]), "requests": asked,
                        "s_per_1000": round(1000 * seconds / galaxies[service], 1),
                        "of_allowance": share, "share_429": round(refused / asked, 4)}

    with tempfile.TemporaryDirectory() as folder:
        servers = {service: world.server(sky, rate=rate) for service in SURVEYS}
        threads = [threading.Thread(target=run, args=(service, server, folder)) for service, server in servers.items()]
        for server in servers.values():
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for server in servers.values():
            server.shutdown()
            server.server_close()
    return out


def main(rate=2.0, galaxies=20):
    """Both ways in one run; HSC's lists take all their galaxies in one request, so that ours gets many."""
    found = {"allowed_per_s_each": rate,
             "ours": race(ours, rate, {"ps1": galaxies, "viewer": 2 * galaxies, "hsc": 4 * galaxies}),
             "naive": race(naive, rate, {"ps1": galaxies // 2, "viewer": galaxies, "hsc": galaxies // 2})}
    found["naive_over_ours"] = {service: {key: round(found["naive"][service][key] / found["ours"][service][key], 2)
                                          for key in ("requests_per_1000", "s_per_1000")} for service in SURVEYS}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*(float(v) for v in sys.argv[1:2]))
