"""A model family as another package writes it: one linear layer on the magnitudes, a Gaussian mixture."""

from dataclasses import dataclass

from skyloom.models.family import Arrays, Family, Training
from skyloom.typed import option


@dataclass(frozen=True)
class Options(Training):
    """One of its own."""

    components: int = option(3, "of the mixture", type="integer", minimum=1)


class Toy(Family):
    """Its name begins as one of ours does."""

    name = "tabular_toy"
    Options = Options

    def fit(self, options, split, rows, packed):
        """Mean magnitudes, range of redshifts."""
        inputs, z = self.wanted(packed, options).columns, split.columns["specz_redshift"][rows]
        return {"inputs": inputs, "facts": {"mean": {name: float(split.columns[name][rows].mean()) for name in inputs}},
                "head": {"kind": "mixture", "size": options.components, "low": float(z.min()), "high": float(z.max()) + 1e-6}}

    def example(self, options):
        """Two magnitudes."""
        return {"inputs": ("g", "r"), "head": {"kind": "mixture", "size": options.components, "low": 0.0, "high": 1.0}}

    def build(self, card):
        """A linear layer."""
        import torch

        class Net(torch.nn.Module):
            def __init__(self, inputs, outputs):
                super().__init__()
                self.head = torch.nn.Linear(inputs, outputs)

            def forward(self, image, table):
                return self.head(table)

        return Net(len(card.inputs), self.head(card).outputs)

    def arrays(self, card, split, rows, z=None, training=False):
        """Magnitudes without their mean."""
        import numpy as np
        import torch

        table = np.stack([split.columns[name][rows] - card.facts["mean"][name] for name in card.inputs], axis=1)
        return Arrays(None, torch.tensor(table, dtype=torch.float32), None if z is None else torch.tensor(z, dtype=torch.float32))


FAMILY = Toy()
