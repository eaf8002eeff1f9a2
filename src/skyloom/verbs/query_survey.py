"""query-survey: one spectroscopic survey's rows in its own columns."""

from __future__ import annotations

from pathlib import Path

from skyloom import store, textfiles
from skyloom.archives import surveys
from skyloom.errors import InputError
from skyloom.provenance.canonical import digest
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--survey", required=True)
    parser.add_argument("--surveys", required=True, help="resources/surveys.tsv")
    parser.add_argument("--folder", required=True, help="where downloaded files are kept")
    parser.add_argument("--rpm", type=float, default=60)
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write the survey's rows and where they came from; InputError for an unknown survey or a missing column."""
    known = surveys.read_surveys(textfiles.read(args.surveys))
    if args.survey not in known:
        raise InputError(f"{args.surveys} has no survey {args.survey}; it has {', '.join(sorted(known))}")
    survey, box = known[args.survey], args.settings["region"]
    with common.service(args.survey, args.rpm) as (client, urls, _, options):
        folder = Path(args.folder) / digest(args.settings["identity"])  # another archive's files are not these
        frame, where = surveys.ask(survey, client, urls, options, folder, box)
    print(f"{len(frame)} rows of {args.survey} {survey.release} from {where}", flush=True)
    store.write_parquet(args.out, frame, common.provenance(args.settings) | {
        "survey": args.survey, "release": survey.release, "source": where, "citation": survey.citation,
        "licence": survey.licence, "archive_count": len(frame)})
