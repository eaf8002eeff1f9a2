"""HSC-SSP's public releases: which databases, reruns, column names and addresses belong together."""

from __future__ import annotations

import re
from dataclasses import dataclass

from skyloom.errors import InputError

ANY = "any"  # the cutout service takes whichever rerun covers a position; the tables are then those of Wide


@dataclass(frozen=True)
class Release:
    """A release: `databases` that answer its SQL, `reruns` (of images; of tables the schema), how errors of magnitudes are
    called (`g_cmodel_<error>`)."""

    name: str
    databases: tuple[str, ...]
    reruns: tuple[str, ...]
    error: str


RELEASES = {release.name: release for release in (
    Release("pdr2", ("pdr2", "pdr2-citus"), ("pdr2_wide", "pdr2_dud", *(f"pdr2_cosmos_wide_depth_{k}" for k in (
        "best", "median", "worst"))), "magsigma"),
    Release("pdr3", ("pdr3", "pdr3-citus", "pdr3-citus-columnar"), ("pdr3_wide", "pdr3_dud", "pdr3_dud_rev"), "magerr"))}


def name(database: str) -> str:
    """The release of a value of `query.release`, empty for one that isn't known."""
    return next((release.name for release in RELEASES.values() if database in release.databases), "")


def of(database: str) -> Release:
    """The same as a `Release`; InputError for one that isn't known."""
    if not name(database):
        known = ", ".join(one for release in RELEASES.values() for one in release.databases)
        raise InputError(f"`query.release` is {database!r}; known of HSC-SSP: {known}")
    return RELEASES[name(database)]


def schema(database: str, rerun: str | None) -> str:
    """The schema of the tables that go with a rerun."""
    return f"{of(database).name}_wide" if rerun in (None, "", ANY) else rerun


def check(database: str, rerun: str, urls: dict) -> None:
    """InputError where release, rerun and addresses (`services.hsc`) are of different releases."""
    release = of(database)
    if rerun not in (*release.reruns, ANY):
        raise InputError(f"`query.rerun` is {rerun!r}, which is not of `query.release` {database}; its reruns: "
                         f"{', '.join(release.reruns)}")
    for key, url in urls.items():
        other = re.search(r"/(pdr\d+)/", str(url))
        if other and other[1] != release.name:
            raise InputError(f"`services.hsc.{key}` is an address of {other[1]}, but `query.release` is {database}; change one")


def check_sql(text: str, database: str) -> None:
    """InputError for SQL that names tables of another release."""
    other = next((m for m in re.finditer(r"\b(pdr\d+)_\w+\s*\.\s*\w+", text) if m[1] != of(database).name), None)
    if other:
        raise InputError(f"the SQL template reads {other[0]}, but `query.release` is {database}; write $schema for the schema "
                         "(and cmodel_$magerr for errors of magnitudes), or change one of them")
