"""A stack of p(z): a mixture of several models' densities whose weights may depend on the object (Wolpert 1992; Yao et al. 2018).

w_m(x) is a softmax of linear functions of named columns, fitted by the logarithmic score at the true redshifts of objects that
no member learned from. A ridge holds the slopes, its strength is chosen by cross-validation on the same objects: where columns
tell nothing the weights come out constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom.errors import InputError

RIDGES = (1e3, 30.0, 1.0, 0.03)  # of the slopes in units of one object's log likelihood, the strongest first
FLOOR = 1e-3  # least density of a member at a truth, as in the logarithmic score
LEAST = 50  # objects below which the weights are equal


@dataclass(frozen=True)
class Weights:
    """Softmax weights of the members: `slopes` (members, 1 + columns), of standardised columns; the first member's are 0."""

    members: tuple[str, ...]
    columns: tuple[str, ...]
    offset: np.ndarray
    scale: np.ndarray
    slopes: np.ndarray
    ridge: float

    def of(self, columns: dict[str, np.ndarray], n: int) -> np.ndarray:
        """(n, members) weights of objects with these columns; a value that isn't finite counts as the usual one."""
        x = _standard(columns, self.columns, self.offset, self.scale, n)
        return _softmax(x @ self.slopes.T)

    def facts(self) -> dict:
        """What it is as plain data."""
        return {"members": list(self.members), "columns": list(self.columns), "offset": self.offset.tolist(),
                "scale": self.scale.tolist(), "slopes": self.slopes.tolist(), "ridge": self.ridge}


def from_facts(facts: dict) -> Weights:
    """The inverse of `Weights.facts`."""
    arrays = {name: np.array(facts[name], float) for name in ("offset", "scale", "slopes")}
    return Weights(tuple(facts["members"]), tuple(facts["columns"]), ridge=facts["ridge"], **arrays)


def fit(density: dict[str, np.ndarray], columns: dict[str, np.ndarray], names=(), seed: int = 0, folds: int = 5) -> Weights:
    """Weights that maximise the mean log of the stacked density at the truth.

    density {member: (n,) p(z_true)}, columns {name: (n,)}, `names` those that the weights may depend on. Equal weights with
    fewer than LEAST objects. InputError for fewer than two members or a column that isn't there.
    """
    members = tuple(density)
    if len(members) < 2:
        raise InputError(f"a stack needs two models or more, it has {len(members)}; name more in `stack.models`")
    absent = [name for name in names if name not in columns]
    if absent:
        raise InputError(f"the stack's weights can't depend on {absent[0]}, which the dataset doesn't hold; "
                         f"it has {', '.join(sorted(columns))[:200]}")
    values = np.stack([np.asarray(density[name], float) for name in members], axis=1)
    good = np.isfinite(values).all(axis=1)
    values = np.maximum(values[good], FLOOR)
    offset = np.array([_middle(np.asarray(columns[name], float)[good]) for name in names])
    scale = np.array([_spread(np.asarray(columns[name], float)[good]) for name in names])
    x = _standard({name: np.asarray(columns[name])[good] for name in names}, tuple(names), offset, scale, int(good.sum()))
    shape = (len(members), 1 + len(names))
    if len(values) < LEAST:
        return Weights(members, tuple(names), offset, scale, np.zeros(shape), np.inf)
    ridges = RIDGES if names else RIDGES[:1]
    fold = np.random.default_rng(seed).permutation(len(values)) % folds
    scores = [np.mean([_score(_fitted(values[fold != k], x[fold != k], ridge), values[fold == k], x[fold == k])
                       for k in range(folds)]) for ridge in ridges] if len(ridges) > 1 else [0.0]
    best = ridges[int(np.argmax(scores))]
    return Weights(members, tuple(names), offset, scale, _fitted(values, x, best), float(best))


def crossed(density: dict, columns: dict, names=(), seed: int = 0, folds: int = 5) -> tuple[Weights, list[Weights], np.ndarray]:
    """(weights of `fit`, those fitted without each fold, fold (n,) of every object): an object's weights of the fold that lacks
    it have not seen its truth, so that the stack can be scored on the objects that it is fitted on."""
    n = len(next(iter(density.values()))) if density else 0
    fold = np.random.default_rng(seed).permutation(n) % folds
    without = [fit({name: values[fold != k] for name, values in density.items()},
                   {name: np.asarray(values)[fold != k] for name, values in columns.items()}, names, seed, folds)
               for k in range(folds)]
    return fit(density, columns, names, seed, folds), without, fold


def combined(parts: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """(n, bins) mixture of histograms (n, bins) on the same edges with weights (n, members); a member without p(z) for an object
    (NaN) leaves its weight to the others; NaN where none has any."""
    total, left = np.zeros(np.shape(parts[0])), np.zeros(len(parts[0]))
    for k, part in enumerate(parts):
        known = np.isfinite(part).all(axis=1)
        weight = np.where(known, weights[:, k], 0.0)
        total += weight[:, None] * np.where(known[:, None], part, 0.0)
        left += weight
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(left[:, None] > 0, total / left[:, None], np.nan)


def _middle(values) -> float:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else 0.0


def _spread(values) -> float:
    values = values[np.isfinite(values)]
    return float(values.std()) or 1.0 if len(values) else 1.0


def _standard(columns, names, offset, scale, n) -> np.ndarray:
    """(n, 1 + columns): ones, then the standardised columns, kept within four spreads."""
    parts = [np.ones(n)]
    for name, middle, spread in zip(names, offset, scale, strict=True):
        value = (np.asarray(columns[name], float) - middle) / spread
        parts.append(np.where(np.isfinite(value), value, 0.0).clip(-4, 4))
    return np.stack(parts, axis=1)


def _softmax(scores) -> np.ndarray:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _score(slopes, values, x) -> float:
    return float(np.mean(np.log((_softmax(x @ slopes.T) * values).sum(axis=1))))


def _fitted(values, x, ridge) -> np.ndarray:
    """Slopes (members, 1 + columns) by L-BFGS with the analytic gradient; the first row stays 0."""
    from scipy.optimize import minimize

    members, k = values.shape[1], x.shape[1]
    penalty = np.full(k, ridge)
    penalty[0] = 1e-3  # of the constant part: only so that a useless member has a finite slope

    def cost(flat):
        slopes = np.concatenate([np.zeros((1, k)), flat.reshape(members - 1, k)])
        weight = _softmax(x @ slopes.T)
        share = weight * values
        total = share.sum(axis=1)
        pull = (share / total[:, None] - weight)[:, 1:].T @ x
        return (-np.log(total).sum() + 0.5 * (penalty * slopes[1:] ** 2).sum(), (penalty * slopes[1:] - pull).ravel())

    found = minimize(cost, np.zeros((members - 1) * k), jac=True, method="L-BFGS-B")
    return np.concatenate([np.zeros((1, k)), found.x.reshape(members - 1, k)])
