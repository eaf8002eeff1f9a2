"""Choice of a tabular estimator's settings by cross-validation on the training file alone."""

from __future__ import annotations

import numpy as np

# what is tried, one key after another, each from the best so far: the first value is the start. What keeps a network from learning
# its objects by heart comes first, so that less noise is judged on one that doesn't; a survey's errors may be worth nothing.
MOVES = {"max_epochs": (120, 60, 30), "width": (128, 64), "dropout": (0.0, 0.1), "noise": (0.7, 1.0, 0.4, 0.0),
         "errors": (True, False), "batch_size": (128, 64)}


def folds(object_ids: np.ndarray, n: int) -> np.ndarray:
    """(n,) fold of each object by a hash of its id (the multiplicative one of Knuth 1973), the same in every run."""
    mixed = np.asarray(object_ids).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(32)) % np.uint64(n)).astype(int)


def search(score, moves: dict, tell=lambda text: None) -> tuple[dict, list[dict]]:
    """(best settings, one row a trial) of a coordinate search: `score(settings)` -> (losses (folds,)) is asked for every value
    of one key with the best of the others. A later value takes over if its mean loss is smaller by more than the standard error
    of the difference over the folds (the one-standard-error rule of Breiman et al. 1984)."""
    best = {key: values[0] for key, values in moves.items()}
    rows, least = [], score(best)
    rows.append({**best, "loss": float(np.mean(least)), "chosen": True})
    total = sum(len(values) - 1 for values in moves.values())
    for key, values in moves.items():
        for value in values[1:]:
            losses = score({**best, key: value})
            gain = np.asarray(least) - np.asarray(losses)
            better = gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain))
            rows.append({**best, key: value, "loss": float(np.mean(losses)), "chosen": bool(better)})
            tell(f"tune: {len(rows) - 1} of {total} trials, {key} {value}: loss {np.mean(losses):.4f}, best {np.mean(least):.4f}")
            if better:
                best, least = {**best, key: value}, losses
    return best, rows
