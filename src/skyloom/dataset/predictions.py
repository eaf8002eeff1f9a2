"""Predictions as they lie in files: ids and points at once, p(z) in blocks of rows, seeds of a model together, calibrated ones in
their place."""

from __future__ import annotations

import json
from functools import cached_property

import numpy as np

from skyloom import store
from skyloom.dataset import read
from skyloom.dataset.table import align
from skyloom.errors import InputError
from skyloom.pz import distribution


class Prediction:
    """One file of predict, peer or calibrate: `about` (its attributes), `model`, `object_id` and `z` (n,), and `pz`, its p(z) as
    `distribution.Stored`, None without."""

    def __init__(self, path):
        self.path = str(path)
        self.about = store.attributes(path)
        self.model = self.about["model"]
        known = store.arrays(path, ("object_id", "z", *distribution.SHARED))
        self.object_id, self.z = known.pop("object_id"), known.pop("z")
        kind = distribution.form(dict.fromkeys(store.names(path)))
        self.pz = distribution.Stored(len(self.object_id), kind, known, self._read) if kind else None

    def _read(self, rows) -> dict:
        """InputError for p(z) that is none."""
        own = [name for name in distribution.FORMS[self.pz.kind] if name not in distribution.SHARED]
        found = store.rows(self.path, own, rows) | self.pz.shared
        distribution.check(found)
        return found


class Ensemble:
    """The seeds of one model on the same objects: `members`, `object_id`, `z` (n,) and `pz`, the mean of their p(z)
    (`distribution.combined`), None without. InputError if they hold other objects."""

    def __init__(self, members: list[Prediction]):
        self.members, first = members, members[0]
        for one in members[1:]:
            if not np.array_equal(one.object_id, first.object_id):
                raise InputError(f"{one.path} holds other objects than {first.path}; rerun predict")
        self.model, self.object_id = first.model, first.object_id
        self.pz = distribution.combined([one.pz for one in members]) if first.pz else None

    @cached_property
    def z(self) -> np.ndarray:
        """The point of one member as it is stored; of several the mean of their p(z), or of their points."""
        if len(self.members) == 1:
            return self.members[0].z
        if self.pz is None:
            return np.mean([one.z for one in self.members], axis=0)
        return np.concatenate([distribution.mean(self.pz.read(rows)) for rows in distribution.blocks(self.pz.n)])

    def rows_of(self, wanted) -> np.ndarray:
        """(m,) rows of the wanted ids; InputError if some are missing."""
        at = align(self.object_id, wanted)
        if (at < 0).any():
            raise InputError(f"predictions of {self.model} lack {(at < 0).sum()} objects of the catalog (the first: "
                             f"{np.asarray(wanted)[at < 0][0]}); rerun predict")
        return at


def by_model(predictions: list[Prediction]) -> tuple[dict[str, list[Prediction]], dict[str, str]]:
    """({name: its seeds}, {model: why it could not be applied}); a calibrated version has a name of its own, one that no
    calibration passed the gate for is left out."""
    models, reasons = {}, {}
    for one in predictions:
        calibration = one.about.get("calibration")
        if one.about.get("reason"):
            reasons.setdefault(one.model, set()).add(one.about["reason"])
        elif calibration != "":
            models.setdefault(one.model if calibration is None else f"{one.model}+{calibration}", []).append(one)
    return ({name: members for name, members in models.items() if name not in reasons},
            {model: " ".join(sorted(why)) for model, why in sorted(reasons.items())})


def recalibrated(path, models: dict[str, dict], predictions) -> tuple[str, str]:
    """(model, its calibration or `none`) of a file of the verb calibrate, put in place in `models` {name: {object_id, arrays}}:
    `conformal`, the p(z) before and {level: half-width in PIT}, and, where a method was kept, `arrays` after it.

    InputError if it was made from others than the files `predictions`, or holds other objects.
    """
    found = Prediction(path)
    about, own = found.about, models[found.model]
    of = [one for one in predictions if store.attributes(one)["model"] == about["model"]]
    if about["predictions_hash"] != read.file_hash(of):
        raise InputError(f"{path} was made from other predictions of {about['model']} than {of[0]}; rerun calibrate")
    if not np.array_equal(found.object_id, own["object_id"]):
        raise InputError(f"{path} holds other objects than the predictions of {about['model']}; rerun calibrate")
    own["conformal"] = own["arrays"], {level: float(half) for level, half in json.loads(about["conformal"]).items()}
    if about["calibration"]:
        own["arrays"] = found.pz
    return found.model, about["calibration"] or "none"
