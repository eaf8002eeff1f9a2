"""Stars from galaxies by measured features: a small perceptron, trained by L-BFGS on all objects at once.

So small a network needs no deep-learning library: two layers of tanh, the cross entropy's gradient by hand.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

WIDTH, RIDGE, STEPS = 16, 3.0, 300  # RIDGE: of the squared weights, over the number of objects
FEW = 10  # stars, or galaxies, below which nothing can be learned


def fit(features, star, seed: int = 0) -> dict[str, np.ndarray] | None:
    """A network (plain arrays) of features (n, k) and star (n,) 0 or 1; None where a class has fewer than FEW members."""
    features, star = np.asarray(features, float), np.asarray(star, float)
    if min(star.sum(), len(star) - star.sum()) < FEW:
        return None
    net = {"offset": features.mean(axis=0), "scale": np.maximum(features.std(axis=0), 1e-6)}
    x = _standard(features, net)
    shapes = [(x.shape[1], WIDTH), (WIDTH,), (WIDTH, WIDTH), (WIDTH,), (WIDTH,), (1,)]
    rng = np.random.default_rng(seed)
    start = np.concatenate([(rng.standard_normal(shape) / np.sqrt(shape[0]) * (len(shape) > 1 or k == 4)).ravel()
                            for k, shape in enumerate(shapes)])
    found = minimize(_loss, start, (x, star, shapes), "L-BFGS-B", jac=True, options={"maxiter": STEPS})
    return net | {f"layer{k}": part for k, part in enumerate(_parts(found.x, shapes))}


def p_star(features, net: dict | None) -> np.ndarray:
    """(n,) probability that an object of features (n, k) is a star, NaN without a network."""
    if net is None:
        return np.full(len(features), np.nan)
    first, second, score = _forward(_standard(np.asarray(features, float), net), [net[f"layer{k}"] for k in range(6)])
    return 1 / (1 + np.exp(-np.clip(score, -30, 30)))


def _standard(features, net):
    return np.clip((features - net["offset"]) / net["scale"], -8, 8)


def _parts(flat, shapes):
    sizes = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(flat, sizes), shapes, strict=True)]


def _forward(x, parts):
    w1, b1, w2, b2, w3, b3 = parts
    first = np.tanh(x @ w1 + b1)
    second = np.tanh(first @ w2 + b2)
    return first, second, second @ w3 + b3[0]


def _loss(flat, x, star, shapes) -> tuple[float, np.ndarray]:
    """(mean cross entropy with RIDGE / n times the squared weights, its gradient)."""
    parts = _parts(flat, shapes)
    first, second, score = _forward(x, parts)
    value = np.mean(np.logaddexp(0, score) - star * score) + RIDGE * (flat**2).sum() / len(star)
    d3 = (1 / (1 + np.exp(-np.clip(score, -500, 500))) - star) / len(star)
    d2 = d3[:, None] * parts[4] * (1 - second**2)
    d1 = (d2 @ parts[2].T) * (1 - first**2)
    slopes = [x.T @ d1, d1.sum(axis=0), first.T @ d2, d2.sum(axis=0), second.T @ d3, [d3.sum()]]
    return float(value), np.concatenate([np.ravel(slope) for slope in slopes]) + 2 * RIDGE * flat / len(star)
