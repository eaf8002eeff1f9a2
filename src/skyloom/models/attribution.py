"""How much each band moves the redshift: exact Shapley values over all coalitions (Shapley 1953; Lundberg & Lee 2017).

Features are bands; an ablated band is one whose target was taken out (see `measure.ablation`).
"""

from __future__ import annotations

from math import factorial

import numpy as np
import torch


def coalitions(features: int) -> np.ndarray:
    """(2^features, features) bool: coalition c keeps feature j where bit j of c is set."""
    return (np.arange(2**features)[:, None] >> np.arange(features)) & 1 == 1


def shapley(values: np.ndarray) -> np.ndarray:
    """Shapley values (n, F) from the point estimates (2^F, n) of all coalitions in the order of `coalitions`.

    S_j = sum over coalitions C without j of |C|! (F - |C| - 1)! / F! (v(C + j) - v(C)). Their sum over j is v(all) -
    v(none).
    """
    features = int(np.log2(len(values)))
    if 2**features != len(values):
        raise ValueError(f"{len(values)} values are not those of all coalitions of some features")
    sizes = coalitions(features).sum(axis=1)
    weight = np.array([factorial(s) * factorial(features - s - 1) / factorial(features) if s < features else 0.0 for s in sizes])
    index = np.arange(2**features)
    out = np.empty((values.shape[1], features))
    for j in range(features):
        without = index[(index >> j) & 1 == 0]
        out[:, j] = weight[without] @ (values[without | (1 << j)] - values[without])
    return out


def mm_shap(values: np.ndarray) -> np.ndarray:
    """Share (n, F) of each feature in the sum of absolute Shapley values (Parcalabescu & Frank 2022); NaN where all are 0."""
    size = np.abs(values)
    total = size.sum(axis=1, keepdims=True)
    return np.divide(size, total, out=np.full_like(size, np.nan), where=total > 0)


def band_names(bands: dict) -> list[tuple[str, int]]:
    """(survey, place of the band) of every feature of {survey: bands}, in the order of the model's input."""
    return [(name, k) for name, found in bands.items() for k in range(len(found))]


@torch.no_grad()
def values_early(model, images: dict, ablated: dict, ebv, point, batch: int = 512) -> np.ndarray:
    """Point estimates (2^F, n) of an early-fusion model: every coalition is another image, in full batches; `point` turns the
    network's numbers into redshifts."""
    count = {name: images[name].shape[1] for name in model.surveys}
    masks = torch.from_numpy(coalitions(sum(count.values()))).to(ebv.device)
    n, out = len(ebv), []
    for rows in torch.arange(n, device=ebv.device).split(max(1, batch // len(masks))):
        for some in masks.split(batch):  # broadcast, not gathered: a picture is read once for all of its coalitions
            mixed, first = {}, 0
            for name in model.surveys:
                keep = some[:, first:first + count[name], None, None]
                mixed[name] = torch.where(keep, images[name][rows][:, None], ablated[name][rows][:, None]).flatten(0, 1)
                first += count[name]
            guess = point(model(mixed, ebv[rows].repeat_interleave(len(some), 0)))
            out.append(guess.double().cpu().reshape(len(rows), len(some)))
    parts = -(-len(masks) // batch)  # of the coalitions of one group of objects
    return torch.cat([torch.cat(out[k:k + parts], dim=1) for k in range(0, len(out), parts)]).T.numpy()


@torch.no_grad()
def values_late(model, images: dict, ablated: dict, ebv, point, batch: int = 256) -> np.ndarray:
    """The same of a late-fusion model: each survey's encoder sees only its own coalitions, the head joins them, in full batches.

    With 2, 5 and 2 bands that is 4 + 32 + 4 encoder passes instead of three times 512.
    """
    n, parts = len(ebv), {}
    for name in model.surveys:
        masks = torch.from_numpy(coalitions(images[name].shape[1])).to(ebv.device)
        pairs = torch.cartesian_prod(torch.arange(len(masks)), torch.arange(n)).to(ebv.device)
        found = [model.features(name, torch.where(masks[which][:, :, None, None], images[name][rows], ablated[name][rows]))
                 for which, rows in (some.T for some in pairs.split(batch))]
        parts[name] = torch.cat(found).reshape(len(masks), n, -1)
    # the first survey's bands are the low bits of the coalition's number: it runs fastest
    choices = torch.cartesian_prod(*(torch.arange(len(parts[name])) for name in reversed(model.surveys)))
    choices = choices.reshape(-1, len(model.surveys)).flip(1).to(ebv.device)
    out = []
    for some in choices.split(max(1, 16 * batch // max(n, 1))):
        features = {name: parts[name][some[:, k]].flatten(0, 1) for k, name in enumerate(model.surveys)}
        guess = point(model.join(features, ebv.repeat(len(some), 1)))
        out.append(guess.double().cpu().reshape(len(some), n).numpy())
    return np.concatenate(out)
