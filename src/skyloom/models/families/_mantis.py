"""What Mantis Shrimp's families share (Engel et al. 2025): stamps of several surveys, E(B-V), classes of redshift."""

from __future__ import annotations

from dataclasses import dataclass

from skyloom.models.family import Arrays, Family, Training, Wanted
from skyloom.typed import option, with_defaults

PUBLISHED = ("galex", "ps1", "unwise")  # surveys, in the order of the published input
# what a network sees when surveys are taken away (table 4); with one survey early and late fusion are the same
ABLATIONS = {"optical": ("mantis_optical", ("ps1",)), "optical_uv": ("", ("ps1", "galex")), "optical_ir": ("", ("ps1", "unwise"))}
# NAdam, halved after six epochs without gain, epochs of 1,000 class-balanced batches of 16
LOOP = with_defaults(Training, lr=3e-4, batch_size=16, max_epochs=150, patience=20, optimiser="nadam", weight_decay=1e-7,
                     plateau=6)


@dataclass(frozen=True)
class Options(LOOP):
    """Options of all three; defaults are the paper's."""

    batches: int = option(1000, "batches an epoch, classes drawn evenly", type="integer", minimum=1)
    survey_dropout: float = option(0.0, "chance that a survey is hidden in training", type="number", minimum=0, maximum=0.9)
    surveys: tuple = option(PUBLISHED, "what the network sees", type="array", items={"type": "string"}, minItems=1,
                            uniqueItems=True)
    encoder: str = option("large", "size of ConvNeXt", enum=["atto", "femto", "pico", "nano", "tiny", "small", "base", "large"])
    head: str = option("binned", "the form of p(z)", enum=["binned", "mixture", "quantile"])
    bins: int = option(400, "redshift bins over 0 <= z < 1.6", type="integer", minimum=2)
    outputs: int = option(8, "components or quantiles of another head", type="integer", minimum=2)
    hidden: int = option(2048, "width of the head", type="integer", minimum=1)
    scaling: str = option("default", "mantis: Mantis Shrimp's", enum=["default", "mantis"], default="default")
    view: float | str = option(30, "arcsec seen of every survey; code: the published code's crops",
                               oneOf=[{"type": "number", "exclusiveMinimum": 0}, {"const": "code"}])
    augment: bool | str = option("rotations", "true, symmetries: the eight of the square; rotations: any angle and flips",
                                 enum=[False, True, "symmetries", "rotations"])
    symmetries: int = option(1, "orientations that a prediction averages over", type="integer", enum=[1, 8])
    patch: int = option(4, "stride of the stem", type="integer", minimum=1, maximum=4)
    patch_small: int = option(1, "stride of the stems of the small stamps; 4 where `view` is code", type="integer", minimum=1,
                              maximum=4)
    gamma: float = option(1e-6, "start of the blocks' scale", type="number", exclusiveMinimum=0)
    pretrained: str = option("", "safetensors with timm's names for the encoder (late: of PS1)", type="string")
    pretrained_small: str = option("", "the same for the encoders of the small stamps", type="string")


