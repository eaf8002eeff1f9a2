"""serve-sky: the embedded sky as a server of its own."""

from __future__ import annotations

import json

import yaml

from skyloom import textfiles
from skyloom.errors import InputError


def arguments(parser) -> None:
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, help="requests a second beyond which 429 comes")
    parser.add_argument("--streams", type=int, help="streams at a time beyond which 503 comes")
    parser.add_argument("--faults", help="YAML or JSON list of faults")
    parser.add_argument("--footprint", type=float, nargs=4, default=[150.0, 151.5, 1.4, 2.9],
                        metavar=("RA_MIN", "RA_MAX", "DEC_MIN", "DEC_MAX"))
    parser.add_argument("--hole-rate", type=float, default=0.3)
    parser.add_argument("--gap-rate", type=float, default=0.004)
    parser.add_argument("--deep", action="store_true", help="galaxies of i 25.3 to 26.5 too")
    parser.add_argument("--reddening", type=float, default=0.0, help="mean E(B-V) of the Galaxy's dust")
    parser.add_argument("--rubin-depth", choices=["dp1", "y1", "y5"], default="dp1")


def run(args) -> None:
    """Serve until interrupted; the first line on stdout is {"url": ...}."""
    from skyloom.sky.hsc import Sky
    from skyloom.sky.servers import hsc, rubin, world

    faults = _faults(args.faults) if args.faults else []
    sky = Sky(args.seed, tuple(args.footprint), args.hole_rate, args.gap_rate, args.reddening, args.rubin_depth,
              args.deep)
    try:
        server = world.server(sky, port=args.port, rate=args.rate, streams=args.streams, faults=faults)
    except (ValueError, OSError) as error:
        raise InputError(f"serve-sky can't start: {error}; change the option") from None
    # an account of its own: a rehearsal needs nobody's real one
    print(json.dumps({"url": server.url, "services": world.urls(server.url), "account": hsc.ACCOUNT, "token": rubin.TOKEN}),
          flush=True)
    try:
        server.serve_forever(0.1)
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


def _faults(path: str) -> list[dict]:
    try:
        found = yaml.safe_load(textfiles.read(path))
    except yaml.YAMLError as error:
        raise InputError(f"the fault file {path} can't be read ({error}); give a YAML list") from None
    if not isinstance(found, list):
        raise InputError(f"the fault file {path} holds no list; give a YAML list of mappings")
    return found
