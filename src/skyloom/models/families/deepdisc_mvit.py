"""DeepDISC as published (Merz et al. 2024): a vision transformer, proposals, cascaded heads, masks, Gaussians of redshift."""

from __future__ import annotations

from dataclasses import dataclass

from skyloom.models.family import Family
from skyloom.typed import option


@dataclass(frozen=True)
class Options:
    """Options; defaults are the paper's, and the released code's where the paper is silent."""

    lr: float = option(1e-3, "learning rate before the first milestone", type="number", exclusiveMinimum=0)
    weight_decay: float = option(0.05, "of AdamW", type="number", minimum=0)
    batch_size: int = option(4, "scenes a step", type="integer", minimum=1)
    max_epochs: int = option(50, "epochs", type="integer", minimum=1)
    milestones: tuple = option((15, 25, 35), "epochs after which the rate is a tenth", type="array", items={"type": "integer"})
    warm: int = option(0, "steps over which the rate rises from nothing", type="integer", minimum=0)
    crop: int = option(525, "px of a training scene; smaller tiles are seen whole", type="integer", minimum=32)
    scaling: str = option("published", "published: pixels to zero mean and unit spread of a band; noise: in units of its noise",
                          enum=["published", "noise"])
    clip: float = option(5.0, "largest norm of a step's gradient", type="number", exclusiveMinimum=0)
    augment: bool = option(True, "a scene under one of the eight symmetries of the square", type="boolean")
    blur: float = option(0.0, "px, largest sigma of a Gaussian by which a step blurs its scene", type="number", minimum=0)
    redden: float = option(0.0, "mag, largest E(B-V) by which a step reddens its scene", type="number", minimum=0)
    ebv: bool = option(False, "E(B-V) of the tile is an input of the redshift head", type="boolean")
    width: int = option(96, "channels of the backbone's first stage", type="integer", minimum=1)
    blocks: tuple = option((2, 3, 16, 3), "of the backbone's four stages", type="array",
                           items={"type": "integer", "minimum": 1}, minItems=4, maxItems=4)
    drop_path: float = option(0.4, "chance that a step leaves out the backbone's last block", type="number", minimum=0,
                              maximum=0.9)
    channels: int = option(256, "of the pyramid and the heads", type="integer", minimum=1)
    hidden: int = option(1024, "width of the heads' layers", type="integer", minimum=1)
    anchors: int = option(256, "a scene of which a step takes losses", type="integer", minimum=2)
    boxes: int = option(512, "a scene of which a step takes losses, half of them sources", type="integer", minimum=2)
    proposals: tuple = option((6000, 3000), "a scene at most, in training and afterwards", type="array",
                              items={"type": "integer", "minimum": 1}, minItems=2, maxItems=2)
    most: int = option(3000, "sources a scene", type="integer", minimum=1)
    score: float = option(0.3, "least chance of a source", type="number", minimum=0, maximum=1)
    overlap: float = option(0.5, "of two sources' boxes at most, as intersection over union", type="number", minimum=0,
                            maximum=1)
    mask_level: float = option(1.0, "light a pixel that a mask holds, in sigma of the summed bands", type="number",
                               exclusiveMinimum=0)
    pretrained: str = option("", "safetensors with timm's names for the backbone", type="string")


class DeepDiscMvit(Family):
    """Boxes from a transformer's features, refined three times; for GPUs."""

    name = "deepdisc_mvit"
    title = "DeepDISC as published, for GPUs"
    citation = "Merz et al. 2024"
    reads = "scenes"
    trainer = "skyloom.train.boxes"
    Options = Options
    variants = {"ebv": False}

    def memory_mb(self, options):
        """Weights, gradients, the optimiser's state, a scene's features."""
        return 24000 if options.width >= 48 else 4000

    def files(self, options):
        """Published weights to start from."""
        return {"pretrained": options.pretrained} if options.pretrained else {}

    def example(self, options):
        """LSST's bands."""
        image = {"mean": [0.0] * 6, "std": [1.0] * 6, "sigma": [1.0] * 6, "psf_fwhm": [0.8] * 6, "apertures": [0.5, 0.75, 1.4]}
        return {"bands": list("ugrizy"), "image": image, "pixel_scale": 0.2}

    def build(self, card):
        """For the card's bands."""
        from skyloom.models.mvit.network import Mvit, Numbers, Sizes

        own = card.options
        sizes = Sizes(len(card.bands), own.width, tuple(own.blocks), own.channels, own.hidden, (own.hidden, own.hidden // 16),
                      own.ebv, own.drop_path)
        return Mvit(sizes, Numbers(own.anchors, own.boxes, before=(own.proposals[0],) * 2, after=tuple(own.proposals),
                                   most=own.most, score=own.score, overlap=own.overlap))

    def parts(self, model):
        """Of the published count: the head is that of redshifts."""
        return dict(model.named_children())

    def detected(self, model, card, tile, **how):
        """By boxes."""
        from skyloom.models.mvit import detect

        return detect.detected(model, card, tile, **how)

    def start(self, model, card, learn):
        """Published weights of the backbone, where options name them."""
        from skyloom.models.mvit import pretrained

        return {"pretrained": pretrained.start_from(model.backbone, card.options.pretrained)} if card.options.pretrained else {}


FAMILY = DeepDiscMvit()
