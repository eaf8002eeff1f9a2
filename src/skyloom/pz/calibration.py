"""Recalibration of p(z) histograms on objects kept for it, and the gate that decides whether one is used.

Everywhere pz (n, bins), edges (bins + 1,), z (n,) truths, x (n, k) features. A method is fitted on some objects and gives
a function (pz, edges, x) -> recalibrated pz of any others.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from scipy.optimize import minimize_scalar
from torch import nn

from skyloom.pz import histogram, metrics, scores, umnn

KNOTS = 16  # of the global map between 0 and 1
LEAST = 50  # objects below which no map is fitted
MOST = 20_000  # objects from which one is fitted: more would sharpen no map, but all their histograms would be held at once
STEPS = 400  # of the local map's training
UNIT = float(np.log(np.e - 1))  # softplus(UNIT) = 1
LEVELS = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, 65))  # of the cdf at which local maps are tabulated, denser at its ends


def temperature(pz, edges, z, x, seed: int = 0):
    """One exponent for all: p ~ p^(1/T) (Guo et al. 2017), T by least logarithmic score; the row's mass is kept."""
    def cooled(rows, t):
        mass = rows.sum(axis=1, keepdims=True)
        logs = np.log(np.maximum(rows / np.diff(edges), 1e-12)) / t
        weights = np.exp(logs - logs.max(axis=1, keepdims=True)) * np.diff(edges)
        return weights / weights.sum(axis=1, keepdims=True) * mass

    found = minimize_scalar(lambda log_t: scores.log_terms(cooled(pz, np.exp(log_t)), edges, z).mean(), bounds=(-2.0, 2.0),
                            method="bounded", options={"xatol": 1e-3})
    t = float(np.exp(found.x))
    return lambda rows, edges, x: cooled(np.asarray(rows, float), t)


def pit(pz, edges, z, x, seed: int = 0):
    """One map of the cdf for all: F -> C(F), C the cdf of the PIT values (Bordoloi, Lilly & Amara 2010), smooth and monotonic
    through KNOTS quantiles (Fritsch & Carlson 1980)."""
    u = np.clip(scores.pit(pz, edges, z), 1e-6, 1 - 1e-6)
    shares = np.linspace(0, 1, KNOTS + 1)
    at = np.concatenate([[0.0], np.quantile(u, shares[1:-1]), [1.0]])
    at = np.maximum.accumulate(at + np.arange(len(at)) * 1e-9)
    curve = PchipInterpolator(at / at[-1], shares)
    return lambda rows, edges, x: _mapped(rows, lambda below, _: curve(below))


class Monotone(nn.Module):
    """P(PIT <= a | x) as a network that rises with a: every path of a has a positive slope. It starts as the identity."""

    def __init__(self, features: int, width: int = 32):
        super().__init__()
        self.context = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width + 2))
        self.rise = nn.Parameter(torch.zeros(width))
        self.out = nn.Parameter(torch.full((width,), -6.0))
        with torch.no_grad():
            self.context[2].weight.mul_(0.1)

    def forward(self, x, a):
        """Logits for features (n, k) and levels a (n, m)."""
        shift, slope, places = self.context(x).split([1, 1, len(self.rise)], dim=1)
        level = torch.logit(a.clamp(1e-6, 1 - 1e-6))
        bends = torch.tanh(nn.functional.softplus(self.rise) * level[:, :, None] + places[:, None])
        return nn.functional.softplus(slope + UNIT) * level + shift + (bends * nn.functional.softplus(self.out)).sum(dim=2)


def local(pz, edges, z, x, seed: int = 0):
    """A map of the cdf that depends on the object: Cal-PIT's regression of [PIT <= a] on (a, x) (Dey et al. 2022), here by a
    network that is monotonic in a and starts at the identity; STEPS batches of AdamW with weight decay."""
    def learn(features, u):
        net, generator = Monotone(features.shape[1]), torch.Generator().manual_seed(seed)
        optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=1e-2)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        for _ in range(STEPS):
            rows = torch.randint(len(u), (min(512, len(u)),), generator=generator)
            a = 0.5 - 0.5 * torch.cos(np.pi * torch.rand(len(rows), 8, generator=generator))  # more of them at the ends
            loss = nn.functional.binary_cross_entropy_with_logits(net(features[rows], a), (u[rows, None] <= a).float())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            decay.step()
        return lambda some, levels: net(some, levels.expand(len(some), -1))

    return _learned(learn, pz, edges, z, x, seed)


def mantis(pz, edges, z, x, seed: int = 0):
    """The same as Engel et al. (2025, App. B) did it: `umnn`; x as `umnn.pairs` gives it."""
    return _learned(lambda features, u: umnn.fit(features, u, seed).table, pz, edges, z, x, seed)


def _learned(learn, pz, edges, z, x, seed):
    """A map of the cdf by a network: `learn(features, PIT values)` gives (features (n, k), levels (m,)) -> logits (n, m)."""
    torch.manual_seed(seed)
    offset, scale = np.nanmean(x, axis=0), np.nanstd(x, axis=0)

    def ready(values):
        scaled = (np.asarray(values, float) - offset) / np.where(scale > 0, scale, 1)
        return torch.tensor(np.nan_to_num(scaled, nan=0.0).clip(-4, 4), dtype=torch.float32)

    logits = learn(ready(x), torch.tensor(scores.pit(pz, edges, z), dtype=torch.float32))

    @torch.no_grad()
    def curves(features):
        levels = torch.tensor(LEVELS, dtype=torch.float32)
        found = torch.cat([torch.sigmoid(logits(some, levels)) for some in features.split(256)]).double().numpy()
        found[:, 0], found[:, -1] = 0.0, 1.0
        return found

    def apply(rows, edges, x):
        features = ready(x)
        return _mapped(rows, lambda below, at: _rowwise(below, curves(features[at])))

    return apply


