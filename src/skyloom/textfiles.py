"""Text files that a user gives: UTF-8 whatever the locale says."""

from __future__ import annotations

from pathlib import Path

from skyloom.errors import InputError


def read(path: str | Path) -> str:
    """A file's text without a byte order mark; InputError if there is none, or its bytes are no UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give an existing file") from None
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}); give a file that can") from None
    except UnicodeDecodeError as error:
        line = Path(path).read_bytes()[:error.start].count(b"\n") + 1
        raise InputError(f"{path} is not UTF-8 text (line {line}); save it as UTF-8") from None
