"""One readable training loop: deterministic order, early stopping, a state from which a killed run goes on.

Every epoch starts from the saved state and draws its order from (seed, epoch), so that a run killed at any
moment repeats at most one epoch and ends with the same bytes as an undisturbed one (same machine type,
device and threads).
"""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from skyloom.dataset.augment import rotated, symmetry
from skyloom.errors import InputError
from skyloom.models.family import Arrays, Training


def choose_device(wanted: str) -> torch.device:
    """`auto` = the GPU if there is one."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def choose_precision(wanted: str, device: torch.device, pixels: bool) -> str:
    """`auto` = bf16 on a GPU, fp32 on a CPU; fp32 where a network sees no `pixels`: it would lose digits and gain no time."""
    if not pixels:
        return "fp32"
    return ("bf16" if device.type == "cuda" else "fp32") if wanted == "auto" else wanted


def version() -> str:
    """torch's version without its build."""
    return torch.__version__.split("+")[0]


def prepare(seed: int, threads: int) -> None:
    """Fix what the weights depend on: the generator, the threads, deterministic kernels."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS sums in any order
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def fit(model, loss, train: Arrays, select: Arrays | None, options: Training, seed: int, device, precision: str,
        load=lambda: None, save=lambda state: None, tell=lambda text: print(text, file=sys.stderr, flush=True)):
    """Train `model` in place; return (history rows, epoch of the best weights), the model left with its best weights; without
    `select` (None) those are the last ones, and the history's select_loss is NaN.

    `load()` returns a saved state or None, `save(state)` keeps one; both see the whole state (weights, best weights,
    optimiser, random numbers, epoch, history). A training loss that isn't finite ends the training, which has the best weights
    of before; InputError where there are none.
    """
    model.to(device, memory_format=torch.channels_last)
    optimiser, scheduler = _optimiser(model, options)
    state = load() or {"epoch": 0, "best": np.inf, "best_epoch": -1, "history": [], "best_weights": None}
    if state["epoch"]:
        _restore(state, model, optimiser, scheduler, device)
    started, first = time.monotonic(), state["epoch"]
    while state["epoch"] < options.max_epochs and state["epoch"] - state["best_epoch"] <= options.patience:
        epoch = state["epoch"]
        fitted = _epoch(model, loss, optimiser, train, options, seed, epoch, device, precision)
        lost = not math.isfinite(fitted)
        held = evaluate(model, loss, select, options.batch_size, device, precision) if select and not lost else math.nan
        state["history"].append({"epoch": epoch, "train_loss": fitted, "select_loss": held})
        if lost:
            tell(f"train: the loss of epoch {epoch + 1} is {fitted}: the training ends here")
            break
        if not select or held < state["best"]:
            state |= {"best": held, "best_epoch": epoch, "best_weights": copy.deepcopy(_cpu(model.state_dict()))}
        if scheduler:
            watched = [held if select else fitted]
            scheduler.step(*(watched if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau) else []))
            state |= {"scheduler": scheduler.state_dict()}
        state |= {"epoch": epoch + 1, "weights": _cpu(model.state_dict()), "optimiser": optimiser.state_dict(),
                  "random": _random(device)}
        save(state)
        left = (time.monotonic() - started) / (epoch + 1 - first) * (options.max_epochs - epoch - 1)
        tell(f"train: epoch {epoch + 1} of at most {options.max_epochs}, loss {fitted:.4f}, "
             f"select {held:.4f}, at most {left:.0f} s left")
    _finite(state, select)
    model.load_state_dict(state["best_weights"])
    return state["history"], state["best_epoch"]


def _finite(state: dict, select) -> None:
    """InputError where a training has nothing to show: no epoch had a finite loss, or nothing chose one before it was lost."""
    last = state["history"][-1]
    if not math.isfinite(last["train_loss"]) and (not select or state["best_weights"] is None):
        raise InputError(f"the training loss is {last['train_loss']} in epoch {last['epoch'] + 1}; lower `lr`, or look for "
                         "absurd values among the inputs")
    if state["best_weights"] is None:
        raise InputError(f"the loss on `select` was finite in none of {len(state['history'])} epochs; lower `lr`, or look for "
                         "absurd values among the inputs of the validation split")


def _random(device) -> dict:
    """State of torch's own random numbers, from which dropout draws."""
    return {"cpu": torch.get_rng_state(), **({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})}


def _restore(state: dict, model, optimiser, scheduler, device) -> None:
    """Bring everything to where a saved state stands."""
    model.load_state_dict(state["weights"])
    optimiser.load_state_dict(state["optimiser"])
    if scheduler:
        scheduler.load_state_dict(state["scheduler"])
    torch.set_rng_state(state["random"]["cpu"].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["random"]["cuda"].cpu(), device)


