"""A tabular estimator as an object, for other frameworks: fit on columns, predict p(z) of columns, kept as plain data."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import load, save

from skyloom import estimation, fitting, training
from skyloom.errors import InputError
from skyloom.models import registry, tabular
from skyloom.models.heads import Head
from skyloom.pz import distribution


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
        training.prepare(int(seed), 1)
        model, head, table, arrays = fitting.network(split, rows, options, read)
        training.run_epochs(model, head.loss, arrays, options, int(seed), torch.device("cpu"))
        members.append(save({name: p.detach().contiguous() for name, p in model.named_parameters()}))
    return {"kind": "skyloom.tabular", "options": options, "table": table, "head": head.facts(), "members": members}


def predict(model: dict, columns: dict) -> dict[str, np.ndarray]:
    """p(z) (a form of `distribution.FORMS`) of columns {name: (n,)}: the mean over the model's networks. InputError for a
    missing column or something that is no such model."""
    if not isinstance(model, dict) or model.get("kind") != "skyloom.tabular":
        raise InputError("this is no model of skyloom's tabular estimator; inform one first")
    missing = [name for name in (*model["table"]["columns"], *model["table"]["errors"].values()) if name not in columns]
    if missing:
        raise InputError(f"the table has no column `{missing[0]}`, which the model was trained with")
    head, raw, parts = Head(**model["head"]), tabular.raw(columns, model["table"]), []
    for weights in model["members"]:
        net = registry.build_tabular(model["options"], model["table"], head)
        net.load_state_dict(load(weights))
        parts.append(head.pz(estimation.predict_table(net, raw, torch.device("cpu"))))
    return distribution.combined(parts)
