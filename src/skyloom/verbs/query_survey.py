"""query-survey: one spectroscopic survey's rows in its own columns."""

from __future__ import annotations

from pathlib import Path

from skyloom import store
from skyloom.archives import surveys
from skyloom.provenance.canonical import digest
from skyloom.sample import regions
from skyloom.surveys.spectro import REGISTRY
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--survey", required=True)
    parser.add_argument("--folder", required=True, help="where downloaded files are kept")
    parser.add_argument("--rpm", type=float, default=60)
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write the survey's rows and where they came from; InputError for an unknown survey or a missing column."""
    survey, region = REGISTRY[args.survey], regions.of(args.settings["region"])
    with common.service(survey.service.name, args.rpm) as (client, urls, _, options):
        folder = Path(args.folder) / digest(args.settings["identity"])  # another archive's files are not these
        frame, where = surveys.ask(survey, client, urls, options, folder, region)
    print(f"{len(frame)} rows of {survey.name} {survey.release} from {where}", flush=True)
    store.write_parquet(args.out, frame, common.provenance(args.settings) | {
        "survey": survey.name, "release": survey.release, "source": where, "citation": survey.citation,
        "licence": survey.licence, "archive_count": len(frame)})
