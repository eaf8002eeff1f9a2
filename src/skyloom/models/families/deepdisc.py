"""Every source of a scene in one network: found, deblended, classified, measured, with p(z)."""

from __future__ import annotations

from dataclasses import dataclass

from skyloom.models.family import Family
from skyloom.typed import option


@dataclass(frozen=True)
class Options:
    """Options of the centre-point network."""

    channels: tuple = option((32, 48, 80, 112), "features at strides 2, 4, 8, 16", type="array",
                             items={"type": "integer", "minimum": 4}, minItems=4, maxItems=4)
    embed: int = option(16, "numbers by which sources and cells find one another", type="integer", minimum=1)
    hidden: int = option(192, "width of the layers on objects", type="integer", minimum=4)
    crop: int = option(128, "px of a training crop", type="integer", minimum=64)
    batch_size: int = option(8, "crops a step", type="integer", minimum=1)
    crops_per_tile: int = option(2, "crops of a tile that is read", type="integer", minimum=1)
    bright: float = option(0.35, "share of the crops that are centred near a bright or large source", type="number", minimum=0,
                           maximum=1)
    band_dropout: float = option(0.03, "chance that a band is hidden in training", type="number", minimum=0, maximum=0.9)
    steps: int = option(12000, "steps", type="integer", minimum=1)
    lr: float = option(2e-3, "the highest learning rate: it rises over 3 % of the steps, then falls to nothing", type="number",
                       exclusiveMinimum=0)
    weight_decay: float = option(1e-4, "of AdamW", type="number", minimum=0)
    ema: float = option(0.998, "of the averaged weights, which are kept", type="number", minimum=0, maximum=0.99999)
    clip: float = option(5.0, "norm to which gradients are clipped", type="number", exclusiveMinimum=0)
    warm: float = option(0.08, "share of the steps that learn at labelled positions; later a quarter does", type="number",
                         minimum=0, maximum=1)
    save_every: int = option(500, "steps between two states from which a killed training goes on", type="integer", minimum=1)
    validate_every: int = option(4000, "steps between two scores on validation", type="integer", minimum=1)
    purity: float = option(0.965, "purity on validation at which sources are kept", type="number", minimum=0, maximum=1)
    calibrate_flux: bool = option(False, "fluxes are corrected by the medians found on validation", type="boolean")
    centre: float = option(1.0, "weight of the centre maps", type="number", minimum=0)
    coarse: float = option(0.3, "weight of the coarse centre map", type="number", minimum=0)
    offset: float = option(0.3, "weight of the offsets", type="number", minimum=0)
    share: float = option(1.0, "weight of the shares of light", type="number", minimum=0)
    classes: float = option(0.5, "weight of the classes", type="number", minimum=0)
    flux: float = option(0.3, "weight of the fluxes", type="number", minimum=0)
    size: float = option(0.2, "weight of the sizes", type="number", minimum=0)
    move: float = option(0.1, "weight of the positions", type="number", minimum=0)
    redshift: float = option(0.5, "weight of the redshifts", type="number", minimum=0)

    def weights(self) -> dict[str, float]:
        """{term of the loss: weight}."""
        names = ("centre", "coarse", "offset", "share", "flux", "size", "move", "redshift")
        return {**{name: getattr(self, name) for name in names}, "class": self.classes}


class DeepDisc(Family):
    """Centre points on two scales, shares of pixels, photometry as a layer."""

    name = "deepdisc"
    title = "Finds, deblends and measures every source of a scene"
    reads = "scenes"
    trainer = "skyloom.train.scenes"
    Options = Options

    def example(self, options):
        """HSC's bands."""
        from skyloom.models.scene.inputs import APERTURES

        bands = list("grizy")
        image = {"sigma": [1.0] * len(bands), "psf_fwhm": [0.7] * len(bands), "apertures": list(APERTURES)}
        return {"bands": bands, "image": image, "pixel_scale": 0.168}

    def build(self, card):
        """For the card's bands, noise and pixels."""
        from skyloom.models.scene.network import Scene

        own = card.options
        return Scene(len(card.bands), card.image, card.pixel_scale, own.channels, own.embed, own.hidden)

    def detected(self, model, card, tile, **how):
        """By centres."""
        from skyloom.models.scene import detect

        return detect.detected(model, card, tile, **how)


FAMILY = DeepDisc()
