"""Which detection is which source: one-to-one matches, and groups of friends that say how a match fails.

A nearest neighbour alone hides blends: two sources that one detection stands for count as one found and one missed. So sources
and detections together are joined to groups of friends (every chain of neighbours within a linking length, as Huchra & Geller
1982 find groups of galaxies, here of two catalogs; blends of a deep and a shallow catalog are told from one another in this way
by Dawson et al. 2016), and a group's numbers of sources and detections name its class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

RADIUS = 1.0  # arcsec: of a match, and of a link
CLASSES = ("resolved", "partly_resolved", "unrecognised_blend", "shred", "missed", "false")
SOURCE_STATES = ("found", "blended", "missed")
DETECTION_STATES = ("true", "shred", "false")


@dataclass
class Groups:
    """Friends among n sources and m detections.

    `partner` (n,) row of a source's detection, -1 without; `match` (m,) the same seen from the detections; `label` (n + m,) the
    group of each, sources first; `kind` (groups,) place in CLASSES; `source` (n,) and `detection` (m,) places in SOURCE_STATES
    and DETECTION_STATES.
    """

    partner: np.ndarray
    match: np.ndarray
    label: np.ndarray
    kind: np.ndarray
    source: np.ndarray
    detection: np.ndarray


def on_sphere(ra, dec) -> np.ndarray:
    """(n, 3) places in arcsec on a sphere of one radian's radius: chords there are separations, to 1e-11 of themselves at 1"."""
    a, d = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    unit = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)
    return unit.reshape(-1, 3) * np.degrees(1) * 3600


def pairs(a, b, radius) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows of a, rows of b, distances) of every pair of places (n, k) and (m, k) within `radius`, a number or one of each row
    of a (n,), the closest first, ties in order of rows."""
    if not len(a) or not len(b):
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0)
    near = cKDTree(b).query_ball_point(a, np.broadcast_to(np.asarray(radius, float), len(a)))
    first = np.repeat(np.arange(len(a)), [len(some) for some in near])
    second = np.fromiter((row for some in near for row in some), int, len(first))
    distance = np.sqrt(((a[first] - b[second]) ** 2).sum(axis=1))
    order = np.lexsort((second, first, distance))
    return first[order], second[order], distance[order]


def nearest(a, b, radius: float = RADIUS) -> np.ndarray:
    """(n,) row of b that each place of a (n, k) is matched with, -1 without: the closest pair first, then the closest of what is
    left, so that nothing is matched twice."""
    out, taken = np.full(len(a), -1), np.zeros(len(b), bool)
    for i, j, _ in zip(*pairs(a, b, radius), strict=True):
        if out[i] < 0 and not taken[j]:
            out[i], taken[j] = j, True
    return out


def friends(sources, detections, radius: float = RADIUS, reach=None) -> Groups:
    """Groups of sources (n, k) and detections (m, k), places in arcsec, linked within `radius`.

    `reach` (n,), where given, is the distance up to which a detection is linked to a source (never less than `radius`): a large
    galaxy's pieces lie further out than 1". Of a group with n sources and m detections:
    0 detections: missed; 0 sources: false; m > n: shred; m = n: resolved; 1 = m < n: unrecognised blend; 1 < m < n: partly
    resolved. Matches are one to one within `radius`. A source without a match is `blended` where its group holds a detection,
    else `missed`; a detection without one is a `shred` where its group holds a source, else `false`.
    """
    n, m = len(sources), len(detections)
    reach = np.full(n, radius) if reach is None else np.maximum(np.nan_to_num(np.asarray(reach, float)), radius)
    links = [(*pairs(sources, sources, radius)[:2], 0, 0), (*pairs(detections, detections, radius)[:2], n, n),
             (*pairs(sources, detections, reach)[:2], 0, n)]
    first, second = (np.concatenate([one[k] + one[2 + k] for one in links]) for k in (0, 1))
    count, label = connected_components(coo_matrix((np.ones(len(first), bool), (first, second)), shape=(n + m, n + m)), False)
    some, found = np.bincount(label[:n], minlength=count), np.bincount(label[n:], minlength=count)
    kind = np.select([found == 0, some == 0, found > some, found == some, found == 1],
                     [CLASSES.index(name) for name in ("missed", "false", "shred", "resolved", "unrecognised_blend")],
                     CLASSES.index("partly_resolved"))
    partner = nearest(sources, detections, radius)
    match = np.full(m, -1)
    match[partner[partner >= 0]] = np.flatnonzero(partner >= 0)
    return Groups(partner, match, label, kind, np.where(partner >= 0, 0, np.where(found[label[:n]] > 0, 1, 2)),
                  np.where(match >= 0, 0, np.where(some[label[n:]] > 0, 1, 2)))


def neighbour(places) -> np.ndarray:
    """(n,) distance of each place (n, k) to the nearest other one, infinite for one alone."""
    if len(places) < 2:
        return np.full(len(places), np.inf)
    return cKDTree(places).query(places, 2)[0][:, 1]
