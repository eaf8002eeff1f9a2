"""The schema of config.yaml: what stands in workflow/schemas, with everything put in that a registry knows better."""

from __future__ import annotations

from pathlib import Path

import yaml

from skyloom.surveys import imaging, spectro

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"


def schema() -> dict:
    """The JSON schema of config.yaml (draft 2020-12)."""
    known = yaml.load(SCHEMA.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    _services(known)
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
    for survey in (*imaging.REGISTRY.values(), *spectro.REGISTRY.values()):
        blocks[survey.service.name] = survey.service.schema(shared)
