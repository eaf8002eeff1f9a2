"""Table Access Protocol through pyvo, with our session: sync first, async when the reply was cut off."""

from __future__ import annotations

import contextlib
import time
import warnings

from skyloom.errors import InputError, ServiceError
from skyloom.sample import regions

POLL = 2.0, 60.0  # s between two looks at a job: the first, the longest


def query(table: str, columns, region=None, position=("RAJ2000", "DEJ2000")) -> str:
    """ADQL for columns of a table (VizieR's names need quotes), in a region or whole."""
    names, region = ", ".join(_quoted(column) for column in columns), regions.of(region)
    text = f"SELECT {names} FROM {_quoted(table)}"
    return text + (f" WHERE {region.between(*map(_quoted, position))}" if region and position else "")


def columns(client, base: str, table: str) -> list[str]:
    """The names of a table's columns, as its first row tells them; errors as `rows`."""
    return list(rows(client, base, f"SELECT TOP 1 * FROM {_quoted(table)}"))


def rows(client, base: str, adql: str, maxrec: int | None = None, columns=()):
    """A DataFrame of a query's result with at least `columns`; nulls are NaN, None or pandas' NA.

    InputError if the service rejects the query, ServiceError if it fails or sends something else (a page of HTML, a table
    without those columns, a cut-off result). An OVERFLOW is never taken for the whole: the query is repeated as an async job.
    """
    import pyvo

    for attempt in range(client.attempts):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the overflow is read from the status below
                service = pyvo.dal.TAPService(base, session=client.session_for_libraries())
                found = service.run_sync(adql, maxrec=maxrec)
                return _frame(base, _job(client, service, adql) if _cut_off(found) else found, columns)
        except pyvo.dal.DALQueryError as failure:
            raise InputError(f"the TAP service {base} rejected the query: {_brief(failure)}; "
                             "check the table's columns") from None
        except (pyvo.dal.DALAccessError, AttributeError, TypeError, ValueError, LookupError) as failure:
            # what is no VOTable makes pyvo and astropy raise many kinds: asked for again, unless HTTP itself failed
            gone = isinstance(failure, pyvo.dal.DALServiceError) or isinstance(getattr(failure, "cause", None), OSError)
            if gone or attempt == client.attempts - 1:
                raise ServiceError(f"the TAP service {base} failed: {_brief(failure)}") from None
            time.sleep(client.wait_initial * 2**attempt)
    raise ServiceError("no attempts allowed")


def _frame(base: str, found, columns):
    missing = [name for name in columns if name not in found.fieldnames]
    if missing:
        raise ServiceError(f"the TAP service {base} sent a table without the column {missing[0]}; "
                           f"it has {', '.join(found.fieldnames)[:200]}")
    if not len(found) and not found.query_status:
        raise ServiceError(f"the TAP service {base} sent a table without rows and without QUERY_STATUS; run again")
    frame = found.to_table().to_pandas()
    for name in frame.select_dtypes("object"):
        frame[name] = frame[name].map(lambda v: v.decode() if isinstance(v, bytes) else v)
    return frame


def _job(client, service, adql):
    """The result of an async job, which is deleted whatever comes of it; polled within the client's bounds of time."""
    import pyvo

    job = service.submit_job(adql)
    try:
        job.run()
        end, (pause, longest) = time.monotonic() + client.total_s, POLL
        while job.phase not in ("COMPLETED", "ERROR", "ABORTED", "ARCHIVED"):
            if time.monotonic() > end:
                raise ServiceError(f"the TAP job {job.url} was still {job.phase} after {client.total_s:g} s; raise `total_s` of "
                                   "its service, or run again")
            time.sleep(pause)
            pause = min(1.5 * pause, longest)
        job.raise_if_error()
        # where TAP puts it (DALI 1.1): an address that a reply names is not followed
        found = pyvo.dal.tap.TAPResults.from_result_url(f"{job.url}/results/result", session=service._session)
    finally:
        with contextlib.suppress(Exception):  # a job that can't be deleted spoils neither rows nor error
            job.delete()
    if _cut_off(found):
        raise ServiceError(f"the TAP service {service.baseurl} cut the result of a job off; ask for a smaller region")
    return found


def _cut_off(found) -> bool:
    return str(found.status[0]).upper() == "OVERFLOW"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _brief(error) -> str:
    return " ".join(str(error).split())[:200]
