"""`tabular` and named groups of measured columns with errors beside it, and the stamp itself: each a branch with a gate."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from skyloom.errors import InputError
from skyloom.models.families import tabular
from skyloom.models.family import Wanted
from skyloom.typed import option

STAMP = "stamp"
# What tuning tries beside `tabular`'s: no group, then more of them; how loud and how free they are.
BUILT_IN = ("annuli", "bulge_disk")
MOVES = (("gate", (0.5, 1.0, 2.0)), ("group_dropout", (0.5, 0.3)), ("group_noise", (0.7, 1.5)))


@dataclass(frozen=True)
class Options(tabular.Options):
    """`tabular`'s, and those of its groups."""

    groups: tuple = option(BUILT_IN, "annuli, bulge_disk: made of the measured structure; stamp: the image through an "
                           "encoder; or names of `own_groups`; none: `tabular`", type="array", items={"type": "string"},
                           uniqueItems=True)
    own_groups: dict = option(None, "{group: {column: the column of its error}}", type="object",
                              additionalProperties={"type": "object", "additionalProperties": {"type": "string"}})
    gate: float = option(0.5, "error, in units of a column's spread over the sample, at which a group's branch is half as loud",
                         type="number", exclusiveMinimum=0)
    hidden: int = option(64, "width of a group's branch", type="integer", minimum=1)
    group_dropout: float = option(0.5, "dropout of a group's branch", type="number", minimum=0, maximum=0.9)
    group_noise: float = option(0.7, "share of each column's own error added anew at every step", type="number", minimum=0)
    group_absent: float = option(0.1, "share of the objects from which a step hides a group, so that p(z) without it is learned, "
                                 "too", type="number", minimum=0, maximum=0.9)
    encoder: str = option("cnn", "of the group `stamp`", enum=["cnn"])
    size: int = option(64, "stamp in px of the group `stamp`", type="integer", minimum=9)
    augment: bool | str = option(False, "true, symmetries: a batch under one of the eight of the square (group `stamp`)",
                                 enum=[False, True, "symmetries"])


class Hybrid(tabular.Tabular):
    """A tabular estimator whose first layer also hears branches; without groups it is `tabular`."""

    name = "hybrid"
    title = "Estimator of measured columns and of what pixels tell"
    Options = Options

    def size(self, options):
        """The stamp's where it is read."""
        return options.size if STAMP in options.groups else None

    def groups(self, packed, options):
        """The groups of columns that a packed file holds for these options."""
        from skyloom.models import groups

        if STAMP in (options.own_groups or {}):
            raise InputError(f"`{STAMP}` is the name of the stamp's own group; name the one of `own_groups` otherwise")
        wanted = [name for name in options.groups if name != STAMP]
        return groups.found(packed.names, packed.magnitudes, wanted, options.own_groups or {}, packed.path)

    def wanted(self, packed, options):
        """The table's columns and the groups'; stamps where they are a group."""
        from skyloom.models import groups

        own = [name for group in self.groups(packed, options) for name in groups.columns(group)]
        return Wanted(tuple(dict.fromkeys([*super().wanted(packed, options).columns, *own])), images=STAMP in options.groups)

    def moves(self, packed, options):
        """`tabular`'s, and of the groups those that the file has, one more at a time, and what regulates them."""
        start, moves = super().moves(packed, options)
        held = []
        for name in BUILT_IN:
            try:
                self.groups(packed, dataclasses.replace(options, groups=(name,)))
            except InputError:
                continue
            held.append(name)
        paths = tuple(tuple(held[:k]) for k in range(len(held) + 1))
        return dataclasses.replace(start, groups=paths[-1]), (("groups", paths), *MOVES, *moves)

    def fit(self, options, split, rows, packed):
        """`tabular`'s facts and each group's middle and spread; for stamps the noise of each band."""
        from skyloom.models import gated, groups, scaling

        out = super().fit(options, split, rows, packed)
        made = []
        for group in self.groups(packed, options):
            names, values, errors = groups.values(group, {name: split.columns[name][rows] for name in groups.columns(group)})
            facts = gated.fit(values, errors)
            if not any(facts["spread"]):
                raise InputError(f"{split.path}: no column of the group `{group['name']}` has {gated.FEWEST} training objects "
                                 "with a finite value and an error above 0; mend the errors, or leave it out of `groups`")
            made.append({**group, "features": names, **facts})
        out["table"]["groups"] = made
        out["inputs"] = self.wanted(packed, options).columns
        if STAMP not in options.groups:
            return out
        if split.shape[-1] != options.size:
            raise InputError(f"{split.path} holds stamps of {split.shape[-1]} px, the model wants {options.size}")
        about = {key: float(split.attributes[key]) for key in ("zero_point", "pixel_scale")}
        return {**out, **about, "bands": split.attributes["bands"].split(","),
                "image": scaling.fit_image(split.ivar_sample(), "default")}

    def example(self, options):
        """GalaxiesML's five bands with 19 and 16 columns of the two built-in groups."""
        known = {"annuli": 19, "bulge_disk": 16}
        made = [{"name": name, "features": [""] * known[name]} for name in options.groups if name in known]
        out = super().example(options)
        out["table"]["groups"] = made
        return {**out, "bands": list("grizy"), **({"image": {"kind": "default"}} if STAMP in options.groups else {})}

    def network(self, card, *sizes):
        """With a branch a group."""
        from skyloom.models import gated, stamps

        options = card.options
        stamp = None
        if STAMP in options.groups:
            stamp = stamps.Stamp(options.encoder, len(card.bands), options.width, options.group_dropout, options.gate,
                                 options.group_absent)
        columns = [len(group["features"]) for group in card.table["groups"]]
        return gated.Gated(*sizes, columns, options.hidden, options.group_dropout, options.group_absent, stamp)

    def arrays(self, card, split, rows, z=None, training=False):
        """The table's inputs with the groups' behind them, in training each with noise added anew at every step."""
        import torch

        from skyloom.models import gated, groups, scaling

        out, options, parts = super().arrays(card, split, rows, z, training), card.options, []
        for group in card.table["groups"]:
            given = {name: split.columns[name][rows] for name in groups.columns(group)}
            parts.append(torch.from_numpy(gated.raw(*groups.values(group, given)[1:], group, options.gate)))
        table, widths = out.jitter, [out.table.shape[1], *(part.shape[1] for part in parts)]
        out.table = torch.cat([out.table, *parts], dim=1) if parts else out.table
        if STAMP in options.groups:
            out.images = lambda at: scaling.image(split.images(rows[at]), card.image)
        if training and parts and (table or options.group_noise):
            def jitter(inputs, generator):
                first, *rest = inputs.split(widths, dim=1)
                first = table(first, generator) if table else first
                return torch.cat([first, *(gated.jitter(one, options.group_noise, generator) for one in rest)], dim=1)

            out.jitter = jitter
        return out


FAMILY = Hybrid()
