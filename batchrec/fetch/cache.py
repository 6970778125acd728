"""Cache of fetched images in the state folder: bodies by their SHA-256, and an index by URL.

The index has a digest of the URL and its login in place of both, so that no login is written and none gets what
another one was given. The bodies are bounded in bytes; what was used longest ago makes way. Files and index are never
synced: a body that does not have its SHA-256 any more counts as missing.
"""

import hashlib
import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..state.database import open_database
from ..state.directory import make_private
from ..state.file_system import STATE_REMEDY, with_cause

_log = logging.getLogger(__name__)

MOST_BYTES = 2 * 1024**3
"""Bound of all bodies together, in bytes."""

FRESH_SECONDS = 86_400.0
"""Age up to which a body is used without a request: a run that was killed goes on with what it has fetched."""

FOLDER = "fetched"
"""Folder of the bodies in the state folder; the index is beside it."""

_KEPT_SHARE = 0.9
"""Share of the bound that is kept when bodies make way, so that not every fetch has to make room."""

_USED_SECONDS = 60.0
"""A use is noted at most once in this time: each note is a write."""

_TORN_SECONDS = 3600.0
"""Age at which a file that never got its name is a killed run's, where the file system has no locks."""

_CLAIM_SECONDS = 1.0
"""Age from which a file that is being written has its lock."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS fetched (
    url BLOB PRIMARY KEY, sha256 BLOB NOT NULL, size INTEGER NOT NULL, etag TEXT, modified TEXT,
    at REAL NOT NULL, used REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS fetched_by_content ON fetched (sha256);
CREATE INDEX IF NOT EXISTS fetched_by_use ON fetched (used);
"""


try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Kept(NamedTuple):
    """A cached body: SHA-256, size in bytes, ETag, Last-Modified, and when it was fetched (Unix s)."""

    sha256: bytes
    size: int
    etag: str | None
    modified: str | None
    at: float


def url_key(url: str, login: str, *, private: bool = False) -> bytes:
    """The key of a URL (in one spelling, without login) and its login in the index.

    `private`: fetched where private addresses are allowed. A job that may not fetch from these must not get their
    images out of the cache either.
    """
    scope = "private" if private else ""
    return hashlib.sha256(f"{login}\0{url}\0{scope}".encode("utf-8", "surrogatepass")).digest()


def is_kept(state: Path, sha256: bytes) -> bool:
    """Whether the cache of a state folder has a file for this SHA-256; its content is not compared."""
    return _path(state / FOLDER, sha256).is_file()


def kept_bytes(state: Path, sha256: bytes) -> bytes | None:
    """The body with this SHA-256, where the cache of a state folder has it; None where it does not."""
    try:
        data = _path(state / FOLDER, sha256).read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).digest() == sha256 else None


class Incoming:
    """A body on its way into the cache. `write` and `keep` raise OSError where the disk does not take it."""

    def __init__(self, folder: Path) -> None:
        make_private(folder)
        self.path = folder / f"incoming-{secrets.token_hex(8)}"
        self.size = 0
        self.head = b""
        self._digest = hashlib.sha256()
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file: BinaryIO = os.fdopen(handle, "wb")
        _claim(handle)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        if len(self.head) < _HEAD_BYTES:
            self.head += data[: _HEAD_BYTES - len(self.head)]
        self.size += len(data)
        self._digest.update(data)
        self._file.write(data)

    def end(self) -> bytes:
        """Close the file; returns the SHA-256."""
        self._file.close()
        return self._digest.digest()

    def discard(self) -> None:
        """Drop the file, unless it has got its name."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.path.unlink()


def _claim(handle: int) -> bool | None:
    """Lock a file that is being written, until its process ends.

    False: another process has it. None: the file system has no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_torn(path: Path) -> bool:
    """Whether the process that wrote this file has ended: its lock is gone, or without locks, it is old."""
    age = time.time() - path.stat().st_mtime
    if age < _CLAIM_SECONDS:
        return False
    handle = os.open(path, os.O_RDWR)
    try:
        claimed = _claim(handle)
    finally:
        os.close(handle)
    return age > _TORN_SECONDS if claimed is None else claimed


_HEAD_BYTES = 4096  # of a body, by which its kind is told


