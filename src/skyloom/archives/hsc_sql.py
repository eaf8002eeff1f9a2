"""The HSC catalog job API: render the template, submit, poll, download, delete."""

from __future__ import annotations

import io
import json
import re
import string
import sys
import time

from skyloom.archives import bodies, hsc_releases
from skyloom.archives.http import Client
from skyloom.errors import InputError, Refused, ReplyError, ServiceError
from skyloom.sample import regions

CLIENT_VERSION = 20190514.1
JOB_S = 6 * 3600.0  # a job may wait for hours
ENDED = ("done", "error", "canceled", "cancelled", "deleted")
NUMBER = re.compile(r"(^|_)(ra|dec|redshift|redshift_err|mag|magsigma|magerr)$")
TEXTS = ("specz_name", "coord")
TRUE, FALSE = ("true", "t", "1"), ("false", "f", "0")


def render(template: str, options: dict) -> str:
    """The SQL of a template with `$schema`, `$magerr`, `$region`, `$homogeneous`, `$sample` and `$limit` filled in.

    InputError names a placeholder that the template has and the options lack, or a table of another release.
    """
    region, every, release = regions.of(options.get("region")), options.get("every"), options.get("release") or "pdr2"
    values = {"region": f"AND {region.search('coord')}" if region else "",
              "schema": hsc_releases.schema(release, options.get("rerun")), "magerr": hsc_releases.of(release).error,
              "homogeneous": "AND specz_flag_homogeneous" if options.get("specz_flag_homogeneous") else "",
              "sample": f"AND object_id % {int(every)} = 0" if every and every > 1 else "",
              "faintest": repr(float(options["i_max"])) if "i_max" in options else "99.0",
              "limit": f"LIMIT {int(options['limit'])}" if options.get("limit") else ""}
    try:
        text = string.Template(template).substitute(values)
    except KeyError as error:
        raise InputError(f"the SQL template has an unknown placeholder ${error.args[0]}; known: "
                         + ", ".join("$" + k for k in values)) from None
    hsc_releases.check_sql(text, release)
    return "\n".join(line for line in text.splitlines() if line.strip())


def envelope(account: tuple[str, str], **body) -> dict:
    """The JSON of one call."""
    return {"credential": {"account_name": account[0], "password": account[1]}, "clientVersion": CLIENT_VERSION, **body}


def job(sql: str, release: str) -> dict:
    """The `catalog_job` part of preview and submit."""
    return {"sql": sql, "out_format": "csv", "include_metainfo_to_body": False, "release_version": release}


