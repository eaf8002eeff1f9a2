"""Training, validation, testing: by sky block, hash of the id, or at random; groups together, no overlaps.

Adding galaxies moves none: a block or id always hashes to the same side. Only `random` (GalaxiesML's way)
depends on the order of the sample.
"""

from __future__ import annotations

import numpy as np

from skyloom.sample.cuts import unit_vectors
from skyloom.sample.shards import hash_fraction, pixels

NAMES = ("training", "validation", "testing")


def assign_splits(object_id, ra, dec, method: str, fractions, seed: int, order: int, group_arcsec: float = 1.0):
    """Split name of each object (n,).

    `sky_block` hashes the HEALPix pixel of `order`, `hash` the id, `random` draws with `seed`. Objects within
    `group_arcsec` of each other take the split of the group's smallest id.
    """
    ids = np.asarray(object_id)
    if method == "sky_block":
        blocks = pixels(order, ra, dec)
        unique, inverse = np.unique(blocks, return_inverse=True)
        draw = np.array([hash_fraction(f"{seed}/block/{order}/{b}") for b in unique])[inverse]
    elif method == "hash":
        draw = np.array([hash_fraction(f"{seed}/id/{int(i)}") for i in ids])
    else:
        draw = np.random.default_rng(seed).permutation(len(ids)) / max(len(ids), 1)
    if ra is not None and len(ids) > 1:
        leader = groups(ids, ra, dec, group_arcsec)
        draw = draw[leader]
    edges = np.cumsum(fractions)[:2]
    return np.array(NAMES, object)[np.searchsorted(edges, draw, side="right")]


def halves(object_id, seed: int) -> np.ndarray:
    """`select` or `calibrate` of each id: the two halves of validation, by a second hash."""
    return np.array(["select" if hash_fraction(f"{seed}/subset/{int(i)}") < 0.5 else "calibrate" for i in object_id],
                    object)


def groups(ids, ra, dec, arcsec: float) -> np.ndarray:
    """Index of the smallest-id member of each object's friends-of-friends group within `arcsec`."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = close_pairs(ra, dec, arcsec)
    n = len(ids)
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    order = np.lexsort((ids, label))
    first = np.zeros(label.max() + 1, int)
    first[label[order][::-1]] = order[::-1]
    return first[label]


def close_pairs(ra, dec, arcsec: float) -> np.ndarray:
    """(m, 2) index pairs closer than `arcsec`."""
    from scipy.spatial import cKDTree

    tree = cKDTree(unit_vectors(ra, dec))
    return tree.query_pairs(2 * np.sin(np.radians(arcsec / 3600) / 2), output_type="ndarray").reshape(-1, 2)


def overlapping(split, ra, dec, stamp_arcsec: float) -> np.ndarray:
    """Mask of the training rows whose stamp shares sky with a validation or testing stamp.

    Stamps are aligned squares of `stamp_arcsec`; two overlap when both coordinate distances are below that.
    """
    split = np.asarray(split)
    pairs = close_pairs(ra, dec, stamp_arcsec * np.sqrt(2))
    ra, dec = np.asarray(ra, float), np.asarray(dec, float)
    a, b = pairs[:, 0], pairs[:, 1]
    d_ra = np.abs((ra[a] - ra[b] + 180) % 360 - 180) * np.cos(np.radians((dec[a] + dec[b]) / 2)) * 3600
    touch = (d_ra < stamp_arcsec) & (np.abs(dec[a] - dec[b]) * 3600 < stamp_arcsec)
    a, b = a[touch], b[touch]
    out = np.zeros(len(split), bool)
    held = np.isin(split, ("validation", "testing"))
    for one, other in ((a, b), (b, a)):
        hit = (split[one] == "training") & held[other]
        out[one[hit]] = True
    return out


def leaks(split, object_id, ra=None, dec=None, stamp_arcsec: float = 0.0, group_arcsec: float = 1.0) -> list[tuple]:
    """(check, pairs) of what could leak from training into validation or testing; all zero in a sound dataset."""
    split, ids = np.asarray(split), np.asarray(object_id)
    trained = set(ids[split == "training"].tolist())
    held = np.isin(split, ("validation", "testing"))
    out = [("same_object_id", int(sum(int(i) in trained for i in ids[held]))),
           ("repeated_object_id", int(len(ids) - len(set(ids.tolist()))))]
    if ra is not None and len(ids):
        pairs = close_pairs(ra, dec, group_arcsec)
        out.append((f"within_{group_arcsec:g}_arcsec", int(np.sum(split[pairs[:, 0]] != split[pairs[:, 1]]))))
        if stamp_arcsec:
            out.append(("stamps_overlap", int(overlapping(split, ra, dec, stamp_arcsec).sum())))
    return out
