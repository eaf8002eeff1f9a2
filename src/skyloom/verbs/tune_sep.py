"""tune-sep: the classical chain's best settings on the validation tiles, and a star/galaxy classifier from the training tiles."""

from __future__ import annotations

import json

import numpy as np

from skyloom import store
from skyloom.errors import InputError
from skyloom.measure import judging, matching, scene, stars
from skyloom.progress import Progress
from skyloom.verbs import common
from skyloom.verbs.detect_sep import tiles, together


def arguments(parser) -> None:
    common.settings_argument(parser)
    for part in ("training", "validation"):
        parser.add_argument(f"--{part}", nargs="+", required=True, help="files of scenes")
        parser.add_argument(f"--{part}-labels", nargs="+", required=True, help="their labels (Parquet)")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write tuned.json: `options`, `tried` (completeness and purity of every setting), `stars` (the classifier, null where
    labels tell too few of a class). InputError where validation holds no gold source."""
    settings = args.settings
    band, given = settings["gold"]["band"], settings["options"]
    truth = _known(args.validation_labels, settings, _bands(args.validation[0]))
    if not truth["gold"].any():
        raise InputError(f"the validation tiles hold no source of {band} < {settings['gold']['mag']}; enlarge "
                         "`scenes.parts.validation` or loosen `scenes.gold`")
    tried = [one | given for one in scene.SETTINGS] if set(scene.SETTINGS[0]) - set(given) else [given]
    tried = list({json.dumps(one, sort_keys=True): one for one in tried}.values())
    progress = Progress(total=len(tried), label="tune-sep")
    found = []
    for one in tried:
        found.append(_detections(args.validation, one))
        progress.step()
    best, rows = judging.tuned(truth, tried, found, band)
    net = _classifier(args, tried[best], settings)
    told = {"options": tried[best], "tried": rows, "stars": net and {name: values.tolist() for name, values in net.items()}}
    store.write_text(args.out, json.dumps(told | {"about": common.provenance(settings)}, indent=1, sort_keys=True) + "\n")


def _bands(path) -> list[str]:
    return store.attributes(path)["bands"].split(",")


def _known(paths, settings: dict, bands) -> dict:
    """The labels of some shards as `judging.known`."""
    import pandas

    frame = pandas.concat([store.read_parquet(path) for path in paths], ignore_index=True).drop_duplicates("label_id")
    return judging.known({name: frame[name].to_numpy() for name in frame}, bands, settings["gold"], settings["least_snr"])


def _detections(paths, options: dict) -> dict:
    """The columns of all tiles; masks and features are let go."""
    tables = [scene.detected(tile, options) for path in paths for tile in tiles(path)]
    return together([{name: values for name, values in one.items() if name not in ("masks", "features")} for one in tables])


def _classifier(args, options: dict, settings: dict) -> dict | None:
    """The star/galaxy network from training tiles whose labels tell the class."""
    features, star = [], []
    for path, labels in zip(args.training, args.training_labels, strict=True):
        truth = _known([labels], settings, _bands(path))
        chosen = truth["star"] | truth["galaxy"]
        places, is_star = matching.on_sphere(truth["ra"], truth["dec"])[chosen], truth["star"][chosen]
        for tile in tiles(path):
            found = scene.detected(tile, options)
            at = matching.nearest(matching.on_sphere(found["ra"], found["dec"]), places)
            features.append(found["features"][at >= 0])
            star.append(is_star[at[at >= 0]])
    return stars.fit(np.concatenate(features), np.concatenate(star), settings["seed"])
