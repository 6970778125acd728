"""Names of the files in an output directory; the check that each is a plain file of its own.

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
from ..language import _, mark
from ..state import file_system
from . import OUTPUTS, JsonlOutput

LOCK = ".lock"
JOURNAL = "journal.db"
FAILURES = "failures.jsonl"
SUMMARY = "summary.json"
NEW = ".new"
"""Suffix of a file until it replaces the old one."""

OUTPUT_FILES = tuple(output.filename for output in OUTPUTS.values())
"""Files that an output appends to, and that are replaced as one when they are rewritten."""

RESULT_FILES = (*OUTPUT_FILES, FAILURES, SUMMARY)
NAMES = (
    *(LOCK, JOURNAL, *(JOURNAL + side for side in ("-wal", "-shm", "-journal"))),
    *RESULT_FILES,
    *(name + NEW for name in RESULT_FILES),
)
"""Every name in an output directory that batchrec, or SQLite for it, opens, replaces or removes."""

_ROLLBACK, _SHARED_MEMORY = JOURNAL + "-journal", JOURNAL + "-shm"
_FLAGS = ("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_BINARY")
_CAREFUL = sum(getattr(os, flag, 0) for flag in _FLAGS)  # Windows has not all of them


def check_directory(directory: Path, *, writing: bool = True) -> None:
    """Raise JobError with every name that is not a plain file of its own; nothing is opened.

    Not `writing`: second names are no complaint, as backups by hard links (`cp -al`) have them, but for the two files
    that a reader changes as well. The directory itself may be a link, and need not exist. Raises OSError where it
    cannot be looked at.
    """
    complaints = []
    for name, status in _present(directory, NAMES):
        changed = writing or name == _SHARED_MEMORY or (name == LOCK and status.st_size > 0)
        if problem := _kind(status) or (_(_FOREIGN_ROLLBACK) if name == _ROLLBACK else ""):
            complaints.append(
                _("{path}: {problem}; move it away, or give the job another output.directory").format(
                    path=directory / name, problem=problem
                )
            )
        elif changed and (problem := _second_name(status)):
            complaints.append(f"{directory / name}: {problem}; {_(_COPY)}")
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


def check_locks(directory: Path) -> None:
    """Raise OSError where the file system has no locks."""
    handle = open_own(directory / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        file_system.check_locks(handle, directory)
    finally:
        os.close(handle)


def check_unaccounted(directory: Path) -> None:
    """Raise JobError where result files exist that an empty journal does not account for.

    An empty results.jsonl is left out: a first run that was killed while it listed its inputs leaves one.
    """
    present = _present(directory, RESULT_FILES)
    refuse_strangers(directory, (name for name, status in present if name != JsonlOutput.filename or status.st_size))


def refuse_strangers(directory: Path, names: Iterable[str]) -> None:
    """Raise JobError that lists files which no journal accounts for; nothing happens where there are none."""
    complaints = [
        _(
            "{path}: no {journal} accounts for it; move it away, put the journal back, or give "
            "the job another output.directory"
        ).format(path=directory / name, journal=JOURNAL)
        for name in names
    ]
    if complaints:
        raise JobError(*complaints)


def open_own(path: str | Path, flags: int) -> int:
    """Open a file of an output directory if it is a plain file of its own: an `opener` for `open`.

    Raises OSError.

    A file that is only read may have names elsewhere. Not for modes that truncate: the file would be empty before it is
    looked at.
    """
    handle = os.open(path, flags | _CAREFUL, 0o666)
    status = os.fstat(handle)
    if problem := _kind(status) or (_second_name(status) if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else ""):
        os.close(handle)
        raise OSError(errno.ELOOP, problem, str(path))
    return handle


def create_own(path: Path) -> BinaryIO:
    """Create a file for writing; one that a killed run left is replaced. Raises OSError."""
    path.unlink(missing_ok=True)
    return open(path, "xb", opener=open_own)


_COPY = mark(
    "put a copy in its place (cp FILE FILE.copy && mv FILE.copy FILE), or give the job another output.directory"
)
_FOREIGN_ROLLBACK = mark("is a rollback journal, which batchrec never leaves and SQLite would play back")
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_DEVICE = mark("is a device, not a file")
_KINDS = (
    (stat.S_ISLNK, mark("is a link, not a file")),
    (stat.S_ISDIR, mark("is a folder, not a file")),
    (stat.S_ISFIFO, mark("is a pipe, not a file")),
    (stat.S_ISSOCK, mark("is a socket, not a file")),
)


def _present(directory: Path, names: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    for name in names:
        try:
            yield name, os.lstat(directory / name)
        except OSError as exc:
            if exc.errno not in _ABSENT:
                raise


def _kind(status: os.stat_result) -> str:
    """The kind of an entry in place of a plain file; empty where it is one."""
    if stat.S_ISREG(status.st_mode):
        return ""
    return _(next((words for is_kind, words in _KINDS if is_kind(status.st_mode)), _DEVICE))


def _second_name(status: os.stat_result) -> str:
    """The reason not to write to a file that has names elsewhere; empty where it has one name."""
    if status.st_nlink > 1:
        return _("has {count} names (hard links), so that writing to it would change another file").format(
            count=status.st_nlink
        )
    return ""
