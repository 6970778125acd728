"""SQLite databases of the state folder, shared by all processes of the machine."""

import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

from .file_system import private_lock

_BUSY_SECONDS = 30.0  # to wait for another process


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open a database that all processes of the machine share; made if need be, for its owner alone.

    `schema` is run at every opening. Commits survive a SIGKILL; a power cut may take those since the last checkpoint.
    The connection may be used in several threads, one at a time. Raises OSError and sqlite3.Error.
    """
    lock = private_lock(path.with_name(path.name + ".lock"))
    path.touch(mode=0o600)
    path.chmod(0o600)
    # SQLite does not wait for its turn where two processes turn a new file into one with a write-ahead log.
    with ExitStack() as opening, lock.acquire(timeout=_BUSY_SECONDS):
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        opening.enter_context(closing(db))
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(schema)
        opening.pop_all()
    return db


_TENTH = 10  # a part of the rows, so that not every insert has to make way


def make_way(db: sqlite3.Connection, table: str, by_age: str, most_bytes: int) -> None:
    """Drop the oldest tenth of a table where the database has grown too large; its pages are used again."""
    used, free, size = (
        db.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "freelist_count", "page_size")
    )
    if (used - free) * size > most_bytes:
        (held,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
        db.execute(
            f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} ORDER BY {by_age} LIMIT ?)",
            (held // _TENTH + 1,),
        )
