"""Choice of a tabular estimator's settings by cross-validation on the training file alone."""

from __future__ import annotations

import numpy as np


def folds(object_ids: np.ndarray, n: int) -> np.ndarray:
    """(n,) fold of each object by a hash of its id (the multiplicative one of Knuth 1973), the same in every run."""
    mixed = np.asarray(object_ids).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(32)) % np.uint64(n)).astype(int)


def search(score, moves, tell=lambda text: None) -> tuple[dict, list[dict]]:
    """(best settings, one row a trial) of a coordinate search: `score(settings)` -> (losses (folds,)); `moves` are pairs of a key
    and its path of values, every path of a key with the same first one. Each path is walked from where the key stands (from its
    second value where another path led the key away), with the best of the others, as long as a step lowers the mean loss by
    more than the standard error of the difference over the folds (the one-standard-error rule of Breiman et al. 1984). A loss
    that isn't finite is worse than any other. Settings that were tried are not tried again."""
    best = {key: values[0] for key, values in moves}
    known = {tuple(best.items()): np.asarray(score(best))}
    rows = [{**best, "loss": float(np.mean(known[tuple(best.items())])), "chosen": True}]
    for key, values in moves:
        at = values.index(best[key]) if best[key] in values else 0
        for value in values[at + 1:]:
            tried, least = {**best, key: value}, known[tuple(best.items())]
            if tuple(tried.items()) in known:
                break  # it was a step back before
            losses = known[tuple(tried.items())] = np.asarray(score(tried))
            better = _better(least, losses)
            rows.append({**tried, "loss": float(losses.mean()), "chosen": better})
            tell(f"tune: trial {len(rows)}, {key} {value}: loss {losses.mean():.4f}, best {least.mean():.4f}")
            if not better:
                break
            best = tried
    return best, rows


def _better(least: np.ndarray, losses: np.ndarray) -> bool:
    """Whether losses (folds,) lie below the least so far beyond their scatter."""
    if not np.isfinite(losses).all() or not np.isfinite(least).all():
        return bool(np.isfinite(losses).all())
    gain = least - losses
    return bool(gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)))
