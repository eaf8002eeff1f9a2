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
    """Write where a map lies and what it is; see `fetch`."""
    fetch(args.settings, args.map, args.own, args.folder, args.out)


def fetch(settings: dict, name: str, own: str, folder, out) -> None:
    """Write where the map `name` lies, the user's `own` or one downloaded into `folder`, and what it is.

    InputError if it is missing or has another checksum.
    """
    chosen = dustmaps.MAPS[name]
    if own:
        paths = dustmaps.place(name, None, "", folder, own)
    else:
        with common.service("dust", 60) as (client, urls, _, _options):
            place = Path(folder) / digest(settings["identity"])  # another archive's files are not these
            published = chosen.md5 if settings["archive"] == "live" else ()
            paths = dustmaps.place(name, client, urls.get("url") or chosen.url, place, md5=published)
    # the embedded Galaxy's maps are its own: nobody published their checksums
    expected = None if settings["archive"] == "live" or own else [""] * len(paths)
    facts = {"map": name, "version": chosen.version, "scale": chosen.scale, "source": chosen.source,
             "files": [str(path.resolve()) for path in paths], "sha256": dustmaps.check(name, paths, expected)}
    store.write_text(out, json.dumps(facts, indent=1) + "\n")
