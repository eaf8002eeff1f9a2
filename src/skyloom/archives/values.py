"""What stands for no value: declared, a documented state, or what can't be a magnitude, an error or a position.

Magnitudes: 90 <= m < 100 and +inf are `not detected` (99), -100 < m <= -90, -inf and NaN `not observed` (-99). Any other number
outside 0 < m < 60 (0, -1, -999, 9999) is no magnitude: undeclared, it is counted, becomes NaN, and beyond a share of the rows
the table is refused.
"""

from __future__ import annotations

import numpy as np

from skyloom.errors import InputError

FAINTEST = 60.0  # no magnitude of a galaxy is beyond
LARGEST = 50.0  # no error of a magnitude is as large
SAME = 10  # rows that share one position to the last digit, from which on it is told
COLUMNS = ("table", "column", "what", "rows", "of")


def judged(data: dict, declared: dict, names: dict, path: str, limits: dict) -> tuple[dict, list[dict]]:
    """(the columns with NaN for what is no value, a count for every kind of it found) of a table's numbers.

    `data` and `declared` {common name: (n,) values, mask of those declared missing}, `names` {common name: the table's own}.
    `limits` {`magnitudes`, `errors`, `positions`: share of the rows}; InputError where more are undeclared.
    """
    out = dict(data)
    counts = [(new, "declared missing", int(mask.sum()), "") for new, mask in declared.items()]
    for new, values in data.items():
        if new.endswith("_mag"):
            out[new], found = _magnitudes(values, declared[new])
        elif new.endswith("_magerr"):
            found = _errors(values, data.get(new.removesuffix("err")))
        elif new == "specz_redshift_err":
            out[new], found = np.where(values < 0, np.nan, values), [("below 0, taken as unknown", values < 0, "")]
        elif new in ("ra", "dec"):
            continue  # both together, below
        else:
            found = [("not finite", ~np.isfinite(values) & ~declared[new], "")]
        counts += [(new, what, int(mask.sum()), kind) for what, mask, kind in found]
        _refuse(found, new, values, names[new], path, limits)
    if "ra" in data and "dec" in data:
        out["ra"], out["dec"], found = _positions(data["ra"], data["dec"])
        counts += [("ra", what, int(mask.sum()), kind) for what, mask, kind in found]
        _refuse(found, "ra", data["ra"], f"{names['ra']}, {names['dec']}", path, limits)
    rows = len(next(iter(data.values()), ()))
    return out, [dict(zip(COLUMNS, (path, names[new], what, count, rows), strict=True))
                 for new, what, count, _ in counts if count]


def _refuse(found, new, values, name, path, limits) -> None:
    """InputError where a kind of undeclared values is more than its share."""
    for what, mask, kind in found:
        if kind and mask.any() and mask.mean() > limits.get(kind, 1.0):
            first = int(np.argmax(mask))
            raise InputError(f"column `{name}` of the table {path} holds {int(mask.sum())} of {len(mask)} values that are {what} "
                             f"(row {first}: {values[first]:g}); declare what stands for no value under `local.missing`, or "
                             f"raise `local.max_undeclared.{kind}` ({limits[kind]:g})")


def _magnitudes(values, declared):
    """(magnitudes with NaN for what is none, what was found)."""
    undetected = ((values >= 90) & (values < 100)) | (values == np.inf)
    unobserved = ((values <= -90) & (values > -100)) | (values == -np.inf) | (np.isnan(values) & ~declared)
    real = (values > 0) & (values < FAINTEST)
    absurd = ~(real | undetected | unobserved | declared)
    return np.where(absurd, np.nan, values), [
        ("not detected (99)", undetected, ""), ("not observed (-99 or NaN)", unobserved, ""),
        (f"no magnitude (0 < m < {FAINTEST:g}), taken as not observed", absurd, "magnitudes")]


def _errors(values, magnitude):
    """What is found among the errors of magnitudes that were measured; networks and peers take such errors as they are."""
    real = np.ones(len(values), bool) if magnitude is None else (magnitude > 0) & (magnitude < FAINTEST)
    unknown = real & np.isnan(values)
    return [("unknown errors of a magnitude", unknown, ""),
            (f"no error of a magnitude (0 < e < {LARGEST:g})", real & ~unknown & ~((values > 0) & (values < LARGEST)), "errors")]


def _positions(ra, dec):
    """(ra in 0 ... 360, dec, what was found); NaN in both where there is no position. RA may count from -180 or -360."""
    unknown = np.isnan(ra) | np.isnan(dec)
    none = ~unknown & ~((np.abs(ra) <= 360) & (np.abs(dec) <= 90) & ((ra != 0) | (dec != 0)))
    gone = unknown | none
    out = np.where(gone, np.nan, ra) % 360, np.where(gone, np.nan, dec)
    found = [("unknown positions", unknown, ""), ("no position (0/0, -999 or out of range), taken as unknown", none, "positions")]
    places, inverse, counts = np.unique(out[0] + 1j * out[1], return_inverse=True, return_counts=True)
    for k in np.flatnonzero(np.isfinite(places) & (counts >= SAME)):
        found.append((f"at one position, {places[k].real:g} {places[k].imag:g}, and kept", inverse == k, ""))
    return *out, found


def told(counts: list[dict]) -> str:
    """The counts as lines for people."""
    return "\n".join(f"{one['table']}: column `{one['column']}`, {one['rows']} of {one['of']} rows: {one['what']}"
                     for one in counts)


def frame(counts: list[dict]):
    """The counts as a DataFrame with COLUMNS."""
    import pandas

    return pandas.DataFrame(counts, columns=list(COLUMNS))
