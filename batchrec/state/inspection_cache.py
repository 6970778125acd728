"""Inspection cache: SHA-256 by file, and the preparation's verdict by content.

One SQLite file in the state folder, shared by every process of the machine, bounded in size. A file with another size
or mtime has another key. Where the cache cannot be used, one warning says so, and files are read.
"""

import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..values import ImageLimits, Treatment
from .database import make_way, open_database
from .file_system import STATE_REMEDY, with_cause

_log = logging.getLogger(__name__)

MOST_BYTES = 1 << 29
"""Bound of the file, in bytes: some three million entries. The oldest make way."""

_SCHEMA = "CREATE TABLE IF NOT EXISTS looks (key BLOB UNIQUE NOT NULL, seen BLOB NOT NULL);"
_KEY_BYTES = 16  # of a SHA-256: half of it has no collisions among millions

Key = bytes
"""Digest of what an entry is about."""


@dataclass(frozen=True, slots=True)
class Way:
    """Settings of the preparation: limits of the service, treatment, and extra formats that can be read."""

    limits: ImageLimits
    treatment: Treatment
    extras: tuple[str, ...] = ()


def of_file(path: str, size: int, mtime_ns: int) -> Key:
    """The key of a file's digest."""
    return _digest(b"file", os.fsencode(os.path.abspath(path)), b"%d %d" % (size, mtime_ns))


def of_content(sha256: bytes, way: Way) -> Key:
    """The key of what preparation would do with a content; what is kept is the word of `images.foresee`."""
    return _digest(b"content", sha256, repr(way).encode())


class InspectionCache:
    """Entries by key. Used in one thread at a time."""

    def __init__(self, directory: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path = directory / "looks.db"
        self._most_bytes = most_bytes
        self._opened = ExitStack()
        self._usable = True
        with self._forgiving():
            self._db = self._opened.enter_context(closing(open_database(self._path, _SCHEMA)))

    def close(self) -> None:
        """Let go of the file."""
        self._opened.close()

    @property
    def empty(self) -> bool:
        """Whether there is no entry at all."""
        if self._usable:
            with self._forgiving():
                return self._db.execute("SELECT 1 FROM looks LIMIT 1").fetchone() is None
        return True

    def get(self, key: Key) -> bytes | None:
        """The entry, or None."""
        if self._usable:
            with self._forgiving():
                row = self._db.execute("SELECT seen FROM looks WHERE key = ?", (key,)).fetchone()
                return bytes(row[0]) if row else None
        return None

    def put(self, seen: Mapping[Key, bytes]) -> None:
        """Add or replace entries."""
        if not self._usable or not seen:
            return
        with self._forgiving(), self._db:  # commits, or undoes it all
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO looks VALUES (?, ?)", seen.items())
            make_way(self._db, "looks", "rowid", self._most_bytes)

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        """Turn the first error of the file into a warning; from then on the cache is empty."""
        try:
            yield
        except (sqlite3.Error, OSError) as exc:
            self._usable = False
            _log.warning("%s: cannot be used, so files are read again: %s", self._path, with_cause(exc, STATE_REMEDY))


def _digest(*parts: bytes) -> Key:
    return hashlib.sha256(b"\0".join(parts)).digest()[:_KEY_BYTES]
