"""label-scenes: what is in the tiles of one shard: the embedded sky's truth, or an archive's catalog with redshifts."""

from __future__ import annotations

import numpy as np

from skyloom import store
from skyloom.errors import InputError
from skyloom.sample import labels, objects
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("scenes", help="scenes/{survey}/{shard}.h5")
    parser.add_argument("--objects", default="", help="the archive's object catalog of the part; the run's own table without")
    parser.add_argument("--specz", default="", help="specz/selected.parquet, joined with it by position")
    parser.add_argument("--labels", required=True, help="HDF5: rows and stamps of every tile")
    parser.add_argument("--table", required=True, help="Parquet: an object a row")
    parser.add_argument("--truth", default="", help="Parquet: the embedded sky's truth, for the evaluation")


def run(args) -> None:
    """Write the labels of a shard's tiles in both forms and, where the embedded sky tells it, the truth."""
    settings, learn = args.settings, args.settings["labels"]
    with store.reading(args.scenes) as tiles:
        truth = _Truth(settings, tiles) if args.truth or learn == "truth" else None
        source = truth if learn == "truth" else _Catalog(settings, tiles, args.objects, args.specz)
        tables = _write(args.labels, tiles, source, settings)
        store.write_parquet(args.table, tables, common.provenance(settings) | {"labels": learn})
        if args.truth:
            if source is not truth:
                tables = labels.together([_owned(tiles, k, _seen(truth, tiles, k)[0]) for k in range(len(tiles["core"]))])
            store.write_parquet(args.truth, tables, common.provenance(settings) | {"labels": "truth"})


def _seen(source, tiles, k: int):
    """(columns with `usable`, stamps, rest) of tile `k`: what a source says of a tile that was observed, nothing of another."""
    ivar = tiles["ivar"][k]
    columns, stamps, rest = source.tile(k)
    if not ivar.any():
        return {name: column[:0] for name, column in columns.items()} | {"usable": np.zeros(0, np.int8)}, [], 0 * rest
    return columns | {"usable": labels.usable(columns["x"], columns["y"], ivar)}, stamps, rest


def _owned(tiles, k: int, columns: dict) -> dict:
    """The table's rows of the objects that tile `k` owns."""
    keep = labels.owned(columns["x"], columns["y"], tiles["core"][k])
    return labels.table(columns, keep, int(tiles["tile_id"][k]), tiles.attrs["bands"].split(","))


class _Truth:
    """The embedded sky's own list of sources; must be the sky that the tiles were fetched from."""

    def __init__(self, settings: dict, tiles):
        from skyloom.sky import truth

        survey = tiles.attrs["survey"]
        if survey not in truth.OPTICS:
            raise InputError(f"the embedded sky tells no truth of {survey}; it does of {', '.join(truth.OPTICS)}")
        if tiles.attrs["recipe"] != settings["identity"]:
            raise InputError(f"the tiles in {tiles.filename} are from {tiles.attrs['recipe']}, not {settings['identity']}, whose "
                             "truth is another; delete them and rerun")
        sky, self.tiles, self.settings = common.embedded_sky(settings["embedded"]), tiles, settings
        self.window = lambda *where: truth.window(sky, survey, *where)
        self.sigma = np.array(truth.OPTICS[survey](sky, *map(float, tiles["crval"][0])).sigma)

    def tile(self, k: int):
        """(columns, stamps, rest) of tile `k`, whose first pixel counts from the tangent point; without rows where it holds
        no pixel."""
        side = self.tiles["image"].shape[-1]
        first = [round(1 - float(value)) for value in self.tiles["crpix"][k]]
        columns, stamps, rest = self.window(tuple(map(float, self.tiles["crval"][k])), *first, side, side)
        if not self.settings["star_redshifts"]:
            columns["redshift"] = np.where(columns["is_star"] == 1, np.nan, columns["redshift"])
        return columns, stamps, rest


class _Catalog:
    """The archive's objects with the run's redshifts, as far as they were asked for."""

    def __init__(self, settings: dict, tiles, catalog: str, specz: str):
        bands, self.tiles = tiles.attrs["bands"].split(","), tiles
        found = store.read_parquet(catalog) if catalog else objects.of_table(store.read_parquet(specz), bands)
        z = objects.redshifts(found, store.read_parquet(specz, ["ra", "dec", "specz_redshift"]), settings["match_arcsec"])
        if settings["star_redshifts"] and "is_star" in found:
            z = np.where(found["is_star"] == 1, 0.0, z)
        self.whole = objects.columns(found, z, bands)
        self.sigma = labels.sky_sigma(tiles["ivar"][:])

    def tile(self, k: int):
        """(columns, stamps, rest) of tile `k`; a catalog leaves no light without an object."""
        side, grid = self.tiles["image"].shape[-1], [self.tiles[name][k] for name in ("crval", "crpix", "cd")]
        scale = float(self.tiles.attrs["pixel_scale"])
        return (*objects.in_tile(self.whole, grid, side, self.tiles["psf_fwhm"][k], self.sigma, scale), np.zeros((side, side)))


def _write(path, tiles, source, settings: dict):
    """Write the HDF5 of rows and stamps; the table of the objects that the tiles own, each once."""
    about, rows, values, tables = tiles.attrs, [], [], []
    n, side = len(tiles["tile_id"]), tiles["image"].shape[-1]
    meta = common.provenance(settings) | {
        "survey": about["survey"], "bands": about["bands"], "labels": settings["labels"], "least_snr": settings["least_snr"],
        "weights": 1 / source.sigma, "unit": "stamps: sum of nJy over the bands' sky noise `1 / weights`"}
    with store.writing(path, meta) as handle:
        rest = store.create(handle, "rest", (n, side, side), "f4", compress=True)
        filled = 0
        for k in range(n):
            columns, stamps, rest[k] = _seen(source, tiles, k)
            rows.append(labels.rows(k, columns, stamps, filled))
            values += [value.ravel() for *_, value in stamps]
            filled += sum(value.size for *_, value in stamps)
            tables.append(_owned(tiles, k, columns))
        for name in rows[0]:
            store.put(handle, name, np.concatenate([one[name] for one in rows]))
        store.put(handle, "stamp_values", np.concatenate([*values, np.zeros(0, np.float32)]).astype(np.float32))
    return labels.together(tables)
