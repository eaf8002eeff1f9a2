"""Mantis Shrimp with late fusion: an encoder a survey at its own pixels, features joined."""

from __future__ import annotations

from skyloom.models.families import _mantis


class MantisLate(_mantis.Mantis):
    """A ConvNeXt a survey, small ones beside a large one."""

    name = "mantis_late"
    title = "Mantis Shrimp, surveys joined behind their encoders"
    fusion = "late"
    ablations = _mantis.ABLATIONS
    described = {"patch_small": 4}

    def network(self, options, surveys, ebv, outputs):
        """The stems of the small stamps may have a stride of their own."""
        from skyloom.models import mantis

        patches = {name: options.patch if name == "ps1" else options.patch_small for name in surveys}
        return mantis.MantisLate(options.encoder, surveys, ebv, outputs, patches, options.gamma, options.hidden)


FAMILY = MantisLate()
