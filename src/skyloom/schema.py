"""The schema of config.yaml: what stands in workflow/schemas, with everything put in that a registry knows better."""

from __future__ import annotations

from pathlib import Path

import yaml

from skyloom import acquisition, typed
from skyloom.models import families
from skyloom.release import exporters
from skyloom.surveys import imaging, spectro

# The folder of the Snakefile: beside the package in a checkout, the working folder where the package came as a wheel.
ROOT = next((place for place in (Path(__file__).resolve().parents[2], Path.cwd()) if (place / "Snakefile").is_file()), Path.cwd())
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"


def schema() -> dict:
    """The JSON schema of config.yaml (draft 2020-12)."""
    known = yaml.load(SCHEMA.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    _services(known)
    _formats(known)
    _stamps(known)
    _scenes(known)
    _models(known)
    _spectroscopic(known)
    return known


def _spectroscopic(known: dict) -> None:
    """`query.surveys`: every survey that is installed may be chosen, those that come with skyloom are."""
    surveys = known["properties"]["query"]["properties"]["surveys"]
    surveys |= {"items": {"enum": list(spectro.REGISTRY)}, "default": spectro.ours()}


def _services(known: dict) -> None:
    """A block for every service of a survey; `$defs.service` holds what all have."""
    blocks = known["properties"]["services"]["properties"]
    shared = known["$defs"].get("service")
    for name, service in acquisition.known_services().items():
        blocks[name] = service.schema(shared)


def _formats(known: dict) -> None:
    """The names of the exporters."""
    known["properties"]["release"]["properties"]["formats"]["items"]["enum"] = list(exporters.REGISTRY)


def _stamps(known: dict) -> None:
    """The imaging surveys in `stamps`: which there are, their sizes, and where their weights come from."""
    keys = known["properties"]["stamps"]["properties"]
    keys["surveys"]["items"] = {"enum": list(imaging.REGISTRY)}
    for survey in imaging.REGISTRY.values():
        if survey.sizes:
            least, most = survey.sizes
            keys["sizes"]["properties"][survey.name] = {"type": "integer", "minimum": least, "maximum": most,
                                                        "default": survey.size}
        if len(survey.ivar_sources) > 1:
            keys["ivar_source"]["properties"][survey.name] = {"enum": list(survey.ivar_sources),
                                                              "default": survey.ivar_sources[0]}


def _scenes(known: dict) -> None:
    """The imaging surveys whose scenes may be asked for."""
    known["properties"]["scenes"]["properties"]["survey"]["enum"] = ["", "local", *imaging.REGISTRY]


def _models(known: dict) -> None:
    """`$defs.{family}`: the options of each model family, by whose names `models` and `sweep` find them."""
    names = list(families.REGISTRY)
    known["$defs"] |= {name: typed.schema(families.REGISTRY[name].Options) for name in names}
    place = {name: {"$ref": f"#/$defs/{name}"} for name in names}
    names = [name for name in names if families.REGISTRY[name].reads != "scenes"]  # those are detectors of `scenes`
    models = known["properties"]["models"]
    models |= {"patternProperties": {families.pattern(name): place[name] for name in names}, "additionalProperties": False}
    models["description"] = f"{', '.join(names)}; names may go on (tabular_b)"
    several = [family for family in families.REGISTRY.values() if family.reads == "surveys"]
    known["properties"]["ablations"]["items"] = {"enum": sorted({name for family in several for name in family.ablations})}
    points = known["properties"]["sweep"]["items"]
    points["properties"]["model"] = {"enum": [family.name for family in several]}
    points["allOf"] = [{"if": {"properties": {"model": {"const": family.name}}},
                        "then": {"properties": {"options": place[family.name]}}} for family in several]
