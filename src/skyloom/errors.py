"""The error vocabulary: whose fault it is decides the type, and the type decides the exit code.

SkyloomError
  InputError      the user can mend it: one sentence (what, where, remedy), exit code 2
  ServiceError    an archive failed for good after bounded retries, exit code 1
    Refused       the archive said no and will say so again (bad SQL, wrong credentials, bad parameters)
    ReplyError    a reply came but is not what was asked for; the request may be repeated

"No coverage" is no error: it is a status (see `skyloom.cutouts.stamps.STATUS`).
"""

import errno

_FULL = ("No space left", "disk is full", "Disk quota exceeded", "Not enough space on disk", "PytorchStreamWriter failed",
         "unexpected pos")  # the last two: torch.save


class SkyloomError(Exception):
    """Base of every error that skyloom raises on purpose."""


class InputError(SkyloomError):
    """Something the user gave is wrong; the message says what, where and what to do."""


class ServiceError(SkyloomError):
    """A service did not deliver within the bounds of attempts and time."""


class Refused(ServiceError):
    """A service refused the request; repeating it is useless."""


class ReplyError(ServiceError):
    """A reply does not match its request; `cause` is the short name kept in status and ledger."""

    def __init__(self, cause: str, detail: str = ""):
        super().__init__(f"{cause}: {detail}" if detail else cause)
        self.cause = cause


def disk_is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that a disk or a quota is full, in the words of any library."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(text in str(error) for text in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False
