"""Which of a late-fusion network's encoders live: how much each one's features scatter over validation objects.

    python benchmarks/encoders.py results/mantis_shrimp_10k                                  # the run's trained networks
    python benchmarks/encoders.py results/mantis_shrimp_10k 5e-4 [galex,ps1,unwise] [bare]   # fresh, after 90 steps at a rate

`bare` starts without the stem's bias. Prints JSON; a dead encoder's scatter is some 0.001, a living one's above 0.1.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from skyloom.models import artefact, families, fusion, mantis
from skyloom.train import data, fitting, loop

OPTIONS = {"encoder": "atto", "bins": 100, "gamma": 0.1, "optimiser": "adam", "batch_size": 64, "batches": 30, "max_epochs": 3,
           "plateau": 1, "view": 10}


@torch.no_grad()
def scatter(model, split, card) -> dict:
    """{survey: mean over features of the standard deviation over 200 objects}."""
    shown = fusion.shown(split, np.arange(min(200, split.n)), card.image, fusion.frames(split, card.options, False))
    return {name: round(model.eval().features(name, torch.from_numpy(pixels)).std(0).mean().item(), 3)
            for name, pixels in shown.items()}


def trained(run: Path) -> dict:
    """Of every seed of the run's mantis_late."""
    out = {}
    for folder in sorted((run / "models" / "mantis_late").glob("seed*")):
        model, card = artefact.load(folder)
        out[folder.name] = scatter(model, data.of_card(str(run / "dataset" / "multi_validation.hdf5"), card), card)
    return out


def fresh(run: Path, rate: float, surveys: list[str], bare: bool) -> dict:
    """After three epochs of 30 batches."""
    family, options = families.of("mantis_late"), families.options("mantis_late", {**OPTIONS, "lr": rate, "surveys": surveys})
    names = [str(run / "dataset" / f"multi_{part}.hdf5") for part in ("training", "validation")]
    loop.prepare(1, 2)
    lesson, _ = fitting.lesson(family, "mantis_late", options, *names)
    for encoder in lesson.model.encoders.values() if bare else ():
        torch.nn.init.zeros_(encoder.stem[0].bias)
    history, _ = loop.fit(lesson.model, lesson.loss, lesson.learn, lesson.select, options, 1, torch.device("cpu"), "fp32")
    held = data.of_card(names[1], lesson.card)
    return {"rate": rate, "bare": bare, "loss": round(history[-1]["train_loss"], 3), **scatter(lesson.model, held, lesson.card)}


if __name__ == "__main__":
    folder, words = Path(sys.argv[1]), sys.argv[2:]
    if not words:
        print(json.dumps(trained(folder)))
    else:
        surveys = words[1].split(",") if len(words) > 1 else list(mantis.SURVEYS)
        print(json.dumps(fresh(folder, float(words[0]), surveys, "bare" in words)))
