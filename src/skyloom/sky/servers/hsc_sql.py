"""The HSC catalog job API: the SQL that comes in is run by SQLite over tables drawn for its region."""

from __future__ import annotations

import functools
import io
import json
import re
import sqlite3
import threading

import numpy as np

from skyloom.sky import catalog, geometry, hsc
from skyloom.sky.servers.app import Reply, Request

ROWS_PREVIEWED = 100
RELEASES = {"pdr2": "_magsigma", "pdr3": "_magerr"}  # and how it calls errors of magnitudes
DATABASES = ("pdr2", "pdr2-citus", "pdr3", "pdr3-citus", "pdr3-citus-columnar")
_NUMBER = r"\s*([-+0-9.eE]+)\s*"
_REGION = {"boxsearch": re.compile(r"boxSearch\s*\(\s*\w*\.?coord\s*," + ",".join([_NUMBER] * 4) + r"\)", re.I),
           "conesearch": re.compile(r"coneSearch\s*\(\s*\w*\.?coord\s*," + ",".join([_NUMBER] * 3) + r"\)", re.I)}


class Rejected(Exception):
    """The SQL can't be run; its text goes back with status 406."""


def regions_of(sql: str, whole) -> list[tuple]:
    """The boxes (ra_min, ra_max, dec_min, dec_max) that the query looks at; the whole footprint without one."""
    boxes = [geometry.rising(tuple(map(float, found))) for found in _REGION["boxsearch"].findall(sql)]
    for ra, dec, radius in (map(float, found) for found in _REGION["conesearch"].findall(sql)):
        r = radius / 3600
        pole = abs(dec) + r >= 90
        w = 180 if pole else np.degrees(np.arcsin(min(1, np.sin(np.radians(r)) / np.cos(np.radians(dec)))))
        boxes.append((ra - w, ra + w, max(dec - r, -90), min(dec + r, 90)))
    return boxes or [whole]


@functools.lru_cache(200_000)
def _lonlat(coord: str) -> tuple[float, float]:
    x, y, z = (float(v) for v in coord.strip("()").split(","))
    return float(np.degrees(np.arctan2(y, x)) % 360), float(np.degrees(np.arcsin(z)))


def _box_search(coord, ra_min, ra_max, dec_min, dec_max):
    ra, dec = _lonlat(coord)
    width = ra_max - ra_min if ra_max > ra_min else ra_max + 360 - ra_min
    return int((ra - ra_min) % 360 <= width and dec_min <= dec <= dec_max)


def _cone_search(coord, ra0, dec0, radius):
    ra, dec = (np.radians(v) for v in _lonlat(coord))
    ra0, dec0 = np.radians(ra0), np.radians(dec0)
    half = np.sin((dec - dec0) / 2) ** 2 + np.cos(dec) * np.cos(dec0) * np.sin((ra - ra0) / 2) ** 2
    return int(2 * np.degrees(np.arcsin(np.sqrt(half))) * 3600 <= radius)


def _tract_search(object_id, first, last=None):
    return int(first <= (object_id >> 45) <= (last if last is not None else first))


def _split_columns(table: dict) -> tuple[dict, dict]:
    """The archive's two tables: sdss* columns are in forced2, all others in forced."""
    hidden = ("source", "z", "kind")
    second = {k: v for k, v in table.items() if "_sdss" in k}
    first = {k: v for k, v in table.items() if k not in second and k not in hidden}
    return first, {"object_id": table["object_id"], **second}


def _drawn(table, sky: hsc.Sky, boxes) -> dict:
    """A table's columns in several boxes."""
    parts = [table(sky, box) for box in boxes]
    return parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def database(sky: hsc.Sky, sql: str, release: str) -> sqlite3.Connection:
    """An in-memory database with the schema of a release's Wide, holding the columns that the SQL names in its region."""
    boxes, schema = regions_of(sql, sky.footprint), f"{release}_wide"
    first, second = _split_columns(_drawn(catalog.forced, sky, boxes))
    first = {name.replace("_magsigma", RELEASES[release]): column for name, column in first.items()}
    words = set(re.findall(r"\w+", sql.lower()))
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute(f"ATTACH ':memory:' AS {schema}")
    for name, function, count in (("boxSearch", _box_search, 5), ("coneSearch", _cone_search, 4),
                                  ("tractSearch", _tract_search, 2), ("tractSearch", _tract_search, 3)):
        connection.create_function(name, count, function, deterministic=True)
    for name, table in (("forced", first), ("forced2", second), ("specz", _drawn(catalog.specz, sky, boxes))):
        columns = [c for c in table if c in words or c == "object_id"]
        connection.execute(f"CREATE TABLE {schema}.{name} ({', '.join(columns)})")
        values = [table[c].tolist() for c in columns]
        marks = ", ".join("?" * len(columns))
        connection.executemany(f"INSERT INTO {schema}.{name} VALUES ({marks})", zip(*values, strict=True))
        connection.execute(f"CREATE INDEX {schema}.{name}_id ON {name} (object_id)")
    connection.execute("PRAGMA query_only = ON")
    return connection


