"""measure-dust: E(B-V) of a shard's members from each map."""

from __future__ import annotations

import json

from skyloom import store, textfiles
from skyloom.archives import dustmaps
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("members")
    parser.add_argument("--maps", nargs="+", required=True, help="JSON files of download-map")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write the reddening of a shard's members; see `reddening`."""
    reddening(args.settings, args.members, args.maps, args.out)


def reddening(settings: dict, members, maps, out) -> None:
    """Write object_id and a column `ebv_{map}` a map (files of download-map), on the map's own scale; maps, versions,
    checksums as metadata."""
    import pandas

    table = store.read_parquet(members)
    facts = [json.loads(textfiles.read(path)) for path in maps]
    found = pandas.DataFrame({"object_id": table["object_id"]})
    for fact in facts:
        found[f"ebv_{fact['map']}"] = dustmaps.values(fact["map"], fact["files"], table["ra"], table["dec"])
    keep = [{key: fact[key] for key in ("map", "version", "scale", "source", "sha256")} for fact in facts]
    store.write_parquet(out, found, common.provenance(settings) | {"dust_maps": keep})
