"""Photo-z from measured columns: magnitudes, colours, errors and the states of missing bands, for any head."""

from __future__ import annotations

from skyloom.models.families import _tabular

NOISE = _tabular.NOISE  # the path of settings that a file with errors is tuned along first


class Tabular(_tabular.Estimator):
    """A residual network on features of fluxes."""

    name = "tabular"
    title = "Estimator of measured columns"
    least = 5


FAMILY = Tabular()