class UrlCache:
    """Bodies by URL. May be used in several threads. `now` is Unix seconds."""

    def __init__(self, state: Path, now: Callable[[], float] = time.time, most_bytes: int | None = None) -> None:
        self._folder = state / FOLDER
        self._now = now
        self._most_bytes = MOST_BYTES if most_bytes is None else most_bytes
        self._added = 0
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        with self._forgiving():
            self._db = open_database(state / f"{FOLDER}.db", _SCHEMA)
            self._tidy()

    def close(self) -> None:
        """Let go of the index."""
        if self._db is not None:
            self._db.close()

    @property
    def most_bytes(self) -> int:
        """Bound of all bodies together, in bytes."""
        return self._most_bytes

    def find(self, key: bytes) -> Kept | None:
        """The cached body of a URL, fresh or not; None where there is none, or its file has another size."""
        with self._forgiving():
            if self._db is not None:
                row = self._db.execute(
                    "SELECT sha256, size, etag, modified, at FROM fetched WHERE url = ?", (key,)
                ).fetchone()
                if row is not None and _size(_path(self._folder, row[0])) == row[1]:
                    return Kept(*row)
        return None

    def fresh(self, key: bytes) -> Kept | None:
        """The cached body of a URL that may be used without a request."""
        found = self.find(key)
        return found if found is not None and 0 <= self._now() - found.at < FRESH_SECONDS else None

    def read(self, key: bytes) -> bytes | None:
        """The bytes of a URL; None where they are not cached, or not whole."""
        found = self.find(key)
        if found is None:
            return None
        data = kept_bytes(self._folder.parent, found.sha256)
        with self._forgiving():
            if self._db is None:
                return data
            if data is None:
                self._db.execute("DELETE FROM fetched WHERE sha256 = ?", (found.sha256,))
            else:
                now = self._now()
                self._db.execute(
                    "UPDATE fetched SET used = ? WHERE url = ? AND used < ?", (now, key, now - _USED_SECONDS)
                )
        return data

    def incoming(self) -> Incoming:
        """Begin a new body. Raises OSError."""
        return Incoming(self._folder)

    def put(self, key: bytes, body: Incoming, etag: str | None, modified: str | None) -> None:
        """Keep a whole body. Raises OSError, sqlite3.Error."""
        sha256 = body.end()
        path = _path(self._folder, sha256)
        make_private(path.parent)
        now = self._now()
        with self._lock:
            if self._db is None:
                raise OSError("the cache of fetched images cannot be used")
            os.replace(body.path, path)
            self._db.execute(
                "INSERT OR REPLACE INTO fetched VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key, sha256, body.size, etag, modified, now, now),
            )
            self._added += body.size
            if self._added > (1 - _KEPT_SHARE) * self._most_bytes / 2:
                self._added = 0
                self._make_way()

    def confirm(self, key: bytes) -> None:
        """Note that the server said the body is still the one of its ETag."""
        with self._forgiving():
            if self._db is not None:
                now = self._now()
                self._db.execute("UPDATE fetched SET at = ?, used = ? WHERE url = ?", (now, now, key))

    def forget(self, key: bytes) -> None:
        """Drop the body of a URL with its ETag, so that all of it is fetched anew."""
        with self._forgiving():
            if self._db is not None:
                self._drop(self._db.execute("SELECT url, sha256 FROM fetched WHERE url = ?", (key,)).fetchall())

    def _drop(self, gone: Sequence[tuple[bytes, bytes]]) -> None:
        """Drop URLs, and those of their bodies that no other URL has."""
        assert self._db is not None
        self._db.executemany("DELETE FROM fetched WHERE url = ?", ((url,) for url, _ in gone))
        for _, sha256 in gone:
            if self._db.execute("SELECT 1 FROM fetched WHERE sha256 = ?", (sha256,)).fetchone() is None:
                with suppress(OSError):
                    _path(self._folder, sha256).unlink()

    def _make_way(self) -> None:
        """Drop what was used longest ago, where there is too much."""
        assert self._db is not None
        (held,) = self._db.execute(_HELD).fetchone()
        if held <= self._most_bytes:
            return
        drop = held - int(_KEPT_SHARE * self._most_bytes)
        gone: list[tuple[bytes, bytes]] = []
        for url, sha256, size in self._db.execute("SELECT url, sha256, size FROM fetched ORDER BY used"):
            if drop <= 0:
                break
            gone.append((url, sha256))
            drop -= size
        self._drop(gone)

    def _tidy(self) -> None:
        """Remove what killed runs have left: files that never got their name."""
        for path in self._folder.glob("incoming-*"):
            with suppress(OSError):
                if _is_torn(path):
                    path.unlink()

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        """Turn the first error of the index into a warning; from then on nothing is cached."""
        with self._lock:
            try:
                yield
            except (sqlite3.Error, OSError) as exc:
                self.close()
                self._db = None
                _log.warning("%s: cannot be used: %s", self._folder, with_cause(exc, STATE_REMEDY))


_HELD = "SELECT coalesce(sum(size), 0) FROM (SELECT max(size) AS size FROM fetched GROUP BY sha256)"
"""Query for the bytes of all bodies, each counted once."""


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _path(folder: Path, sha256: bytes) -> Path:
    name = sha256.hex()
    return folder / name[:2] / name