BOOLEAN = re.compile(r"flag|isprimary|pixelflags")


@functools.lru_cache(4)
def run(sky: hsc.Sky, sql: str, release: str = "pdr2") -> tuple[list[str], list[tuple]]:
    """Column names and rows of a SELECT; Rejected with the database's own words for anything else."""
    if not re.match(r"\s*(--[^\n]*\n\s*)*(SELECT|WITH)\b", sql, re.I):
        raise Rejected("only SELECT statements are allowed")
    try:
        with database(sky, sql, release) as connection:
            cursor = connection.execute(sql.rstrip().rstrip(";"))
            return [d[0] for d in cursor.description], cursor.fetchall()
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise Rejected(str(error)) from None


def as_csv(fields, rows) -> bytes:
    """CSV with the archive's header `# a,b`, booleans as words, nulls empty, CRLF line ends."""
    words = [bool(BOOLEAN.search(name)) for name in fields]
    out = io.StringIO()
    out.write("# " + ",".join(fields) + "\r\n")
    for row in rows:
        out.write(",".join(_cell(value, word) for value, word in zip(row, words, strict=True)) + "\r\n")
    return out.getvalue().encode()


def _cell(value, boolean: bool) -> str:
    if value is None or value != value:
        return ""
    if boolean:
        return "True" if value else "False"
    text = repr(value) if isinstance(value, float) else str(value)
    return f'"{text}"' if "," in text else text


class Jobs:
    """The job queue: submit, status (waiting, running, done or error), download, cancel, delete, preview."""

    def __init__(self, sky: hsc.Sky, account: tuple[str, str]):
        self.sky, self.account = sky, account
        self.jobs: dict[int, dict] = {}
        self.lock = threading.Lock()

    def answer(self, request: Request, server) -> Reply:
        """One call of the API; every call is a POST of JSON with the credential inside."""
        verb = request.path.rstrip("/").rsplit("/", 1)[-1]
        try:
            body = json.loads(request.body)
            credential = body["credential"]
            account = (credential["account_name"], credential["password"])
        except (ValueError, KeyError, TypeError):
            return Reply(406, b"the body must be JSON with a credential")
        if request.method != "POST" or account != self.account:
            return Reply(401, b"wrong account name or password")
        handler = getattr(self, f"_{verb}", None)
        if handler is None:
            return Reply(404, b"no such call")
        try:
            return handler(body)
        except Rejected as error:
            return Reply(406, str(error).encode())

    def _checked(self, body) -> tuple[str, str]:
        job = body.get("catalog_job", {})
        if job.get("release_version") not in DATABASES:
            raise Rejected(f"unknown release_version {job.get('release_version')!r}")
        return job.get("sql", ""), job["release_version"].split("-")[0]

    def _preview(self, body) -> Reply:
        fields, rows = run(self.sky, *self._checked(body))
        shown = [[None if v is None else str(v) for v in row] for row in rows[:ROWS_PREVIEWED]]
        return _json({"result": {"count": len(rows), "fields": fields, "rows": shown}})

    def _submit(self, body) -> Reply:
        (sql, release), form = self._checked(body), body["catalog_job"].get("out_format", "csv")
        if form != "csv":
            raise Rejected(f"out_format {form!r} is not emulated")
        if not body.get("skip_syntax_check", False) and not re.search(r"\bFROM\b", sql, re.I):
            raise Rejected("syntax error: no FROM clause")
        with self.lock:
            number = 1000 + len(self.jobs)
            self.jobs[number] = {"id": number, "status": "waiting", "sql": sql, "out_format": form, "polls": 0,
                                 "release": release}
        return _json(self._public(number))

    def _public(self, number) -> dict:
        return {k: v for k, v in self.jobs[number].items() if k in ("id", "status", "sql", "out_format", "error")}

    def _job(self, body) -> dict:
        job = self.jobs.get(body.get("id"))
        if job is None or job["status"] == "deleted":
            raise Rejected(f"no such job {body.get('id')}")
        return job

    def _status(self, body) -> Reply:
        """The first poll finds the job waiting, the second running, the third done (or error)."""
        job = self._job(body)
        with self.lock:
            job["polls"] += 1
            if job["status"] in ("waiting", "running"):
                job["status"] = "running"
                if job["polls"] > 2:
                    self._finish(job)
        return _json(self._public(job["id"]))

    def _finish(self, job):
        try:
            job["result"] = as_csv(*run(self.sky, job["sql"], job["release"]))
            job["status"] = "done"
        except Rejected as error:
            job["status"], job["error"] = "error", str(error)

    def _download(self, body) -> Reply:
        job = self._job(body)
        if job["status"] != "done":
            raise Rejected(f"job {job['id']} is {job['status']}")
        return Reply(200, job["result"], "text/csv")

    def _cancel(self, body) -> Reply:
        self._job(body)["status"] = "canceled"
        return _json({})

    def _delete(self, body) -> Reply:
        self._job(body).update(status="deleted", result=b"")
        return _json({})


def _json(value) -> Reply:
    return Reply(200, json.dumps(value).encode(), "application/json")
