"""judge-scene-redshifts: p(z) of gold galaxies that every detector found, against the truth: tables and bars."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skyloom import store
from skyloom.dataset.predictions import Ensemble, Prediction, by_model
from skyloom.dataset.table import align
from skyloom.measure import bars
from skyloom.provenance import finals
from skyloom.pz import distribution, scenes
from skyloom.pz.tiles import Tiles
from skyloom.verbs import common, scene_tables

REDSHIFTS = ("model", "bin", "low", "high", "metric", "convention", "value", "lo95", "hi95", "n")
PAIRED = ("model_a", "model_b", *REDSHIFTS[1:6], "difference", "difference_lo95", "difference_hi95", "ratio", "ratio_lo95",
          "ratio_hi95", "n")
PEAKS = ("model", "share_low", "share_high", "value", "lo95", "hi95", "n")
SEEN = ("redshift", "mag", "blendedness", "neighbour_arcsec")


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--testing", nargs="+", required=True, help="names of shards")
    parser.add_argument("--scenes", required=True, help="folder of the scenes of the survey")
    parser.add_argument("--truth", required=True, help="folder of {shard}.parquet")
    parser.add_argument("--detections", required=True, help="folder of {detector}/{shard}.parquet")
    parser.add_argument("--thresholds", required=True, help="scenes_thresholds.csv of judge-scenes")
    parser.add_argument("--predictions", nargs="+", required=True, help="p(z) of the chosen detector's sources by any model")
    parser.add_argument("--final", default="", help="CSV that counts the looks at testing tiles")
    parser.add_argument("--folder", required=True)


def run(args) -> None:
    """Write scenes_redshifts.csv, scenes_redshifts_paired.csv, scenes_second_peak.csv and scenes_redshift_bars.csv."""
    import pandas

    settings, folder = args.settings, Path(args.folder)
    truth = scene_tables.truth(args.truth, args.testing, settings)
    least = pandas.read_csv(args.thresholds).set_index("model")["score"].to_dict()
    samples = scene_tables.samples(args, settings, truth, least)
    rows = np.flatnonzero(np.all([one.groups.partner >= 0 for one in samples.values()], axis=0) & truth["gold"] & truth["galaxy"]
                          & np.isfinite(truth["redshift"]))
    chosen = samples[settings["detector"]]
    ids = chosen.found["object_id"][chosen.groups.partner[rows]] if len(rows) else np.zeros(0, np.int64)
    models, _ = by_model([Prediction(path) for path in args.predictions])
    models = {name: Ensemble(members) for name, members in models.items() if members[0].pz}
    for one in models.values():  # a source whose redshift lies outside the cuts is none of the run's objects
        known = align(one.object_id, ids) >= 0
        rows, ids = rows[known], ids[known]
    some = {name: truth[name][rows] for name in SEEN} | _seeing(args, settings, truth["tile_id"][rows])
    tables = _judged(models, ids, some, truth["tile_id"][rows], settings)
    for (name, columns), found in zip((("redshifts", REDSHIFTS), ("redshifts_paired", PAIRED), ("second_peak", PEAKS),
                                       ("redshift_bars", bars.COLUMNS)), tables, strict=True):
        store.write_csv(folder / f"scenes_{name}.csv", pandas.DataFrame(found, columns=columns))
    if args.final:
        finals.count(args.final, settings)


def _judged(models: dict, ids, truth: dict, tile_id, settings: dict) -> tuple:
    """Rows of the four tables."""
    tiles, zs = Tiles(tile_id, settings["bootstrap"], settings["seed"]), truth["redshift"].astype(float)
    edges, parts, standard = distribution.grid(*settings["grid"]), scenes.subsets(truth), settings["model_against"]
    judged, peaks, paired, met = {}, [], [], []
    for name, one in models.items():
        said = scenes.said(one.pz, one.rows_of(ids), zs, edges)
        judged[name] = scenes.judged(said, zs, parts, tile_id, tiles)
        peaks += [(name, *row) for row in scenes.recovery(said, zs, tile_id, tiles)]
    for name, found in judged.items():
        if standard in judged and name != standard:
            pairs = scenes.compared(found, judged[standard])
            paired += [(name, standard, *row) for row in pairs]
            met += bars.of_redshifts(name, pairs, found)
    table = [(name, *key, one.value, *one.limits(), one.n) for name, found in judged.items() for key, one in found.items()]
    return table, paired, peaks, met


def _seeing(args, settings, tile_id) -> dict:
    """The PSF's width (arcsec, the gold band's) in each object's tile."""
    band, width = settings["bands"].index(settings["gold"]["band"]), {}
    for shard in args.testing:
        found = store.arrays(f"{args.scenes}/{shard}.h5", ["tile_id", "psf_fwhm"])
        width |= dict(zip(found["tile_id"].tolist(), found["psf_fwhm"][:, band], strict=True))
    values = np.array([width.get(int(tile), np.nan) for tile in tile_id], float)
    return {"psf_fwhm": values} if np.isfinite(values).all() else {}
