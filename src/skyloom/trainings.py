"""Which networks a configuration trains: its models, their ablations, the grid of a sweep, the sizes of a learning curve."""

from __future__ import annotations

import itertools

from skyloom import typed
from skyloom.errors import InputError
from skyloom.models import families


def ablated(models: dict, ablations: list[str]) -> dict:
    """`models` with those of `ablations` beside them, of every model that bears its family's own name: the options of `model`
    with fewer surveys, as the family says."""
    out = dict(models)
    for name, options in sorted(models.items()):
        family = families.of(name)
        for ablation in ablations if name == family.name else ():
            if ablation in family.ablations:
                other, surveys = family.ablations[ablation]
                out.setdefault(other or f"{name}_{ablation}", {**options, "surveys": list(surveys)})
    return out


def sweep(models: dict, grids: list[dict]) -> dict:
    """{`{model}_sweep_{k}`: options} of every point of every grid: a model's options, a grid's `options`, the point."""
    out = {}
    for one in grids:
        base = {**models.get(one["model"], {}), **one.get("options", {})}
        names = sorted(one["grid"])
        for k, values in enumerate(itertools.product(*(one["grid"][name] for name in names))):
            out[f"{one['model']}_sweep_{k}"] = base | dict(zip(names, values, strict=True))
    return out


def points(block: dict) -> dict[str, tuple[str, int]]:
    """{`{model}_n{size}`: (model, size)} of a learning curve's `models` and `sizes`."""
    return {f"{model}_n{size}": (model, size) for model in block["models"] for size in block["sizes"]}


def learning(models: dict, block: dict) -> dict:
    """{`{model}_n{size}`: options} of the trainings of a learning curve: the model's options with so many `objects`."""
    return {name: {**models[model], "objects": size} for name, (model, size) in points(block).items()}


def check_learning(config: dict) -> None:
    """InputError for a learning curve without models, sizes or truths, or with names that models have."""
    models, sizes = config["learning"]["models"], config["learning"]["sizes"]
    if bool(models) != bool(sizes):
        given, lacking = ("models", "sizes") if models else ("sizes", "models")
        raise InputError(f"`learning` names {given} but no {lacking}; give both or neither")
    for name in models:
        if name not in config["models"]:
            near = typed.nearest(name, config["models"])
            raise InputError(f"`learning.models` names {name}, which is no model of `models`{near}; known: "
                             f"{', '.join(config['models']) or 'none'}")
    taken = [name for name in learning(config["models"], config["learning"]) if name in config["models"]]
    if taken:
        raise InputError(f"`models.{taken[0]}` has the name of a model of `learning`; rename it")
    if models and config["archive"] == "local" and "training" not in config["local"]["tables"]:
        raise InputError("`learning` needs redshifts, but `local.tables` names no training table; name one, or empty `learning`")
