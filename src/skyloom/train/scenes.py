"""Training of a network for whole scenes: crops drawn by (seed, step), averaged weights, a state from which a killed run goes
on with the same bytes."""

from __future__ import annotations

import contextlib
import copy
import math
import sys
import time

import numpy as np
import torch

from skyloom.errors import InputError
from skyloom.models import families
from skyloom.models.card import Card
from skyloom.models.scene import inputs, loss, targets
from skyloom.train import scenescore, tiles

NO_STATE = {"step": 0, "best": math.inf, "history": [], "sums": {}}
SHOWN = 50  # steps between two lines of progress
LATER = 0.25  # share of steps at labelled positions once the network's own peaks are learned from


def begun(name: str, options, sky: tiles.Sky) -> tuple[torch.nn.Module, Card]:
    """(untrained network, card) for the tiles to learn from."""
    side = min(shard.handle["image"].shape[-1] for shard in sky.shards)
    low = min(shard.handle["image"].shape[-2] for shard in sky.shards)
    if options.crop > min(side, low) or options.crop % inputs.STRIDE:
        raise InputError(f"`crop` is {options.crop} px; it must be a multiple of {inputs.STRIDE} and at most the tiles' side of "
                         f"{min(side, low)} px")
    card = Card(name, options, bands=list(sky.bands), image=tiles.constants(sky), pixel_scale=sky.pixel_scale, unit=sky.unit,
                n_train=sky.n, facts={})
    return families.of(name).build(card), card


def rules(options, bands, gold: dict, least_snr: float, star_redshifts: bool = False) -> loss.Rules:
    """What counts as found and as gold: `gold` {band, mag}, AB."""
    if gold["band"] not in bands:
        raise InputError(f"`scenes.gold.band` is {gold['band']}, the tiles have the bands {','.join(bands)}; choose one of them")
    return loss.Rules(least_snr, list(bands).index(gold["band"]), 10 ** (-0.4 * (gold["mag"] - 31.4)), star_redshifts)


def precision_of(wanted: str, device) -> str:
    """`auto` = bf16 on a GPU and on a CPU that multiplies it in hardware, else fp32."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16"
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch has no public names for them
    return "bf16" if any(getattr(torch.cpu, name, bool)() for name in asked) else "fp32"


def fit(model, card: Card, learn: tiles.Sky, select: tiles.Sky | None, counts: loss.Rules, seed: int, device, precision: str,
        load=lambda: None, save=lambda state: None, tell=lambda text: print(text, file=sys.stderr, flush=True)):
    """Train `model` in place for all of `steps`; (history rows, facts for the card). It is left with its averaged weights.

    `load()` returns a saved state or None, `save(state)` keeps one. History: step, train_loss and each of `loss.TERMS` as means
    since the row before, and with `select` the scores of `scenescore.scores` on it. Facts: threshold and flux calibration.
    """
    options = card.options
    model.to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=options.weight_decay, foreach=True)
    averaged = copy.deepcopy(model)
    state = load() or copy.deepcopy(NO_STATE)
    if state["step"]:
        model.load_state_dict(state["weights"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
    picker, started, first, facts = Picker(learn, options), time.monotonic(), state["step"], None
    while state["step"] < options.steps:
        step = state["step"]
        found = _step(model, averaged, optimiser, picker, counts, options, seed, step, device, precision)
        _summed(state["sums"], found)
        state["step"] = step + 1
        last = step + 1 == options.steps
        if last or (step + 1) % options.validate_every == 0:
            row = _row(state, step + 1)
            if select is not None:
                scored, facts = scenescore.scores(averaged, card, select, counts, precision, device)
                row |= scored
            state["history"].append(row)
            tell("train-scenes: " + ", ".join(f"{name} {value:.4g}" for name, value in row.items()))
        if last or (step + 1) % SHOWN == 0:
            left = (time.monotonic() - started) / (step + 1 - first) * (options.steps - step - 1)
            tell(f"train-scenes: step {step + 1} of {options.steps}, loss {found['train_loss']:.4g}, {left:.0f} s left")
        if last or (step + 1) % options.save_every == 0:
            save(state | {"weights": _cpu(model), "averaged": _cpu(averaged), "optimiser": optimiser.state_dict()})
    model.load_state_dict(averaged.state_dict())
    if select is not None and facts is None:  # killed between the last state and the card
        facts = scenescore.scores(model, card, select, counts, precision, device)[1]
    return state["history"], facts or {}


def _cpu(model) -> dict:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def rate(options, step: int) -> float:
    """Learning rate of a step."""
    rise = max(1, round(0.03 * options.steps))
    if step < rise:
        return options.lr * (step + 1) / rise
    return options.lr * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, options.steps - rise)))


def _step(model, averaged, optimiser, picker, counts, options, seed, step, device, precision) -> dict[str, float]:
    """One step; the terms of its loss. InputError for a loss that isn't finite."""
    rng = np.random.default_rng([seed, step])
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    model.train()
    found, crops = picker.batch(rng, device, model.constants, model.scale)
    with autocast(device, precision):
        maps = model.maps(found)
    from_labels = step < options.warm * options.steps or rng.random() < LATER
    terms = loss.terms(model, maps, found, crops, counts, from_labels, generator)
    weights = options.weights()
    value = sum(weights[name] * term for name, term in terms.items())
    if not torch.isfinite(value):
        raise InputError(f"the loss of step {step + 1} is {value.item()}; lower `lr`, or look for absurd values among the tiles")
    for group in optimiser.param_groups:
        group["lr"] = rate(options, step)
    optimiser.zero_grad(set_to_none=True)
    value.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
    optimiser.step()
    keep = min(options.ema, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - keep)
    return {"train_loss": value.item()} | {name: term.item() for name, term in terms.items()}


