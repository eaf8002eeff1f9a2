"""Models by name: how to build each, what it reads, and its published training settings."""

from __future__ import annotations

import torch

from skyloom.errors import InputError
from skyloom.models.galaxiesml import GalaxiesMLCNN, GalaxiesMLNN
from skyloom.models.heads import Head
from skyloom.models.mantis import BINS, HIDDEN, SURVEYS, Z_MAX, MantisEarly, MantisLate
from skyloom.models.tabular import Tabular

MANTIS = {"mantis_early": MantisEarly, "mantis_late": MantisLate, "mantis_optical": MantisEarly}
DEFAULTS = {
    "galaxiesml_nn": {"lr": 5e-4, "batch_size": 100, "max_epochs": 1000, "patience": 10, "uses_image": False},
    "galaxiesml_cnn": {"lr": 1e-4, "batch_size": 256, "max_epochs": 200, "patience": 10, "uses_image": True},
}
# Engel et al. (2025): NAdam, halved after six epochs without gain, epochs of 1,000 class-balanced batches of 16
FUSION = {"lr": 3e-4, "batch_size": 16, "max_epochs": 150, "patience": 20, "optimiser": "nadam", "plateau": 6, "batches": 1000,
          "weight_decay": 1e-7, "survey_dropout": 0.0, "encoder": "large", "bins": BINS, "hidden": HIDDEN,
          "surveys": list(SURVEYS), "patch": 4, "gamma": 1e-6, "view": 30, "augment": "rotations", "symmetries": 1,
          "pretrained": "", "pretrained_small": "", "head": "binned", "outputs": 8, "uses_image": True}

# noise: share of each flux's own error that is added anew at every step
TABULAR = {"lr": 4e-3, "batch_size": 128, "max_epochs": 120, "patience": 120, "optimiser": "adamw", "schedule": "onecycle",
           "weight_decay": 1e-4, "head": "mixture", "outputs": 8, "width": 128, "depth": 3, "dropout": 0.0, "noise": 0.7,
           "columns": [], "errors": True, "tune": False, "refit": False, "augment": False, "uses_image": False}


def is_tabular(name: str) -> bool:
    """Whether a name is that of a tabular estimator: `tabular`, which may go on (`tabular_b`)."""
    return name == "tabular" or name.startswith("tabular_")


def family(name: str) -> str:
    """`mantis_early`, `mantis_late` or `mantis_optical` of a fusion network's name, which may go on (`mantis_late_no_uv`);
    empty for other models."""
    return next((kind for kind in MANTIS if name == kind or name.startswith(kind + "_")), "")


def options(name: str, given: dict) -> dict:
    """A model's published settings with `given` over them."""
    if kind := family(name):
        own = {"surveys": ["ps1"]} if kind == "mantis_optical" else {}
        stems = {"patch_small": 4 if given.get("view") == "code" else 1}  # 30 arcsec are 12 px of unWISE
        return {**FUSION, **own, **stems, "scaling": "default", **given}
    if is_tabular(name):
        return {**TABULAR, **given}
    return {**DEFAULTS[_published(name)], "size": 64, "scaling": "default", "augment": False, "head": "point", "outputs": 8,
            "ivar": False, **given}


def _published(name: str) -> str:
    """`galaxiesml_nn` or `galaxiesml_cnn` of a name that may go on (`galaxiesml_cnn_mixture`); InputError for another."""
    for kind in DEFAULTS:
        if name == kind or name.startswith(kind + "_"):
            return kind
    raise InputError(f"unknown model {name!r}; known: {', '.join((*DEFAULTS, *MANTIS, 'tabular'))}")


def build(name: str, inputs: int = 5, bands: int = 5, size: int = 64, head: Head | None = None):
    """An untrained network of GalaxiesML, for a point or with a head; parameters are drawn from torch's global generator."""
    outputs = head.outputs if head else 1
    net = GalaxiesMLNN(inputs, outputs) if _published(name) == "galaxiesml_nn" else GalaxiesMLCNN(inputs, bands, size, outputs)
    if head:
        head.start(net.head)
    return net


def build_tabular(options: dict, table: dict, head: Head) -> Tabular:
    """An untrained tabular network for the columns of `table` (as `tabular.fit` gives it) with the outputs of `head`."""
    net = Tabular(len(table["columns"]), 2 * len(table["extra"]), head.outputs, options["width"], options["depth"],
                  options["dropout"])
    head.start(net.head)
    if "features" in table:
        net.features.load(table["features"])
    return net


def build_fusion(name: str, encoder: str = "large", surveys=tuple(SURVEYS), ebv: int = 2, bins: int = BINS, **more):
    """An untrained multi-survey network; `more` as for `models.mantis`."""
    return MANTIS[family(name)](encoder, surveys, ebv, bins, **more)


def build_from(name: str, options: dict, ebv: int):
    """A fusion network of `options`; the stems of the small stamps may have a stride of their own (`patch_small`)."""
    more = {"patch": options["patch"]} if family(name) != "mantis_late" else {
        "patches": {"ps1": options["patch"], "galex": options["patch_small"], "unwise": options["patch_small"]}}
    head = fusion_head(options)
    model = build_fusion(name, options["encoder"], tuple(options["surveys"]), ebv, head.outputs, gamma=options["gamma"],
                         hidden=options["hidden"], **more)
    head.start(model.head[-1])
    return model


def fusion_head(options: dict) -> Head:
    """The head of a fusion network: the published classes over 0 <= z < 1.6, or a mixture or quantiles of `outputs`."""
    options = {**FUSION, **options}  # models trained before there was a choice don't name one
    return Head(options["head"], options["bins"] if options["head"] == "binned" else options["outputs"], 0.0, Z_MAX)


def describe(name: str, size: int = 127, encoder: str = "large") -> dict:
    """Name, variant, `parameters` and `head_parameters` of a model; InputError for an unknown one."""
    with torch.device("meta"):  # sizes without memory
        if kind := family(name):
            surveys = ("ps1",) if kind == "mantis_optical" else tuple(SURVEYS)
            model, about = build_fusion(name, encoder, surveys), {"encoder": encoder}
        elif is_tabular(name):  # with GalaxiesML's five bands
            given, head = options(name, {}), Head(TABULAR["head"], TABULAR["outputs"], 0.0, 1.0)
            model, about = build_tabular(given, {"columns": list("grizy"), "extra": []}, head), {"bands": 5}
        else:
            model, about = build(name, size=size), {"size": size}
    return {"model": name, **about, "parameters": count(model), "head_parameters": count(model.head)}


def count(module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
