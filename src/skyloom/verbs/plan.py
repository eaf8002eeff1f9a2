"""plan: write or extend the frozen shard plan."""

from __future__ import annotations

from pathlib import Path

from skyloom import config, store, textfiles
from skyloom.errors import InputError
from skyloom.sample import plan as plan_file
from skyloom.sample import shards
from skyloom.verbs import common


def arguments(parser) -> None:
    parser.add_argument("--settings", type=common.json.loads, metavar="JSON", help="the `shards` block; or give --config")
    parser.add_argument("--config", nargs="*", help="config files: the plan from the sky region alone")
    parser.add_argument("--selected", nargs="*", default=[], help="selected tables: the plan from their objects")
    parser.add_argument("--by-hash", action="store_true", help="hash buckets whatever the tables hold")
    parser.add_argument("--shipped", nargs="*", default=[], help="a plan that comes with the recipe, taken as it is")
    parser.add_argument("--extend", action="store_true", help="keep the plan in --out and add shards for new objects")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write the plan file; an existing one is only ever extended."""
    if args.shipped:
        names = plan_file.read_plan(textfiles.read(args.shipped[0]))
    elif args.config:
        whole = config.load(args.config)
        names = from_region(whole)
    elif args.by_hash:
        names = plan_file.plan_hash(args.settings["n_shards"])
    else:
        names = from_objects(args.settings, args.selected)
    if not names:
        raise InputError("plan found no object to plan shards for; widen the query or the cuts")
    if Path(args.out).exists():
        old = plan_file.read_plan(textfiles.read(args.out))
        if not args.extend:
            raise InputError(f"the plan {args.out} exists and is frozen; add --extend to add shards to it")
        names = old + [name for name in names if name not in old]
    store.write_text(args.out, plan_file.write_plan(names))


def from_region(whole: dict) -> list[str]:
    """The plan that a config alone implies."""
    options = whole["shards"]
    if whole["archive"] == "local" or whole["scenes"]["survey"]:
        return plan_file.plan_hash(whole["local"]["n_shards"])
    if whole["query"]["region"] is None:
        raise InputError("`query.region` is empty, so the config alone implies no plan; run `snakemake plan`")
    return shards.plan_region(whole["query"]["region"], options["density"], options["max_objects"], options["least"])


def from_objects(options: dict, selected: list[str]) -> list[str]:
    """The plan for the objects of selected tables."""
    import pandas

    together = pandas.concat([store.read_parquet(path) for path in selected], ignore_index=True)
    if options["by"] == "hash" or "ra" not in together:
        return plan_file.plan_hash(options["n_shards"])
    return shards.plan_sky(together["ra"], together["dec"], options["max_objects"], least=options["least"])
