"""GalaxiesML's network of images and magnitudes."""

from __future__ import annotations

from dataclasses import dataclass

from skyloom.errors import InputError
from skyloom.models.families import _galaxiesml
from skyloom.models.family import Wanted, magnitudes
from skyloom.typed import option, with_defaults


@dataclass(frozen=True)
class Options(with_defaults(_galaxiesml.Options, lr=1e-4, batch_size=256, max_epochs=200)):
    """Those of both, and what images add."""

    size: int = option(64, "stamp in px", type="integer", enum=[64, 127])
    augment: bool | str = option(False, "true, symmetries: a batch under one of the eight of the square",
                                 enum=[False, True, "symmetries"])
    ivar: bool = option(False, "each band's pixel depths as channels of their own", type="boolean")


class GalaxiesMLCNN(_galaxiesml.GalaxiesML):
    """Convolutions on the image, dense layers on the magnitudes, joined."""

    name = "galaxiesml_cnn"
    title = "GalaxiesML's network of images and magnitudes"
    reads = "stamps"
    Options = Options
    variants = {"size": 127}

    def size(self, options):
        """One of the packed sizes."""
        return options.size

    def wanted(self, packed, options):
        """Magnitudes and stamps."""
        return Wanted(magnitudes(packed, self.name), images=True)

    def fit(self, options, split, rows, packed):
        """What both fit, and the noise of each band."""
        from skyloom.models import scaling

        if split.shape[-1] != options.size:
            raise InputError(f"{split.path} holds stamps of {split.shape[-1]} px, the model wants {options.size}")
        image = scaling.fit_image(split.ivar_sample(), options.scaling, options.ivar) | {"ivar": options.ivar}
        about = {key: float(split.attributes[key]) for key in ("zero_point", "pixel_scale")}
        return {**super().fit(options, split, rows, packed), **about, "image": image,
                "bands": split.attributes["bands"].split(",")}

    def example(self, options):
        """HSC's bands."""
        return {**super().example(options), "bands": list("grizy"), "image": {"kind": "paper", "ivar": options.ivar}}

    def build(self, card):
        """For the card's bands at its size."""
        from skyloom.models import galaxiesml, scaling

        head = self.head(card)
        bands = scaling.channels(card.bands or "grizy", card.image)  # cards of old without bands are HSC's
        net = galaxiesml.GalaxiesMLCNN(scaling.inputs(card.table), bands, card.options.size, head.outputs if head else 1)
        if head:
            head.start(net.head)
        return net

    def images(self, card, split, rows):
        """Scaled pixels, behind them their depths with `ivar`."""
        from skyloom.models import scaling

        def read(at):
            ivar = split.ivar(rows[at]) if card.image.get("ivar") else None
            return scaling.image(split.images(rows[at]), card.image, ivar)

        return read


FAMILY = GalaxiesMLCNN()
