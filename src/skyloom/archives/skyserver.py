"""SDSS SkyServer: SQL pages through astroquery's payload and parser, errors that come with status 200 told apart."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

from skyloom.errors import InputError, ReplyError, ServiceError

PAGE = 500_000  # rows that a query may return
RELEASE = 17
OVER_RATE = "queries allowed per minute"


def payload(columns, last: int, box=None, page: int = PAGE) -> tuple[str, dict]:
    """(address below the base URL, query) of one page: rows with specObjID above `last`, in that order.

    `box` is (ra_min, ra_max, dec_min, dec_max) in deg or None.
    """
    from astroquery.sdss import SDSSClass

    where = [f"specObjID > {last}"]
    if box is not None:
        where += [f"ra BETWEEN {box[0]!r} AND {box[1]!r}", f"dec BETWEEN {box[2]!r} AND {box[3]!r}"]
    sql = f"SELECT TOP {page} {', '.join(columns)} FROM SpecObj WHERE {' AND '.join(where)} ORDER BY specObjID"
    sdss = SDSSClass()
    query = sdss.query_sql_async(sql, get_query_payload=True, data_release=RELEASE, cache=False)
    return f"/dr{RELEASE}/en/tools/search/x_results.aspx", query


def parse(text: str):
    """A DataFrame of a page, None for no rows; ReplyError `over_rate`, `html` or `bad_csv`, InputError for refused SQL."""
    from astroquery.exceptions import RemoteServiceError
    from astroquery.sdss import SDSSClass

    if OVER_RATE in text:
        raise ReplyError("over_rate", text.strip()[:100])
    if "No objects have been found" in text:
        return None
    try:
        table = SDSSClass()._parse_result(SimpleNamespace(text=text))
    except RemoteServiceError:
        raise InputError(f"SkyServer rejected the SQL: {' '.join(text.split())[-300:]}; mend the columns") from None
    except Exception as error:  # astropy's readers raise many kinds
        raise ReplyError("html" if "<html" in text.lower() else "bad_csv", str(error)[:200]) from None
    return None if table is None else table.to_pandas()


def rows(client, base: str, columns, box=None, page: int = PAGE, wait: float = 61.0, attempts: int = 5):
    """All rows as one DataFrame, page by page; waits `wait` s when over the rate, at most `attempts` times a page."""
    import pandas

    parts, last = [], -1
    while True:
        address, query = payload(columns, last, box, page)
        part = _page(client, base.rstrip("/") + address, query, wait, attempts)
        if part is None:
            break
        parts.append(part)
        last = int(part["specObjID"].max())
        print(f"query-survey: {sum(map(len, parts))} rows of SDSS", file=sys.stderr, flush=True)
        if len(part) < page:
            break
    return pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame(columns=list(columns))


def _page(client, url, query, wait, attempts):
    for attempt in range(attempts):
        try:
            return parse(client.fetch("GET", url, params=query).decode("utf-8", "replace"))
        except ReplyError as error:
            if attempt == attempts - 1:
                raise ServiceError(f"SkyServer gave no table in {attempts} attempts, last: {error}") from None
            if error.cause == "over_rate":
                time.sleep(wait)
    raise ServiceError("no attempts allowed")
