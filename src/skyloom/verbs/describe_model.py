"""describe-model: size of a model as JSON."""

from __future__ import annotations

import json


def arguments(parser) -> None:
    parser.add_argument("name")
    parser.add_argument("--size", type=int, choices=(64, 127), default=127)


def run(args) -> None:
    """Print name, size, parameters and head_parameters."""
    from skyloom.models import registry

    model = registry.build(args.name, size=args.size)
    print(json.dumps({"model": args.name, "size": args.size, "parameters": registry.count(model),
                      "head_parameters": registry.count(model.head)}))
