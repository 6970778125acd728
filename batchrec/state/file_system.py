"""File systems that lack file locks or shared memory (of SQLite), as many network shares do."""

import errno
import os
import sqlite3
from pathlib import Path

from filelock import FileLock

from ..language import _, mark, os_reason

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NO_LOCKS = frozenset((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP))
"""Errors of `flock` where there are no locks."""

_LACKING = frozenset(
    (
        *(sqlite3.SQLITE_IOERR_LOCK, sqlite3.SQLITE_IOERR_RDLOCK, sqlite3.SQLITE_IOERR_UNLOCK),
        *(sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS),
        *(sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE),
        *(sqlite3.SQLITE_IOERR_SHMLOCK, sqlite3.SQLITE_IOERR_SHMMAP),
    )
)
"""Errors of SQLite where locks or shared memory are missing, or only seem to work."""

OUTPUT_REMEDY = mark("set output.directory to a folder on a local disk")
CONFIG_REMEDY = mark("set BATCHREC_CONFIG_DIR to a folder on a local disk")
STATE_REMEDY = mark("set BATCHREC_STATE_DIR to a folder on a local disk")


def check_locks(handle: int, path: Path) -> None:
    """Raise OSError, which names `path`, where the file system of an open file lacks a kind of locks.

    A run takes `flock`; SQLite takes POSIX locks, for which it would wait in vain. Without `flock`, filelock would fall
    back to a file that nobody removes after a kill, and take the empty one of today for it.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.lockf(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # another process holds it, so there are locks
        pass
    except OSError as exc:
        raise OSError(
            exc.errno, _("the file system has no locks: {reason}").format(reason=os_reason(exc)), str(path)
        ) from exc


def private_lock(path: Path) -> FileLock:
    """A lock for all processes of the machine, in a file for its owner alone.

    Raises OSError where the file system has no locks.
    """
    with open(path, "a+b", opener=_privately) as file:
        check_locks(file.fileno(), path.parent)
    return FileLock(path, mode=0o600)


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def with_cause(exc: Exception, remedy: str) -> str:
    """The text of an error; where the file system lacks what is needed, it says so, with the remedy."""
    text = os_reason(exc)
    if isinstance(exc, OSError):
        return (
            _("{text}, as on many network shares; {remedy}").format(text=text, remedy=_(remedy))
            if exc.errno in _NO_LOCKS
            else text
        )
    if getattr(exc, "sqlite_errorcode", None) not in _LACKING:
        return text
    return _("{text}: the file system has no locks or no shared memory, as on many network shares; {remedy}").format(
        text=text, remedy=_(remedy)
    )
