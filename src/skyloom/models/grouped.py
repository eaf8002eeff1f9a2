"""Named groups of columns with errors: what a config says of them, which columns of a file they read, what numbers they become.

A group in a file is plain data, `model.json` keeps it: `name`, `kind` (annuli, bulge_disk, columns, stamp), its settings, `reads`
(columns of the file), `columns` (the numbers made of them) with their `middle` and `spread`. A multi-survey file has a group of
structure a survey, so that an object in one survey alone lacks only the other's.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

from skyloom import typed
from skyloom.errors import InputError
from skyloom.models.encoders import ENCODERS
from skyloom.models.family import Packed
from skyloom.typed import option

SCALE = ("uncertainty, in units of the columns' spread, at which the gate is a half", {"type": "number", "exclusiveMinimum": 0})
DROPOUT = ("share of a branch's numbers that a step leaves out", {"type": "number", "minimum": 0, "maximum": 0.9})
HIDDEN = ("width of a branch", {"type": "integer", "minimum": 1})
JITTER = ("share of the noise that is left in a shrunk value added anew at every step", {"type": "number", "minimum": 0})
ABSENT = ("share of the objects that a step shows without a group", {"type": "number", "minimum": 0, "maximum": 0.9})


@dataclass(frozen=True)
class Settings:
    """Of one group; None: as the model's options `group_scale` and so on have it."""

    scale: float | None = option(None, SCALE[0], **SCALE[1])
    dropout: float | None = option(None, DROPOUT[0], **DROPOUT[1])
    hidden: int | None = option(None, HIDDEN[0], **HIDDEN[1])
    jitter: float | None = option(None, JITTER[0], **JITTER[1])
    absent: float | None = option(None, ABSENT[0], **ABSENT[1])


@dataclass(frozen=True)
class Own(Settings):
    """Columns of the user's choice; `errors` {column: its error's}, `{column}_err` where it isn't named."""

    columns: tuple = option((), "columns of the dataset", type="array")
    errors: dict | None = option(None, "{column: column of its errors}", type="object")


@dataclass(frozen=True)
class Stamp(Settings):
    """Stamps of the run's survey; the gate is a half at a signal to noise of 1 / `scale`."""

    scale: float | None = option(0.1, SCALE[0], **SCALE[1])
    encoder: str = option("cnn", "what turns a stamp into numbers", enum=sorted(ENCODERS))


BUILT_IN = {"annuli": Settings, "bulge_disk": Settings, "stamp": Stamp}
BANDS = {"annuli": r"(?P<survey>(?:\w+_)?)(?P<band>[^_]+)_annulus_flux_(?P<ring>\d+)",
         "bulge_disk": r"(?P<survey>(?:\w+_)?)(?P<band>[^_]+)_bulge_flux"}
SHAPES = ("bulge_re", "bulge_re_err", "disk_re", "disk_re_err", "disk_q")
FLUXES = ("bulge_flux", "bulge_flux_err", "disk_flux", "disk_flux_err", "bulge_disk_cov")


def settings(groups) -> dict[str, Settings]:
    """{name: its settings} of the option `groups`, a list or a mapping; InputError for a name or key that nobody knows."""
    listed = groups if isinstance(groups, Mapping) else dict.fromkeys(groups)
    out = {}
    for name, given in listed.items():
        given = {} if given is None else given
        if not isinstance(name, str) or not re.fullmatch("[a-z][a-z0-9_]*", name):
            raise InputError(f"`groups` names {name!r}; names are lower-case words of letters, digits and underscores")
        if not isinstance(given, Mapping):
            raise InputError(f"`groups.{name}` is {given!r}; it must be a mapping of settings")
        if name not in BUILT_IN and not given.get("columns"):
            raise InputError(f"`groups` names {name}{typed.nearest(name, BUILT_IN)}, which has no `columns`; known without any: "
                             f"{', '.join(BUILT_IN)}")
        out[name] = typed.read(BUILT_IN.get(name, Own), dict(given), f"the group `{name}`")
    return out


def of(packed: Packed, wanted: dict[str, Settings], general: dict) -> list[dict]:
    """The groups of a file as plain data, without what is fitted; `general`: settings that a group doesn't name. InputError for
    columns that the file lacks."""
    out = []
    for name, own in wanted.items():
        given = dataclasses.asdict(own)
        about = {key: general[key] if given[key] is None else given[key] for key in general}
        if name == "stamp":
            out.append({"name": name, "kind": "stamp", **about, "encoder": given["encoder"], "reads": [], "columns": []})
        elif name in BANDS:
            out += [{"name": name, **about, **group} for group in _structure(packed, name)]
        else:
            errors = {column: (given["errors"] or {}).get(column, f"{column}_err") for column in given["columns"]}
            out.append({"name": name, "kind": "columns", **about, "errors": errors, "reads": [*errors, *errors.values()]})
    for group in out:
        missing = [column for column in group["reads"] if column not in packed.names]
        if missing:
            raise InputError(f"{packed.path} lacks the column `{missing[0]}`, which the group `{group['name']}` reads; make the "
                             "dataset with it, or take the group out of `groups`")
    return out


