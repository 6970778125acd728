"""Inspection cache: by file the SHA-256 of its content, and the preparation's verdicts on that.

One SQLite file in the state folder, shared by every process of the machine, bounded in size. A file with another size
or mtime has another key. Where the cache cannot be used, one warning says so, and files are read.

A file is one row, and rows of a folder are neighbours in the index: a plan of 100,000 files is bound by such look-ups.
"""

import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..values import ImageLimits, Treatment
from .database import make_way, open_database
from .file_system import STATE_REMEDY, with_cause

_log = logging.getLogger(__name__)

MOST_BYTES = 1 << 29
"""Bound of the file, in bytes: some three million files. The oldest make way."""

_SCHEMA = "CREATE TABLE IF NOT EXISTS looks (key BLOB UNIQUE NOT NULL, seen BLOB NOT NULL);"
_KEY_BYTES = 16  # of a SHA-256: half of it has no collisions among millions
_FOLDER_BYTES = 8  # of a folder's digest, in front of the key: only makes neighbours
_MARK_DIGITS = 16  # of the mark of a way, in hexadecimal
_SHA256_BYTES = 32
_MOST_VERDICTS = 8  # of a file, by the ways used last: a row stays small however often a job file is edited

Key = bytes
"""Digest of a file's path, size and mtime."""


@dataclass(frozen=True, slots=True)
class Way:
    """Settings of the preparation: limits of the service, treatment, and extra formats that can be read."""

    limits: ImageLimits
    treatment: Treatment
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspected:
    """A file's content: its SHA-256, and verdicts (ASCII without blanks) by the mark of the way."""

    sha256: bytes
    verdicts: Mapping[str, str]


def of_file(path: str, size: int, mtime_ns: int) -> Key:
    """The key of a file."""
    folder, name = os.path.split(os.path.abspath(path))
    return _of_folder(folder) + _digest(os.fsencode(name), b"%d %d" % (size, mtime_ns))


@lru_cache(maxsize=1024)
def _of_folder(folder: str) -> bytes:
    return _digest(os.fsencode(folder))[:_FOLDER_BYTES]


def mark_of(way: Way) -> str:
    """The mark of a way of preparation, by which its verdicts are kept."""
    return _digest(repr(way).encode()).hex()[:_MARK_DIGITS]


class InspectionCache:
    """Inspected files by key. Used in one thread at a time."""

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

    def get(self, keys: Sequence[Key]) -> dict[Key, Inspected]:
        """The entries of these keys (32,000 at most), as far as there are any."""
        if self._usable:
            with self._forgiving():
                places = ",".join("?" * len(keys))
                rows = self._db.execute(f"SELECT key, seen FROM looks WHERE key IN ({places})", keys)
                return {key: _unpacked(seen) for key, seen in rows}
        return {}

    def put(self, seen: Mapping[Key, Inspected]) -> None:
        """Add or replace entries."""
        if not self._usable or not seen:
            return
        with self._forgiving(), self._db:  # commits, or undoes it all
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT OR REPLACE INTO looks VALUES (?, ?)", ((key, _packed(entry)) for key, entry in seen.items())
            )
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


def _packed(entry: Inspected) -> bytes:
    latest = list(entry.verdicts.items())[-_MOST_VERDICTS:]
    return entry.sha256 + " ".join(mark + verdict for mark, verdict in latest).encode()


def _unpacked(seen: bytes) -> Inspected:
    marked = seen[_SHA256_BYTES:].decode("ascii", "replace").split()
    verdicts = {each[:_MARK_DIGITS]: each[_MARK_DIGITS:] for each in marked}
    return Inspected(seen[:_SHA256_BYTES], verdicts)
