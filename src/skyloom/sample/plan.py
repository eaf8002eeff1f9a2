"""The plan file: a header line and one shard name a line. Imports little, because the Snakefile reads it at each call."""

from __future__ import annotations

import json
from pathlib import Path

from skyloom.errors import InputError


def plan_hash(count: int) -> list[str]:
    """Names of `count` hash buckets."""
    return [f"h{count}_{k}" for k in range(count)]


def read_plan(text: str) -> list[str]:
    """Shard names of a plan file: a header line `shard`, then one name a line."""
    lines = [line.split("\t")[0].strip() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != "shard":
        raise InputError("a shard plan must start with a header line `shard`; write it with `snakemake plan`")
    return lines[1:]


def write_plan(names: list[str]) -> str:
    """The text of a plan file."""
    return "\n".join(["shard", *names]) + "\n"


def shipped(run: str, region) -> Path | None:
    """The plan that comes with a recipe; None where there is none, or where the run asks for another part of the sky than that
    of `regions.json` beside it."""
    path = Path("resources/shards") / f"{run}.tsv"
    regions = path.with_name("regions.json")
    made_for = json.loads(regions.read_text(encoding="utf-8")) if regions.exists() else {}
    return path if path.exists() and region is not None and made_for.get(run, region) == region else None