class Mantis(Family):
    """The steps of all three; `fusion` says on which grid surveys are seen."""

    citation = "Engel et al. 2025"
    reads = "surveys"
    batch = 64
    Options = Options
    variants = {"encoder": "large"}

    def options(self, given, strict=True):
        """The stems of the small stamps go with the view: 30 arcsec are 12 px of unWISE."""
        stems = {"patch_small": 4 if given.get("view") == "code" else 1}
        return super().options({**stems, **given}, strict)

    def memory_mb(self, options):
        """Weights, gradients, the optimiser's state and the best weights of the large encoders."""
        return 20000 if options.encoder in ("base", "large") else 4000

    def files(self, options):
        """Published weights to start from."""
        return {key: getattr(options, key) for key in ("pretrained", "pretrained_small") if getattr(options, key)}

    def wanted(self, packed, options):
        """Stamps of its surveys."""
        return Wanted(images=True, surveys=tuple(options.surveys))

    def fit(self, options, split, rows, packed):
        """Noise of each band, what is seen of each survey, the bins."""
        from skyloom.models import fusion, mantis

        return {"image": fusion.fit(split.ivar_sample(), options.scaling), "surveys": tuple(options.surveys), "unit": "nJy",
                "bands": split.bands, "pixel_scale": split.scale, "ebv": split.ebv_names, "fusion": self.fusion,
                "frames": fusion.frames(split, options, self.fusion == "early"), "own_head": options.head != "binned",
                "bin_edges": mantis.edges(options.bins).tolist(), "head": mantis.head(options).facts()}

    def example(self, options):
        """The paper's surveys and two maps of E(B-V)."""
        from skyloom.models import mantis

        return {"surveys": options.surveys, "ebv": ["ebv_csfd", "ebv_planck2013"],
                "bands": {name: list(range(mantis.SURVEYS[name])) for name in options.surveys}}

    def network(self, options, surveys, ebv, outputs):
        """The network of {survey: number of bands}."""
        raise NotImplementedError(f"the model family {self.name} lacks `network`")

    def build(self, card):
        """For the card's surveys and maps."""
        head = self.head(card)
        model = self.network(card.options, {name: len(card.bands[name]) for name in card.surveys}, len(card.ebv), head.outputs)
        head.start(model.head[-1])
        return model

    def start(self, model, card, learn):
        """Published weights, where options name them."""
        from skyloom.models import pretrained

        return {"pretrained": pretrained.start_from(model, card.options.pretrained, card.options.pretrained_small)}

    def arrays(self, card, split, rows, z=None, training=False):
        """{survey: pixels} and E(B-V); z are the classes of the published head, for another redshifts, of the rows that have a
        class: nothing is learned from an empty picture."""
        import numpy as np
        import torch

        from skyloom.models import fusion, mantis

        classes = None
        if z is not None:
            seen = np.any([bands.any(axis=1) for bands in fusion.seen(split, rows, card.image["kind"]).values()], axis=0)
            classes = np.where(seen, mantis.classes(z, len(card.bin_edges) - 1), -1)
            if card.own_head:
                rows, z, classes = rows[classes >= 0], z[classes >= 0], classes[classes >= 0]
        squares = fusion.frames(split, card.options, card.fusion == "early", training and card.options.augment == "rotations")
        out = Arrays(lambda at: fusion.shown(split, rows[at], card.image, squares), torch.from_numpy(split.ebv()[rows]),
                     sizes={name: px for name, (px, _) in card.frames.items()})
        if classes is not None:
            out.classes = torch.from_numpy(classes)
            out.z = torch.tensor(z, dtype=torch.float32) if card.own_head else out.classes
            out.counts = out.classes >= 0
        return out

    def head(self, card):
        """Of its options: models trained before there was a choice name none."""
        from skyloom.models import mantis

        return mantis.head(card.options)

    def loss(self, card):
        """Cross entropy of the published classes, or the head's."""
        from skyloom.models import mantis

        return self.head(card).loss if card.own_head else mantis.loss

    def outcome(self, card, out):
        """Probabilities of the card's bins, whatever the head."""
        import numpy as np
        import torch

        edges, head = np.array(card.bin_edges), self.head(card)
        bins = head.bins(out, edges) if card.own_head else torch.softmax(out.float(), dim=1)
        return {"pz": bins.float().numpy(), "edges": edges}

    def seen(self, card, split, hidden=()):
        """Objects of which any stamp that isn't hidden holds something."""
        import numpy as np

        from skyloom.models import fusion

        found = fusion.seen(split, np.arange(split.n), card.image["kind"])
        shown = [found[name].any(axis=1) for name in card.surveys if name not in hidden]
        return np.broadcast_to(np.any(shown, axis=0), split.n)
