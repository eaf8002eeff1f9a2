"""The configuration: defaults filled, every key known, every value checked, before any rule runs."""

from __future__ import annotations

import copy
import difflib
import os
from pathlib import Path

import yaml

from skyloom import trainings
from skyloom.errors import InputError
from skyloom.provenance import memory
from skyloom.provenance.canonical import digest
from skyloom.sample import regions
from skyloom.schema import schema
from skyloom.surveys import releases


def load(paths) -> dict:
    """Merge YAML files deeply, later ones winning, then `complete` the result.

    Raises InputError naming the file for unreadable YAML and as `complete` does.
    """
    merged: dict = {}
    for path in paths:
        try:
            part = yaml.safe_load(Path(path).read_text())
        except FileNotFoundError:
            raise InputError(f"config file {path} does not exist; give an existing file") from None
        except yaml.YAMLError as error:
            raise InputError(f"config file {path} is not valid YAML ({_first_line(error)}); mend it") from None
        if not isinstance(part, dict):
            raise InputError(f"config file {path} holds no mapping; it needs `key: value` lines")
        merged = merge(merged, part)
    return complete(merged)


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
    _refuse_unknown(config, known, known, "")
    config = _with_defaults(config, known, known)
    _validate(config, known)
    _expand(config)
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
        elif extra is False:
            near = difflib.get_close_matches(str(key), list(properties), 1, 0.5)
            hint = f"did you mean `{near[0]}`?" if near else "known keys here: " + ", ".join(sorted(properties))
            raise InputError(f"unknown key `{where}` in the config; {hint}")
        elif isinstance(extra, dict):
            _refuse_unknown(inner, extra, root, where)


def _with_defaults(value, node, root):
    node = _resolve(node, root)
    if isinstance(value, dict):
        value = dict(value)
        for key, inner in node.get("properties", {}).items():
            default = _resolve(inner, root).get("default", ...)
            if key not in value and default is not ...:
                value[key] = copy.deepcopy(default)
        extra = node.get("additionalProperties")
        for key in value:
            inner = node.get("properties", {}).get(key, extra if isinstance(extra, dict) else {})
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
        text = os.path.expandvars(value)
        if "$" in text:
            raise InputError(f"`{place}` is {value!r}, but that environment variable is not set; set it")
        return text

    local = config["local"]
    local["images"] = expanded(local["images"], "local.images")
    local["tables"] = {name: expanded(path, f"local.tables.{name}") for name, path in local["tables"].items()}
    for name, table in config["peers"]["tables"].items():
        table["path"] = expanded(table["path"], f"peers.tables.{name}.path")
    config["targets"]["table"] = expanded(config["targets"]["table"], "targets.table")


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
        raise InputError(f"`stamps.packed` asks for {max(stamps['packed'])} px, more than `stamps.size` "
                         f"{stamps['size']}; lower it or raise `stamps.size`")
    if config["cuts"]["z_min"] >= config["cuts"]["z_max"]:
        raise InputError("`cuts.z_min` is not below `cuts.z_max`; change one of them")
    _models(config)
    local = config["local"]
    if config["archive"] == "local" and not (local["tables"].get("training") or local["images"]):
        raise InputError("`archive: local` needs `local.tables.training` or `local.images`; "
                         "add a second --configfile that names your files")
    _final_file(config)
    needs_image = [m for m in config["models"] if m.startswith("galaxiesml_cnn")]
    if config["archive"] == "local" and not local["images"] and needs_image:
        raise InputError("`models` names galaxiesml_cnn, which needs images, but `local.images` is empty; "
                         "drop the model or name a manifest")


def _release(config: dict) -> None:
    """The rerun of HSC where none is named; release, rerun and addresses must belong together where HSC is asked."""
    query, hsc = config["query"], config["services"]["hsc"]
    query["rerun"] = query["rerun"] or f"{releases.name(query['release']) or 'pdr2'}_wide"
    asked = query["kind"] == "hsc" or "hsc" in config["stamps"]["surveys"] or config["targets"]["kind"] == "hsc"
    if config["archive"] != "local" and asked:
        releases.check(query["release"], query["rerun"], {key: hsc[key] for key in ("sql_url", "cutout_url", "psf_url")})


def _final_file(config: dict) -> None:
    """An evaluation on a file set aside for the end must be meant."""
    table = config["local"]["tables"].get("evaluation", "").split(":")[0]
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
                    _refuse_unknown({name: value}, known["$defs"]["model"], known, f"sweep.{k}.grid")
                    _validate({name: value}, known["$defs"]["model"])
                except InputError as error:
                    raise InputError(f"in `sweep.{k}.grid`: {error}") from None


def _models(config: dict) -> None:
    """Fusion networks need a multi-survey run with their surveys, the others a run of one survey."""
    surveys = config["stamps"]["surveys"]
    several = config["archive"] != "local" and surveys != ["hsc"]
    everything = {**config["models"], **trainings.sweep(config["models"], config["sweep"])}
    for name, options in everything.items():
        fusion = trainings.is_fusion(name)
        if fusion != several:
            needs = "several imaging surveys in `stamps.surveys`" if fusion else "`stamps.surveys: [hsc]` or local data"
            raise InputError(f"`models.{name}` needs {needs}; change one of them")
        missing = [s for s in trainings.surveys_of(name, options) if s not in surveys] if fusion else []
        if missing:
            raise InputError(f"`models.{name}` sees {missing[0]}, which `stamps.surveys` doesn't fetch; add it there, or name "
                             f"the model's own in `models.{name}.surveys`")
        if fusion and options.get("head") == "point":
            raise InputError(f"`models.{name}.head` is point, which fusion networks don't have; known: binned, mixture, quantile")
        if fusion and "reweight" in options:
            raise InputError(f"`models.{name}.reweight` is not supported: fusion networks draw classes evenly; drop it")
        if options.get("reweight") == "target" and config["targets"]["kind"] == "none":
            raise InputError(f"`models.{name}.reweight` names targets, but the run has none; add `targets` or name testing")
        for key in ("pretrained", "pretrained_small"):
            if options.get(key) and not os.path.exists(options[key]):
                raise InputError(f"`models.{name}.{key}` is {options[key]}, which does not exist; give an existing file")
    for name in config["attribution"]["models"]:
        if name not in config["models"] or not trainings.is_fusion(name):
            raise InputError(f"`attribution.models` names {name}, which is no fusion model of `models`; "
                             f"known: {', '.join(n for n in config['models'] if trainings.is_fusion(n)) or 'none'}")
