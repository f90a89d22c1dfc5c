"""The exception whose message users see, and helpers for its text."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

_NO_RIGHT = "give this user the right to it, or use another path"
_NO_ROOM = "make room on that disk, or use another"
_IN_THE_WAY = "a file is where a directory is needed; move it away, or use another path"
_ADVICE = {
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EROFS: "use a path on another disk",
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EISDIR: "give the path of a file",
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
}


class LongtailError(Exception):
    """Bad input or a refused action; the message names the value, the bound and the next act.

    The command line prints the message alone and exits with status 1. Anything else that is raised
    is a defect of this package and keeps its traceback.
    """


@contextmanager
def file_errors_explained() -> Iterator[None]:
    """Turn errors of files and disks that the user can fix into a `LongtailError`."""
    try:
        yield
    except FileNotFoundError as error:  # pyarrow and safetensors have the path in the text alone
        path = error.filename or str(error).removeprefix("No such file or directory: ")
        raise LongtailError(
            f"{path} does not exist; if a step writes it, run that step first"
        ) from error
    except LongtailError:
        raise
    except Exception as error:
        of_system = error if isinstance(error, OSError) else _no_room(error)
        advice = None if of_system is None else _ADVICE.get(of_system.errno or 0)
        if of_system is None or advice is None:
            raise
        place = f"{of_system.filename}: " if of_system.filename else ""
        raise LongtailError(f"{place}{of_system.strerror}; {advice}") from error


def _no_room(error: Exception) -> OSError | None:
    """Return a full disk's error behind that of torch, its context, or safetensors, in its text."""
    for code in (errno.ENOSPC, errno.EDQUOT):
        behind = isinstance(error.__context__, OSError) and error.__context__.errno == code
        if behind or f"(os error {code})" in str(error):
            return OSError(code, os.strerror(code))
    return None


def first_few(offenders: list[str]) -> str:
    """Join the first five offenders and say how many more there are."""
    shown = ", ".join(offenders[:5])
    hidden = len(offenders) - 5
    return f"{shown} and {hidden} more" if hidden > 0 else shown


def masked(text: str) -> str:
    """Replace the password in every URI of a text.

    Passwords with `/` or `@` in them should be quoted, but often are not. So everything up to the
    last `@` counts as the password, which may be too much but is never too little.
    """
    return re.sub(r"(://[^/\s:]*):(?:(?!://)\S)+@", r"\1:***@", text)
