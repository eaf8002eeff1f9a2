"""pack-detections: the sources that a detector found as the run's samples, with redshifts of their labels."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

from skyloom import store
from skyloom.dataset import detections
from skyloom.errors import InputError
from skyloom.measure import matching
from skyloom.sample import detected
from skyloom.verbs import common

TWICE = 0.3  # arcsec: nearer sources of two tiles are one


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--detections", nargs="+", required=True, help="one file a shard, of the detector whose sources count")
    parser.add_argument("--labels", nargs="+", required=True, help="the labels of the same shards")
    parser.add_argument("--others", nargs="*", default=[], help="names of other detectors")
    parser.add_argument("--other", nargs="*", default=[], help="their files: shards of the first, then of the second, ...")
    parser.add_argument("--known", required=True, help="sources with a redshift")
    parser.add_argument("--targets", required=True, help="the others")


def run(args) -> None:
    """Write sources with and without a redshift, matched one to one within `match_arcsec` with labels that can be found, and with
    what other detectors measured of them as `{name}_...`. InputError where no source has a redshift, or an id comes twice."""
    settings = args.settings
    frame = _labelled(settings, _once(_together(args.detections)), _together(args.labels))
    for name, paths in zip(args.others, np.array_split(np.array(args.other, object), max(len(args.others), 1)), strict=False):
        more = _together(paths)
        at = matching.nearest(_places(frame), _places(more), settings["match_arcsec"])
        frame = detected.joined(frame, detected.with_magnitudes(more), at, name)
    frame = frame.sort_values("object_id", kind="stable")
    if frame["object_id"].duplicated().any():
        twice = frame["object_id"][frame["object_id"].duplicated()].iloc[0]
        raise InputError(f"the detections hold object_id {twice} twice; rerun detect")
    known = np.isfinite(frame["specz_redshift"].to_numpy(float))
    if not known.any():
        raise InputError(f"none of {len(frame)} sources of {Path(args.detections[0]).parent} matches a label of the gold sample "
                         "that has a redshift; give labels with redshifts, or loosen `scenes.gold`")
    text = " ".join(args.detections)
    about = {"query": text, "query_sha256": hashlib.sha256(text.encode()).hexdigest(),
             "detector": settings["detector"], "detector_weights": store.parquet_meta(args.detections[0]).get("weights", "")}
    for path, rows in ((args.known, known), (args.targets, ~known)):
        kept = frame[rows] if path == args.known else frame[rows].drop(columns="specz_redshift")
        store.write_parquet(path, kept.reset_index(drop=True),
                            common.provenance(settings) | about | {"archive_count": int(rows.sum())})


def _together(paths):
    """One table of several shards, whose names begin with their `part`."""
    import pandas

    return pandas.concat([detections.read(path).assign(part=Path(path).stem.split("_")[0]) for path in paths], ignore_index=True)


def _once(frame):
    """The sources without those that two tiles count, because each sees them on its own side of the border."""
    places = _places(frame)
    twice = detected.seen_twice(frame, *matching.pairs(places, places, TWICE)[:2])
    if twice.any():
        print(f"pack-detections: {int(twice.sum())} of {len(frame)} sources were found by two tiles; each is counted once",
              file=sys.stderr)
    return frame[~twice].reset_index(drop=True)


def _places(frame) -> np.ndarray:
    return matching.on_sphere(frame["ra"], frame["dec"])


def _labelled(settings: dict, frame, labels):
    """The sources with magnitudes and, of their labels, `specz_redshift`; a label on the border of a shard is any shard's."""
    labels = labels[_findable(labels, settings["least_snr"])].drop_duplicates("label_id").reset_index(drop=True)
    at = matching.nearest(_places(frame), _places(labels), settings["match_arcsec"])
    chosen = detected.gold(labels, settings["gold"]["band"], settings["gold"]["mag"])
    z = detected.redshifts(labels, at, chosen, settings["z_min"], settings["z_max"])
    return detected.with_magnitudes(frame).assign(specz_redshift=z)


def _findable(labels, least: float) -> np.ndarray:
    """(n,) bool: labels with so high a signal-to-noise ratio in some band; all where none tells one."""
    ratios = [labels[name].to_numpy(float) for name in labels if name.endswith("_snr")]
    return (np.nan_to_num(ratios) >= least).any(axis=0) if ratios else np.ones(len(labels), bool)
