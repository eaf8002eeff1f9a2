"""Plain data (JSON, YAML) as frozen dataclasses and back: options of models, model.json, settings of verbs.

Standard library only: any GPU box reads its settings with it.
"""

from __future__ import annotations

import dataclasses
import difflib
import operator
from typing import Any

from skyloom.errors import InputError

KINDS = {"integer": int, "number": (int, float), "string": str, "boolean": bool, "array": (list, tuple), "object": dict}
BOUNDS = (("minimum", "at least", operator.ge), ("maximum", "at most", operator.le), ("exclusiveMinimum", "above", operator.gt))


def option(default, about: str, /, **schema) -> Any:
    """A field with its default, a sentence, and its constraints in JSON schema's words (a `default` there is written into a
    run's settings; others are not, so that they hold what was given)."""
    return dataclasses.field(default=default, metadata={"about": about, "schema": schema})


def with_defaults(kind: type, **values) -> type:
    """A copy of a dataclass of options whose defaults are `values` where they are named."""
    own = {field.name: field for field in dataclasses.fields(kind)}
    changed = [(name, own[name].type, dataclasses.field(default=value, metadata=own[name].metadata))
               for name, value in values.items()]
    return dataclasses.make_dataclass("Options", changed, bases=(kind,), frozen=True, namespace={"__doc__": kind.__doc__})


def read(kind: type, given: dict, what: str, strict: bool = True):
    """An instance of a frozen dataclass from plain data, lists as tuples where a field is one.

    InputError in the words of `what` for a key that is missing, of another type or not among the allowed values; for an
    unknown key if `strict`, else it is passed over (older and newer versions write such).
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in given:
        if key not in fields and strict:
            raise InputError(f"{what} has no option `{key}`{nearest(key, fields)}; its options are {', '.join(sorted(fields))}")
    for name, field in fields.items():
        if name not in given and field.default is field.default_factory is dataclasses.MISSING:
            raise InputError(f"{what} lacks `{name}`; add it")
    values = {}
    for name, value in given.items():
        if name in fields:
            _check(value, fields[name], f"{what}: `{name}`")
            listed = isinstance(value, list) and "tuple" in str(fields[name].type).split("[")[0]
            values[name] = tuple(value) if listed else value
    return kind(**values)


def nearest(word: str, known) -> str:
    """` (did you mean ...?)` with the known word next to one, empty without."""
    near = difflib.get_close_matches(str(word), list(known), 1, 0.6)
    return f" (did you mean `{near[0]}`?)" if near else ""


def _check(value, field, place: str) -> None:
    """InputError unless a value has the type that a field's schema names and is among the values that it allows, within its
    bounds."""
    allowed = field.metadata.get("schema", {})
    if value is None and field.default is None:
        return
    kind = KINDS.get(allowed.get("type"))
    if kind and (not isinstance(value, kind) or isinstance(value, bool) and kind is not bool):
        raise InputError(f"{place} is {value!r}; it must be of type {allowed['type']}")
    if "enum" in allowed and not any(value is one or value == one and type(value) is type(one) for one in allowed["enum"]):
        raise InputError(f"{place} is {value!r}; it must be one of {', '.join(map(repr, allowed['enum']))}")
    for key, words, kept in BOUNDS:
        if key in allowed and isinstance(value, (int, float)) and not kept(value, allowed[key]):
            raise InputError(f"{place} is {value!r}; it must be {words} {allowed[key]:g}")


def plain(value) -> dict:
    """A dataclass as plain data that JSON holds."""
    return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}


def _plain(value):
    if dataclasses.is_dataclass(value):
        return plain(value)
    return list(value) if isinstance(value, tuple) else value


def schema(kind: type) -> dict:
    """The JSON schema of a dataclass of options. Defaults are told in words: only what was given stands in a run's settings."""
    properties = {}
    for field in dataclasses.fields(kind):
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        told = "" if default is None or default == "" else f"{default} by default"
        about = "; ".join(part for part in (field.metadata["about"], told) if part)
        properties[field.name] = {**field.metadata["schema"], "description": about}
    return {"type": "object", "additionalProperties": False, "properties": properties}
