"""Feature cache: features of images by the SHA-256 of their files.

A new version of a model pays for new images alone. A SQLite file in the folder of trained models, shared by all
models: 6 KB an image, 95 KB for detection. Features of other weights have other keys.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputFailed
from ..language import _
from ..state.database import open_database
from ..state.directory import make_private
from ..state.file_system import with_cause
from .features import WEIGHTS_SHA256

_SCHEMA = """
CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, vector BLOB NOT NULL, small BLOB NOT NULL) WITHOUT ROWID
"""
_WAY = b"1"
"""Version of the way from a file to its features: another way has other keys."""


class Seen(NamedTuple):
    """One image: its features (1280, float16, of length 1), and itself in 32 x 32 pixels (3072, uint8)."""

    vector: NDArray[np.float16]
    small: NDArray[np.uint8]


class FeatureCache:
    """Features that are known."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db, self._path = db, path

    @classmethod
    @contextmanager
    def opened(cls, folder: Path) -> Iterator["FeatureCache"]:
        """Open the cache in the data folder. Raises OutputFailed where that cannot be."""
        path = folder / "features.db"
        try:
            make_private(folder)
            db = open_database(path, _SCHEMA)
        except (OSError, sqlite3.Error) as exc:
            raise _failed(path, exc) from exc
        with closing(db):
            yield cls(db, path)

    def get(self, sha256: str) -> Seen | None:
        """The features of a file, or None. Raises OutputFailed."""
        try:
            row = self._db.execute("SELECT vector, small FROM features WHERE key = ?", (_key(sha256),)).fetchone()
        except sqlite3.Error as exc:
            raise _failed(self._path, exc) from exc
        return None if row is None else Seen(np.frombuffer(row[0], np.float16), np.frombuffer(row[1], np.uint8))

    def put(self, found: Mapping[str, Seen]) -> None:
        """Add features by the SHA-256 of the files, all or none. Raises OutputFailed."""
        rows = [(_key(sha256), each.vector.tobytes(), each.small.tobytes()) for sha256, each in found.items()]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as exc:
            raise _failed(self._path, exc) from exc


def _key(sha256: str) -> bytes:
    return hashlib.sha256(_WAY + bytes.fromhex(WEIGHTS_SHA256) + bytes.fromhex(sha256)).digest()


def _failed(path: Path, exc: Exception) -> OutputFailed:
    reason = with_cause(exc, _("set BATCHREC_DATA_DIR to a folder on a local disk"))
    return OutputFailed(_("{path}: cannot be written: {reason}").format(path=path, reason=reason))
