"""Quality cuts: each a named mask, counted one after another, every rejected row kept with its reason.

Redshift, error and magnitude limits and the two kinds of duplicates are those of GalaxiesML (Do et al.
2024, section 3.2 and its code).
"""

from __future__ import annotations

import numpy as np

from skyloom.errors import InputError
from skyloom.sample import regions

BANDS = ("g", "r", "i", "z", "y")
SENTINELS = (99.0, -99.0, -99.9, -999.0, np.inf, -np.inf)


def masks(options: dict, magnitude_columns) -> list[tuple[str, tuple[str, ...], object]]:
    """(name, columns needed, function(frame) -> rows to keep) of every cut, in order."""
    z_min, z_max, limit = options["z_min"], options["z_max"], options["sigma_z_max"]

    def sigma_z(frame):
        z, error = frame["specz_redshift"], frame["specz_redshift_err"]
        bound = limit / (1 + z) if options["sigma_z"] == "paper" else limit * (1 + z)
        return error < bound

    def magnitudes(frame):
        values = frame[list(magnitude_columns)]
        return ((values > options["mag_min"]) & (values < options["mag_max"])).all(axis=1)

    region = regions.of(options.get("region"))
    out = [("region", ("ra", "dec"), lambda f: region.contains(f["ra"], f["dec"]))] if region else []
    out += [("redshift_finite", ("specz_redshift",), lambda f: np.isfinite(f["specz_redshift"]) & (f["specz_redshift"] > -9)),
            ("redshift_range", ("specz_redshift",), lambda f: (f["specz_redshift"] > z_min) & (f["specz_redshift"] < z_max))]
    if options["sigma_z"] != "none":
        out.append((f"sigma_z_{options['sigma_z']}", ("specz_redshift", "specz_redshift_err"), sigma_z))
    if options["isprimary"]:
        out.append(("isprimary", ("isprimary",), lambda f: f["isprimary"]))
    if options["magnitudes"]:
        out.append(("magnitude_range", tuple(magnitude_columns), magnitudes))
    out.append(("duplicate_specz_name", ("specz_name",),
                lambda f: ~f["specz_name"].duplicated() | f["specz_name"].isna() | (f["specz_name"] == "")))
    out.append(("duplicate_object_id", ("object_id",), lambda f: ~f["object_id"].duplicated()))
    return out


def apply_cuts(frame, cuts):
    """Apply cuts in order to a DataFrame.

    Returns (kept rows, rejected rows with columns `cut` and `value` in front, table of counts with columns
    cut, rows_in, rejected, rows_out; a cut whose column is absent has `not applicable` under rejected).
    """
    import pandas

    table, rejected = [], []
    for name, needed, keep in cuts:
        if any(column not in frame for column in needed):
            table.append((name, len(frame), "not applicable", len(frame)))
            continue
        good = np.asarray(keep(frame), bool)
        lost = frame[~good].copy()
        if len(lost):
            lost.insert(0, "cut", name)
            lost.insert(1, "value", [_values(row) for row in lost[list(needed)].to_numpy()])
            rejected.append(lost)
        table.append((name, len(frame), int((~good).sum()), int(good.sum())))
        frame = frame[good]
    empty = frame.iloc[:0].copy()
    empty.insert(0, "cut", pandas.Series(dtype=str))
    empty.insert(1, "value", pandas.Series(dtype=str))
    together = pandas.concat(rejected, ignore_index=True) if rejected else empty
    counts = pandas.DataFrame(table, columns=["cut", "rows_in", "rejected", "rows_out"])
    return frame.reset_index(drop=True), together, counts


def _values(row) -> str:
    return ";".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in row)


def refuse_empty(kept, rejected, parts, step: str, sample: str) -> None:
    """InputError where the rows `kept` lack one of the `parts` (values of the column `part`; with none, where nothing is kept).

    It names the cut that took most.
    """
    for part in parts or [""]:
        own = rejected[rejected["part"] == part] if part and "part" in rejected else rejected
        if (part in set(kept["part"])) if part and "part" in kept else len(kept):
            continue
        counts = own["cut"].value_counts()
        why = f"; `{counts.index[0]}` dropped {counts.iloc[0]} of {len(own)}" if len(own) else ""
        raise InputError(f"{step} left no object of {sample}{f', {part} table' if part else ''}{why}: look at its values, or "
                         "change `cuts`")


def nearest(ra, dec, known_ra, known_dec, radius: float = 1.0) -> np.ndarray:
    """Index (n,) of the known position nearest to each position (deg), -1 where none lies within `radius` arcsec.

    NaN is near to nothing.
    """
    from scipy.spatial import cKDTree

    out = np.full(len(ra), -1)
    there, here = unit_vectors(known_ra, known_dec), unit_vectors(ra, dec)
    known, asked = (np.flatnonzero(np.isfinite(vectors).all(axis=1)) for vectors in (there, here))
    if len(known) and len(asked):
        chord = 2 * np.sin(np.radians(radius / 3600) / 2)
        distance, index = cKDTree(there[known]).query(here[asked], distance_upper_bound=chord)
        near = np.isfinite(distance)
        out[asked[near]] = known[index[near]]
    return out


def without(frame, known_ids, known_ra, known_dec, radius: float = 1.0):
    """Mask of the rows of `frame` that are neither in `known_ids` nor, where both have positions, within `radius` arcsec."""
    apart = ~frame["object_id"].isin(known_ids).to_numpy()
    if len(known_ra) and "ra" in frame:
        apart &= nearest(frame["ra"], frame["dec"], known_ra, known_dec, radius) < 0
    return apart


def unit_vectors(ra, dec) -> np.ndarray:
    """(n, 3) unit vectors of positions in deg."""
    a, d = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)
