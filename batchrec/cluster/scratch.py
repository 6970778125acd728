"""Temporary files of a process that is killed in the end, as actors of Ray are.

It can remove nothing then. Its folder is locked while it lives, and the next process on the machine removes those that
are not.
"""

import contextlib
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from ..state.file_system import private_lock

_PREFIX = "batchrec-worker-"
_LOCK = "lock"
_NEW_SECONDS = 60.0
"""Age up to which a folder without a lock is left alone: its process may be about to lock it."""


class Scratch:
    """A folder of this process in `parent`. Removes those of processes that are gone. Raises OSError."""

    def __init__(self, parent: Path) -> None:
        for left in parent.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):  # in use, of another user, or removed by another process meanwhile
                _remove_unused(left)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        with contextlib.suppress(OSError):  # without locks nobody removes it
            self._lock = private_lock(self.path / _LOCK)
            self._lock.acquire(blocking=False)


def _remove_unused(folder: Path) -> None:
    """Remove a folder that nobody has locked. Raises OSError."""
    found = folder.lstat()  # no link: in a folder for all users it may lead anywhere
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or time.time() - found.st_mtime < _NEW_SECONDS:
        return
    with private_lock(folder / _LOCK).acquire(blocking=False):
        shutil.rmtree(folder)
