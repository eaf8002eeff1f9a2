"""A network that knows one colour of one survey."""

from dataclasses import dataclass

from skyloom.models.family import Arrays, Family, Training, Wanted
from skyloom.typed import option, with_defaults

LOOP = with_defaults(Training, lr=3e-2, batch_size=32, max_epochs=30, patience=30)


@dataclass(frozen=True)
class Options(LOOP):
    """Options of the network."""

    classes: int = option(8, "classes of redshift", type="integer", minimum=2)
    surveys: tuple = option(("toy",), "what the network sees", type="array", items={"type": "string"}, minItems=1)


class Colour(Family):
    """Classes of redshift by a layer on the fluxes of the middle of a stamp, in asinh."""

    name = "colour"
    title = "A colour"
    reads = "surveys"
    Options = Options

    def wanted(self, packed, options):
        """Stamps of its surveys."""
        return Wanted(images=True, surveys=tuple(options.surveys))

    def fit(self, options, split, rows, packed):
        """The range of redshifts."""
        from skyloom.models.heads import Head

        z = split.columns["specz_redshift"][rows]
        head = Head("binned", options.classes, float(z.min()), float(z.max()) + 1e-6)
        return {"surveys": tuple(options.surveys), "bands": split.bands, "pixel_scale": split.scale, "ebv": split.ebv_names,
                "unit": "nJy", "head": head.facts()}

    def build(self, card):
        """A hidden layer."""
        import torch

        class Net(torch.nn.Module):
            def __init__(self, inputs, outputs):
                super().__init__()
                self.layers = torch.nn.Sequential(torch.nn.Linear(inputs, 16), torch.nn.ReLU(), torch.nn.Linear(16, outputs))

            def forward(self, images, table):
                return self.layers(table)

        return Net(sum(len(bands) for bands in card.bands.values()), self.head(card).outputs)

    def arrays(self, card, split, rows, z=None, training=False):
        """asinh of the fluxes within a quarter of each stamp."""
        import numpy as np
        import torch

        parts = []
        for survey in card.surveys:
            pixels = split.read(survey, rows)
            edge = pixels.shape[-1] // 4
            parts.append(np.arcsinh(pixels[..., edge:-edge, edge:-edge].sum(axis=(-1, -2)) / 1000))
        out = Arrays(None, torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32)))
        if z is not None:
            out.z = torch.tensor(z, dtype=torch.float32)
        return out


FAMILY = Colour()
