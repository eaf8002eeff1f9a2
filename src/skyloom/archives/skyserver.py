"""SDSS SkyServer: SQL pages with astroquery's payload. With status 200 come tables, errors, limits and pages of HTML: a table
is believed only with the columns that were asked for, "no rows" only in the server's own words."""

from __future__ import annotations

import csv
import io
import sys
import time

from skyloom.archives.words import typed
from skyloom.errors import InputError, ReplyError, ServiceError
from skyloom.sample import regions

PAGE = 500_000  # rows that a query may return
RELEASE = 17
IDS = ("objid", "bestobjid", "specobjid")
OVER_RATE, NO_ROWS, REFUSED = "queries allowed per minute", "No objects have been found", "error_message"


def payload(columns, last: int, region=None, page: int = PAGE, table: str = "SpecObj") -> tuple[str, dict]:
    """(address below the base URL, query) of one page: rows of a table and region with specObjID above `last`, in that order."""
    from astroquery.sdss import SDSSClass

    region = regions.of(region)
    where = [f"specObjID > {last}", *([region.between("ra", "dec")] if region else [])]
    sql = f"SELECT TOP {page} {', '.join(columns)} FROM {table} WHERE {' AND '.join(where)} ORDER BY specObjID"
    sdss = SDSSClass()
    query = sdss.query_sql_async(sql, get_query_payload=True, data_release=RELEASE, cache=False)
    return f"/dr{RELEASE}/en/tools/search/x_results.aspx", query


def parse(text: str, columns=()):
    """A DataFrame of a page with at least `columns`, None where the server says that there are no rows; errors as `words`."""
    frame = words(text, columns)
    return None if frame is None else _with_ids(typed(frame))


def _with_ids(frame):
    """The server's 64-bit ids without a sign, whatever values a page has."""
    kinds = {name: "uint64" if frame[name].dtype == "int64" else "UInt64" for name in frame
             if name.lower() in IDS and frame[name].dtype in ("int64", "Int64") and (frame[name].dropna() >= 0).all()}
    return frame.astype(kinds)


def words(text: str, columns=()):
    """The same as a DataFrame of str.

    ReplyError `over_rate`, `timed_out`, `html`, `bad_csv` (other columns, rows of another length, a header alone), InputError
    for refused SQL. The text is only ever read as a table: astropy's readers would take one of a single line for a file's name.
    """
    import pandas

    about = " ".join(text.split())[:100]
    if OVER_RATE in text:
        raise ReplyError("over_rate", about)
    if REFUSED in text:
        if "timeout" in text.lower():
            raise ReplyError("timed_out", about)
        raise InputError(f"SkyServer rejected the SQL: {' '.join(text.split())[-300:]}; mend the columns")
    if NO_ROWS in text:
        return None
    if text.lstrip("\ufeff \r\n\t").startswith("<"):
        raise ReplyError("html", about)
    lines = [line for line in text.lstrip("\ufeff").splitlines() if line.strip() and not line.startswith("#")]
    lengths = {len(row) for row in csv.reader(lines)}  # pandas would fill a short row and cut a long one
    if len(lines) < 2 or len(lengths) > 1:
        raise ReplyError("bad_csv", f"{'rows of different lengths' if lengths else 'no rows'} in {about!r}")
    frame = pandas.read_csv(io.StringIO("\n".join(lines)), dtype=str, keep_default_na=False)
    missing = [column for column in columns if column not in frame]
    if missing:
        raise ReplyError("bad_csv", f"no column {missing[0]} in {about!r}")
    return frame


def rows(client, base: str, columns, region=None, page: int = PAGE, wait: float = 61.0, attempts: int = 5,
         table: str = "SpecObj"):
    """All rows of a table in a region as one DataFrame, page by page until the server says that there are no more.

    Waits `wait` s when over the rate, at most `attempts` times a page. A page that was cut off loses nothing: the next one
    begins after its last row. ServiceError where a page brings no table, or full pages bring nothing new.
    """
    import pandas

    parts, last = [], -1
    while True:
        address, query = payload(columns, last, region, page, table)
        part = _page(client, base.rstrip("/") + address, query, columns, wait, attempts)
        if part is None:
            break
        highest = max((int(word) for word in part["specObjID"] if word.strip().isdigit()), default=-1)
        if highest <= last and (len(part) >= page or not parts):
            raise ServiceError(f"SkyServer's page of rows with specObjID above {last} has none of them; run again")
        if highest <= last:  # a server that knows no pages sent its whole table again
            break
        parts.append(part)
        last = highest
        print(f"query-survey: {sum(map(len, parts))} rows of SDSS", file=sys.stderr, flush=True)
    if not parts:
        return pandas.DataFrame(columns=list(columns))
    return _with_ids(typed(pandas.concat(parts, ignore_index=True)))


def _page(client, url, query, columns, wait, attempts):
    for attempt in range(attempts):
        try:
            return words(client.fetch("GET", url, params=query).decode("utf-8", "replace"), columns)
        except ReplyError as error:
            if attempt == attempts - 1:
                raise ServiceError(f"SkyServer gave no table in {attempts} attempts, last: {error}") from None
            time.sleep(wait if error.cause == "over_rate" else min(client.wait_initial * 2**attempt, wait))
    raise ServiceError("no attempts allowed")
