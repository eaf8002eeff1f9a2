"""GalaxiesML's network of magnitudes alone."""

from __future__ import annotations

from skyloom.models.families._galaxiesml import GalaxiesML, Options
from skyloom.typed import with_defaults


class GalaxiesMLNN(GalaxiesML):
    """Four dense layers, the input joined to their output."""

    name = "galaxiesml_nn"
    title = "GalaxiesML's network of magnitudes"
    Options = with_defaults(Options, lr=5e-4, batch_size=100, max_epochs=1000)

    def build(self, card):
        """For as many columns as the scaling makes."""
        from skyloom.models import galaxiesml, scaling

        head = self.head(card)
        net = galaxiesml.GalaxiesMLNN(scaling.inputs(card.table), head.outputs if head else 1)
        if head:
            head.start(net.head)
        return net


FAMILY = GalaxiesMLNN()
