"""skyloom's estimators as RAIL stages: SkyloomInformer, SkyloomEstimator (`pip install 'skyloom[rail]'`).

Tables: the tabular estimator on magnitudes and errors. With `image_col`: GalaxiesML's CNN on magnitudes and the stamps of an
HDF5 file as skyloom packs them.
"""

from __future__ import annotations

import numpy as np
import qp
from ceci.config import StageParameter as Param
from rail.core.common_params import SharedParams
from rail.estimation.estimator import CatEstimator
from rail.estimation.informer import CatInformer

from skyloom.errors import InputError
from skyloom.train import ensemble


def _shared(*names: str) -> dict:
    """RAIL's own options of these names."""
    return {name: SharedParams.copy_param(name) for name in names}


def _columns(data) -> dict[str, np.ndarray]:
    """{name: (n, ...)} of a table in any of RAIL's formats."""
    names = data.keys() if hasattr(data, "keys") else data.columns
    return {name: np.asarray(data[name]) for name in names}


def _states(columns: dict, config) -> dict[str, np.ndarray]:
    """RAIL's values for not detected and not observed as skyloom's, 99 and NaN."""
    out = dict(columns)
    for name in config.bands:
        values = np.asarray(columns[name], float) if name in columns else None
        if values is None:
            continue
        undetected = np.isclose(values, config.nondetect_val)  # never where that is NaN
        unobserved = np.isclose(values, config.nonobserved_val) | ~np.isfinite(values)
        out[name] = np.where(undetected, 99.0, np.where(unobserved, np.nan, values))
    return out


class SkyloomInformer(CatInformer):
    """Trains an ensemble of skyloom's networks: tabular ones, or CNNs where `image_col` names stamps."""

    name = "SkyloomInformer"
    entrypoint_function = "inform"
    config_options = CatInformer.config_options.copy()
    config_options.update(
        **_shared("bands", "err_bands", "redshift_col", "nondetect_val", "nonobserved_val"),
        n_seeds=Param(int, 4, msg="networks of the ensemble"), seed=Param(int, 1, msg="seed of the first network"),
        options=Param(dict, {}, msg="settings of the estimator over its defaults"),
        image_col=Param(str, "", msg="stamps (n, band, y, x) in nJy; empty: magnitudes and errors alone"),
        ivar_col=Param(str, "ivar", msg="inverse variances of the stamps in nJy^-2"))

    def run(self):
        """Train; the model is a dictionary of plain data."""
        if self.config.options.get("head", "mixture") != "mixture":
            raise InputError(f"SkyloomEstimator writes mixtures, not {self.config.options['head']}; leave out `head`")
        data = self.get_data("input")
        columns = _states(_columns(data[self.config.hdf5_groupname] if self.config.hdf5_groupname else data), self.config)
        z, seeds = columns[self.config.redshift_col], range(self.config.seed, self.config.seed + self.config.n_seeds)
        if self.config.image_col:
            self.model = ensemble.fit_images(columns, list(self.config.bands), self.config.image_col, self.config.ivar_col,
                                             np.asarray(z, float), dict(self.config.options), seeds)
            self.add_data("model", self.model)
            return
        errors = {m: e for m, e in zip(self.config.bands, self.config.err_bands, strict=True) if e}
        read = ensemble.Columns(list(self.config.bands), errors, [])
        self.model = ensemble.fit(columns, read, z, dict(self.config.options), seeds)
        self.add_data("model", self.model)


class SkyloomEstimator(CatEstimator):
    """p(z) as Gaussian mixtures (qp's mixmod); ids are kept where `id_col` names them."""

    name = "SkyloomEstimator"
    entrypoint_function = "estimate"
    config_options = CatEstimator.config_options.copy()
    config_options.update(**_shared("bands", "err_bands", "nondetect_val", "nonobserved_val"))

    def open_model(self, **kwargs):
        """The model as the informer left it."""
        super().open_model(**kwargs)
        return self.model

    def _process_chunk(self, start, end, data, first):
        found = ensemble.predict(self.model, _states(_columns(data), self.config))
        distribution = qp.Ensemble(qp.mixmod, data={"means": found["means"], "stds": found["stds"], "weights": found["weights"]})
        grid = np.linspace(self.config.zmin, self.config.zmax, self.config.nzbins)
        distribution.set_ancil({"zmode": distribution.mode(grid)})
        self._do_chunk_output(distribution, start, end, first, data=data)
