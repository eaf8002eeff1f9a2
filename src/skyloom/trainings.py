"""Which networks a configuration trains: its models, their ablations, the grid of a sweep, the sizes of a learning curve; which
of them it stacks, and which one stands for z_phot."""

from __future__ import annotations

import itertools
import math

from skyloom import typed
from skyloom.errors import InputError
from skyloom.models import families

CLASSICAL = "sep"  # the detector that learns nothing from scenes
OURS = {"stack": "`stack`'s", "phot": "`z_phot`'s"}  # names that no model of a user's may have


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


def networks(detectors: dict) -> dict[str, dict]:
    """{name: options} of the networks among the detectors of scenes; the classical one is none."""
    return {name: options for name, options in detectors.items() if name != CLASSICAL}


def _finder(scenes: dict) -> dict[str, dict]:
    """{name: options} of the network whose sources are the run's objects, none without."""
    return {name: one for name, one in networks(scenes["detectors"]).items() if scenes["survey"] and name == scenes["detector"]}


def sweep(models: dict, grids: list[dict]) -> dict:
    """{`{model}_sweep_{k}`: options} of every point of every grid: a model's options, a grid's `options`, the point."""
    out = {}
    for one in grids:
        base = {**models.get(one["model"], {}), **one.get("options", {})}
        names = sorted(one["grid"])
        for k, values in enumerate(itertools.product(*(one["grid"][name] for name in names))):
            out[f"{one['model']}_sweep_{k}"] = base | dict(zip(names, values, strict=True))
    return out


def stands(asked: str, with_pz: list[str], learned: list[str]) -> bool:
    """Whether a model stands for z_phot: the one that is `asked` for, or with `auto` one of those `with_pz` that can be judged,
    because it didn't learn from `select` (`learned`) or has no rival."""
    if asked == "auto":
        return len(with_pz) == 1 or len(learned) < len(with_pz)
    return asked != "none"


def refuse_taken(config: dict) -> None:
    """InputError for a model or a peer's table with a name of OURS, or a model that is none; a config that isn't checked yet."""
    peers = config.get("peers")
    for place, names in (("models", config.get("models")), ("peers.tables", isinstance(peers, dict) and peers.get("tables"))):
        for name in OURS:
            if isinstance(names, dict) and name in names:
                raise InputError(f"`{place}.{name}`: the name {name} is {OURS[name]} own; rename it")
    refuse_finders(config)


def refuse_finders(config: dict) -> None:
    """InputError for networks of scenes among the models; a config that isn't checked yet."""
    models = config.get("models")
    for name in models if isinstance(models, dict) else ():
        if families.of(str(name)).reads == "scenes":
            raise InputError(f"`models` names {name}, which finds the sources of scenes; name it in `scenes.detectors`")


def check(config: dict) -> None:
    """InputError for a stack or a z_phot of models that can't make one, and for detectors of scenes that are none."""
    check_detectors(config)
    given = {**config["models"], **_finder(config["scenes"])}
    options = {name: families.of(name).options(one) for name, one in given.items()}
    with_pz = [name for name in options if families.of(name).gives_pz(options[name])]
    _stack(config["stack"], options, with_pz)
    with_pz += ["stack"] if config["stack"]["models"] else []
    asked = config["release"]["z_phot"]
    if asked in ("auto", "none"):
        return
    if asked not in options and asked not in with_pz:
        raise InputError(f"`release.z_phot` names {asked}, which is no model of the run; name one of "
                         f"{', '.join(with_pz) or 'none'}, auto or none")
    if asked not in with_pz:
        raise InputError(f"`release.z_phot` names {asked}, which gives a point without p(z); give it a `head` or name one of "
                         f"{', '.join(with_pz) or 'none'}, auto or none")


