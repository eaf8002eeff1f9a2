"""download-map: one dust map, from its publisher or the user's own folder, checked."""

from __future__ import annotations

import json
from pathlib import Path

from skyloom import store
from skyloom.archives import dustmaps
from skyloom.provenance.canonical import digest
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--map", required=True, choices=sorted(dustmaps.MAPS))
    parser.add_argument("--own", default="", help="the user's file or folder instead of a download")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--out", required=True, help="JSON: files, version, checksum")


def run(args) -> None:
    """Write where the map lies and what it is; InputError if it is missing or has another checksum."""
    chosen, live = dustmaps.MAPS[args.map], args.settings["archive"] == "live"
    if args.own:
        paths = dustmaps.place(args.map, None, "", args.folder, args.own)
    else:
        with common.service("dust", 60) as (client, urls, _, _options):
            folder = Path(args.folder) / digest(args.settings["identity"])  # another archive's files are not these
            paths = dustmaps.place(args.map, client, urls.get("url") or chosen.url, folder,
                                   md5=chosen.md5 if live else ())
    # the embedded Galaxy's maps are its own: nobody published their checksums
    expected = None if live or args.own else [""] * len(paths)
    facts = {"map": args.map, "version": chosen.version, "scale": chosen.scale, "source": chosen.source,
             "files": [str(path.resolve()) for path in paths], "sha256": dustmaps.check(args.map, paths, expected)}
    store.write_text(args.out, json.dumps(facts, indent=1) + "\n")
