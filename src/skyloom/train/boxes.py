"""Training and use of the published network of boxes on scenes: epochs over tiles, a state from which a killed run goes on with
the same bytes. Every step draws its crops, its samples and its stochastic depth from (seed, step)."""

from __future__ import annotations

import contextlib
import copy
import math
import sys
import time

import numpy as np
import torch

from skyloom.dataset.augment import symmetry
from skyloom.errors import InputError
from skyloom.models import artefact, families
from skyloom.models.card import Card
from skyloom.models.mvit import inputs, targets
from skyloom.train import tiles

ON_A_CPU = 20_000_000  # parameters: steps of a larger network take tens of seconds, the published schedule weeks
FITTED = 64  # tiles from which the scaling is fitted
NO_STATE = {"epoch": 0, "best": math.inf, "history": []}


def begun(name: str, options, sky) -> tuple[torch.nn.Module, Card]:
    """(untrained network, card) for the tiles to learn from: `sky` as `train.tiles.opened` gives it."""
    if options.redden:
        inputs.extinction(sky.bands)
    if options.ebv and getattr(sky.tile(0), "ebv", None) is None:
        raise InputError("`ebv: true` wants E(B-V) of every tile, which these tiles don't hold; set `ebv: false`")
    chosen = np.unique(np.linspace(0, sky.n - 1, min(FITTED, sky.n)).astype(int))
    planes = ((tile.image, tile.ivar) for tile in map(sky.tile, chosen))
    image = tiles.constants(sky) | inputs.fit(planes, options.scaling)
    card = Card(name, options, bands=list(sky.bands), image=image, pixel_scale=sky.pixel_scale, unit=sky.unit, n_train=sky.n,
                facts={})
    family = families.of(name)
    model = family.build(card)
    return model, Card(**{**vars(card), **family.start(model, card, None)})


def affordable(model, device) -> None:
    """InputError for a training on a CPU that wouldn't end."""
    if device.type == "cpu" and (size := artefact.count(model)) > ON_A_CPU:
        raise InputError(f"a network of {size / 1e6:.0f} million parameters isn't trained on a CPU (it would take weeks); "
                         "set `train.device: cuda`, or lower `width`, `channels` and `hidden`")


def fit(model, card: Card, learn, select, counts, seed: int, device, precision: str, load=lambda: None, save=lambda state: None,
        tell=lambda text: print(text, file=sys.stderr, flush=True)):
    """Train `model` in place for all of `max_epochs`; (history rows, facts for the card).

    `learn`, `select` (None: nothing is watched): tiles with labels; `counts`: what counts as found and as gold (least_snr,
    gold_band, gold_flux, star_redshifts). `load()` returns a saved state or None, `save(state)` keeps one. History: epoch,
    train_loss, its parts, select_loss. InputError for a network too large for a CPU, or a loss that isn't finite.
    """
    affordable(model, device)
    options, lessons = card.options, lessons_of(card.options, counts)
    model.to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=options.weight_decay, foreach=True)
    state = load() or copy.deepcopy(NO_STATE)
    if state["epoch"]:
        model.load_state_dict(state["weights"])
        optimiser.load_state_dict(state["optimiser"])
    started, first = time.monotonic(), state["epoch"]
    while state["epoch"] < options.max_epochs:
        epoch = state["epoch"]
        row = {"epoch": epoch, **_epoch(model, optimiser, card, learn, lessons, seed, epoch, device, precision)}
        row["select_loss"] = watched(model, card, select, lessons, device, precision) if select is not None else math.nan
        state["history"].append(row)
        state |= {"epoch": epoch + 1}
        save(state | {"weights": _cpu(model), "optimiser": optimiser.state_dict()})
        left = (time.monotonic() - started) / (epoch + 1 - first) * (options.max_epochs - epoch - 1)
        tell(f"train-scenes: epoch {epoch + 1} of {options.max_epochs}, loss {row['train_loss']:.4f}, select "
             f"{row['select_loss']:.4f}, {left:.0f} s left")
    return state["history"], {}