def _rowwise(below, curves) -> np.ndarray:
    """Each row's curve, given at LEVELS, at that row's values, linear between."""
    k = np.clip(np.searchsorted(LEVELS, below, side="right") - 1, 0, len(LEVELS) - 2)
    share = (below - LEVELS[k]) / (LEVELS[k + 1] - LEVELS[k])
    low, high = (np.take_along_axis(curves, at, axis=1) for at in (k, k + 1))
    return low + share * (high - low)


METHODS = {"temperature": temperature, "pit": pit, "local": local, "mantis": mantis}


def _mapped(rows, curve, block: int = 4000) -> np.ndarray:
    """Histograms whose cdf is curve(cdf, row numbers), in blocks; rows of NaN stay, mass outside the edges is mapped too."""
    rows = np.asarray(rows, float)
    out = np.full(rows.shape, np.nan)
    known = np.flatnonzero(np.isfinite(rows).all(axis=1))
    for first in range(0, len(known), block):
        at = known[first:first + block]
        below = np.concatenate([np.zeros((len(at), 1)), np.cumsum(rows[at], axis=1)], axis=1).clip(0, 1)
        out[at] = np.diff(np.maximum.accumulate(curve(below, at).clip(0, 1), axis=1), axis=1)
    return out


def conformal(pz, edges, z, level: float) -> float:
    """Half-width h in PIT: [F^-1(0.5 - h), F^-1(0.5 + h)] holds the truth of a new exchangeable object with probability of at
    least `level` (split conformal prediction: Vovk et al. 2005; Romano et al. 2019 for the finite-sample rank). 0.5 where the
    objects are too few for the level."""
    return half_width(scores.pit(pz, edges, z), level)


def half_width(u, level: float) -> float:
    """The same from PIT values (n,)."""
    misses = np.sort(np.abs(np.asarray(u) - 0.5))
    rank = int(np.ceil(level * (len(misses) + 1)))
    return float(misses[rank - 1]) if rank <= len(misses) else 0.5


def some(rows: np.ndarray) -> np.ndarray:
    """At most MOST of row numbers, spread evenly."""
    return rows if len(rows) <= MOST else rows[np.linspace(0, len(rows) - 1, MOST).astype(int)]


def choose(methods, pz, edges, z, features: dict, seed: int = 0) -> tuple[list[dict], str, object]:
    """(every method's verdict, the name of the best that the gate lets pass, what it does to p(z)); without one the name is empty
    and the last None. `features` {method: x (n, k)}."""
    verdicts = [gate(name, pz, edges, z, features[name], seed) for name in methods]
    kept = sorted((v["cde"], v["method"]) for v in verdicts if v["kept"])
    if not kept:
        return verdicts, "", None
    name = kept[0][1]
    return verdicts, name, METHODS[name](pz, edges, z, features[name], seed)


def gate(method: str, pz, edges, z, x, seed: int = 0, folds: int = 5, resamples: int = 500) -> dict:
    """Whether a method earns its place, judged out of fold on the objects it is fitted on.

    `kept` if the CDE loss falls (68 % interval of the paired difference below 0) and none of |bias|, NMAD, fraction of outliers
    of the median lies above the 68 % interval that it had before. `why` says it in words.
    """
    if len(z) < LEAST:
        return {"method": method, "kept": False, "why": f"{len(z)} objects to calibrate on, fewer than {LEAST}", "n": len(z)}
    fold = np.random.default_rng(seed).permutation(len(z)) % folds
    after = np.empty_like(np.asarray(pz, float))
    for k in range(folds):
        fitted = METHODS[method](pz[fold != k], edges, z[fold != k], x[fold != k], seed)
        after[fold == k] = fitted(pz[fold == k], edges, x[fold == k])
    return {"method": method, "n": len(z), **_judged(pz, after, edges, z, seed, resamples)}


def _judged(before, after, edges, z, seed, resamples) -> dict:
    """The CDE loss's paired change with its interval, point metrics before and after, the verdict."""
    terms = histogram.cde_terms(after, edges, z) - histogram.cde_terms(before, edges, z)
    points = [histogram.quantile(p, edges, 0.5) for p in (before, after)]
    keys = (("bias", "mean(1+z)"), ("nmad", "1.4826mad(1+z)"), ("outlier_fraction", "0.15"))
    changes, drawn = [], {key: [] for key in keys}
    for rows in metrics.drawn(len(z), resamples, np.random.default_rng(seed)):
        changes.append(terms[rows].mean(axis=1))
        for key, values in metrics.several(keys, points[0][rows], z[rows]).items():
            drawn[key].append(np.abs(values))
    out = {"cde": float(terms.mean()), "cde_hi68": float(np.percentile(np.concatenate(changes), 84))}
    worse = []
    for key in keys:
        out[f"{key[0]}_before"], out[f"{key[0]}_after"] = (float(np.abs(metrics.POINT[key](p, z))) for p in points)
        if out[f"{key[0]}_after"] > float(np.percentile(np.concatenate(drawn[key]), 84)):
            worse.append(key[0])
    gains = out["cde_hi68"] < 0
    why = (f"CDE loss changes by {out['cde']:.4f}, 68 % below {out['cde_hi68']:.4f}"
           + (f"; worse: {', '.join(worse)}" if worse else ""))
    return {**out, "kept": bool(gains and not worse), "why": why}
