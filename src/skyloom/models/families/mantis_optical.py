"""Mantis Shrimp on one survey, PS1 unless told otherwise: fusion makes no difference then."""

from __future__ import annotations

from skyloom.models.families import _mantis, mantis_early
from skyloom.typed import with_defaults


class MantisOptical(mantis_early.MantisEarly):
    """An early network of PS1."""

    name = "mantis_optical"
    title = "Mantis Shrimp on PS1 alone"
    Options = with_defaults(_mantis.Options, surveys=("ps1",))
    ablations = {}


FAMILY = MantisOptical()
