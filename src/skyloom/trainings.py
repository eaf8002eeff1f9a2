"""Which networks a configuration trains: its models, their ablations, the grid of a sweep."""

from __future__ import annotations

import itertools

# what a fusion network sees when surveys are taken away (Engel et al. 2025, table 4)
ABLATIONS = {"optical": ["ps1"], "optical_uv": ["ps1", "galex"], "optical_ir": ["ps1", "unwise"]}
FUSIONS = ("mantis_early", "mantis_late")


def is_fusion(name: str) -> bool:
    """Whether a model's name is that of a multi-survey network."""
    return name.startswith("mantis_")


def has_pz(name: str, options: dict) -> bool:
    """Whether a model gives p(z), by its name and options: fusion and tabular models do, GalaxiesML's with a head."""
    own = "point" if name.startswith("galaxiesml") else "own"
    return options.get("head", own) != "point"


def surveys_of(name: str, options: dict) -> list[str]:
    """What a fusion network sees."""
    return options.get("surveys", ["ps1"] if name.startswith("mantis_optical") else ["ps1", "galex", "unwise"])


def ablated(models: dict, ablations: list[str]) -> dict:
    """`models` with those of `ablations` beside them: `{model}_{ablation}` with the options of `model`.

    Without a second survey early and late fusion are the same: `optical` is one network, `mantis_optical`, as in the paper.
    """
    out = dict(models)
    for name in (name for name in FUSIONS if name in models):
        for ablation in ablations:
            key = "mantis_optical" if ablation == "optical" else f"{name}_{ablation}"
            out.setdefault(key, {**models[name], "surveys": ABLATIONS[ablation]})
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
