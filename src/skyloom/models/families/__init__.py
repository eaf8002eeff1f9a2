"""REGISTRY of model families: every module here holds a `FAMILY`; other packages add theirs by the entry point
`skyloom.models`. A model's name in a config is its family's, which may go on: `tabular_b` is another `tabular`."""

from __future__ import annotations

from skyloom.errors import InputError
from skyloom.models.family import Family, Training
from skyloom.registry import Registry
from skyloom.typed import nearest

REGISTRY = Registry("skyloom.models.families", "FAMILY", "skyloom.models", Family, "model family")


def of(model: str) -> Family:
    """The family of a model's name, the one of the longest name with which it begins; InputError for another name."""
    parts = model.split("_")
    for k in range(len(parts), 0, -1):
        if (name := "_".join(parts[:k])) in REGISTRY:
            return REGISTRY[name]
    raise InputError(f"unknown model {model!r}{nearest(model, REGISTRY)}; known: {', '.join(REGISTRY)}, whose names may go on "
                     "(tabular_b)")


def module(model: str) -> str:
    """The module that holds a model's family, for fingerprints."""
    return REGISTRY.modules[of(model).name]


def modules(model: str) -> tuple[str, ...]:
    """That module and the one that trains the family on scenes, where it has one."""
    return tuple(name for name in (module(model), of(model).trainer) if name)


def options(model: str, given: dict) -> Training:
    """A model's published settings with `given` over them."""
    return of(model).options(given)


def pattern(name: str) -> str:
    """Regular expression of the model names of a family: its own, which may go on unless that makes it another family's."""
    own = name.split("_")
    longer = ["_".join(parts[len(own):]) for parts in (other.split("_") for other in REGISTRY)
              if parts[:len(own)] == own and parts != own]
    not_those = f"(?!_(?:{'|'.join(longer)})(?:_|$))" if longer else ""
    return f"^{name}{not_those}(_[a-z0-9_]+)?$"