class CatalogJobs:
    """The API at `url`; every call goes through `client`. A job may take `job_s` from submission to its end."""

    def __init__(self, client: Client, url: str, account: tuple[str, str], poll_s: float = 1.0, job_s: float = JOB_S):
        self.client, self.url, self.account, self.poll_s = client, url.rstrip("/") + "/", account, poll_s
        self.job_s = job_s

    def _call(self, verb: str, client: Client | None = None, limit: int = bodies.MOST, **body) -> bytes:
        client = client or self.client
        try:
            return client.fetch("POST", self.url + verb, limit, json=envelope(self.account, **body))
        except Refused as error:
            if error.status == 401:
                raise InputError("the HSC archive refused the account; set SKYLOOM_HSC_USER and SKYLOOM_HSC_PASSWORD "
                                 "to a valid pair") from None
            if error.status == 406 and "statement timeout" not in str(error):
                raise InputError(f"the HSC archive rejected the SQL ({error}); mend the template") from None
            raise

    def _answer(self, verb: str, *keys: str, **body) -> dict:
        """The JSON of a reply that holds `keys`; ReplyError `not_json` for anything else."""
        reply = self._call(verb, **body)
        try:
            found = json.loads(reply)
            if isinstance(found, dict) and all(key in found for key in keys):
                return found
        except ValueError:
            pass
        raise ReplyError("not_json", f"the HSC archive answered `{verb}` with {reply[:60]!r}; try later")

    def describe(self, sql: str, release: str) -> tuple[int, list[str]]:
        """The archive's own number of rows and names of columns: from the preview, or a counting job and no names where the
        preview times out."""
        try:
            found = self._answer("preview", "result", catalog_job=job(sql, release))["result"]
        except Refused:
            inner = sql.rstrip().rstrip(";")
            counted = parse_csv(self.run(f"SELECT count(*) AS n FROM ({inner}) AS q", release), ("n",))
            if len(counted) != 1:
                raise ServiceError("the HSC archive sent no number for the count of rows; run again") from None
            return int(counted["n"].iloc[0]), []
        if not isinstance(found, dict) or not isinstance(found.get("count"), int):
            raise ReplyError("not_json", f"the HSC archive's preview holds no count: {str(found)[:100]}; try later")
        fields = found.get("fields") or []
        return found["count"], [name for name in fields if isinstance(name, str)]

    def count(self, sql: str, release: str) -> int:
        """The archive's own number of rows."""
        return self.describe(sql, release)[0]

    def run(self, sql: str, release: str, tell=lambda text: None) -> bytes:
        """The CSV of a query: submit, wait, download. ServiceError if the job ends otherwise than done or not in time.

        However this ends, the job is cancelled where it still runs and deleted; if that fails a warning says so, and the
        rows, or the error, are what they are.
        """
        found = self._answer("submit", "id", catalog_job=job(sql, release), nomail=True, skip_syntax_check=False)
        state = {"status": "waiting", "error": ""} | found
        try:
            self._wait(state, tell)
            text = state["error"] or "no reason given"
            if state["status"] == "error":
                raise InputError(f"the HSC archive could not run the SQL ({text}); mend the template")
            if state["status"] != "done":
                raise ServiceError(f"HSC job {state['id']} was {state['status']}: {text}")
            return self._call("download", id=state["id"], limit=bodies.TABLE)
        finally:
            self._tidy(state)

    def _wait(self, state: dict, tell) -> None:
        """Poll until the job has ended; ServiceError when it doesn't in time, or the replies are no statuses."""
        deadline, pause, strange = time.monotonic() + self.job_s, self.poll_s, 0
        while state["status"] not in ENDED:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ServiceError(f"HSC job {state['id']} was still {state['status']} after {self.job_s:.0f} s and cancelled; "
                                   "ask for less (`query.region`) or allow more (`services.hsc.job_s`)")
            time.sleep(min(pause, left))
            pause = min(pause * 2, 60.0)
            try:
                state |= self._answer("status", "status", id=state["id"])
            except ReplyError:
                strange += 1  # a page between good replies passes
                if strange >= self.client.attempts:
                    raise
                continue
            strange = 0
            tell(f"job {state['id']} is {state['status']}")

    def _tidy(self, state: dict) -> None:
        """Leave no job behind, without keeping a dying process alive."""
        for verb in ("delete",) if state["status"] in ENDED else ("cancel", "delete"):
            try:
                self._call(verb, self.client.brief(), id=state["id"])
            except Exception as error:  # whatever it is, the rows or the first error matter more
                print(f"warning: the HSC archive didn't {verb} job {state['id']} ({str(error)[:200]}); do it on its page",
                      file=sys.stderr, flush=True)


def answer(service, template: str, options: dict):
    """(DataFrame, the archive's own count, SQL) of a template filled in with `options` (see `render`); `service` is (client,
    urls, account, its options). ServiceError if the rows aren't as many as the archive counts."""
    client, urls, account, own = service
    sql, release = render(template, options), options["release"]
    jobs = CatalogJobs(client, urls["sql_url"], account, own["poll_s"], own.get("job_s", JOB_S))
    count, columns = jobs.describe(sql, release)
    frame = parse_csv(jobs.run(sql, release), columns or ("object_id",))
    if len(frame) != count:
        raise ServiceError(f"the archive counts {count} rows but sent {len(frame)}; run again")
    return frame, count, sql


