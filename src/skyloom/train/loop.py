"""One readable training loop: deterministic order, early stopping, a state from which a killed run goes on.

Every epoch starts from the saved state and draws its order from (seed, epoch), so that a run killed at any
moment repeats at most one epoch and ends with the same bytes as an undisturbed one (same machine type,
device and threads).
"""

from __future__ import annotations

import copy
import math
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from skyloom.dataset.augment import rotated, symmetry


@dataclass
class Arrays:
    """Inputs of one split: `images(rows) -> (m, band, y, x) float32` (or a mapping of such), or None; table (n, k); z (n,),
    redshifts, or classes as integers; `sizes` {name: px} to which images are cropped once rotated; `jitter(table,
    generator)` -> the table of a batch as this step shows it; `weight` (n,): how often a row is drawn, relative to others;
    `classes` (n,) by which `batches` draws rows evenly, where z isn't them."""

    images: object
    table: torch.Tensor
    z: torch.Tensor
    sizes: dict | None = None
    jitter: object = None
    weight: torch.Tensor | None = None
    classes: torch.Tensor | None = None


def choose_device(wanted: str) -> torch.device:
    """`auto` = the GPU if there is one."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def choose_precision(wanted: str, device: torch.device) -> str:
    """`auto` = bf16 on a GPU, fp32 on a CPU."""
    return ("bf16" if device.type == "cuda" else "fp32") if wanted == "auto" else wanted


def prepare(seed: int, threads: int) -> None:
    """Fix what the weights depend on: the generator, the threads, deterministic kernels."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS sums in any order
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def fit(model, loss, train: Arrays, select: Arrays | None, options: dict, seed: int, device, precision: str,
        load=lambda: None, save=lambda state: None, tell=lambda text: print(text, file=sys.stderr, flush=True)):
    """Train `model` in place; return (history rows, epoch of the best weights), the model left with its best weights; without
    `select` (None) those are the last ones, and the history's select_loss is NaN.

    options: lr, batch_size, max_epochs, patience, augment (`rotations` by any angle, other true values: a batch under
    one of the eight symmetries); optionally `optimiser` (adam, nadam, adamw), `weight_decay`, `schedule` (onecycle: the
    rate rises over a tenth of the epochs and falls to nothing as a cosine, Smith & Topin 2019), `plateau` (epochs without a
    better loss after which the rate is halved), `batches` (an epoch of so many, classes drawn evenly) and `survey_dropout`
    (chance that a survey is hidden from an object while training). `load()` returns a saved state or None, `save(state)`
    keeps one; both see the whole state (weights, best weights, optimiser, epoch, history).
    """
    model.to(device, memory_format=torch.channels_last)
    optimiser, scheduler = _optimiser(model, options)
    state = load() or {"epoch": 0, "best": np.inf, "best_epoch": -1, "history": [], "best_weights": None}
    if state["best_weights"] is not None:
        model.load_state_dict(state["weights"])
        optimiser.load_state_dict(state["optimiser"])
        if scheduler:
            scheduler.load_state_dict(state["scheduler"])
    started, first = time.monotonic(), state["epoch"]
    while state["epoch"] < options["max_epochs"] and state["epoch"] - state["best_epoch"] <= options["patience"]:
        epoch = state["epoch"]
        fitted = _epoch(model, loss, optimiser, train, options, seed, epoch, device, precision)
        held = evaluate(model, loss, select, options["batch_size"], device, precision) if select else math.nan
        state["history"].append({"epoch": epoch, "train_loss": fitted, "select_loss": held})
        if not select or held < state["best"]:
            state |= {"best": held, "best_epoch": epoch, "best_weights": copy.deepcopy(_cpu(model.state_dict()))}
        if scheduler:
            watched = [held if select else fitted]
            scheduler.step(*(watched if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau) else []))
            state |= {"scheduler": scheduler.state_dict()}
        state |= {"epoch": epoch + 1, "weights": _cpu(model.state_dict()), "optimiser": optimiser.state_dict()}
        save(state)
        left = (time.monotonic() - started) / (epoch + 1 - first) * (options["max_epochs"] - epoch - 1)
        tell(f"train: epoch {epoch + 1} of at most {options['max_epochs']}, loss {fitted:.4f}, "
             f"select {held:.4f}, at most {left:.0f} s left")
    model.load_state_dict(state["best_weights"])
    return state["history"], state["best_epoch"]


def run_epochs(model, loss, train: Arrays, options: dict, seed: int, device) -> None:
    """Train `model` in place for all of `max_epochs`, watched by nobody; options as for `fit`, `plateau` left out."""
    model.to(device)
    optimiser, scheduler = _optimiser(model, {**options, "plateau": None})
    for epoch in range(options["max_epochs"]):
        _epoch(model, loss, optimiser, train, options, seed, epoch, device, "fp32")
        if scheduler:
            scheduler.step()


