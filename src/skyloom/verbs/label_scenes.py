"""label-scenes: what is in the tiles of one shard: the embedded sky's truth, or an archive's catalog with redshifts."""

from __future__ import annotations

import numpy as np

from skyloom import store
from skyloom.errors import InputError
from skyloom.sample import labels
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("scenes", help="scenes/{survey}/{shard}.h5")
    parser.add_argument("--labels", required=True, help="HDF5: rows and stamps of every tile")
    parser.add_argument("--table", required=True, help="Parquet: an object a row")
    parser.add_argument("--truth", default="", help="Parquet: the embedded sky's truth, for the evaluation")


def run(args) -> None:
    """Write the labels of a shard's tiles in both forms."""
    settings, about = args.settings, store.attributes(args.scenes)
    source = _Truth(settings, about)
    tables = _write(args.labels, args.scenes, about, source, settings)
    for path in filter(None, (args.table, args.truth)):
        store.write_parquet(path, tables, common.provenance(settings) | {"labels": settings["labels"]})


class _Truth:
    """The embedded sky's own list of sources; must be the sky that the tiles were fetched from."""

    def __init__(self, settings: dict, about: dict):
        from skyloom.sky import truth

        if about["survey"] not in truth.OPTICS:
            raise InputError(f"the embedded sky tells no truth of {about['survey']}; it does of {', '.join(truth.OPTICS)}")
        if about["recipe"] != settings["identity"]:
            raise InputError(f"the tiles are from {about['recipe']}, not {settings['identity']}, whose truth is another; fetch "
                             "them again")
        self.sky, self.survey, self.truth = common.embedded_sky(settings["embedded"]), about["survey"], truth

    def sigma(self, crval) -> np.ndarray:
        """(band,) sky noise in nJy."""
        return np.array(self.truth.OPTICS[self.survey](self.sky, *map(float, crval)).sigma)

    def tile(self, crval, crpix, side: int):
        """(columns, stamps, rest) of a tile; its first pixel counts from the tangent point."""
        first = [round(1 - float(value)) for value in crpix]
        return self.truth.window(self.sky, self.survey, tuple(map(float, crval)), *first, side, side)


def _write(path, scenes, about: dict, source, settings: dict):
    """Write the HDF5 of rows and stamps; the table of the objects that the tiles own, each once."""
    import pandas

    bands = about["bands"].split(",")
    rows, values, tables = [], [], []
    with store.reading(scenes) as tiles:
        facts = {name: tiles[name][:] for name in ("tile_id", "crval", "crpix", "core", "status")}
        n, side = len(facts["tile_id"]), tiles["image"].shape[-1]
        sigma = source.sigma(facts["crval"][0])
    meta = common.provenance(settings) | {
        "survey": about["survey"], "bands": about["bands"], "labels": settings["labels"], "least_snr": settings["least_snr"],
        "weights": 1 / sigma, "unit": "stamps: sum of nJy over the bands' sky noise `1 / weights`"}
    with store.writing(path, meta) as handle:
        rest = store.create(handle, "rest", (n, side, side), "f4", compress=True)
        filled = 0
        for k in range(n):
            columns, stamps, rest[k] = source.tile(facts["crval"][k], facts["crpix"][k], side)
            rows.append(labels.rows(k, columns, stamps, filled))
            values += [value.ravel() for *_, value in stamps]
            filled += sum(value.size for *_, value in stamps)
            tables.append(labels.table(columns, labels.owned(columns["x"], columns["y"], facts["core"][k]),
                                       int(facts["tile_id"][k]), bands))
        for name in rows[0]:
            store.put(handle, name, np.concatenate([one[name] for one in rows]))
        store.put(handle, "stamp_values", np.concatenate([*values, np.zeros(0, np.float32)]).astype(np.float32))
    whole = {name: np.concatenate([one[name] for one in tables]) for name in tables[0]}
    return pandas.DataFrame(whole).drop_duplicates("label_id", ignore_index=True)