def _cpu(model) -> dict:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def lessons_of(options, counts) -> targets.Lessons:
    """What teaches, of the run's rules and the model's options."""
    return targets.Lessons(counts.least_snr, counts.gold_band, counts.gold_flux, counts.star_redshifts, options.mask_level)


def rate(options, epoch: int, step: int) -> float:
    """Learning rate of a step: a tenth after each milestone, rising over the first `warm` steps."""
    rise = min(1.0, (step + 1) / options.warm) if options.warm else 1.0
    return options.lr * rise * 0.1 ** sum(epoch >= at for at in options.milestones)


def _epoch(model, optimiser, card, sky, lessons, seed, epoch, device, precision) -> dict[str, float]:
    """One pass over the tiles; means of the loss and its parts. InputError for a loss that isn't finite."""
    options = card.options
    model.train()
    order = np.random.default_rng([seed, epoch]).permutation(sky.n)
    batches = [order[k:k + options.batch_size] for k in range(0, sky.n, options.batch_size)]
    sums: dict = {}
    for k, rows in enumerate(batches):
        step = epoch * len(batches) + k
        torch.manual_seed(seed * 1_000_003 + step)
        parts = _losses(model, *batch(card, sky, rows, lessons, np.random.default_rng([seed, epoch, k])), device, precision)
        value = sum(parts.values())
        if not torch.isfinite(value):
            raise InputError(f"the loss of step {step + 1} is {value.item()}; lower `lr`, or look for absurd values among the "
                             "tiles")
        for group in optimiser.param_groups:
            group["lr"] = rate(options, epoch, step)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
        optimiser.step()
        for name, part in {"train_loss": value, **parts}.items():
            sums[name] = sums.get(name, 0.0) + part.item() / len(batches)
    return sums


def _losses(model, images, truth, ebv, device, precision):
    """Parts of the loss of a batch."""
    on = torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
    with on:
        return model.losses(images.to(device), [one.to(device) for one in truth], None if ebv is None else ebv.to(device))


@torch.no_grad()
def watched(model, card, sky, lessons, device, precision) -> float:
    """Mean loss on tiles that nothing is learned from, seen as they are, the same samples every time."""
    model.eval()
    total = 0.0
    for k in range(sky.n):
        torch.manual_seed(k)
        total += sum(_losses(model, *batch(card, sky, [k], lessons, None), device, precision).values()).item() / sky.n
    return total


def batch(card, sky, rows, lessons: targets.Lessons, rng) -> tuple[torch.Tensor, list[targets.Targets], torch.Tensor | None]:
    """(scaled images (n, band, side, side), their targets, E(B-V) (n,) where it is an input) of tiles `rows`; with `rng` a crop
    of each, reddened, turned, blurred as the options say, without it the tile's first pixels."""
    options, images, truth, ebv = card.options, [], [], []
    for k in rows:
        tile = sky.tile(int(k))
        height, width = tile.image.shape[1:]
        side = min(options.crop, height, width)
        x0, y0 = (int(rng.integers(most - side + 1)) if rng else 0 for most in (width, height))
        image, ivar = (plane[:, y0:y0 + side, x0:x0 + side] for plane in (tile.image, tile.ivar))
        if rng and options.redden:
            image = inputs.reddened(image, card.bands, rng.uniform(0, options.redden))
        one = targets.of(sky.labels(int(k)), sky.stamps(int(k)), x0, y0, (side, side), lessons)
        shown, which = inputs.scaled(image, ivar, card.image)[None], int(rng.integers(8)) if rng and options.augment else 0
        if rng and options.blur:
            shown = inputs.blurred(shown, rng.uniform(0, options.blur))
        images.append(symmetry(shown, which))
        truth.append(targets.turned(one, which, side))
        ebv.append(getattr(tile, "ebv", None))
    return torch.cat(images), truth, torch.tensor(ebv, dtype=torch.float32) if options.ebv else None
