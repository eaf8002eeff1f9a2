"""What estimators of measured columns share: magnitudes, colours, errors and the states of missing bands, for any head."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from skyloom.models.family import Arrays, Family, Training, Wanted, magnitudes
from skyloom.typed import option, with_defaults

LOOP = with_defaults(Training, lr=4e-3, max_epochs=120, patience=120, optimiser="adamw", schedule="onecycle", weight_decay=1e-4)
# What tuning tries: paths along which a network learns less by heart; the first value of each is the start. Noise comes twice:
# less of it pays only where something else holds the network back. A survey's errors may be worth nothing.
NOISE = ("noise", (1.0, 0.6, 0.3, 0.15, 0.05, 0.0))
MOVES = (NOISE, ("max_epochs", (120, 60, 30)), ("width", (128, 64, 32)), ("dropout", (0.0, 0.1, 0.2)), ("errors", (True, False)),
         NOISE, ("batch_size", (128, 64)))


@dataclass(frozen=True)
class Options(LOOP):
    """Options of the estimator."""

    head: str = option("mixture", "the form of p(z)", enum=["binned", "mixture", "quantile"])
    outputs: int = option(8, "bins, components or quantiles of the head", type="integer", minimum=2)
    width: int = option(128, "of the layers", type="integer", minimum=4)
    depth: int = option(3, "residual blocks", type="integer", minimum=1)
    dropout: float = option(0.0, "share of a block's numbers that a step leaves out", type="number", minimum=0, maximum=0.9)
    noise: float = option(0.7, "share of each flux's own error added anew at every step", type="number", minimum=0)
    photometry: tuple = option((), "columns read in place of the dataset's magnitudes: other magnitudes, or fluxes in nJy "
                               "(`?_flux`, * and ? stand for any letters)", type="array", items={"type": "string"},
                               uniqueItems=True)
    columns: tuple = option((), "columns of the dataset beside magnitudes and errors", type="array", items={"type": "string"},
                            uniqueItems=True)
    errors: bool = option(True, "read the errors of magnitudes", type="boolean")
    tune: bool = option(False, "settings that aren't given are chosen by cross-validation on training", type="boolean")
    refit: bool = option(False, "learns from `select`, too, for all of max_epochs, and nothing stops it early", type="boolean")
    reweight: str | None = option(None, "training objects are drawn so that magnitudes and colours are distributed as in that "
                                  "split", enum=["testing", "target"])


class Estimator(Family):
    """A residual network on features of fluxes, by default; `network` makes another one of the same table."""

    Options = Options
    everywhere = True
    batch = 4096

    def columns(self, packed, options):
        """The columns of a packed file that these options let it read."""
        from skyloom.models import tabular
        from skyloom.sample import bands

        if options.photometry:
            found = bands.named(packed.names, options.photometry)
        else:
            found = bands.by_wavelength(list(magnitudes(packed, "a tabular estimator")))
        return tabular.Columns(found, bands.errors_of(packed.names, found) if options.errors else {}, list(options.columns))

    def wanted(self, packed, options):
        """Those."""
        return Wanted(tuple(self.columns(packed, options).inputs))

    def moves(self, packed, options):
        """Without errors there is no noise to add."""
        if self.columns(packed, options).errors:
            return options, MOVES
        return dataclasses.replace(options, noise=0.0), tuple(move for move in MOVES if move[0] not in ("noise", "errors"))

    def fit(self, options, split, rows, packed):
        """See `facts`."""
        return self.facts(options, {name: values[rows] for name, values in split.columns.items()}, self.columns(packed, options))

    def facts(self, options, columns, read):
        """Scaling, constants of the features and range of redshifts of training columns {name: (n,)}, as `Columns` are read."""
        import torch

        from skyloom.models import tabular
        from skyloom.models.heads import Head

        table = tabular.fit(columns, read.magnitudes, read.errors, read.extra)
        features = tabular.Features(len(read.magnitudes), 2 * len(read.extra))
        features.fit(torch.from_numpy(tabular.raw(columns, table)))
        z = columns["specz_redshift"]
        head = Head(options.head, options.outputs, float(z.min()), float(z.max()) + 1e-6)
        return {"table": table | {"features": features.constants()}, "head": head.facts(), "inputs": tuple(read.inputs)}

    def example(self, options):
        """GalaxiesML's five bands."""
        from skyloom.models.heads import Head

        return {"inputs": tuple("grizy"), "table": {"columns": list("grizy"), "extra": []},
                "head": Head(options.head, options.outputs, 0.0, 1.0).facts()}

    def network(self, card, *sizes):
        """The network of a card, `sizes` as `models.tabular.Tabular` takes them."""
        from skyloom.models import tabular

        return tabular.Tabular(*sizes)

    def build(self, card):
        """For the card's columns, with its features' constants."""
        options, head = card.options, self.head(card)
        net = self.network(card, len(card.table["columns"]), 2 * len(card.table["extra"]), head.outputs, options.width,
                           options.depth, options.dropout)
        head.start(net.head)
        if "features" in card.table:
            net.features.load(card.table["features"])
        return net

    def arrays(self, card, split, rows, z=None, training=False):
        """Fluxes, errors and states; in training with noise added anew at every step."""
        import torch

        from skyloom.models import tabular

        raw = tabular.raw({name: split.columns[name][rows] for name in card.inputs}, card.table)
        out = Arrays(None, torch.from_numpy(raw))
        if z is not None:
            out.z = torch.tensor(z, dtype=torch.float32)
            out.counts = self.head(card).counts(out.z)
        if training and card.options.noise:
            columns = len(card.table["columns"])
            out.jitter = lambda table, generator: tabular.jitter(table, columns, card.options.noise, generator)
        return out

    def seen(self, card, split, hidden=()):
        """Objects of which any band was observed: one of which nothing was detected gets what was learned of such."""
        import numpy as np

        from skyloom.models import tabular

        return np.any([~tabular.states(name, split.columns[name])[1] for name in card.table["columns"]], axis=0)

