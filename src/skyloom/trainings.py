"""Which networks a configuration trains: its models, their ablations, the grid of a sweep, the sizes of a learning curve."""

from __future__ import annotations

import itertools

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
