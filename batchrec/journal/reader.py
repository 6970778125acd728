"""Looking into a journal: what is answered, failed and left. Writes nothing, also where a run is writing."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import JobError, OutputFailed
from ..state.output_directory import JOURNAL, check_directory, check_unclaimed
from ..values import QuotaKey
from .schema import SCHEMA, SINCE, VERSION, Counts, StepCounts, current

FAILED_NOW = (
    "items i JOIN images m ON m.id = i.image JOIN steps s ON s.id = i.step "
    "WHERE i.state = 4 AND m.position IS NOT NULL AND s.active = 1"
)


@dataclass(frozen=True, slots=True)
class AnswerPlace:
    """An answer as the journal knows it: whose it is, and where its row stands in results.jsonl, in bytes."""

    image: str
    step: str
    sha256: bytes | None
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class ActiveStep:
    """A step of the job as it was run last; `condition` is its `when`, or empty."""

    number: int
    name: str
    condition: str


class Reader:
    """The reading half of a journal, over one connection and one lock. Raises OutputFailed where it is broken."""

    _done = "read"

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path = path
        self._db = db
        self._lock = threading.RLock()

    def note(self, key: str) -> Any:
        """A value kept under a word, or None."""
        with self._guarded():
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def outputs(self) -> dict[str, tuple[int, int]]:
        """Committed (length, crc) of every result file, by name."""
        with self._guarded():
            return {name: (length, crc) for name, length, crc in self._db.execute("SELECT * FROM outputs")}

    def counts(self) -> Counts:
        """Where the job stands."""
        with self._guarded():
            images = self._one("SELECT count(*) FROM images WHERE position IS NOT NULL")
            duplicates = self._one(
                "SELECT count(*) - count(DISTINCT sha256) FROM images INDEXED BY images_by_content "
                "WHERE sha256 IS NOT NULL AND position IS NOT NULL"
            )
            answered = self._one("SELECT count(*) FROM items WHERE state = 3")
            failed = self._one(f"SELECT count(*) FROM {FAILED_NOW}")
            remaining = self._one(
                "SELECT count(*) FROM items JOIN steps ON steps.id = step AND active = 1 "
                "WHERE state < 3 AND position IS NOT NULL"
            )
        return Counts(images, duplicates, answered, failed, remaining)

    def by_step(self) -> dict[int, StepCounts]:
        """By a step's number: where its images stand."""
        with self._guarded():
            rows = self._db.execute(
                "SELECT s.id, total(i.state = 3), total(i.state = 4 AND m.position IS NOT NULL), "
                "total(i.state < 3 AND m.position IS NOT NULL) FROM steps s LEFT JOIN items i ON i.step = s.id "
                "LEFT JOIN images m ON m.id = i.image WHERE s.active = 1 GROUP BY s.id"
            ).fetchall()
        return {number: StepCounts(*map(int, counts)) for number, *counts in rows}

    def finished_since(self, moment: str) -> int:
        """Images and steps that were answered or failed after a moment (ISO 8601, UTC)."""
        with self._guarded():
            return self._one("SELECT count(*) FROM items WHERE state IN (3, 4) AND at > ?", moment)

    def failures(self) -> Iterator[dict[str, Any]]:
        """The rows of failures.jsonl, in input order, read beside a running commit."""
        columns = ("image", "step", "service", "kind", "code", "message", "attempts", "failed_at")
        for row in self._streamed(
            f"SELECT m.key, s.name, s.service, kind, code, message, attempts, at FROM {FAILED_NOW} "
            "ORDER BY m.position, s.id"
        ):
            yield dict(zip(columns, row, strict=True))

    def answers(self) -> Iterator[AnswerPlace]:
        """Every answer, in the order of results.jsonl."""
        for row in self._streamed(
            "SELECT m.key, s.name, m.sha256, i.start, i.length FROM items i "
            "JOIN images m ON m.id = i.image JOIN steps s ON s.id = i.step WHERE i.state = 3 ORDER BY i.start"
        ):
            yield AnswerPlace(*row)

    def latest(self, count: int) -> list[tuple[str, int, int]]:
        """The answers committed last: what their step asked, and where their rows stand in results.jsonl."""
        with self._guarded():
            return self._db.execute(
                "SELECT s.fingerprint, i.start, i.length FROM items i JOIN steps s ON s.id = i.step "
                "WHERE i.state = 3 ORDER BY i.start DESC LIMIT ?",
                (count,),
            ).fetchall()

    def inputs(self) -> Iterator[tuple[str, bytes]]:
        """Key and digest of every input whose bytes were looked at."""
        yield from self._streamed(
            "SELECT key, sha256 FROM images WHERE position IS NOT NULL AND sha256 IS NOT NULL ORDER BY position"
        )

    def active_steps(self) -> list[ActiveStep]:
        """The steps of the job."""
        with self._guarded():
            rows = self._db.execute("SELECT id, name, condition FROM steps WHERE active = 1 ORDER BY id").fetchall()
        return [ActiveStep(*row) for row in rows]

    def unlisted(self, step: int) -> list[str]:
        """Inputs that a step was never put to: neither answered, nor failed, nor to be asked. Their keys, in order."""
        with self._guarded():
            rows = self._db.execute(
                "SELECT key FROM images WHERE position IS NOT NULL AND NOT EXISTS "
                "(SELECT 1 FROM items WHERE image = images.id AND step = ? AND state != 5) ORDER BY position",
                (step,),
            ).fetchall()
        return [key for (key,) in rows]

    def listed(self, image: str, step: int) -> bool:
        """Whether an image is answered, failed or to be asked at a step, or no input any more."""
        with self._guarded():
            row = self._db.execute(
                "SELECT 1 FROM images m LEFT JOIN items i ON i.image = m.id AND i.step = ? AND i.state != 5 "
                "WHERE m.key = ? AND (i.image IS NOT NULL OR m.position IS NULL)",
                (step, image),
            ).fetchone()
        return row is not None

    def calls(self) -> list[tuple[QuotaKey, int]]:
        """By what they were counted on: calls of this job that the service may have counted."""
        with self._guarded():
            rows = self._db.execute("SELECT account, service, day, counted FROM calls ORDER BY 1, 2, 3").fetchall()
        return [(QuotaKey(*charge), counted) for *charge, counted in rows]

    def copy(self, to: sqlite3.Connection) -> None:
        """Put all that is in it into another database."""
        with self._guarded():
            self._db.backup(to)

    # -- within

    def _streamed(self, sql: str) -> Iterator[Any]:
        with translated(self.path):
            yield from self._db.execute(sql)

    def _one(self, sql: str, *values: object) -> int:
        return int(self._db.execute(sql, values).fetchone()[0])

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with self._lock, translated(self.path, self._done):
            yield


