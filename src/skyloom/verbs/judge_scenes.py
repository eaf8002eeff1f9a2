"""judge-scenes: detectors against what really is in the tiles: tables, bars, figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skyloom import store
from skyloom.measure import bars, judging
from skyloom.provenance import finals
from skyloom.pz.tiles import Tiles, difference
from skyloom.release import figures, scene_figures
from skyloom.verbs import common, scene_tables

DETECTION = ("model", "split", "subset", "bin", "low", "high", "metric", "value", "lo95", "hi95", "n", "band")
PAIRED = ("model_a", "model_b", *DETECTION[1:7], "band", "difference", "difference_lo95", "difference_hi95", "ratio",
          "ratio_lo95", "ratio_hi95", "n")
GROUPS = ("model", "class", "groups", "sources", "detections")
THRESHOLDS = ("model", "score", "validation_purity", "purity", "n")


def arguments(parser) -> None:
    common.settings_argument(parser)
    for part in ("validation", "testing"):
        parser.add_argument(f"--{part}", nargs="+", required=True, help="names of shards")
    parser.add_argument("--scenes", required=True, help="folder of the scenes of the survey")
    parser.add_argument("--truth", required=True, help="folder of truth/{shard}.parquet")
    parser.add_argument("--labels", default="", help="folder of labels/{shard}.h5 whose stamps are the truth's; none: no masks")
    parser.add_argument("--detections", required=True, help="folder of {detector}/{shard}.parquet")
    parser.add_argument("--final", default="", help="CSV that counts the looks at testing tiles")
    parser.add_argument("--folder", required=True)


def run(args) -> None:
    """Write detection.csv, scenes_{paired,groups,thresholds,bars}.csv and the figures."""
    import pandas

    settings, folder = args.settings, Path(args.folder)
    truth = scene_tables.truth(args.truth, args.testing, settings)
    least = _thresholds(args, settings)
    samples = scene_tables.samples(args, settings, truth, {name: row[0] for name, row in least.items()})
    tiles = Tiles(np.concatenate([truth["tile_id"], *(one.found["tile_id"] for one in samples.values())]), settings["bootstrap"],
                  settings["seed"])
    both = np.all([one.groups.partner >= 0 for one in samples.values()], axis=0)
    judged = {}
    for name, one in samples.items():
        judged[name] = judging.judged(one, tiles, settings["bands"], both)
        if args.labels:
            found = scene_tables.mask_iou(args, name, one, both & truth["gold"], len(settings["bands"]))
            judged[name] |= judging.masked(found, one, tiles)
    first, second = settings["detector"], settings["against"]
    rows = bars.of_detection(judged[first], judged[second]) if second in judged and first != second else []
    cuts = [(name, *row, float(np.mean(samples[name].groups.match >= 0)) if len(samples[name].groups.match) else np.nan,
             len(samples[name].groups.match)) for name, row in least.items()]
    tables = {"detection": (_detection(judged, settings), DETECTION), "paired": (_paired(judged, settings), PAIRED),
              "groups": ([(name, *row) for name, one in samples.items() for row in judging.classes(one)], GROUPS),
              "thresholds": (cuts, THRESHOLDS), "bars": (rows, bars.COLUMNS)}
    frames = {name: pandas.DataFrame(found, columns=columns) for name, (found, columns) in tables.items()}
    for name, frame in frames.items():
        store.write_csv(folder / ("detection.csv" if name == "detection" else f"scenes_{name}.csv"), frame)
    figures.drawn(scene_figures.completeness, folder / "scenes_completeness.png", frames["detection"])
    seen = _tile(args, samples[first])
    figures.drawn(scene_figures.scene, folder / "scenes_scene.png", *seen, samples)
    figures.drawn(scene_figures.blends, folder / "scenes_blends.png", *seen, samples)
    if args.final:
        finals.count(args.final, settings)


def _thresholds(args, settings) -> dict[str, tuple[float, float]]:
    """{detector: (score from which on validation's sources are so pure, their purity)}."""
    known, out = scene_tables.truth(args.truth, args.validation, settings), {}
    for name in settings["detectors"]:
        found, band = scene_tables.found(args.detections, name, args.validation), settings["gold"]["band"]
        least = judging.threshold(found["score"], judging.matched(known, found, band).groups.match >= 0)
        pure = judging.matched(known, found, band, least).groups.match >= 0
        out[name] = least, float(pure.mean()) if len(pure) else np.nan
    return out


def _detection(judged: dict, settings) -> list[tuple]:
    return [(name, "testing", key[0], _named(key[1], settings), *key[2:5], one.value, *one.limits(), one.n, key[5])
            for name, found in judged.items() for key, one in found.items()]


def _named(bin_name: str, settings) -> str:
    """Magnitudes are the gold band's."""
    return f"{settings['gold']['band']}_mag" if bin_name == "mag" else bin_name


def _paired(judged: dict, settings) -> list[tuple]:
    """Every detector against the one that is the standard, on the same resamples."""
    standard = judged.get(settings["against"], {})
    return [(name, settings["against"], "testing", key[0], _named(key[1], settings), *key[2:], *difference(one, standard[key]))
            for name, found in judged.items() if name != settings["against"] for key, one in found.items() if key in standard]


def _tile(args, sample):
    """(image (band, y, x) over its noise, tile_id) of the richest tile of the first shard, for the figures."""
    path = f"{args.scenes}/{args.testing[0]}.h5"
    ids = store.columns(path, ["tile_id"])["tile_id"]
    k = int(np.argmax([np.sum(sample.truth["tile_id"] == one) for one in ids]))
    found = store.rows(path, ["image", "ivar"], slice(k, k + 1))
    return np.nan_to_num(found["image"][0] * np.sqrt(found["ivar"][0])), ids[k]