def _optimiser(model, options):
    """(optimiser, learning-rate schedule or None)."""
    given = {"lr": options["lr"], "weight_decay": options.get("weight_decay", 0.0)}
    if options.get("optimiser", "adam") == "adam":
        optimiser = torch.optim.Adam(model.parameters(), **given, fused=True)
    elif options["optimiser"] == "adamw":
        optimiser = torch.optim.AdamW(model.parameters(), **given, fused=True)
    else:
        optimiser = torch.optim.NAdam(model.parameters(), **given, foreach=True)
    if options.get("schedule") == "onecycle":
        return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda epoch: _onecycle(epoch, options["max_epochs"]))
    if not options.get("plateau"):
        return optimiser, None
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=options["plateau"], min_lr=1e-6)
    return optimiser, schedule


def _onecycle(epoch: int, epochs: int) -> float:
    """Share of the highest rate in an epoch."""
    rise = max(1, epochs // 10)
    if epoch < rise:
        return (epoch + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (epoch - rise + 1) / (epochs - rise + 1)))


def _order(train, options, generator) -> torch.Tensor:
    """Rows of one epoch: each once, or as many drawn by weight, or `batches` with every class that occurs equally likely."""
    if train.weight is not None:
        return torch.multinomial(train.weight, len(train.z), replacement=True, generator=generator)
    if not options.get("batches"):
        return torch.randperm(len(train.z), generator=generator)
    classes = train.z if train.classes is None else train.classes
    _, inverse = classes.unique(return_inverse=True)
    weight = 1.0 / torch.bincount(inverse)[inverse].double()
    weight[classes < 0] = 0
    return torch.multinomial(weight, options["batches"] * options["batch_size"], replacement=True, generator=generator)


def _hidden(images: dict, chance: float, generator) -> dict:
    """Some surveys of some objects at zero, as if nobody had looked; never all of an object's."""
    first = next(iter(images.values()))
    keep = torch.rand(len(first), len(images), generator=generator) >= chance
    spared = torch.randint(len(images), (len(first),), generator=generator)
    keep[torch.arange(len(first)), spared] = True
    return {name: image * keep[:, k, None, None, None].to(image.device) for k, (name, image) in enumerate(images.items())}


def _epoch(model, loss, optimiser, train, options, seed, epoch, device, precision) -> float:
    """One pass over the training rows in the order fixed by (seed, epoch); the mean loss."""
    model.train()
    generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
    order, total = _order(train, options, generator), 0.0
    for rows, found in _fetched(train, order.split(options["batch_size"]), device):
        turn = _turning(options["augment"], len(rows), generator)
        image, table, z = _batch(train, rows, found, device, turn)
        if options.get("survey_dropout"):
            image = _hidden(image, options["survey_dropout"], generator)
        if train.jitter:
            table = train.jitter(table, generator)
        optimiser.zero_grad(set_to_none=True)
        with _autocast(device, precision):
            guess = model(image, table)
        value = loss(guess.float(), z)
        value.backward()
        optimiser.step()
        total += value.item() * len(rows)
    return total / len(order)


@torch.no_grad()
def evaluate(model, loss, held: Arrays, batch_size: int, device, precision: str) -> float:
    """Mean loss over a held-out set."""
    model.eval()
    total = 0.0
    for rows, found in _fetched(held, torch.arange(len(held.z)).split(batch_size), device):
        image, table, z = _batch(held, rows, found, device)
        with _autocast(device, precision):
            guess = model(image, table)
        total += loss(guess.float(), z).item() * len(rows)
    return total / max(len(held.z), 1)


def _turning(augment, n: int, generator):
    """(images, px) -> the images of a batch as this step shows them."""
    if augment == "rotations":
        angle, flip = 2 * math.pi * torch.rand(n, generator=generator), torch.rand(n, generator=generator) < 0.5
        return lambda images, size: rotated(images, angle.to(images.device), flip.to(images.device), size)
    which = int(torch.randint(8, (), generator=generator)) if augment else 0
    return lambda images, size: symmetry(images, which)


def _fetched(data: Arrays, batches, device):
    """(rows, their images) of each batch; beside a GPU the next batch is read while it works."""
    def read(rows):
        return None if data.images is None else data.images(rows.numpy())

    if device.type == "cpu" or data.images is None:
        yield from ((rows, read(rows)) for rows in batches)
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(read, batches[0])
        for rows, after in zip(batches, [*batches[1:], None], strict=True):
            found = waiting.result()
            waiting = pool.submit(read, after) if after is not None else None
            yield rows, found


def _batch(data: Arrays, rows, found, device, turn=lambda images, size: images):
    """Images (as `found`), table and redshifts of some rows on the device, where they are turned."""
    image, sizes = None, data.sizes or {}
    if isinstance(found, dict):
        image = {name: _placed(turn(torch.from_numpy(pixels).to(device), sizes.get(name)), device)
                 for name, pixels in found.items()}
    elif found is not None:
        image = _placed(turn(torch.from_numpy(found).to(device), None), device)
    return image, data.table[rows].to(device), data.z[rows].to(device)


def _placed(images, device):
    return images.to(device, memory_format=torch.channels_last)


def _autocast(device, precision):
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def _cpu(weights) -> dict:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
