"""Named groups of columns with errors: which a packed file holds, and what they say of its rows in numbers with errors.

A group is plain data, so that model.json holds it: `name`, `kind` (annuli, bulge_disk, columns), `survey` (empty for a dataset
of one), `bands` from blue to red, `table` (a band's magnitude, empty without), `rings`; for `columns` `errors` {column: its own}.
"""

from __future__ import annotations

import re

import numpy as np

from skyloom.errors import InputError
from skyloom.measure import features
from skyloom.sample import bands

MEASURED = {"annuli": "annulus_flux_1", "bulge_disk": "bulge_flux"}  # kind: the column by which a band that has it is known
SHAPE = ("bulge_re", "bulge_re_err", "disk_re", "disk_re_err", "disk_q")
FLUXES = ("bulge_flux", "bulge_flux_err", "disk_flux", "disk_flux_err", "bulge_disk_cov")


def found(names, magnitudes, wanted, own: dict, path: str) -> list[dict]:
    """The groups of `wanted` names, in their order: measured ones of each survey that has them, and those that `own`
    {group: {column: error}} names. InputError for a group that nobody knows or whose columns a file lacks."""
    out = []
    for name in wanted:
        if name in own:
            missing = [one for pair in own[name].items() for one in pair if one not in names]
            if missing:
                raise InputError(f"{path} has no column `{missing[0]}`, which the group `{name}` names; mend `own_groups` of the "
                                 "model")
            out.append({"name": name, "kind": "columns", "errors": dict(own[name])})
        elif name in MEASURED:
            out += _measured(names, magnitudes, name, path)
        else:
            raise InputError(f"`{name}` is no group of columns; known are {', '.join([*MEASURED, 'stamp', *own])}; name others "
                             "in `own_groups`")
    return out


def _measured(names, magnitudes, kind: str, path: str) -> list[dict]:
    pattern = re.compile(rf"(?:([a-z0-9]+)_)?([A-Za-z0-9]+)_{MEASURED[kind]}")
    bands_of: dict[str, list[str]] = {}
    for match in filter(None, map(pattern.fullmatch, names)):
        bands_of.setdefault(match[1] or "", []).append(match[2])
    if not bands_of:
        raise InputError(f"{path} holds no column `..._{MEASURED[kind]}`, which the group `{kind}` reads; set "
                         "`structure.measure: true`, with stamps that have a PSF, or leave the group out of `groups`")
    out = []
    for survey, own in sorted(bands_of.items()):
        own = bands.by_wavelength(own)
        table = [next((m for m in magnitudes if _of(m, survey, band)), "") for band in own]
        group = {"name": "_".join(filter(None, (survey, kind))), "kind": kind, "survey": survey, "bands": own, "table": table}
        if kind == "annuli":
            group["rings"] = sum(f"{_prefix(group)}{own[0]}_annulus_flux_{k}" in names for k in range(1, 100))
        out.append(group)
    return out


def _of(magnitude: str, survey: str, band: str) -> bool:
    parts = magnitude.lower().split("_")
    return band.lower() in parts and (not survey or survey in parts)


def _prefix(group: dict) -> str:
    return f"{group['survey']}_" if group["survey"] else ""


def columns(group: dict) -> list[str]:
    """Names of the packed columns that a group reads."""
    if group["kind"] == "columns":
        return [*group["errors"], *group["errors"].values()]
    prefix = _prefix(group)
    if group["kind"] == "annuli":
        rings = range(1, group["rings"] + 1)
        own = [f"{b}_annulus_{what}_{k}" for b in group["bands"] for what in ("flux", "flux_err") for k in rings]
        own += [f"{b}_annulus_cov_{j}_{k}" for b in group["bands"] for j in rings for k in rings if j < k]
    else:
        own = [*SHAPE, *(f"{b}_{what}" for b in group["bands"] for what in FLUXES)]
    return [prefix + name for name in own] + [name for name in group["table"] if name]


def values(group: dict, given: dict[str, np.ndarray]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(names, values (n, k), errors (n, k)) of a group from packed columns {name: (n,)}; NaN where nothing was measured."""
    if group["kind"] == "columns":
        made = {name: (given[name], given[error]) for name, error in group["errors"].items()}
    else:
        own = {name: np.asarray(given[name], float) for name in columns(group)}
        none = np.full(len(next(iter(own.values()))), np.nan)
        table = np.stack([own[name] if name else none for name in group["table"]], axis=1)
        made = (_annuli if group["kind"] == "annuli" else _bulge_disk)(group, own, table)
    return list(made), *(np.stack([np.asarray(pair[k], float) for pair in made.values()], axis=1) for k in (0, 1))


def _annuli(group, own, table):
    prefix, count = _prefix(group), group["rings"]
    flux = np.array([[own[f"{prefix}{b}_annulus_flux_{k + 1}"] for k in range(count)] for b in group["bands"]]).transpose(2, 0, 1)
    cov = np.empty((*flux.shape, count))
    for at, band in enumerate(group["bands"]):
        for j in range(count):
            cov[:, at, j, j] = own[f"{prefix}{band}_annulus_flux_err_{j + 1}"] ** 2
            for k in range(j + 1, count):
                cov[:, at, j, k] = cov[:, at, k, j] = own[f"{prefix}{band}_annulus_cov_{j + 1}_{k + 1}"]
    return features.annuli(flux, cov, table)


def _bulge_disk(group, own, table):
    prefix = _prefix(group)
    fit = {what: np.stack([own[f"{prefix}{b}_{what}"] for b in group["bands"]], axis=1) for what in FLUXES}
    return features.bulge_disk(fit | {name: own[prefix + name] for name in SHAPE}, table)