def matches(packed: Packed, kind: str) -> list[re.Match]:
    """The columns of a file that are fluxes of structure of a kind: `survey` (a prefix), `band` and, of annuli, `ring`."""
    return [match for name in packed.names if (match := re.fullmatch(BANDS[kind], name))]


def _structure(packed: Packed, kind: str) -> list[dict]:
    """A group a survey whose structure a file holds, its bands from blue to red."""
    from skyloom.sample.bands import by_wavelength

    found = matches(packed, kind)
    if not found:
        raise InputError(f"{packed.path} holds no measured structure, which the group `{kind}` reads; measure it (`structure` in "
                         "the config), or take the group out of `groups`")
    out = []
    for survey in dict.fromkeys(match["survey"] for match in found):
        mine = [match for match in found if match["survey"] == survey]
        bands = by_wavelength(list(dict.fromkeys(match["band"] for match in mine)))
        table = {band: magnitude for band in bands for magnitude in reversed(packed.magnitudes)
                 if band in magnitude.lower().split("_") and magnitude.startswith(survey)}
        group = {"kind": kind, "survey": survey, "bands": bands, "table": table}
        if kind == "annuli":
            group["rings"] = max(int(match["ring"]) for match in mine)
        out.append(group | {"reads": [*measured(group), *table.values()]})
    return out


def measured(group: dict) -> list[str]:
    """The columns that a group of structure is made of."""
    if group["kind"] == "bulge_disk":
        parts = [f"{band}_{name}" for band in group["bands"] for name in FLUXES] + list(SHAPES)
    else:
        rings = range(1, group["rings"] + 1)
        parts = [f"{band}_annulus_{name}" for band in group["bands"]
                 for name in (*(f"{what}_{k}" for what in ("flux", "flux_err") for k in rings),
                              *(f"cov_{j}_{k}" for j in rings for k in rings if j < k))]
    return [group["survey"] + part for part in parts]


def numbers(group: dict, columns: Mapping) -> dict:
    """{name: (value (n,), error (n,))} of a group's columns {name: (n,)}."""
    import numpy as np

    from skyloom.measure import features

    if group["kind"] == "columns":
        return {name: tuple(np.asarray(columns[c], float) for c in (name, error)) for name, error in group["errors"].items()}
    survey, bands = group["survey"], group["bands"]
    empty = np.full(len(columns[group["reads"][0]]), np.nan)
    table = np.stack([_magnitude(columns[group["table"][b]]) if b in group["table"] else empty for b in bands], axis=1)
    if group["kind"] == "bulge_disk":
        fit = {name: np.stack([columns[f"{survey}{b}_{name}"] for b in bands], axis=1) for name in FLUXES}
        return features.bulge_disk(fit | {name: columns[survey + name] for name in SHAPES}, bands, table)
    rings = range(1, group["rings"] + 1)
    flux = np.stack([[columns[f"{survey}{b}_annulus_flux_{k}"] for k in rings] for b in bands]).transpose(2, 0, 1)
    cov = [[[columns[f"{survey}{b}_annulus_" + (f"cov_{min(j, k)}_{max(j, k)}" if j != k else f"flux_err_{k}")]
             ** (1 if j != k else 2) for j in rings] for k in rings] for b in bands]
    return features.annuli(flux, np.array(cov, float).transpose(3, 0, 1, 2), bands, table)


def _magnitude(values):
    """Magnitudes, NaN where a band was not detected or not observed."""
    import numpy as np

    values = np.asarray(values, float)
    return np.where(np.abs(values) < 90, values, np.nan)


def stacked(group: dict, columns: Mapping):
    """(values (n, k), errors (n, k)) of a group's `columns` as they were fitted."""
    import numpy as np

    made = numbers(group, columns)
    return tuple(np.stack([made[name][part] for name in group["columns"]], axis=1) for part in (0, 1))


def fitted(group: dict, columns: Mapping, path: str) -> dict:
    """A group of a file with the columns that its training rows have, their middle and spread; InputError if they have none."""
    import numpy as np

    from skyloom.models import gated

    names = list(numbers(group, columns))
    facts = gated.fit(*stacked({**group, "columns": names}, columns))
    kept = np.isfinite(facts["spread"])
    if not kept.any():
        raise InputError(f"{path}: no {gated.FEW} objects to learn from have the group `{group['name']}` with finite values and "
                         "errors above zero; measure it, or take the group out of `groups`")
    return group | {"columns": [name for name, keep in zip(names, kept, strict=True) if keep]} | {
        key: [value for value, keep in zip(values, kept, strict=True) if keep] for key, values in facts.items()}
