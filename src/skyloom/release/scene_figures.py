"""Figures of scenes: completeness and purity of detectors, a tile with what was found and missed, blends taken apart.

Verbs call them by `figures.drawn`.
"""

from __future__ import annotations

import numpy as np

from skyloom.measure import judging, matching
from skyloom.release import figures

PANELS = (("findable", "completeness", "_mag", "magnitude"), ("detections", "purity", "_mag", "measured magnitude"),
          ("gold", "completeness", "neighbour_arcsec", "next source (arcsec)"), ("findable", "completeness", "snr", "S/N"))
BLENDS, HALF = 8, 20  # stamps of blends; px about their middle
MARKS = {"found": ("o", "lime"), "blended": ("D", "orange"), "missed": ("s", "red")}
WRONG = {"shred": ("+", "cyan"), "false": ("x", "magenta")}


def completeness(frame, path) -> None:
    """Completeness and purity by magnitude, crowding and S/N: a line a detector, with intervals over tiles.

    `frame`: model, subset, bin, low, high, metric, value, lo95, hi95.
    """
    figure, axes = figures._pyplot().subplots(2, 2, figsize=(9, 6.4), layout="constrained")
    for axis, (subset, metric, binned, label) in zip(axes.flat, PANELS, strict=True):
        some = frame[(frame["subset"] == subset) & (frame["metric"] == metric) & frame["bin"].astype(str).str.endswith(binned)]
        for k, (model, part) in enumerate(some.groupby("model", sort=False)):
            low, high = part["low"].astype(float).to_numpy(), part["high"].astype(float).to_numpy()
            x = np.where(high > 1e8, low * 1.2, (low + high) / 2)
            sizes = np.nan_to_num(np.abs(np.stack([part["value"] - part["lo95"], part["hi95"] - part["value"]]).astype(float)))
            axis.errorbar(x, part["value"].astype(float), sizes, fmt=f"C{k}o-", ms=4, lw=1, capsize=2, label=figures._text(model))
        axis.set(xlabel=label, ylabel=f"{metric} ({subset})", ylim=(None, 1.01))
        axis.set_xscale("log" if binned == "snr" else "linear")
        figures._legend(axis, fontsize=8)
    figures._save(figure, path)


def scene(image, tile_id: int, samples: dict, path) -> None:
    """A tile, a panel a detector: what was found, missed, lost in blends, and what is a shred or nothing.

    image (band, y, x) over its noise; samples {detector: `judging.Sample`}, whose truth and sources have px `x`, `y`.
    """
    size = (6 * len(samples), 6.4)
    figure, axes = figures._pyplot().subplots(1, len(samples), figsize=size, squeeze=False, layout="constrained")
    for axis, (name, sample) in zip(axes[0], samples.items(), strict=True):
        axis.imshow(_colour(image), origin="lower", interpolation="nearest")
        _marked(axis, sample, tile_id, 8.0)
        axis.set(title=figures._text(name), xticks=[], yticks=[])
        figures._legend(axis, fontsize=7, loc="upper right")
    figures._save(figure, path)


def blends(image, tile_id: int, samples: dict, path) -> None:
    """The closest pairs of gold sources of a tile: a column each; above the pixels, below them what each detector makes of
    them."""
    first = next(iter(samples.values()))
    truth = first.truth
    close = np.flatnonzero((truth["tile_id"] == tile_id) & truth["gold"] & truth["findable"])
    close = close[np.argsort(truth["neighbour_arcsec"][close])]
    chosen = []
    for row in close:  # one of a pair is enough
        if all(np.hypot(truth["x"][row] - truth["x"][k], truth["y"][row] - truth["y"][k]) > HALF for k in chosen):
            chosen.append(row)
    chosen = chosen[:BLENDS]
    figure, axes = figures._pyplot().subplots(1 + len(samples), max(len(chosen), 1), figsize=(1.5 * max(len(chosen), 1), 1.7 *
                                              (1 + len(samples))), squeeze=False, layout="constrained")
    picture = _colour(image)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    for column, row in enumerate(chosen):
        for k, (name, sample) in enumerate([("", None), *samples.items()]):
            axis = axes[k, column]
            axis.imshow(picture, origin="lower", interpolation="nearest")
            if sample:
                _marked(axis, sample, tile_id, 40.0)
            x, y = truth["x"][row], truth["y"][row]
            axis.set(xlim=(x - HALF, x + HALF), ylim=(y - HALF, y + HALF), ylabel=figures._text(name) if not column else "")
    figures._save(figure, path)


def _colour(image) -> np.ndarray:
    """(y, x, 3) picture of bands over their noise: the reddest, middle and bluest third, asinh."""
    thirds = np.array_split(np.arange(len(image)), min(3, len(image)))
    planes = [np.mean(image[some], axis=0) for some in reversed(thirds)]
    planes = (planes * 3)[:3] if len(planes) < 3 else planes
    return np.clip(0.12 + np.arcsinh(np.stack(planes, axis=-1) / 2) / 5, 0, 1)


def _marked(axis, sample: judging.Sample, tile_id: int, size: float) -> None:
    """Findable sources by their state, and detections that are none."""
    truth, found, groups = sample.truth, sample.found, sample.groups
    for k, name in enumerate(matching.SOURCE_STATES):
        some = (truth["tile_id"] == tile_id) & (groups.source == k) & truth["findable"]
        marker, colour = MARKS[name]
        axis.scatter(truth["x"][some], truth["y"][some], size * 3, facecolors="none", edgecolors=colour, marker=marker, lw=0.8,
                     label=f"{name} ({some.sum()})")
    for k, name in enumerate(matching.DETECTION_STATES[1:], start=1):
        some = (found["tile_id"] == tile_id) & (groups.detection == k)
        marker, colour = WRONG[name]
        axis.scatter(found["x"][some], found["y"][some], size * 3, c=colour, marker=marker, lw=1, label=f"{name} ({some.sum()})")
