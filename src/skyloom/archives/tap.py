"""Table Access Protocol through pyvo, with our session: sync first, async when the reply was cut off."""

from __future__ import annotations

import warnings

from skyloom.errors import InputError, ServiceError


def query(table: str, columns, box=None, position=("RAJ2000", "DEJ2000")) -> str:
    """ADQL for columns of a table (VizieR's names need quotes), in a box (ra_min, ra_max, dec_min, dec_max) or whole."""
    names = ", ".join(f'"{column}"' for column in columns)
    text = f'SELECT {names} FROM "{table}"'
    if box is not None:
        a, d = position
        text += f' WHERE "{a}" BETWEEN {box[0]!r} AND {box[1]!r} AND "{d}" BETWEEN {box[2]!r} AND {box[3]!r}'
    return text


def rows(client, base: str, adql: str, maxrec: int | None = None):
    """A DataFrame of a query's result; InputError if the service rejects it, ServiceError if it fails.

    An OVERFLOW (rows cut off) is never taken for the whole: the query is repeated as an async job.
    """
    import pyvo

    service = pyvo.dal.TAPService(base, session=client.session_for_libraries())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the overflow is read from the status below
            found = service.run_sync(adql, maxrec=maxrec)
            if found.query_status and found.query_status == "OVERFLOW":
                found = service.run_async(adql)
    except pyvo.dal.DALQueryError as error:
        raise InputError(f"the TAP service {base} rejected the query: {' '.join(str(error).split())[:200]}; "
                         "check the table's columns") from None
    except pyvo.dal.DALAccessError as error:
        raise ServiceError(f"the TAP service {base} failed: {' '.join(str(error).split())[:200]}") from None
    frame = found.to_table().to_pandas()
    for name in frame.select_dtypes("object"):
        frame[name] = frame[name].map(lambda v: v.decode() if isinstance(v, bytes) else v)
    return frame
