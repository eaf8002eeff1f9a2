"""The configuration: defaults filled, every key known, every value checked, before any rule runs."""

from __future__ import annotations

import copy
import difflib
import os
import re

import yaml

from skyloom import acquisition, textfiles, trainings, typed
from skyloom.archives.paths import split_path
from skyloom.errors import InputError
from skyloom.models import families
from skyloom.provenance import memory
from skyloom.provenance.canonical import digest
from skyloom.release import exporters
from skyloom.sample import regions
from skyloom.schema import schema
from skyloom.surveys import imaging


def load(paths) -> dict:
    """Merge YAML files deeply, later ones winning, then `complete` the result.

    Raises InputError naming the file for unreadable YAML and as `complete` does.
    """
    merged: dict = {}
    for path in paths:
        try:
            part = yaml.safe_load(textfiles.read(path))
        except yaml.YAMLError as error:
            raise InputError(f"config file {path} is not valid YAML ({_first_line(error)}); mend it") from None
        if not isinstance(part, dict):
            raise InputError(f"config file {path} holds no mapping; it needs `key: value` lines")
        merged = merge(merged, part)
    return complete(merged)


def check_files(config: dict) -> None:
    """InputError for a local file that a completed config names and that isn't there; a run asks, a config alone needs none."""
    local = config["local"]
    if config["archive"] != "local":
        return
    named = {f"local.tables.{part}": path for part, path in local["tables"].items()}
    named["targets.table"] = config["targets"]["table"]
    named |= {f"peers.tables.{name}.path": table["path"] for name, table in config["peers"]["tables"].items()}
    named = {key: split_path(path)[0] for key, path in named.items() if path} | {"local.images": local["images"]}
    for key, path in named.items():
        if path and not os.path.isfile(path):
            raise InputError(f"`{key}` is {path}, which does not exist; give an existing file")


def merge(base: dict, over: dict) -> dict:
    """Return `base` with the leaves of `over` put in, mappings merged, lists replaced."""
    out = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merge(out[key], value) if both else value
    return out


def complete(config: dict) -> dict:
    """Return a copy with the schema's defaults filled in, checked against the schema and across keys.

    Raises InputError with the key, its place, and the nearest known key or the allowed values.
    """
    known = schema()
    config = copy.deepcopy(config)
    trainings.refuse_taken(config)
    _refuse_unknown(config, known, known, "")
    _refuse_unknown_options(config)
    config = _with_defaults(config, known, known)
    _validate(config, known)
    _expand(config)
    _no_wildcards(config)
    _sweeps(config, known)
    config["models"] = trainings.ablated(config["models"], config["ablations"])
    _across(config)
    return config


def _validate(config: dict, known: dict) -> None:
    """InputError for the first violation of the schema; a config that passed once is known by its digest."""
    key = digest(repr([config, known]))
    if key in memory.recall("configs"):
        return
    import jsonschema

    errors = sorted(jsonschema.Draft202012Validator(known).iter_errors(config), key=lambda e: list(map(str, e.path)))
    if errors:
        raise InputError(_sentence(errors[0]))
    memory.remember("configs", {key: True})


