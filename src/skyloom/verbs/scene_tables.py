"""What the verbs that judge scenes read: the truth and the sources of a detector over several shards, and masks beside stamps."""

from __future__ import annotations

import numpy as np

from skyloom import store
from skyloom.dataset import detections
from skyloom.dataset.table import align
from skyloom.errors import InputError
from skyloom.measure import judging, overlap


def truth(folder, shards, settings) -> dict:
    """The known sources of some shards."""
    import pandas

    frames = [store.read_parquet(f"{folder}/{shard}.parquet") for shard in shards]
    frame = pandas.concat(frames, ignore_index=True).drop_duplicates("label_id")
    known = judging.known({name: frame[name].to_numpy() for name in frame}, settings["bands"], settings["gold"],
                          settings["least_snr"])
    if not len(known["ra"]):
        raise InputError(f"{folder} holds no source with S/N above {judging.REAL:g}; there is nothing to judge")
    return known


def found(folder, detector: str, shards) -> dict:
    """A detector's sources of some shards, with the `shard` and the `row` there."""
    import pandas

    parts = [detections.read(f"{folder}/{detector}/{shard}.parquet") for shard in shards]
    frame = pandas.concat([one.assign(shard=k, row=np.arange(len(one))) for k, one in enumerate(parts)], ignore_index=True)
    return {name: frame[name].to_numpy() for name in frame}


def samples(args, settings: dict, known: dict, least: dict) -> dict[str, judging.Sample]:
    """{detector: its sources of the testing shards with scores of at least `least`, matched with the truth}."""
    return {name: judging.matched(known, found(args.detections, name, args.testing), settings["gold"]["band"], least[name])
            for name in settings["detectors"]}


def mask_iou(args, detector: str, sample: judging.Sample, chosen, bands: int) -> dict[float, np.ndarray]:
    """{isophote: (n,) IoU of the chosen (n,) bool sources' masks}, NaN for others, shard by shard."""
    out = {floor: np.full(len(chosen), np.nan) for floor in overlap.FLOORS}
    for k, shard in enumerate(args.testing):
        rows = np.flatnonzero(chosen & (sample.measured("shard") == k))
        if len(rows):
            _of_shard(args, detector, shard, sample, rows, bands, out)
    return out


def _of_shard(args, detector, shard, sample, rows, bands, out) -> None:
    """Fill in the sources `rows`, which lie in one shard."""
    ids = store.columns(f"{args.scenes}/{shard}.h5", ["tile_id"])["tile_id"]
    side = store.rows(f"{args.scenes}/{shard}.h5", ["mask"], slice(0, 1))["mask"].shape[-2:]
    labels = store.columns(f"{args.labels}/{shard}.h5")
    boxes = store.columns(f"{args.detections}/{detector}/{shard}_masks.h5")
    at = {int(row): n for n, row in enumerate(boxes["row"])}
    where = sample.found["tile_id"][sample.groups.partner[rows]]
    for tile in np.unique(where):
        own = np.flatnonzero(labels["tile"] == np.flatnonzero(ids == tile)[0])
        stamps = [_box(labels, n, "stamp_", "stamp_values") for n in own]
        some = rows[where == tile]
        place = align(labels["label_id"][own], sample.truth["label_id"][some])
        some, place = some[place >= 0], place[place >= 0]
        masks = [at.get(int(row)) for row in sample.measured("row")[some]]
        masks = [None if n is None else _box(boxes, n, "", "bits") for n in masks]
        masks = [one and (one[0], one[1], one[2].astype(bool)) for one in masks]
        for floor, values in out.items():
            values[some] = overlap.iou(overlap.owners(stamps, side, floor * bands**0.5), place, masks)


def _box(table: dict, n: int, prefix: str, values: str):
    """(x0, y0, (h, w)) of row n of boxes stored one after another."""
    x0, y0, w, h, offset = (int(table[f"{prefix}{name}"][n]) for name in ("x0", "y0", "w", "h", "offset"))
    return x0, y0, table[values][offset:offset + w * h].reshape(h, w)