def check_detectors(config: dict) -> None:
    """InputError for detectors of scenes that are none or have other options, and for models of stamps beside them."""
    on = bool(config["scenes"]["survey"])
    for name, given in networks(config["scenes"]["detectors"] if on else {}).items():
        family = families.of(name)
        if family.reads != "scenes":
            raise InputError(f"`scenes.detectors` names {name}, which finds no sources; name {CLASSICAL} or a network of scenes")
        family.options(given)
    for name, given in config["models"].items():
        family = families.of(name)
        if on and family.sees_stamps(family.options(given)):
            raise InputError(f"`models` names {name}, which reads stamps, but sources of scenes have none; drop it, or empty "
                             "`scenes.survey`")


def _stack(asked: dict, options: dict, with_pz: list[str]) -> None:
    """InputError for members that there aren't, that give no p(z) or learned from the objects that weights are fitted on."""
    if asked["columns"] and not asked["models"]:
        raise InputError("`stack.columns` names columns, but `stack.models` no models; name two or more or drop the columns")
    for name in asked["models"]:
        if name not in options:
            raise InputError(f"`stack.models` names {name}, which is no model of the run; there are {', '.join(sorted(options))}")
        if name not in with_pz:
            raise InputError(f"`stack.models` names {name}, which gives a point without p(z); give it a `head` or drop it")
        if getattr(options[name], "refit", False):
            raise InputError(f"`stack.models` names {name}, which learns from `select` (`refit: true`), where the weights are "
                             "fitted; set `refit: false` or drop it")
    if len(asked["models"]) == 1:
        raise InputError(f"`stack.models` names {asked['models'][0]} alone; a stack needs two models or more")


def points(block: dict) -> dict[str, tuple[str, int]]:
    """{`{model}_n{size}`: (model, size)} of a learning curve's `models` and `sizes`."""
    return {f"{model}_n{size}": (model, size) for model in block["models"] for size in block["sizes"]}


def learning(models: dict, block: dict) -> dict:
    """{`{model}_n{size}`: options} of the trainings of a learning curve: the model's options with so many `objects`, and epochs
    enough for its `steps`. A stack is no training."""
    least = block.get("steps", {})
    return {name: {**models[model], "objects": size} | _longer(model, models[model], size, least.get(model, 0))
            for name, (model, size) in points(block).items() if model in models}


def _longer(model: str, given: dict, size: int, steps: int) -> dict:
    """`max_epochs`, and `patience` in proportion, with which a training of `size` objects makes at least so many steps; nothing
    where it does without."""
    options = families.options(model, given)
    epochs = math.ceil(steps / (options.batches or math.ceil(size / options.batch_size)))
    if epochs <= options.max_epochs:
        return {}
    return {"max_epochs": epochs, "patience": math.ceil(options.patience * epochs / options.max_epochs)}


def check_learning(config: dict) -> None:
    """InputError for a learning curve without models, sizes or truths, or with names that models have."""
    models, sizes = config["learning"]["models"], config["learning"]["sizes"]
    if bool(models) != bool(sizes):
        given, lacking = ("models", "sizes") if models else ("sizes", "models")
        raise InputError(f"`learning` names {given} but no {lacking}; give both or neither")
    lacking = [name for name in config["stack"]["models"] if name not in models]
    if "stack" in models and config["stack"]["models"] and lacking:
        raise InputError(f"`learning.models` names stack, but not its member {lacking[0]}; name all of `stack.models` there")
    for name in models:
        if name not in config["models"] and not (name == "stack" and config["stack"]["models"]):
            near = typed.nearest(name, config["models"])
            raise InputError(f"`learning.models` names {name}, which is no model of `models`{near}; known: "
                             f"{', '.join(config['models']) or 'none'}")
    for name in config["learning"].get("steps", {}):
        if name not in models or name not in config["models"]:
            raise InputError(f"`learning.steps` names {name}, which is no training of `learning.models`; known: "
                             f"{', '.join(name for name in models if name in config['models']) or 'none'}")
    taken = [name for name in learning(config["models"], config["learning"]) if name in config["models"]]
    if taken:
        raise InputError(f"`models.{taken[0]}` has the name of a model of `learning`; rename it")
    if models and config["archive"] == "local" and "training" not in config["local"]["tables"]:
        raise InputError("`learning` needs redshifts, but `local.tables` names no training table; name one, or empty `learning`")
