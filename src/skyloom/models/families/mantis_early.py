"""Mantis Shrimp with early fusion: all bands on one grid, one encoder."""

from __future__ import annotations

from skyloom.models.families import _mantis


class MantisEarly(_mantis.Mantis):
    """One ConvNeXt over all bands."""

    name = "mantis_early"
    title = "Mantis Shrimp, surveys joined before the encoder"
    fusion = "early"
    ablations = _mantis.ABLATIONS

    def network(self, options, surveys, ebv, outputs):
        """Its stem sees PS1's grid."""
        from skyloom.models import mantis

        return mantis.MantisEarly(options.encoder, surveys, ebv, outputs, options.patch, options.gamma, options.hidden)


FAMILY = MantisEarly()
