"""detect-sep: every source of one shard's tiles by the classical chain: table and masks."""

from __future__ import annotations

import json

import numpy as np

from skyloom import store, textfiles
from skyloom.cutouts import stamps
from skyloom.dataset import detections
from skyloom.measure import scene, stars
from skyloom.progress import Progress
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("scenes", help="scenes/{survey}/{shard}.h5")
    parser.add_argument("--tuned", required=True, help="of the verb tune-sep")
    parser.add_argument("--out", required=True)
    parser.add_argument("--masks", required=True)


def run(args) -> None:
    """Write the sources that the tiles' cores hold, tile after tile, with the settings and the classifier that were tuned."""
    tuned = json.loads(textfiles.read(args.tuned))
    net = tuned["stars"] and {name: np.array(values) for name, values in tuned["stars"].items()}
    tables, masks, filled, first = [], [], 0, 0
    for tile in tiles(args.scenes, Progress):
        found = scene.detected(tile, tuned["options"])
        own = found.pop("masks")
        found["p_star"] = stars.p_star(found.pop("features"), net)
        tables.append(found)
        masks.append(own | {"row": own["row"] + first, "offset": own["offset"] + filled})
        first, filled = first + len(found["x"]), filled + len(own["bits"])
    meta = common.provenance(args.settings) | {"detector": "sep", "options": tuned["options"]}
    detections.write(args.out, together(tables), meta)
    store.write_columns(args.masks, together(masks), common.provenance(args.settings) | {"detector": "sep"})


def together(tables: list[dict]) -> dict[str, np.ndarray]:
    """Columns of several tables as one."""
    return {name: np.concatenate([one[name] for one in tables]) for name in tables[0]}


def tiles(path, progress=None):
    """One tile of a file of scenes at a time, as `measure.scene.detected` takes it."""
    with store.reading(path) as handle:
        about, n = handle.attrs, len(handle["tile_id"])
        told = progress and progress(total=n, label="detect-sep")
        ok = stamps.STATUS.index("ok")
        for k in range(n):
            facts = {name: handle[name][k] for name in ("image", "ivar", "psf", "crval", "crpix", "cd", "core")}
            yield facts | {"mask": (handle["mask"][k] & stamps.UNUSABLE) != 0, "ok": handle["status"][k] == ok,
                           "bands": about["bands"].split(","), "pixel_scale": float(about["pixel_scale"]),
                           "tile_id": int(handle["tile_id"][k])}
            if told:
                told.step()
