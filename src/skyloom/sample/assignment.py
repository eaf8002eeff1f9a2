"""A sample divided: who trains, validates and tests, who is dropped so that the sides share nothing, what could still leak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom.sample import splits


@dataclass(frozen=True)
class Assignment:
    """`kept`: the frame's rows that stay, with `split` and `subset`; `dropped`: the others, with `reason`; `leaks`: rows (check,
    pairs, unchecked, method); `method`: how the sides were drawn; `told`: what the user should know, empty without."""

    kept: object
    dropped: object
    leaks: list[tuple]
    method: str
    told: str


KNOWN = ("specz", "found")  # samples with redshifts: of an archive's rows, of sources found in scenes
LEAKS = ("check", "pairs", "unchecked", "method")


def assign(frame, settings: dict, sides=None) -> Assignment:
    """Divide a frame (sample, object_id, row and, optional, part, ra, dec).

    `settings`: method, fractions, seed, order, group_arcsec, stamp_arcsec; sides (n,) arcsec of each object's own largest stamp
    stand in for the last. Rows whose `part` is evaluation are the testing split, whole; with the method `part` it names every
    row's split. Objects without a position are divided by
    the hash of their id, the others as if those weren't there.
    """
    frame = frame.reset_index(drop=True)
    n, whole = len(frame), "ra" in frame and "dec" in frame
    ra, dec = (frame[name].to_numpy(float) if whole else np.full(n, np.nan) for name in ("ra", "dec"))
    side = np.broadcast_to(float(settings["stamp_arcsec"]) if sides is None else np.asarray(sides, float), (n,))
    labelled, placed, group = frame["sample"].isin(KNOWN).to_numpy(), splits.positions(ra, dec, n), settings["group_arcsec"]
    split = _drawn(frame, labelled, ra, dec, settings)
    subset, held = np.full(n, "", object), split == "validation"
    subset[held] = splits.halves(frame["object_id"][held], settings["seed"], ra[held], dec[held], group)
    reason = np.full(n, "", object)
    reason[labelled] = splits.separated(split[labelled], ra[labelled], dec[labelled], side[labelled], group)
    method = _method(settings["method"], labelled, placed)
    known = labelled & (reason == "")
    sky = ra[known], dec[known], side[known], group
    report = splits.leaks(split[known], frame["object_id"][known], *sky) + splits.held_leaks(split[known], subset[known], *sky)
    blind = int((known & ~placed).sum())
    leaks = [(check, pairs, 0 if check.endswith("object_id") else blind, method) for check, pairs in report]
    frame = frame.assign(split=split, subset=subset)
    stays = reason == ""
    return Assignment(frame[stays].reset_index(drop=True), frame[~stays].assign(reason=reason[~stays]), leaks, method,
                      _told(frame, labelled, placed, settings["method"]))


def _drawn(frame, labelled, ra, dec, settings) -> np.ndarray:
    """(n,) split of every row."""
    if settings["method"] == "part":
        return np.where(labelled, frame["part"], "target").astype(object)
    given = labelled & (frame["part"] == "evaluation").to_numpy() if "part" in frame else np.zeros(len(frame), bool)
    split = np.where(labelled, "testing", "target").astype(object)
    fractions, free = settings["fractions"], labelled & ~given
    if settings.get("evaluation") or given.any():  # the testing objects are given: the others share the rest alike
        known = sum(fractions[:2])
        fractions = [fractions[0] / known, fractions[1] / known, 0.0]
    if free.any():
        split[free] = splits.assign_splits(frame["object_id"][free], ra[free], dec[free], settings["method"], fractions,
                                           settings["seed"], settings["order"], settings["group_arcsec"])
    return split


def _method(asked: str, labelled, placed) -> str:
    """How the sides were drawn indeed."""
    blind = int((labelled & ~placed).sum())
    if asked != "sky_block" or not blind:
        return asked
    return "hash" if blind == labelled.sum() else f"sky_block, hash for {blind} without a position"


def _told(frame, labelled, placed, method) -> str:
    """A sentence about objects without a position where the others, or at least the table, have one."""
    if ("ra" in frame) != ("dec" in frame):
        return f"positions need ra and dec, the sample has {'ra' if 'ra' in frame else 'dec'} alone: no object has a position"
    blind = int((labelled & ~placed).sum())
    if "ra" not in frame or not blind:
        return ""
    drawn = "they are divided by the hash of their id, and " if method == "sky_block" else ""
    return f"{blind} of {int(labelled.sum())} objects have no position: {drawn}no check for near-duplicates or overlaps sees them"
