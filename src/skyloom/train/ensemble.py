"""Estimators as objects, for other frameworks: fit on columns or images, predict p(z) of such, kept as plain data."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import load, save

from skyloom.errors import InputError
from skyloom.models import registry, scaling, tabular
from skyloom.models.heads import Head
from skyloom.pz import distribution
from skyloom.train import estimation, fitting, loop


def fit(columns: dict, read: fitting.Columns, z: np.ndarray, options: dict, seeds) -> dict:
    """A model as plain data from columns {name: (n,)} and redshifts z (n,): one network a seed, trained for all of its epochs.

    `options` over the tabular estimator's defaults. InputError for columns that are missing or too few rows.
    """
    missing = [name for name in read.inputs if name not in columns]
    if missing:
        raise InputError(f"the training table has no column `{missing[0]}`; it has {', '.join(map(str, columns))[:160]}")
    options = registry.options("tabular", options)
    split = SimpleNamespace(path="the training table", columns={**columns, "specz_redshift": np.asarray(z, float)})
    rows, members, table, head = fitting.rows_of(split, np.ones(len(z), bool)), [], {}, None
    for seed in seeds:
        loop.prepare(int(seed), 1)
        model, head, table, arrays = fitting.network(split, rows, options, read)
        loop.run_epochs(model, head.loss, arrays, options, int(seed), torch.device("cpu"))
        members.append(save({name: p.detach().contiguous() for name, p in model.named_parameters()}))
    return {"kind": "skyloom.tabular", "options": options, "table": table, "head": head.facts(), "members": members}


def fit_images(columns: dict, magnitudes: list[str], image: str, ivar: str, z: np.ndarray, options: dict, seeds) -> dict:
    """The same for GalaxiesML's CNN on magnitudes and stamps, `image` and `ivar` (n, band, y, x) in nJy and nJy^-2.

    `options` over the CNN's defaults. InputError for missing columns, or stamps that are not square or below 32 px.
    """
    _present({"columns": magnitudes, "errors": {"image": image, "ivar": ivar}}, columns)
    shape = np.shape(columns[image])
    if len(shape) != 4 or shape[2] != shape[3] or shape[2] < 32 or np.shape(columns[ivar]) != shape:
        raise InputError(f"`{image}` has the shape {shape}; it must be (n, band, y, y), at least 32 px, as `{ivar}`")
    options = {**registry.options("galaxiesml_cnn", {"head": "mixture", "augment": True}), **options, "size": shape[2]}
    rows = np.flatnonzero(np.isfinite(z))
    seen = {name: np.asarray(columns[name], float)[rows] for name in magnitudes}
    model = {"kind": "skyloom.image", "options": options, "image": image, "ivar": ivar, "bands": shape[1],
             "table": {**scaling.fit_table(seen, "default", True), "errors": {}},
             "scaling": scaling.fit_image(np.asarray(columns[ivar])[rows[:256]], "default") | {"ivar": options["ivar"]},
             "head": Head(options["head"], options["outputs"], float(z[rows].min()), float(z[rows].max()) + 1e-6).facts()}
    head, members = Head(**model["head"]), []
    arrays = loop.Arrays(lambda at: _pixels(model, columns, rows[at]), torch.from_numpy(scaling.table(seen, model["table"])),
                             torch.tensor(z[rows], dtype=torch.float32))
    for seed in seeds:
        loop.prepare(int(seed), 1)
        net = _network(model, head)
        loop.run_epochs(net, head.loss, arrays, options, int(seed), torch.device("cpu"))
        members.append(save({name: p.detach().contiguous() for name, p in net.named_parameters()}))
    return {**model, "members": members}


def _network(model: dict, head: Head):
    """An untrained network of a model."""
    if model["kind"] == "skyloom.tabular":
        return registry.build_tabular(model["options"], model["table"], head)
    channels = model["bands"] * (2 if model["scaling"]["ivar"] else 1)
    return registry.build("galaxiesml_cnn", scaling.inputs(model["table"]), channels, model["options"]["size"], head)


def _pixels(model: dict, columns: dict, rows) -> np.ndarray:
    ivar = np.asarray(columns[model["ivar"]])[rows] if model["scaling"]["ivar"] else None
    return scaling.image(np.asarray(columns[model["image"]])[rows], model["scaling"], ivar)


def _present(table: dict, columns: dict) -> None:
    missing = [name for name in (*table["columns"], *table["errors"].values()) if name not in columns]
    if missing:
        raise InputError(f"the table has no column `{missing[0]}`, which the model needs; it has {', '.join(columns)[:160]}")


def predict(model: dict, columns: dict) -> dict[str, np.ndarray]:
    """p(z) (a form of `distribution.FORMS`) of columns {name: (n,)}: the mean over the model's networks. InputError for a
    missing column, stamps of another shape, or something that is no such model."""
    if not isinstance(model, dict) or model.get("kind") not in ("skyloom.tabular", "skyloom.image"):
        raise InputError("this is no model of skyloom's estimators; inform one first")
    head, parts, tables = Head(**model["head"]), [], model["kind"] == "skyloom.tabular"
    stamps = {} if tables else {"errors": {"image": model["image"], "ivar": model["ivar"]}}
    _present({**model["table"], **stamps}, columns)
    if not tables and np.shape(columns[model["image"]])[1:] != (model["bands"], *[model["options"]["size"]] * 2):
        raise InputError(f"`{model['image']}` has the shape {np.shape(columns[model['image']])}, the model was trained on "
                         f"{model['bands']} bands of {model['options']['size']} px")
    inputs = tabular.raw(columns, model["table"]) if tables else scaling.table(columns, model["table"])
    for weights in model["members"]:
        net = _network(model, head)
        net.load_state_dict(load(weights))
        if tables:
            out = estimation.predict_table(net, inputs, torch.device("cpu"))
        else:
            out = torch.from_numpy(estimation.predict(net, lambda at: _pixels(model, columns, at), inputs, torch.device("cpu")))
        parts.append(head.pz(out))
    return distribution.combined(parts)
