"""query: what the archive answers, as a table."""

from __future__ import annotations

import hashlib
import sys

from skyloom import store, textfiles
from skyloom.errors import InputError
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--template", help="SQL template")
    parser.add_argument("--tables", nargs="*", default=[], help="local tables, in the order of settings.parts")
    parser.add_argument("--values", default="", help="CSV of what local tables hold in place of values")
    parser.add_argument("--rpm", type=float, default=60)
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write the raw rows with the archive's own count, the SQL's hash and the release as metadata; of local tables also which
    parts they have, where their ids come from, and what stands in place of values. InputError where there is no row."""
    settings = args.settings
    about = {}
    if settings["archive"] == "local":
        frame, count, text, about = _local(args)
    else:
        frame, count, text = _archive(args)
    if not len(frame):
        raise InputError(f"query found no row for {args.out} ({text.split()[0] if about else 'the archive answered none'}); "
                         "widen the query or name another table")
    meta = common.provenance(settings) | {"archive_count": count, "query": text,
                                          "query_sha256": hashlib.sha256(text.encode()).hexdigest(), **about}
    store.write_parquet(args.out, frame, meta)


def _archive(args):
    from skyloom.archives import hsc_sql

    template = textfiles.read(args.template)
    hsc_sql.render(template, args.settings)  # a template that can't be filled in is told before anybody is asked
    with common.service("hsc", args.rpm) as service:
        return hsc_sql.answer(service, template, args.settings)


def _local(args):
    """(rows, their number, what was read, metadata) of the local tables; of the manifest of images where there are no tables."""
    from skyloom.archives import local, tables, values

    settings = args.settings
    columns, parts = settings["columns"], settings["parts"]
    counts, given = [], True
    if parts == ["manifest"]:
        manifest = local.read_manifest(args.tables[0])
        keep = [c for c in ("object_id", "source_id", "ra", "dec") if c in manifest]
        frame = manifest[keep].drop_duplicates("object_id").reset_index(drop=True)
    else:
        given = bool(columns.get("id"))
        read = [tables.read(path, columns, part, settings.get("missing"), settings.get("max_undeclared"))
                for path, part in zip(args.tables, parts, strict=True)]
        frame = tables.together([one for one, _ in read], given, tables.TARGETS_FROM if settings.get("beside_redshifts") else 0)
        counts = [row for _, rows in read for row in rows]
    if counts:
        print(values.told(counts), file=sys.stderr)
    if args.values:
        store.write_csv(args.values, values.frame(counts))
    about = {"parts": parts, "ids": "given" if given else "row numbers", "values": counts}
    return frame, len(frame), " ".join(args.tables), about