def parse_csv(body: bytes, columns=("object_id",)):
    """DataFrame of the archive's CSV: the last leading `#` line is the header, booleans are words, nulls empty.

    Columns with `flag` in their name or called isprimary become bool (objects True, False and None where some are null);
    object_id becomes int64, skymap_id too or nullable; a null is NaN in every other column of numbers (integers too large
    for that stay nullable). ServiceError for a page, or a table without `columns`; InputError for rows without object_id.
    """
    import pandas

    names, text = _header(body, columns)
    kept = {name: "string" for name in ("object_id", "skymap_id", *TEXTS) if name in names}
    try:
        frame = pandas.read_csv(io.StringIO(text), names=names, dtype=kept, na_values=["\\N"], dtype_backend="numpy_nullable",
                                index_col=False)
    except ValueError as error:
        raise ServiceError(f"the HSC archive's reply is no table ({str(error)[:200]}); run again") from None
    for name in names:
        frame[name] = _column(name, frame[name])
    return frame


def _header(body: bytes, columns) -> tuple[list[str], str]:
    """(names, the rows' text) of a reply; ServiceError if it isn't a table with the wanted columns."""
    kind = bodies.page(body)
    if kind in ("html", "json", "empty"):
        raise ServiceError(f"the HSC archive sent {kind} in the place of a table ({body[:60]!r}); run again")
    lines = body.decode("utf-8", "backslashreplace").replace("\r\n", "\n").lstrip("\ufeff\n").split("\n")
    comments = next((k for k, line in enumerate(lines) if not line.startswith("#")), len(lines))
    last = max(comments - 1, 0)
    names = [name.strip().strip('"') for name in lines[last].lstrip("# ").split(",")]
    missing = [name for name in columns if name not in names]
    if missing or len(set(names)) < len(names):
        what = f"lacks the column {missing[0]}" if missing else "names a column twice"
        raise ServiceError(f"the HSC archive's reply {what}; it starts with {lines[last][:100]!r}")
    return names, "\n".join(lines[last + 1:])


def _column(name: str, values):
    """A column in its own type, with nulls as states."""
    import pandas

    null = values.isna()
    if name in ("object_id", "skymap_id"):
        return _ids(name, values, null)
    if name == "isprimary" or ("flag" in name and "original" not in name):
        words = values.astype("string").str.lower()
        if not (words.isin(TRUE + FALSE) | null).all():
            raise ServiceError(f"column {name} of the archive's reply holds no booleans: {words[~null].iloc[0]!r}")
        if not null.any():
            return words.isin(TRUE).astype(bool)
        print(f"query: {int(null.sum())} of {len(null)} rows have no value of {name}; that counts as not true", file=sys.stderr)
        return words.isin(TRUE).astype(object).where(~null, None)
    if null.all() and name not in TEXTS:
        return values.astype("string").astype("float64")
    if pandas.api.types.is_integer_dtype(values):
        if not null.any():
            return values.astype("int64")
        return values if values.abs().max() > 2**53 else values.astype("Float64").astype("float64")
    if pandas.api.types.is_bool_dtype(values):
        return values.astype(object).where(~null, None) if null.any() else values.astype(bool)
    if pandas.api.types.is_numeric_dtype(values):
        return values.astype("float64")
    if NUMBER.search(name):
        words = pandas.to_numeric(values.astype("str"), errors="coerce")
        raise ServiceError(f"column {name} of the archive's reply holds no number: {values[words.isna() & ~null].iloc[0]!r}")
    return values.astype("str")


def _ids(name: str, values, null):
    """Whole numbers of 64 bits; nulls only in a column that identifies nothing."""
    import pandas

    if name == "object_id" and null.any():
        raise InputError(f"{int(null.sum())} of {len(values)} rows of the archive's reply have no object_id; mend the template's "
                         "join or add `WHERE object_id IS NOT NULL`")
    try:
        numbers = [int(value) for value in values[~null]]
        out = pandas.Series(pandas.array([None] * len(values), dtype="Int64"), values.index)
        out[~null] = numbers
    except (ValueError, OverflowError, TypeError):
        raise ServiceError(f"column {name} of the archive's reply holds no whole numbers of 64 bits") from None
    return out if null.any() else out.astype("int64")