def _resolve(node: dict, root: dict) -> dict:
    if "$ref" not in node:
        return node
    target = root
    for part in node["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return {**target, **{k: v for k, v in node.items() if k != "$ref"}}


def _refuse_unknown(value, node, root, place):
    node = _resolve(node, root)
    if not isinstance(value, dict):
        return
    properties, extra = node.get("properties", {}), node.get("additionalProperties", True)
    for key, inner in value.items():
        where = f"{place}.{key}" if place else str(key)
        if key in properties:
            _refuse_unknown(inner, properties[key], root, where)
        elif extra is False and "patternProperties" not in node:  # names of models: families know them
            near = difflib.get_close_matches(str(key), list(properties), 1, 0.5)
            hint = f"did you mean `{near[0]}`?" if near else "known keys here: " + ", ".join(sorted(properties))
            raise InputError(f"unknown key `{where}` in the config; {hint}")
        elif isinstance(extra, dict):
            _refuse_unknown(inner, extra, root, where)


def _refuse_unknown_options(config: dict) -> None:
    """InputError for a model that no family makes, or for options that its family doesn't have."""
    models = config.get("models")
    for name, options in models.items() if isinstance(models, dict) else ():
        family = families.of(str(name))
        if not re.search(families.pattern(family.name), str(name)):
            raise InputError(f"`models.{name}`: after {family.name} a name may go on with _, lower-case letters and digits; "
                             "change it")
        _known_options(options, family, f"models.{name}")
    for k, one in enumerate(config.get("sweep") or ()):
        for key in ("options", "grid") if isinstance(one, dict) and one.get("model") in families.REGISTRY else ():
            _known_options(one.get(key), families.REGISTRY[one["model"]], f"sweep.{k}.{key}")


def _known_options(options, family, place: str) -> None:
    """InputError for an option that a family doesn't have."""
    known = typed.schema(family.Options)["properties"]
    for key in options if isinstance(options, dict) else ():
        if key not in known:
            raise InputError(f"unknown key `{place}.{key}` in the config{typed.nearest(key, known)}; the options of "
                             f"{family.name} are {', '.join(sorted(known))}")


def _with_defaults(value, node, root):
    node = _resolve(node, root)
    if isinstance(value, dict):
        value = dict(value)
        for key, inner in node.get("properties", {}).items():
            default = _resolve(inner, root).get("default", ...)
            if key not in value and default is not ...:
                value[key] = copy.deepcopy(default)
        extra = node.get("additionalProperties")
        patterns = node.get("patternProperties", {})
        for key in value:
            fitting = (inner for pattern, inner in patterns.items() if re.search(pattern, str(key)))
            inner = node.get("properties", {}).get(key) or next(fitting, extra if isinstance(extra, dict) else {})
            value[key] = _with_defaults(value[key], inner, root)
    return value


def _sentence(error) -> str:
    place = ".".join(str(p) for p in error.absolute_path) or "the config"
    if error.validator == "enum":
        return f"`{place}` is {error.instance!r}; it must be one of {', '.join(map(repr, error.validator_value))}"
    if error.validator == "type":
        return f"`{place}` is {error.instance!r}; it must be of type {error.validator_value}"
    if error.validator == "required":
        return f"`{place}` lacks a key: {error.message}; add it"
    return f"`{place}`: {error.message}; change the value"


def _expand(config: dict) -> None:
    """Replace $VARIABLES in the paths of local files; InputError for one that is not set."""
    def expanded(value: str, place: str) -> str:
        found = os.path.expandvars(value)
        if "$" in found:
            raise InputError(f"`{place}` is {value!r}, but that environment variable is not set; set it")
        return found

    local = config["local"]
    local["images"] = expanded(local["images"], "local.images")
    local["tables"] = {name: expanded(path, f"local.tables.{name}") for name, path in local["tables"].items() if path}
    for name, table in config["peers"]["tables"].items():
        table["path"] = expanded(table["path"], f"peers.tables.{name}.path")
    config["targets"]["table"] = expanded(config["targets"]["table"], "targets.table")


def _no_wildcards(value, place: str = "") -> None:
    """InputError for a text with {braces}: Snakemake would put its own words there."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _no_wildcards(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for inner in value:
            _no_wildcards(inner, place)
    elif isinstance(value, str) and re.search(r"\{\s*\w+\s*(,[^{}]*)?\}", value):
        raise InputError(f"`{place}` is {value!r}; a name in braces is a wildcard to Snakemake: rename it without")


def _across(config: dict) -> None:
    """Checks that need more than one key."""
    query, split, stamps = config["query"], config["split"], config["stamps"]
    regions.of(query["region"])
    regions.of(config["embedded"]["footprint"], "`embedded.footprint`")
    _release(config)
    if abs(sum(split["fractions"]) - 1) > 1e-9:
        raise InputError(f"`split.fractions` is {split['fractions']}; the three must add up to 1")
    if not split["fractions"][0] > 0:
        raise InputError(f"`split.fractions` is {split['fractions']}; the first, training's, must be above 0")
    if max(stamps["packed"]) > stamps["size"]:
        raise InputError(f"`stamps.packed` has {max(stamps['packed'])} px, more than `stamps.size` {stamps['size']}; lower it")
    if config["cuts"]["z_min"] >= config["cuts"]["z_max"]:
        raise InputError("`cuts.z_min` is not below `cuts.z_max`; change one of them")
    radii = config["structure"]["annuli_arcsec"]
    if radii != sorted(radii):
        raise InputError(f"`structure.annuli_arcsec` is {radii}; let them ascend: each ring begins where the last ends")
    exporters.chosen(config["release"]["formats"])
    from skyloom.release import flags  # no job that reads the config decides anything by it

    flags.flag_bits(stamps["surveys"])
    _models(config)
    trainings.check(config)
    local = config["local"]
    if config["archive"] == "local" and not (local["tables"].get("training") or local["images"]):
        raise InputError("`archive: local` needs `local.tables.training` or `local.images`; add a config that names your files")
    _local_columns(config)
    _final_file(config)
    acquisition.check_scenes(config)


def _local_columns(config: dict) -> None:
    """Columns that make no sense alone, and ids that nothing tells."""
    local = config["local"]
    columns = local["columns"]
    for one, other in (("ra", "dec"), ("dec", "ra")):
        if columns.get(one) and not columns.get(other):
            raise InputError(f"`local.columns.{one}` is {columns[one]}, but `local.columns.{other}` is empty; name both or none")
    used = {"*", *columns["magnitudes"].values(), *columns["errors"].values(),
            *(columns.get(key) for key in ("ra", "dec", "redshift", "redshift_err"))}
    unknown = [name for name in local["missing"] if name not in used]
    if unknown:
        raise InputError(f"`local.missing.{unknown[0]}` is no column of `local.columns`; name one of those, or '*' for all")
    if config["archive"] != "local" or columns.get("id"):
        return
    by_id = [name for name, table in config["peers"]["tables"].items() if "id" in table]
    if by_id:
        raise InputError(f"`peers.tables.{by_id[0]}` is matched by id, but the run's own tables have none; set "
                         "`local.columns.id`, or name `ra` and `dec` there instead of `id`")
    if local["images"] and (local["tables"] or config["targets"]["table"]):
        raise InputError("`local.images` names its objects by id, but the tables have none; set `local.columns.id`")


def _release(config: dict) -> None:
    """The rerun of HSC where none is named; release, rerun and addresses must belong together where HSC is asked."""
    from skyloom.archives import hsc_releases

    query, hsc = config["query"], config["services"]["hsc"]
    query["rerun"] = query["rerun"] or f"{hsc_releases.name(query['release']) or 'pdr2'}_wide"
    asked = query["kind"] != "compilation" or "hsc" in config["stamps"]["surveys"]
    asked = asked or config["targets"]["kind"] not in ("none", "local")
    if config["archive"] != "local" and asked:
        hsc_releases.check(query["release"], query["rerun"], {key: hsc[key] for key in ("sql_url", "cutout_url", "psf_url")})


def _final_file(config: dict) -> None:
    """An evaluation on a file set aside for the end must be meant."""
    table = split_path(config["local"]["tables"].get("evaluation", ""))[0]
    options = config["evaluation"]
    if os.path.basename(table) in options["final_files"] and table and not options["final"]:
        raise InputError(f"`local.tables.evaluation` is {os.path.basename(table)}, which `evaluation.final_files` sets aside; "
                         "set `evaluation.final: true` if this evaluation is the final one")


def _first_line(error) -> str:
    return " ".join(str(error).split())[:160]


def _sweeps(config: dict, known: dict) -> None:
    """Every point of every grid must be a model's options."""
    for k, one in enumerate(config["sweep"]):
        for name, values in one["grid"].items():
            for value in values:
                try:
                    _validate({name: value}, {"$defs": known["$defs"], "$ref": f"#/$defs/{one['model']}"})
                except InputError as error:
                    raise InputError(f"in `sweep.{k}.grid`: {error}") from None


def _models(config: dict) -> None:
    """Networks of several surveys need a multi-survey run with their surveys, those of one survey a run of it; estimators of
    columns may see either."""
    surveys, local, several = config["stamps"]["surveys"], config["archive"] == "local", acquisition.several(config)
    trainings.check_learning(config)
    for name, given in {**config["models"], **trainings.sweep(config["models"], config["sweep"])}.items():
        family = families.of(name)
        options, fusion = family.options(given), family.reads == "surveys"
        if fusion != several and not (family.everywhere and not family.sees_stamps(options)):
            alone = " or ".join(survey.name for survey in imaging.REGISTRY.values() if survey.layout == "galaxiesml")
            needs = "several imaging surveys in `stamps.surveys`" if fusion else f"`stamps.surveys: [{alone}]` or local data"
            raise InputError(f"`models.{name}` needs {needs}; change one of them")
        missing = [s for s in family.surveys(options) if s not in surveys] if fusion else []
        if missing:
            raise InputError(f"`models.{name}` sees {missing[0]}, which `stamps.surveys` doesn't fetch; add it there, or name "
                             f"the model's own in `models.{name}.surveys`")
        if options.reweight == "target" and config["targets"]["kind"] == "none":
            raise InputError(f"`models.{name}.reweight` names targets, but the run has none; add `targets` or name testing")
        for key, path in family.files(options).items():
            if not os.path.isfile(path):
                raise InputError(f"`models.{name}.{key}` is {path}, which does not exist; give an existing file")
        if family.sees_stamps(options) and local and not config["local"]["images"]:
            raise InputError(f"`models` names {name}, which needs images, but `local.images` is empty; "
                             "drop the model or name a manifest")
    fusions = [name for name in config["models"] if families.of(name).reads == "surveys"]
    for name in config["attribution"]["models"]:
        if name not in fusions:
            raise InputError(f"`attribution.models` names {name}, which is no fusion model of `models`; "
                             f"known: {', '.join(fusions) or 'none'}")
