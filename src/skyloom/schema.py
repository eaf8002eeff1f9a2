"""The schema of config.yaml: what stands in workflow/schemas, with everything put in that a registry knows better."""

from __future__ import annotations

from pathlib import Path

import yaml

from skyloom import acquisition
from skyloom.release import exporters
from skyloom.surveys import imaging

# The folder of the Snakefile: beside the package in a checkout, the working folder where the package came as a wheel.
ROOT = next((place for place in (Path(__file__).resolve().parents[2], Path.cwd()) if (place / "Snakefile").is_file()), Path.cwd())
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"


def schema() -> dict:
    """The JSON schema of config.yaml (draft 2020-12)."""
    known = yaml.load(SCHEMA.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    _services(known)
    _formats(known)
    _stamps(known)
    return known


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
