"""What GalaxiesML's two families share (Do et al. 2024): magnitudes scaled one by one, eq. (1) for a point, or a head."""

from __future__ import annotations

from dataclasses import dataclass

from skyloom.models.family import Arrays, Family, Training
from skyloom.typed import option


@dataclass(frozen=True)
class Options(Training):
    """Options of both."""

    scaling: str = option("default", "paper: GalaxiesML's", enum=["default", "paper"], default="default")
    head: str = option("point", "the form of p(z); point: the paper's loss without p(z)",
                       enum=["point", "binned", "mixture", "quantile"])
    outputs: int = option(8, "bins, components or quantiles of the head", type="integer", minimum=2)
    reweight: str | None = option(None, "training objects are drawn so that magnitudes and colours are distributed as in that "
                                  "split", enum=["testing", "target"])


class GalaxiesML(Family):
    """The steps of both: columns, and images where `reads` names stamps."""

    citation = "Do et al. 2024"

    def fit(self, options, split, rows, packed):
        """Scaling of magnitudes and, for images, of pixels; range of redshifts for a head."""
        from skyloom.models import scaling
        from skyloom.models.heads import Head

        inputs = self.wanted(packed, options).columns
        table = scaling.fit_table({name: split.columns[name][rows] for name in inputs}, options.scaling, self.reads == "stamps")
        facts = {"inputs": inputs, "table": table}
        if options.head != "point":
            z = split.columns["specz_redshift"][rows]
            facts["head"] = Head(options.head, options.outputs, float(z.min()), float(z.max()) + 1e-6).facts()
        return facts

    def example(self, options):
        """The five magnitudes of HSC."""
        import numpy as np

        from skyloom.models import scaling

        one = {f"{band}_mag": np.zeros(1) for band in "grizy"}
        return {"inputs": tuple(one), "table": scaling.fit_table(one, "default", False)}

    def start(self, model, card, learn):
        """A point starts at the mean redshift, where eq. (1) has a slope."""
        import torch

        if not card.head:
            with torch.no_grad():
                model.head.bias.fill_(float(learn.z.mean()))
        return {}

    def arrays(self, card, split, rows, z=None, training=False):
        """Scaled magnitudes, images where the network sees them."""
        import torch

        from skyloom.models import scaling

        table = scaling.table({name: split.columns[name][rows] for name in card.inputs}, card.table)
        out = Arrays(self.images(card, split, rows), torch.from_numpy(table))
        if z is not None:
            out.z = torch.tensor(z, dtype=torch.float32)
            out.counts = self.head(card).counts(out.z) if card.head else None
        return out

    def images(self, card, split, rows):
        """rows -> images of a batch, None without."""
        return None

    def loss(self, card):
        """Eq. (1), or the head's."""
        from skyloom.models import galaxiesml

        return self.head(card).loss if card.head else galaxiesml.loss
