"""describe-model: size of a model as JSON."""

from __future__ import annotations

import json

from skyloom.models import families


def arguments(parser) -> None:
    parser.add_argument("name")
    for option, (names, kind) in _variants().items():
        parser.add_argument(f"--{option}", help=f"of {', '.join(names)}", **({"action": "store_true"} if kind is bool else
                                                                          {"type": kind}))


def run(args) -> None:
    """Print name, parameters and head_parameters, with the stamp's size or the encoder's."""
    from skyloom.models import artefact

    print(json.dumps(artefact.describe(args.name, {option: getattr(args, option) for option in _variants()})))


def _variants() -> dict[str, tuple[list[str], type]]:
    """{option: (families that let it vary, its type)}."""
    out: dict = {}
    for family in families.REGISTRY.values():
        for option, value in family.variants.items():
            out.setdefault(option, ([], type(value)))[0].append(family.name)
    return out
