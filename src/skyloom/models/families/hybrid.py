"""`tabular` with named groups of measured columns or stamps, each heard as far as its own errors allow."""

from __future__ import annotations

from dataclasses import dataclass

from skyloom.errors import InputError
from skyloom.models import grouped
from skyloom.models.families import _tabular
from skyloom.models.family import Packed, Wanted
from skyloom.typed import option

# Where there are groups the trunk is held back, too; without any everything is `tabular`'s.
WITH_GROUPS = {"dropout": 0.1, "batch_size": 256}
WITH_STAMPS = {"augment": True}
MOVES = (("group_scale", (0.5, 0.25)), ("group_scale", (0.5, 1.0)), ("group_dropout", (0.5, 0.7)), ("group_dropout", (0.5, 0.3)),
         ("noise", (0.7, 1.0)), ("noise", (0.7, 0.3, 0.15)), ("max_epochs", (120, 60)), ("width", (128, 64)),
         ("dropout", (0.1, 0.2)), ("dropout", (0.1, 0.0)), ("errors", (True, False)), ("batch_size", (256, 128)))


@dataclass(frozen=True)
class Options(_tabular.Options):
    """Those of `tabular`, and the groups'."""

    groups: tuple | dict = option(("annuli",), "measured beside the table: annuli, bulge_disk, stamp, or columns of your own; "
                                  "dropout is 0.1 and batch_size 256 where there are any",
                                  oneOf=[{"type": "array", "items": {"type": "string"}, "uniqueItems": True}, {"type": "object"}])
    group_scale: float = option(0.5, grouped.SCALE[0], **grouped.SCALE[1])
    group_dropout: float = option(0.5, grouped.DROPOUT[0], **grouped.DROPOUT[1])
    group_hidden: int = option(64, grouped.HIDDEN[0], **grouped.HIDDEN[1])
    group_jitter: float = option(0.7, grouped.JITTER[0], **grouped.JITTER[1])
    group_absent: float = option(0.1, grouped.ABSENT[0], **grouped.ABSENT[1])
    size: int = option(64, "stamp in px", type="integer", enum=[64, 127])
    augment: bool | str = option(False, "true, symmetries: a batch under one of the eight of the square; true with stamps",
                                 enum=[False, True, "symmetries"])


