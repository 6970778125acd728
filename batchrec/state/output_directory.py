"""An output directory from outside: the names of its files, and the check that each of them is a plain file of its own.

Output directories are shared, so one may have been prepared by somebody else. A link, a second name (hard link), a pipe
or a device in the place of a file would lead the writer to a file elsewhere. `check_directory` names every such entry
before anything is opened; `open_own` and `create_own` keep to the same rule when they open one file.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import JobError

LOCK = ".lock"
JOURNAL = "journal.db"
RESULTS = "results.jsonl"
TABLE = "results.csv"
FAILURES = "failures.jsonl"
SUMMARY = "summary.json"
NEW = ".new"
"""What the name of a file ends in until it is put in the place of the old one."""

RESULT_FILES = (RESULTS, TABLE, FAILURES, SUMMARY)
NAMES = (
    *(LOCK, JOURNAL, *(JOURNAL + side for side in ("-wal", "-shm", "-journal"))),
    *RESULT_FILES,
    *(name + NEW for name in RESULT_FILES),
)
"""Every name in an output directory that batchrec, or SQLite for it, opens, replaces or removes."""

_ROLLBACK = JOURNAL + "-journal"
_FLAGS = ("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_BINARY")
_CAREFUL = sum(getattr(os, flag, 0) for flag in _FLAGS)  # Windows has not all of them


def check_directory(directory: Path) -> None:
    """Raise JobError with every name in the directory that is not a plain file of its own; nothing is opened.

    The directory itself may be a link, and need not exist. Raises OSError where it cannot be looked at.
    """
    complaints = [
        f"{directory / name}: {problem}; move it away, or give the job another output.directory"
        for name, status in _present(directory, NAMES)
        if (problem := _problem(status) or (_FOREIGN_ROLLBACK if name == _ROLLBACK else ""))
    ]
    if complaints:
        raise JobError(*complaints)


def check_unclaimed(directory: Path) -> None:
    """Raise JobError where a directory without a journal holds files by our names: they are the user's.

    An empty lock file is left out: a run that was killed before it made its journal leaves one.
    """
    if not os.path.lexists(directory / JOURNAL):
        refuse_strangers(
            directory, (name for name, status in _present(directory, NAMES) if name != LOCK or status.st_size)
        )


def check_unaccounted(directory: Path) -> None:
    """Raise JobError where result files exist that an empty journal does not account for.

    An empty results.jsonl is left out: a first run that was killed while it listed its inputs leaves one.
    """
    present = _present(directory, RESULT_FILES)
    refuse_strangers(directory, (name for name, status in present if name != RESULTS or status.st_size))


def refuse_strangers(directory: Path, names: Iterable[str]) -> None:
    """Raise JobError that lists files which no journal accounts for; nothing happens where there are none."""
    complaints = [
        f"{directory / name}: no {JOURNAL} accounts for it; move it away, put the journal back, or give the job "
        "another output.directory"
        for name in names
    ]
    if complaints:
        raise JobError(*complaints)


def open_own(path: str | Path, flags: int) -> int:
    """Open a file of an output directory if it is a plain file of its own: an `opener` for `open`. Raises OSError.

    Not for modes that truncate: the file would be empty before it is looked at.
    """
    handle = os.open(path, flags | _CAREFUL, 0o666)
    if problem := _problem(os.fstat(handle)):
        os.close(handle)
        raise OSError(errno.ELOOP, problem, str(path))
    return handle


def create_own(path: Path) -> BinaryIO:
    """Create a file for writing in the place of one by the same name that a killed run left. Raises OSError."""
    path.unlink(missing_ok=True)
    return open(path, "xb", opener=open_own)


_FOREIGN_ROLLBACK = "is a rollback journal, which batchrec never leaves and SQLite would play back"
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_KINDS = (
    (stat.S_ISLNK, "is a link"),
    (stat.S_ISDIR, "is a folder"),
    (stat.S_ISFIFO, "is a pipe"),
    (stat.S_ISSOCK, "is a socket"),
)


def _present(directory: Path, names: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    for name in names:
        try:
            yield name, os.lstat(directory / name)
        except OSError as exc:
            if exc.errno not in _ABSENT:
                raise


def _problem(status: os.stat_result) -> str:
    """Why an entry is not a plain file with one name; empty where it is."""
    if not stat.S_ISREG(status.st_mode):
        return next((words for is_kind, words in _KINDS if is_kind(status.st_mode)), "is a device") + ", not a file"
    if status.st_nlink > 1:
        return f"has {status.st_nlink} names (hard links), so that writing to it would change another file"
    return ""
