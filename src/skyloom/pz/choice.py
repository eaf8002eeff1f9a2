"""One redshift to use: which of a run's models stands for it, and what cuts on its own words buy."""

from __future__ import annotations

import numpy as np

from skyloom.pz import scores
from skyloom.pz.metrics import POINT

RESAMPLES = 500
KEPT = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)  # fractions of the sample that cuts on the width leave


def choose(candidates: dict[str, tuple[np.ndarray, np.ndarray]], seed: int = 0) -> tuple[str, str, list[dict]]:
    """(model, sentence that says why, a row a candidate) from {model: (CDE terms (n,), PIT values (n,))} of the same objects.

    The best mean CDE loss wins unless its PIT is worse: the 95 % interval of the paired difference of the Kolmogorov-Smirnov
    distances to the best PIT among the others (bootstrap over objects, Efron 1979) lies above 0. Then the next best is asked;
    if all fail, the best CDE loss stands, and the sentence says so.
    """
    order = sorted(candidates, key=lambda name: float(np.nanmean(candidates[name][0])))
    good = np.all([np.isfinite(part).all(axis=0) if np.ndim(part) > 1 else np.isfinite(part)
                   for pair in candidates.values() for part in pair], axis=0)
    n = int(good.sum())
    ks = {name: float(scores.ks(candidates[name][1][good])) if n else np.nan for name in order}
    rows = [{"model": name, "cde_loss": float(np.mean(candidates[name][0][good])) if n else np.nan, "pit_ks": ks[name], "n": n,
             "pit_worse_lo95": np.nan} for name in order]
    for row in rows:
        rivals = [name for name in order if name != row["model"]]
        if not rivals or n < 2:
            return row["model"], f"{row['model']} is the only model that gives p(z)" if not rivals else "too few objects", rows
        rival = min(rivals, key=ks.__getitem__)
        row["pit_worse_lo95"] = _worse(candidates[row["model"]][1][good], candidates[rival][1][good], seed)
        if not row["pit_worse_lo95"] > 0:
            skipped = [r["model"] for r in rows[:rows.index(row)]]
            note = f"; {', '.join(skipped)} had a lower loss but a worse PIT" if skipped else ""
            loss = f"{row['cde_loss']:.3f} on {n} objects of `select`"
            return row["model"], (f"{row['model']} has the lowest CDE loss ({loss}) whose "
                                  f"PIT is no worse than that of {rival} by the 95 % interval{note}"), rows
    return order[0], f"{order[0]} has the lowest CDE loss; every model's PIT is worse than another's", rows


def _worse(u: np.ndarray, rival: np.ndarray, seed: int) -> float:
    """2.5th percentile of KS(u) - KS(rival) over resamples of the objects."""
    rng, out = np.random.default_rng(seed), []
    block = max(1, 2_000_000 // len(u))
    for first in range(0, RESAMPLES, block):
        at = rng.integers(0, len(u), (min(block, RESAMPLES - first), len(u)))
        out.append(scores.ks(u[at]) - scores.ks(rival[at]))
    return float(np.percentile(np.concatenate(out), 2.5))


def cuts(z, width, flagged, truth) -> list[dict]:
    """What cuts buy: NMAD and the share of outliers beyond 0.05 and 0.15 of what is left, a row a cut.

    z, width (n,) the estimate and its 68 % interval's length over 1 + z, flagged (n,) bool, truth (n,). First everything, then
    without flagged objects, then the narrowest share of these, shares as in KEPT.
    """
    z, width, truth = (np.asarray(a, float) for a in (z, width, truth))
    whole = np.isfinite(z) & np.isfinite(truth)
    clean = whole & ~np.asarray(flagged, bool) & np.isfinite(width)
    chosen = [("all", np.nan, whole)]
    for share in KEPT:
        limit = float(np.quantile(width[clean], share)) if clean.any() else np.nan
        name = "unflagged" if share == 1 else f"unflagged, width <= {limit:.3g}"
        chosen.append((name, limit, clean & (width <= limit)))
    rows = []
    for name, limit, keep in chosen:
        values = {key: float(POINT[key](z[keep], truth[keep])) if keep.any() else np.nan
                  for key in (("nmad", "1.4826mad(1+z)"), ("outlier_fraction", "0.05"), ("outlier_fraction", "0.15"))}
        rows.append({"cut": name, "width_max": limit, "kept": float(keep.sum() / max(whole.sum(), 1)), "n": int(keep.sum()),
                     **{f"{metric} {convention}": value for (metric, convention), value in values.items()}})
    return rows
