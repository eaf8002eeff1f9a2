"""The schema of config.yaml: what stands in workflow/schemas, with everything put in that a registry knows better."""

from __future__ import annotations

from pathlib import Path

import yaml

from skyloom import typed
from skyloom.models import families
from skyloom.release import exporters
from skyloom.surveys import imaging, spectro

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"


def schema() -> dict:
    """The JSON schema of config.yaml (draft 2020-12)."""
    known = yaml.load(SCHEMA.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    _services(known)
    _formats(known)
    _models(known)
    return known


def _services(known: dict) -> None:
    """A block for every service of a survey; `$defs.service` holds what all have."""
    blocks = known["properties"]["services"]["properties"]
    shared = known["$defs"].get("service")
    for survey in (*imaging.REGISTRY.values(), *spectro.REGISTRY.values()):
        blocks[survey.service.name] = survey.service.schema(shared)


def _formats(known: dict) -> None:
    """The names of the exporters."""
    known["properties"]["release"]["properties"]["formats"]["items"]["enum"] = list(exporters.REGISTRY)


def _models(known: dict) -> None:
    """`$defs.{family}`: the options of each model family, by whose names `models` and `sweep` find them."""
    names = list(families.REGISTRY)
    known["$defs"] |= {name: typed.schema(families.REGISTRY[name].Options) for name in names}
    place = {name: {"$ref": f"#/$defs/{name}"} for name in names}
    models = known["properties"]["models"]
    models |= {"patternProperties": {families.pattern(name): place[name] for name in names}, "additionalProperties": False}
    models["description"] = f"{', '.join(names)}; names may go on (tabular_b)"
    several = [family for family in families.REGISTRY.values() if family.reads == "surveys"]
    known["properties"]["ablations"]["items"] = {"enum": sorted({name for family in several for name in family.ablations})}
    points = known["properties"]["sweep"]["items"]
    points["properties"]["model"] = {"enum": [family.name for family in several]}
    points["allOf"] = [{"if": {"properties": {"model": {"const": family.name}}},
                        "then": {"properties": {"options": place[family.name]}}} for family in several]
