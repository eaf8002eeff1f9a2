"""skyloom's networks of scenes as RAIL stages: SkyloomSceneInformer, SkyloomSceneEstimator (`pip install 'skyloom[rail]'`).

Their input is a file of scenes as skyloom's fetch-scenes writes it, their output p(z) of every source that is found there.
"""

from __future__ import annotations

import numpy as np
import qp
from ceci.config import StageParameter as Param
from rail.estimation.estimator import CatEstimator
from rail.estimation.informer import CatInformer

from skyloom.errors import InputError
from skyloom.train import finders


class _OfScenes:
    """A stage whose input is a file that it reads itself, tile by tile."""

    def set_data(self, tag, data, path=None, do_read=True):
        """As RAIL's, which would read the whole file of tiles as one table."""
        return super().set_data(tag, data, path, do_read and tag != "input")

    def path(self) -> str:
        """The file; InputError without one."""
        found = self.get_handle("input").path
        if not found or found == "None":
            raise InputError("a stage of scenes reads them from a file; give its path, not a table in memory")
        return str(found)


class SkyloomSceneInformer(_OfScenes, CatInformer):
    """Trains a network that finds, deblends, classifies and gives p(z)."""

    name = "SkyloomSceneInformer"
    entrypoint_function = "inform"
    config_options = CatInformer.config_options.copy()
    config_options.update(
        labels=Param(str, required=True, msg="labels of the input's tiles, as label-scenes writes them"),
        validation=Param(str, required=True, msg="scenes that set the score above which sources are kept"),
        validation_labels=Param(str, required=True, msg="their labels"),
        network=Param(str, "deepdisc", msg="the family of the network"),
        options=Param(dict, {}, msg="settings of the network over its defaults"), seed=Param(int, 1, msg="of the network"),
        gold_band=Param(str, "i", msg="band of the limit of the redshift loss"),
        gold_mag=Param(float, 25.3, msg="AB magnitude of galaxies that teach redshifts"),
        least_snr=Param(float, 5.0, msg="sources with S/N above this in any band are to be found"),
        star_redshifts=Param(bool, False, msg="stars teach their redshift of 0 too"))

    def run(self):
        """Train; the model is a dictionary of plain data."""
        c = self.config
        self.model = finders.fit(([self.path()], [c.labels]), ([c.validation], [c.validation_labels]), c.network, dict(c.options),
                                 {"band": c.gold_band, "mag": c.gold_mag}, c.least_snr, c.star_redshifts, c.seed)
        self.add_data("model", self.model)


class SkyloomSceneEstimator(_OfScenes, CatEstimator):
    """p(z) of every source found, as Gaussian mixtures (qp's mixmod); `ancil` holds id, ra, dec, score, class (0 galaxy, 1 star)
    and the probability of a star."""

    name = "SkyloomSceneEstimator"
    entrypoint_function = "estimate"
    config_options = CatEstimator.config_options.copy()

    def open_model(self, **kwargs):
        """The model as the informer left it."""
        super().open_model(**kwargs)
        return self.model

    def run(self):
        """Find the sources of all tiles; a chunk of the output is the whole: how many rows there are, nobody knows before."""
        self.open_model(**self.config)
        columns, mixture = finders.find(self.model, [self.path()])
        n = len(columns["object_id"])
        if not n:
            raise InputError(f"{self.path()} holds no source that the network finds; give scenes of the model's survey")
        found = qp.Ensemble(qp.mixmod, data={"means": mixture["mean"], "stds": mixture["sigma"], "weights": mixture["weight"]})
        grid = np.linspace(self.config.zmin, self.config.zmax, self.config.nzbins)
        star = columns["p_star"]
        found.set_ancil({"zmode": found.mode(grid), "id": columns["object_id"], "ra": columns["ra"], "dec": columns["dec"],
                         "score": columns["score"], "p_star": star, "class": (star > 0.5).astype(np.int8)})
        self._initialize_run()
        self._input_length = n
        self._do_chunk_output(found, 0, n, True)
        self._finalize_run()
