"""The client against a server with a known rate: share of the allowance used, and 429s. Prints JSON."""

import json
import sys
import time

from skyloom.archives import hsc_das, replies
from skyloom.archives.http import Client
from skyloom.cutouts import lists
from skyloom.sky.hsc import Sky
from skyloom.sky.servers import hsc
from skyloom.surveys.imaging import hsc as stamps_of_hsc


def main(rate=10.0, requests=120, rows_each=1):
    """Send `requests` lists of one uncovered row each: the server answers at once, so that only the pace counts."""
    rows = [hsc_das.psf_rows(10.0 + 0.001 * k, -60.0, "pdr2_wide", "grizy")[0] for k in range(requests * rows_each)]
    hsc_das.ROWS = rows_each
    with hsc.server(Sky(footprint=(150.0, 150.1, 2.0, 2.1)), rate=rate).running() as server, \
            replies.Replies(":memory:", "benchmark") as store:
        client = Client(rpm=60 * rate, timeout=10, attempts=5, auth=hsc.ACCOUNT)
        started = time.perf_counter()
        dead = lists.fetch(client, hsc.urls(server.url)["psf_url"], hsc_das.PSF, rows, stamps_of_hsc.check_psf, store, 5)
        seconds = time.perf_counter() - started
        stats = server.stats()
    asked = stats["requests"]["hsc.psf"]
    refused = stats["statuses"].get("429", 0)
    print(json.dumps({"allowed_per_s": rate, "requests": asked, "seconds": round(seconds, 2), "dead": len(dead),
                      "of_allowance": round((asked - refused) / seconds / rate, 3), "share_429": round(refused / asked, 4)}))


if __name__ == "__main__":
    main(*(float(v) for v in sys.argv[1:2]))
