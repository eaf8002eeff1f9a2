"""Labels of scenes as flat columns: one row a source and tile, stamps one after another; the same for truth and catalogs."""

from __future__ import annotations

import numpy as np

COLUMNS = ("label_id", "x", "y", "usable", "is_star", "flux", "half_light_radius", "redshift", "snr", "q", "pa", "blendedness")
KINDS = {"label_id": np.int64, "usable": np.int8, "is_star": np.int8, "flux": np.float32, "snr": np.float32}


def rows(tile: int, columns: dict, stamps: list, filled: int) -> dict[str, np.ndarray]:
    """The rows of one tile (its number in the scenes' file): columns, and where each stamp (x0, y0, values) lies in the flat
    `stamp_values`, of which `filled` are there already."""
    n = len(columns["x"])
    out = {"tile": np.full(n, tile, np.int32)}
    out |= {name: np.asarray(columns[name]).astype(KINDS.get(name, np.float64)) for name in COLUMNS}
    shapes = np.array([(x, y, *values.shape[::-1]) for x, y, values in stamps], np.int32).reshape(n, 4)
    sizes = shapes[:, 2].astype(np.int64) * shapes[:, 3]
    out |= {f"stamp_{name}": shapes[:, k] for k, name in enumerate(("x0", "y0", "w", "h"))}
    out["stamp_offset"] = filled + np.cumsum(sizes) - sizes
    return out


def owned(x, y, core) -> np.ndarray:
    """(n,) whether positions in px lie in the pixels of a core (x0, x1, y0, y1)."""
    px, py = np.floor(np.asarray(x) + 0.5), np.floor(np.asarray(y) + 0.5)
    return (px >= core[0]) & (px < core[1]) & (py >= core[2]) & (py < core[3])


def usable(x, y, ivar) -> np.ndarray:
    """(n,) 1 where the pixel that holds a position has data in some band of `ivar` (band, y, x)."""
    px, py = (np.floor(np.asarray(at) + 0.5).astype(int) for at in (x, y))
    return (ivar[:, py, px] > 0).any(axis=0).astype(np.int8)


def sky_sigma(ivar) -> np.ndarray:
    """(band,) typical noise in nJy of pixels with ivar (n, band, y, x); infinite in a band without any."""
    out = [np.median(part[part > 0]) if (part > 0).any() else 0.0 for part in np.moveaxis(ivar, 1, 0)]
    with np.errstate(divide="ignore"):
        return 1 / np.sqrt(np.array(out, float))


def together(tables: list[dict]):
    """A DataFrame of the tables of all tiles, an object once."""
    import pandas

    whole = {name: np.concatenate([one[name] for one in tables]) for name in tables[0]}
    return pandas.DataFrame(whole).drop_duplicates("label_id", ignore_index=True)


def table(columns: dict, keep, tile_id: int, bands) -> dict[str, np.ndarray]:
    """The rows `keep` of a tile as plain columns: fluxes and S/N a column a band."""
    plain = {name: np.asarray(columns[name])[keep] for name in ("label_id", "ra", "dec", "usable", "is_star", "redshift")}
    plain["tile_id"] = np.full(len(plain["ra"]), tile_id, np.int64)
    for name, what in (("flux", "flux"), ("snr", "snr")):
        plain |= {f"{band}_{what}": np.asarray(columns[name])[keep, k] for k, band in enumerate(bands)}
    return plain | {name: np.asarray(columns[name])[keep] for name in ("half_light_radius", "q", "pa", "blendedness", "x", "y")}
