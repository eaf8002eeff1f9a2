"""query-objects: the archive's object catalog where a part's scenes lie."""

from __future__ import annotations

import hashlib

from skyloom import store, textfiles
from skyloom.errors import InputError
from skyloom.surveys import imaging
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--survey", required=True, help="an imaging survey")
    parser.add_argument("--template", default="", help="SQL template of surveys that are asked by SQL")
    parser.add_argument("--rpm", type=float, default=60)
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write the catalog of `settings.region`, with the archive's count and the query as metadata. InputError without a row."""
    survey, settings = imaging.REGISTRY[args.survey], args.settings
    if survey.catalog is None:
        raise InputError(f"skyloom knows no object catalog of {survey.name}; set `scenes.labels` to truth (embedded sky), or "
                         "take another survey")
    with common.service(survey.service.name, args.rpm) as service:
        frame, count, text = survey.catalog(service, textfiles.read(args.template) if args.template else "", settings)
    if not len(frame):
        raise InputError(f"the catalog of {survey.name} has no object in {settings['region']}; move `scenes.parts`")
    meta = {"archive_count": count, "query": text, "query_sha256": hashlib.sha256(text.encode()).hexdigest()}
    store.write_parquet(args.out, frame, common.provenance(settings) | meta)
