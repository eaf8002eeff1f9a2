"""plan-shards: the members of each shard of the frozen plan."""

from __future__ import annotations

from pathlib import Path

from skyloom import store, textfiles
from skyloom.errors import InputError
from skyloom.sample import plan, shards
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("selected", nargs="+", help="selected.parquet of each sample")
    parser.add_argument("--samples", nargs="+", required=True, help="names of the samples, in the same order")
    parser.add_argument("--plan", required=True)
    parser.add_argument("--folder", required=True)


def run(args) -> None:
    """Write `{folder}/{shard}.parquet` for every shard, empty ones too, sorted by object id."""
    import pandas

    parts = []
    for path, sample in zip(args.selected, args.samples, strict=True):
        part = store.read_parquet(path)
        part.insert(0, "sample", sample)
        parts.append(part)
    together = pandas.concat(parts, ignore_index=True).sort_values("object_id", kind="stable")
    if together.empty:
        raise InputError(f"plan-shards found no object in {' '.join(args.selected)}; widen the query or the cuts")
    if "source_id" in together:  # a sample whose ids are all integers has none
        together["source_id"] = together["source_id"].fillna(together["object_id"].astype(str))
    names = plan.read_plan(textfiles.read(args.plan))
    positions = (together["ra"], together["dec"]) if "ra" in together else (None, None)
    home = shards.assign(names, together["object_id"], *positions)
    meta = common.provenance(args.settings)
    for name in names:
        store.write_parquet(Path(args.folder) / f"{name}.parquet", together[home == name].reset_index(drop=True), meta)
