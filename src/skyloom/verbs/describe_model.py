"""describe-model: size of a model as JSON."""

from __future__ import annotations

import json


def arguments(parser) -> None:
    parser.add_argument("name")
    parser.add_argument("--size", type=int, choices=(64, 127), default=127)
    parser.add_argument("--encoder", default="large", help="atto to large, of the multi-survey models")


def run(args) -> None:
    """Print name, parameters and head_parameters, with the stamp's size or the encoder's."""
    from skyloom.models import registry

    print(json.dumps(registry.describe(args.name, args.size, args.encoder)))
