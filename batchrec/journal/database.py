"""A journal's SQLite file: connection, lock, transactions, and the sync of its write-ahead log.

SQLite would hold its lock during the sync of a commit, and a call would wait for the disk. So the connection runs with
`synchronous = NORMAL`, and `Log.sync` does to the write-ahead log, outside of any lock, what FULL would do inside.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import OutputFailed
from ..language import _, mark
from ..outputs.directory import open_own
from ..state.durable import sync_file
from ..state.file_system import OUTPUT_REMEDY, with_cause

READ, WRITTEN = "read", "written"
"""Uses of a journal."""

_CANNOT = {READ: mark("{path}: cannot be read: {reason}"), WRITTEN: mark("{path}: cannot be written: {reason}")}
"""Messages about a journal that cannot be used so."""

_BUSY_SECONDS = 30
_CHECKPOINT_BYTES = 4 * 1024 * 1024
_CACHE_KIBIBYTES = 4 * 1024  # of SQLite's page cache


class Database:
    """One connection and one lock, for use on the event loop and in one thread beside it.

    `execute` and `executemany` are the connection's, to be called within `guarded` or `transaction`.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, use: str = READ) -> None:
        self.path = path
        self.connection = connection
        self.lock = threading.RLock()
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.on_commit: Callable[[], None] = lambda: None
        self._use = use

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Hold the lock. Raises OutputFailed where the file is broken, or cannot be read or written."""
        with self.lock, translated(self.path, self._use):
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is executed within, or nothing of it; then call `on_commit`. Raises OutputFailed."""
        with self.guarded():
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.execute("COMMIT")
                self.on_commit()
            except BaseException:
                if self.connection.in_transaction:  # a full disk makes SQLite roll back by itself
                    self.execute("ROLLBACK")
                raise

    def streamed(self, sql: str, *values: object) -> Iterator[Any]:
        """The rows of a long query; in a journal that is being written, no commit waits for it."""
        with translated(self.path, self._use), ExitStack() as opened:
            execute = self.execute
            if self._use == WRITTEN:
                execute = opened.enter_context(closing(connect(self.path))).execute
            yield from execute(sql, values)

    def one(self, sql: str, *values: object) -> int:
        """The number that a query gives. The lock must be held."""
        return int(self.execute(sql, values).fetchone()[0])

    def note(self, key: str) -> Any:
        """The value of a note, or None."""
        with self.guarded():
            row = self.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def put_note(self, key: str, value: object) -> None:
        """Set a note within a transaction; None removes it."""
        if value is None:
            self.execute("DELETE FROM meta WHERE key = ?", (key,))
        else:
            self.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


class Log:
    """The write-ahead log of a journal that is being written."""

    def __init__(self, path: Path, opened: ExitStack) -> None:
        self._path = path
        self._checkpointer = opened.enter_context(closing(connect(path)))
        self._handle = open_own(f"{path}-wal", os.O_RDONLY | os.O_CREAT)
        opened.callback(os.close, self._handle)

    def sync(self) -> None:
        """Wait until every commit is on the disk, and keep the log short. Takes no lock. Raises OutputFailed."""
        with translated(self._path, WRITTEN):
            sync_file(self._handle)
            if os.fstat(self._handle).st_size > _CHECKPOINT_BYTES:
                self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def open_for_writing(path: Path, script: str, opened: ExitStack) -> Database:
    """The database of a journal's file, which exists, after `script` has brought it up to date."""
    connection = opened.enter_context(closing(connect(path)))
    if not path.stat().st_size:
        connection.execute("PRAGMA journal_mode = OFF")  # so that a kill leaves no rollback journal
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    # Without a limit a log that was long once stays long, and every commit would be checkpointed.
    connection.execute(f"PRAGMA journal_size_limit = {_CHECKPOINT_BYTES}")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
    connection.executescript(script)
    return Database(path, connection, WRITTEN)


@contextmanager
def translated(path: Path, use: str = READ) -> Iterator[None]:
    """Turn errors of SQLite and of the file into OutputFailed: broken, cannot be read, or written."""
    try:
        yield
    except (sqlite3.Error, OSError) as exc:
        broken = getattr(exc, "sqlite_errorcode", None) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
        raise OutputFailed(
            (_("{path}: is broken: {reason}") if broken else _(_CANNOT[use])).format(
                path=path, reason=with_cause(exc, OUTPUT_REMEDY)
            )
        ) from exc


def connect(database: str | Path, *, uri: bool = False) -> sqlite3.Connection:
    """A connection without transactions of its own, which runs no function that a prepared schema names."""
    db = sqlite3.connect(database, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=uri)
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Without a log beside the file it needs no right to make one."""
    log = path.with_name(path.name + "-wal").exists()
    mode = "mode=ro" if log else "mode=ro&immutable=1"
    return connect(f"file:{quote(str(path))}?{mode}", uri=True)
