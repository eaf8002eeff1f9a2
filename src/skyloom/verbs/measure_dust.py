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
    """Write object_id and a column `ebv_{map}` a map, on the map's own scale; maps, versions, checksums as metadata."""
    import pandas

    members = store.read_parquet(args.members)
    facts = [json.loads(textfiles.read(path)) for path in args.maps]
    out = pandas.DataFrame({"object_id": members["object_id"]})
    for fact in facts:
        out[f"ebv_{fact['map']}"] = dustmaps.values(fact["map"], fact["files"], members["ra"], members["dec"])
    keep = [{key: fact[key] for key in ("map", "version", "scale", "source", "sha256")} for fact in facts]
    store.write_parquet(args.out, out, common.provenance(args.settings) | {"dust_maps": keep})
