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

    `sky_block` hashes the HEALPix pixel of `order`, for objects without a position (NaN, or no ra) the id, as `hash` does for
    all; `random` draws with `seed`. Objects within `group_arcsec` of each other take the split of the group's smallest id.
    """
    ids, placed = np.asarray(object_id), positions(ra, dec, len(object_id))
    draw = np.zeros(len(ids))
    if method == "random":
        draw = np.random.default_rng(seed).permutation(len(ids)) / max(len(ids), 1)
    else:
        hashed = np.flatnonzero(~placed) if method == "sky_block" else np.arange(len(ids))
        draw[hashed] = [hash_fraction(f"{seed}/id/{int(i)}") for i in ids[hashed]]
    if method == "sky_block" and placed.any():
        blocks = pixels(order, np.asarray(ra)[placed], np.asarray(dec)[placed])
        unique, inverse = np.unique(blocks, return_inverse=True)
        draw[placed] = np.array([hash_fraction(f"{seed}/block/{order}/{b}") for b in unique])[inverse]
    if len(ids) > 1 and placed.any():
        draw = draw[groups(ids, ra, dec, group_arcsec)]
    edges = np.cumsum(fractions)[:2]
    return np.array(NAMES, object)[np.searchsorted(edges, draw, side="right")]


def positions(ra, dec, n: int) -> np.ndarray:
    """(n,) bool: which objects have a position, ra and dec in deg; none without both columns."""
    if ra is None or dec is None:
        return np.zeros(n, bool)
    return np.isfinite(np.asarray(ra, float)) & (np.abs(np.asarray(dec, float)) <= 90)


def halves(object_id, seed: int, ra=None, dec=None, group_arcsec: float = 1.0) -> np.ndarray:
    """`select` or `calibrate` of each id: the two halves of validation, by a second hash; objects within `group_arcsec` of each
    other take the half of the group's smallest id."""
    ids = np.asarray(object_id)
    if len(ids) > 1 and positions(ra, dec, len(ids)).any():
        ids = ids[groups(ids, ra, dec, group_arcsec)]
    return np.array(["select" if hash_fraction(f"{seed}/subset/{int(i)}") < 0.5 else "calibrate" for i in ids], object)


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
    """(m, 2) index pairs closer than `arcsec`; objects without a position are close to none."""
    from scipy.spatial import cKDTree

    ra, dec = np.asarray(ra, float), np.asarray(dec, float)
    known = np.flatnonzero(positions(ra, dec, len(ra)))
    tree = cKDTree(unit_vectors(ra[known], dec[known]))
    return known[tree.query_pairs(2 * np.sin(np.radians(arcsec / 3600) / 2), output_type="ndarray").reshape(-1, 2)]


def touching(ra, dec, stamp_arcsec) -> np.ndarray:
    """(m, 2) index pairs whose stamps share sky: aligned squares with sides of `stamp_arcsec`, one number or (n,); two overlap
    where both coordinate distances are below the mean of their sides."""
    ra, dec = np.asarray(ra, float), np.asarray(dec, float)
    side = np.broadcast_to(np.asarray(stamp_arcsec, float), ra.shape)
    pairs = close_pairs(ra, dec, side.max(initial=0.0) * np.sqrt(2))
    a, b = pairs[:, 0], pairs[:, 1]
    d_ra = np.abs((ra[a] - ra[b] + 180) % 360 - 180) * np.cos(np.radians((dec[a] + dec[b]) / 2)) * 3600
    limit = (side[a] + side[b]) / 2
    return pairs[(d_ra < limit) & (np.abs(dec[a] - dec[b]) * 3600 < limit)]


def overlapping(split, ra, dec, stamp_arcsec) -> np.ndarray:
    """Mask of the training rows whose stamp shares sky with a validation or testing stamp (`touching`)."""
    return losing(split, touching(ra, dec, stamp_arcsec), "training", ("validation", "testing"))


def losing(split, pairs, name: str, against) -> np.ndarray:
    """(n,) bool: rows of the split `name` that a pair (m, 2) joins with one of the splits `against`."""
    split, out = np.asarray(split), np.zeros(len(split), bool)
    for one, other in (pairs.T, pairs.T[::-1]):
        out[one[(split[one] == name) & np.isin(split[other], against)]] = True
    return out


def separated(split, ra, dec, stamp_arcsec, group_arcsec: float) -> np.ndarray:
    """(n,) why a row must go so that no two splits share sky: `split_overlap` of stamps, `near_duplicate` within `group_arcsec`,
    empty for the rows that stay. Testing loses nothing, validation what touches testing, training what touches either."""
    split, out = np.array(split, object), np.full(len(split), "", object)
    stamped = np.max(stamp_arcsec, initial=0.0) > 0
    reasons = {"split_overlap": touching(ra, dec, stamp_arcsec)} if stamped else {}
    reasons["near_duplicate"] = close_pairs(ra, dec, group_arcsec)
    for name, against in (("validation", ("testing",)), ("training", ("testing", "validation"))):
        for reason, pairs in reasons.items():
            out[losing(split, pairs, name, against) & (out == "")] = reason
        split[out != ""] = ""
    return out


def leaks(split, object_id, ra=None, dec=None, stamp_arcsec=0.0, group_arcsec: float = 1.0) -> list[tuple]:
    """(check, pairs) of what could leak from training into validation or testing; all zero in a sound dataset."""
    split, ids = np.asarray(split), np.asarray(object_id)
    trained = set(ids[split == "training"].tolist())
    held = np.isin(split, ("validation", "testing"))
    out = [("same_object_id", int(sum(int(i) in trained for i in ids[held]))),
           ("repeated_object_id", int(len(ids) - len(set(ids.tolist()))))]
    if ra is not None and len(ids):
        pairs = close_pairs(ra, dec, group_arcsec)
        out.append((f"within_{group_arcsec:g}_arcsec", int(np.sum(split[pairs[:, 0]] != split[pairs[:, 1]]))))
        if np.max(stamp_arcsec) > 0:
            out.append(("stamps_overlap", int(overlapping(split, ra, dec, stamp_arcsec).sum())))
    return out


def held_leaks(split, subset, ra, dec, stamp_arcsec, group_arcsec: float) -> list[tuple]:
    """(check, pairs) of what could leak between the objects that nothing is trained on: validation into testing, `select` into
    `calibrate`."""
    pairs, subset = close_pairs(ra, dec, group_arcsec), np.asarray(subset)
    out = [(f"within_{group_arcsec:g}_arcsec_select_calibrate", int(losing(subset, pairs, "select", ("calibrate",)).sum()))]
    if np.max(stamp_arcsec, initial=0.0) > 0:
        across = losing(split, touching(ra, dec, stamp_arcsec), "validation", ("testing",))
        out.append(("stamps_overlap_validation_testing", int(across.sum())))
    return out
