"""check-config: is this configuration sound?"""

from __future__ import annotations

from skyloom import config


def arguments(parser) -> None:
    parser.add_argument("config", nargs="+")


def run(args) -> None:
    """Print the run's name if the files make a valid configuration; InputError with one sentence otherwise."""
    print(f"{config.load(args.config)['run']}: ok")
