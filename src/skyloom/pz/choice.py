"""One redshift to use: which of a run's models stands for it, and what cuts on its own words buy."""

from __future__ import annotations

import numpy as np

from skyloom.pz import metrics, scores

RESAMPLES = 500
BOUGHT = (("nmad", "1.4826mad(1+z)"), ("outlier_fraction", "0.05"), ("outlier_fraction", "0.15"))
KEPT = (0.95, 0.9, 0.8, 0.7, 0.5)  # fractions of the sample that cuts on the width leave


def choose(candidates: dict[str, tuple[np.ndarray, np.ndarray]], left_out: dict[str, str] | None = None,
           seed: int = 0) -> tuple[str, str, list[dict]]:
    """(model, sentence that says why, a row a candidate) from {model: (CDE terms (n,), PIT values (n,))} of the same objects;
    `left_out` {model: why it can't be judged}, for the sentence.

    The best mean CDE loss wins unless its PIT is worse: the 95 % interval of the paired difference of the Kolmogorov-Smirnov
    distances to the best PIT among the others (bootstrap over objects, Efron 1979) lies above 0. Then the next best is asked;
    if all fail, the best CDE loss stands, and the sentence says so. Judged are n objects of which all give p(z), `covered` is the
    share of which the one does. A row: model, cde_loss, pit_ks, n, covered, `pit_rival`, `pit_worse`
    with its 95 % interval, and `cde_above_chosen`, the paired difference to the loss of the chosen one, with its interval.
    """
    seen = {name: np.isfinite(pair[0]) & np.isfinite(pair[1]) for name, pair in candidates.items()}
    left_out = dict(left_out or {})
    for name, where in seen.items():
        if not where.any() and any(other.any() for other in seen.values()):
            left_out[name] = "it gives no p(z) of these objects"
    candidates = {name: pair for name, pair in candidates.items() if name not in left_out}
    good = np.all([seen[name] for name in candidates], axis=0)
    n = int(good.sum())
    cde, pit = ({name: np.asarray(pair[k])[good] for name, pair in candidates.items()} for k in (0, 1))
    order = sorted(candidates, key=lambda name: float(cde[name].mean()) if n else 0.0)
    ks = {name: float(scores.ks(pit[name])) if n else np.nan for name in order}
    rows = [{"model": name, "cde_loss": float(cde[name].mean()) if n else np.nan, "pit_ks": ks[name], "n": n,
             "covered": float(seen[name].mean()) if len(good) else np.nan} for name in order]
    for row in rows:
        rival = min((name for name in order if name != row["model"]), key=ks.__getitem__, default="")
        told = _interval(pit[row["model"]], pit[rival], scores.ks, seed) if rival and n > 1 else (np.nan,) * 3
        row |= {"pit_rival": rival} | dict(zip(("pit_worse", "pit_worse_lo95", "pit_worse_hi95"), told, strict=True))
    passed = [row["model"] for row in rows if not row["pit_worse_lo95"] > 0]
    chosen = passed[0] if passed else order[0]
    for row in rows:
        told = _interval(cde[row["model"]], cde[chosen], _mean, seed) if n > 1 else (np.nan,) * 3
        row |= dict(zip(("cde_above_chosen", "cde_above_lo95", "cde_above_hi95"), told, strict=True))
    return chosen, _sentence(chosen, bool(passed), rows, left_out), rows


def _sentence(chosen: str, passed: bool, rows: list[dict], left_out: dict[str, str]) -> str:
    """Why one stands."""
    row = next(row for row in rows if row["model"] == chosen)
    n, skipped = row["n"], [one["model"] for one in rows[:[one["model"] for one in rows].index(chosen)]]
    loss = f"({row['cde_loss']:.3f} on {n} objects of `select`)"
    note = f"; {', '.join(skipped)} had a lower loss but a worse PIT" if skipped else ""
    if len(rows) == 1:
        text = f"{chosen} is the only model that {'could be judged' if left_out else 'gives p(z)'}"
    elif n < 2:
        text = f"{chosen} comes first of {len(rows)} models, which {n} objects of `select` with a redshift can't tell apart"
    elif passed:
        text = (f"{chosen} has the lowest CDE loss {loss} among those whose PIT is no worse than the best rival's "
                f"({row['pit_rival']}) by the 95 % interval{note}")
    else:
        text = f"{chosen} has the lowest CDE loss {loss}; the PIT of every model is worse than another's"
    return text + "".join(f"; {name} was left out: {why}" for name, why in left_out.items())


def _mean(values):
    return values.mean(axis=-1)


def _interval(a: np.ndarray, b: np.ndarray, statistic, seed: int) -> tuple[float, float, float]:
    """(statistic(a) - statistic(b), 2.5th, 97.5th percentile of it over resamples of the objects)."""
    draws = [statistic(a[rows]) - statistic(b[rows]) for rows in metrics.drawn(len(a), RESAMPLES, np.random.default_rng(seed),
                                                                               2_000_000)]
    low, high = np.percentile(np.concatenate(draws), (2.5, 97.5))
    return float(statistic(a) - statistic(b)), float(low), float(high)


def cuts(z, width, flagged, truth, flags: dict[str, np.ndarray] | None = None, limits=None) -> list[dict]:
    """What cuts buy: NMAD and the share of outliers beyond 0.05 and 0.15 of what is left, a row a cut.

    z, width (n,) the estimate and its 68 % interval's length over 1 + z, flagged (n,) bool, truth (n,); `flags` {name: (n,)}.
    First everything, then without the objects of one flag, without flagged objects, then of these those with widths up to
    `limits`, without which they leave shares as in KEPT.
    """
    z, width, truth = (np.asarray(a, float) for a in (z, width, truth))
    whole = np.isfinite(z) & np.isfinite(truth)
    clean = whole & ~np.asarray(flagged, bool) & np.isfinite(width)
    chosen = [("all", np.nan, whole), *((f"without {name}", np.nan, whole & ~raised) for name, raised in (flags or {}).items()),
              ("unflagged", np.nan, clean)]
    if limits is None:
        limits = [float(np.quantile(width[clean], share)) for share in KEPT] if clean.any() else []
    chosen += [(f"unflagged, width <= {limit:.3g}", limit, clean & (width <= limit)) for limit in limits]
    rows = []
    for name, limit, keep in chosen:
        values = metrics.several(BOUGHT, z[keep], truth[keep]) if keep.any() else dict.fromkeys(BOUGHT, np.nan)
        rows.append({"cut": name, "width_max": limit, "kept": float(keep.sum() / max(whole.sum(), 1)), "n": int(keep.sum()),
                     **{f"{metric} {convention}": float(value) for (metric, convention), value in values.items()}})
    return rows