@contextmanager
def translated(path: Path, done: str = Reader._done) -> Iterator[None]:
    """What goes wrong with the journal's file becomes OutputFailed: it cannot be read, or `done` with it."""
    try:
        yield
    except (sqlite3.Error, OSError) as exc:
        broken = getattr(exc, "sqlite_errorcode", None) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
        raise OutputFailed(f"{path}: {'is broken' if broken else 'cannot be ' + done}: {exc}") from exc


@contextmanager
def reading(directory: Path) -> Iterator[Reader]:
    """The journal of an output directory as it is at this moment, to look into, whatever a run goes on to write.

    One of an earlier version is brought up to date in a temporary copy. Raises JobError where there is none, one of
    a later version, or a link or the like in the place of a file.
    """
    path = directory / JOURNAL
    with translated(path):
        check_directory(directory, writing=False)
    if not path.is_file():
        raise JobError(f"{directory}: holds no {JOURNAL}; expected the output directory of a job")
    with translated(path), ExitStack() as opened:
        db, _ = current_copy(path, opened)
        db.execute("BEGIN")
        yield Reader(path, db)


def copy_journal(directory: Path, to: Path) -> None:
    """Put a copy of a directory's journal, as it is at this moment, into another folder; nothing if there is none.

    Raises JobError where it is of a later version, and where a run would find files in the directory that are not ours.
    """
    path = directory / JOURNAL
    with translated(path):
        check_directory(directory)
        check_unclaimed(directory)
    if not path.is_file():
        return
    with reading(directory) as journal, closing(sqlite3.connect(to / JOURNAL)) as copy:
        journal.copy(copy)


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Where no log stands beside the file it need not be able to make one."""
    log = path.with_name(path.name + "-wal").exists()
    mode = "mode=ro" if log else "mode=ro&immutable=1"
    return connect(f"file:{quote(str(path))}?{mode}", uri=True)


def connect(database: str | Path, *, uri: bool = False) -> sqlite3.Connection:
    """A connection that runs no function which a prepared schema names. Without transactions of its own."""
    db = sqlite3.connect(database, timeout=30, isolation_level=None, check_same_thread=False, uri=uri)
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def current_copy(path: Path, opened: ExitStack) -> tuple[sqlite3.Connection, str]:
    """A journal in the current format, for reading, and the script that brings its file there.

    The script is empty where the file is current; else the connection is to a temporary copy. Raises JobError where the
    file is of a later version, or is not a journal: another program's, or one with more tables, triggers or views.
    """
    db = opened.enter_context(closing(read_only(path)))
    if script := _upgrade(path, db):
        earlier, db = db, opened.enter_context(closing(connect("")))
        earlier.backup(db)
        try:
            db.executescript(script)
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_ERROR:  # a full disk, say
                raise
            raise JobError(f"{path}: {_NO_JOURNAL}") from exc
    if _schema(db) != _expected_schema():
        raise JobError(f"{path}: {_NO_JOURNAL}")
    return db, script


_NO_JOURNAL = "was made by something else: its tables are not those of a journal; give the job another output.directory"


def _upgrade(path: Path, db: sqlite3.Connection) -> str:
    """The script that brings a journal up to date, empty where it is; for a database without a table, all of it.

    Raises JobError where it is of a later version, or no journal.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return ""
    if version in SINCE:
        return current("".join(SINCE[was] for was in range(version, VERSION)))
    if version == 0 and not _schema(db):
        return current(SCHEMA)
    made = "a newer version of batchrec" if version > VERSION else "something else"
    raise JobError(f"{path}: was made by {made} (format {version}, this one writes {VERSION})")


def _schema(db: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """Everything that a database defines: kind, name and text, with white space made equal. Statistics are left out."""
    rows = db.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%'")
    return {(kind, name, " ".join(sql.split())) for kind, name, sql in rows}


@cache
def _expected_schema() -> set[tuple[str, str, str]]:
    with closing(connect(":memory:")) as db:
        db.executescript(current(SCHEMA))
        return _schema(db)
