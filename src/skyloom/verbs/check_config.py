"""check-config: is this configuration sound?"""

from __future__ import annotations

from skyloom import config
from skyloom.release import exporters, preflight


def arguments(parser) -> None:
    parser.add_argument("config", nargs="+")


def run(args) -> None:
    """Print the run's name if the files make a valid configuration whose catalog can be written; InputError otherwise."""
    found = config.load(args.config)
    preflight.rehearse(exporters.chosen(found["release"]["formats"]))
    print(f"{found['run']}: ok")