class Hybrid(_tabular.Estimator):
    """The estimator of columns, with a gated branch a group."""

    name = "hybrid"
    title = "Estimator of measured columns and of structure with errors, gated"
    Options = Options
    least = 5

    def options(self, given, strict=True):
        """Groups bring their own regularisation, as long as nothing else is given."""
        named = given.get("groups", Options.groups)
        own = (WITH_GROUPS if named else {}) | (WITH_STAMPS if "stamp" in (named or ()) else {})
        options = super().options({**own, **given}, strict)
        grouped.settings(options.groups)
        if self.sees_stamps(options) and options.refit:
            raise InputError(f"{self.name} can't `refit` on stamps; leave it out, or take `stamp` out of `groups`")
        return options

    def sees_stamps(self, options):
        """With the group of that name."""
        return "stamp" in options.groups

    def size(self, options):
        """Any, without stamps."""
        return options.size if self.sees_stamps(options) else None

    def at_once(self, options):
        """Fewer with their stamps."""
        return 256 if self.sees_stamps(options) else self.batch

    def found(self, packed, options) -> list[dict]:
        """The groups of a packed file."""
        general = {key: getattr(options, f"group_{key}") for key in ("scale", "dropout", "hidden", "jitter", "absent")}
        return grouped.of(packed, grouped.settings(options.groups), general)

    def wanted(self, packed, options):
        """What the table wants, and what the groups are made of."""
        columns = super().wanted(packed, options).columns
        more = [name for group in self.found(packed, options) for name in group["reads"]]
        return Wanted(tuple(dict.fromkeys([*columns, *more])), images=self.sees_stamps(options))

    def moves(self, packed, options):
        """Without groups `tabular`'s; else which groups there are, how loud, and how far the trunk is held back."""
        start, plain = super().moves(packed, options)
        if not options.groups:
            return start, plain
        allowed = {name for name, _ in plain}
        mine = tuple(move for move in MOVES if move[0].startswith("group_") or move[0] in allowed)
        held, first = tuple(kind for kind in grouped.BANDS if grouped.matches(packed, kind)), tuple(options.groups)
        choices = [held[:k] for k in range(len(held) + 1)] + [held[1:]]
        others = [choice for choice in sorted(set(choices), key=len, reverse=True) if choice != first]
        return start, (*(("groups", (first, choice)) for choice in others), *mine)

    def fit(self, options, split, rows, packed):
        """What `tabular` fits, and each group's columns, their middle and spread; for stamps each band's noise."""
        facts = super().fit(options, split, rows, packed)
        found = self.found(packed, options)
        if not found:
            return facts
        columns = {name: values[rows] for name, values in split.columns.items()}
        if self.sees_stamps(options):
            facts |= self._pixels(options, split)
        for group in found:
            if group["kind"] == "stamp":
                group |= {"channels": 2 * len(facts["bands"]), "pixel_scale": facts["pixel_scale"]}
        held = [group if group["kind"] == "stamp" else grouped.fitted(group, columns, split.path) for group in found]
        return facts | {"facts": {"groups": held}, "inputs": self.wanted(packed, options).columns}

    def _pixels(self, options, split):
        """How stamps are scaled: asinh of each band's usual noise, behind them the depth of every pixel."""
        from skyloom.models import scaling

        if split.shape[-1] != options.size:
            raise InputError(f"{split.path} holds stamps of {split.shape[-1]} px, the model wants {options.size}")
        image = scaling.fit_image(split.ivar_sample(), "default", True) | {"ivar": True}
        about = {key: float(split.attributes[key]) for key in ("zero_point", "pixel_scale")}
        return {**about, "image": image, "bands": split.attributes["bands"].split(",")}

    def example(self, options):
        """GalaxiesML's five bands with four rings each."""
        import numpy as np

        bands = list("grizy")
        names = [name for kind in ("annuli", "bulge_disk") for name in grouped.measured(
            {"kind": kind, "survey": "", "bands": bands, "rings": 4})]
        found = self.found(Packed("an example", (*names, *bands), tuple(bands)), options)
        for group in found:
            if group["kind"] == "stamp":
                group |= {"channels": 10, "pixel_scale": 0.168}
            else:
                columns = list(grouped.numbers(group, {name: np.ones(1) for name in (*group["reads"], *bands)}))
                group |= {"columns": columns, "middle": [0.0] * len(columns), "spread": [1.0] * len(columns)}
        return super().example(options) | {"facts": {"groups": found}}

    def network(self, card, *sizes):
        """With a branch a group."""
        from skyloom.models import gated

        return gated.Gated(_groups(card), *sizes)

    def arrays(self, card, split, rows, z=None, training=False):
        """The table's numbers, behind them the groups'; stamps, where there is such a group."""
        import numpy as np
        import torch

        from skyloom.models import gated

        out, found = super().arrays(card, split, rows, z, training), _groups(card)
        if not found:
            return out
        columns, first, table_jitter = {name: split.columns[name][rows] for name in card.inputs}, out.table.shape[1], out.jitter
        parts = [np.ones((len(rows), 1), np.float32) if group["kind"] == "stamp" else
                 gated.raw(*grouped.stacked(group, columns), group) for group in found]
        out.table = torch.cat([out.table, *map(torch.from_numpy, parts)], dim=1)
        if training:
            plain = table_jitter or (lambda table, generator: table)
            out.jitter = lambda table, generator: gated.jitter(plain(table, generator), first, found, generator)
        if card.image:
            out.images = _images(card, split, rows)
        return out


def _groups(card) -> list[dict]:
    """The groups of a card, none for a model without."""
    return (card.facts or {}).get("groups", [])


def _images(card, split, rows):
    """places in `rows` -> scaled pixels and depths of their stamps."""
    from skyloom.models import scaling

    return lambda at: scaling.image(split.images(rows[at]), card.image, split.ivar(rows[at]))


FAMILY = Hybrid()
