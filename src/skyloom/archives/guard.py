"""A foreign file that can't be read is one object's failure with its reason, whatever its reader raises."""

from __future__ import annotations

import contextlib

from skyloom.errors import ReplyError, SkyloomError


@contextlib.contextmanager
def reading(what: str, cause: str = "bad_fits"):
    """Around (or as decorator of) whatever reads foreign bytes: every exception becomes a ReplyError of `cause` that says
    `what` was read and why that failed.

    What FITS, WCS and zip readers raise is an open list (NoConvergence, SingularMatrixError, VerifyError, BadZipFile,
    struct.error, ...), and one that is missed costs a whole shard. Our own errors and MemoryError pass through.
    """
    try:
        yield
    except (SkyloomError, MemoryError):
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:120]
        raise ReplyError(cause, f"{what}: {type(error).__name__}{': ' * bool(text)}{text}") from error