def autocast(device, precision: str):
    """Half precision for the maps, where it is wanted."""
    on = precision == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16) if on else contextlib.nullcontext()


def _summed(sums: dict, found: dict) -> None:
    for name, value in found.items():
        total, n = sums.get(name, (0.0, 0))
        sums[name] = (total + value, n + 1)


def _row(state: dict, step: int) -> dict:
    """Means of the terms since the last row."""
    names = ("train_loss", *loss.TERMS)
    row = {"step": step} | {name: total / n for name in names for total, n in [state["sums"].get(name, (math.nan, 1))]}
    state["sums"] = {}
    return row


class Picker:
    """Batches of crops: tiles drawn evenly, some crops near a bright or large source, all under a symmetry of the square."""

    BRIGHT = 100.0  # S/N

    def __init__(self, sky: tiles.Sky, options):
        self.sky, self.options = sky, options

    def batch(self, rng, device, constants: dict, scale: float):
        """(pixels, [sources]) of one step."""
        side, n = self.options.crop, self.options.batch_size
        each = min(self.options.crops_per_tile, n)
        found = []
        while len(found) < n:
            k = int(rng.integers(self.sky.n))
            corners = [self._corner(k, side, rng) for _ in range(min(each, n - len(found)))]
            found += tiles.crop(self.sky, k, corners, side)
        planes, crops = [], []
        for one, sources, width in found:
            one, sources = targets.turned(one, sources, int(rng.integers(8)))
            hidden = rng.random(len(one[0])) < self.options.band_dropout
            if hidden.any() and not hidden.all():
                one = [np.where(hidden[:, None, None], np.float32(0), plane) for plane in one]
                sources.snr = np.where(hidden, 0, sources.snr)
            planes.append((*one, width))
            crops.append(sources)
        image, ivar, width = (np.stack(a) for a in zip(*planes, strict=True))
        return inputs.pixels(image, ivar, width, constants, scale, device), crops

    def _corner(self, k: int, side: int, rng) -> tuple[int, int]:
        """(x0, y0) of a crop of tile k."""
        rows, columns = self.sky.shards[self.sky.shard[k]].handle["image"].shape[2:]
        most = np.array([columns - side, rows - side])
        free = rng.random(2)
        near = rng.random() < self.options.bright
        labels = self.sky.labels(k)
        if near and len(labels["x"]):
            inside = (labels["x"] >= 0) & (labels["x"] < columns) & (labels["y"] >= 0) & (labels["y"] < rows)
            bright = np.flatnonzero(inside & (np.nan_to_num(labels["snr"]).max(axis=1) > self.BRIGHT))
            if len(bright):
                one = bright[int(rng.integers(len(bright)))]
                at = np.array([labels["x"][one], labels["y"][one]]) - side * (0.15 + 0.7 * free)
                return tuple(int(v) for v in np.clip(np.rint(at), 0, most))
        return tuple(int(v) for v in np.floor(free * (most + 1)))