def run_epochs(model, loss, train: Arrays, options: Training, seed: int, device) -> float:
    """Train `model` in place for all of `max_epochs`, watched by nobody, `plateau` left out; the last epoch's loss. One that
    isn't finite ends the training."""
    model.to(device)
    optimiser, scheduler = _optimiser(model, dataclasses.replace(options, plateau=None))
    fitted = math.nan
    for epoch in range(options.max_epochs):
        fitted = _epoch(model, loss, optimiser, train, options, seed, epoch, device, "fp32")
        if not math.isfinite(fitted):
            break
        if scheduler:
            scheduler.step()
    return fitted


def _optimiser(model, options):
    """(optimiser, learning-rate schedule or None)."""
    given = {"lr": options.lr, "weight_decay": options.weight_decay}
    if options.optimiser == "adam":
        optimiser = torch.optim.Adam(model.parameters(), **given, fused=True)
    elif options.optimiser == "adamw":
        optimiser = torch.optim.AdamW(model.parameters(), **given, fused=True)
    else:
        optimiser = torch.optim.NAdam(model.parameters(), **given, foreach=True)
    if options.schedule == "onecycle":
        return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda epoch: _onecycle(epoch, options.max_epochs))
    if not options.plateau:
        return optimiser, None
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=options.plateau, min_lr=1e-6)
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
        return _drawn(train.weight, len(train.z), generator)
    if not options.batches:
        return torch.randperm(len(train.z), generator=generator)
    classes = train.z if train.classes is None else train.classes
    _, inverse = classes.unique(return_inverse=True)
    weight = 1.0 / torch.bincount(inverse)[inverse].double()
    weight[classes < 0] = 0
    return _drawn(weight, options.batches * options.batch_size, generator)


def _drawn(weight: torch.Tensor, n: int, generator) -> torch.Tensor:
    """n rows by weight; InputError where no weight tells which."""
    if not torch.isfinite(weight).all() or (weight < 0).any() or not (weight > 0).any():
        raise InputError("no object to learn from has a class or a weight above 0; widen the sample, or drop `reweight`")
    return torch.multinomial(weight, n, replacement=True, generator=generator)


def _hidden(images: dict, chance: float, generator) -> dict:
    """Some surveys of some objects at zero, as if nobody had looked; never all of an object's."""
    first = next(iter(images.values()))
    keep = torch.rand(len(first), len(images), generator=generator) >= chance
    spared = torch.randint(len(images), (len(first),), generator=generator)
    keep[torch.arange(len(first)), spared] = True
    return {name: image * keep[:, k, None, None, None].to(image.device) for k, (name, image) in enumerate(images.items())}


def _epoch(model, loss, optimiser, train, options, seed, epoch, device, precision) -> float:
    """One pass over the training rows in the order fixed by (seed, epoch); the mean loss of the rows that it counts. It ends
    with the first loss that isn't finite."""
    model.train()
    generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
    batches, total, n = _counted(train, _order(train, options, generator).split(options.batch_size)), 0.0, 0
    for rows, found in _fetched(train, batches, device):
        turn = _turning(options.augment, len(rows), generator)
        image, table, z = _batch(train, rows, found, device, turn)
        if options.survey_dropout:
            image = _hidden(image, options.survey_dropout, generator)
        if train.jitter:
            table = train.jitter(table, generator)
        optimiser.zero_grad(set_to_none=True)
        with _autocast(device, precision):
            guess = model(image, table)
        value = loss(guess.float(), z)
        value.backward()
        optimiser.step()
        step, counted = value.item(), _count(train, rows)
        if not math.isfinite(step):
            return step
        total, n = total + step * counted, n + counted
    return total / n if n else math.nan


@torch.no_grad()
def evaluate(model, loss, held: Arrays, batch_size: int, device, precision: str) -> float:
    """Mean loss over the rows of a held-out set that it counts; NaN if it counts none."""
    model.eval()
    total, n = 0.0, 0
    for rows, found in _fetched(held, _counted(held, torch.arange(len(held.z)).split(batch_size)), device):
        image, table, z = _batch(held, rows, found, device)
        with _autocast(device, precision):
            guess = model(image, table)
        counted = _count(held, rows)
        total, n = total + loss(guess.float(), z).item() * counted, n + counted
    return total / n if n else math.nan


def _count(data: Arrays, rows) -> int:
    """How many of some rows the loss counts."""
    return len(rows) if data.counts is None else int(data.counts[rows].sum())


def _counted(data: Arrays, batches) -> list:
    """Batches in which anything counts: the mean over nothing is no number."""
    return [rows for rows in batches if _count(data, rows)]


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

    if device.type == "cpu" or data.images is None or not batches:
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
