"""Result cache: rows of earlier jobs, by content and by what a step asks of the service.

One SQLite file in the state folder, shared by every process of the machine, bounded in size and age. Where it cannot be
read or written, one warning says so, and the run calls the service.
"""

import hashlib
import logging
import math
import os
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path

import orjson

from ..exact_json import loads
from ..values import Row
from .bloom import BloomFilter
from .database import make_way, open_database
from .file_system import STATE_REMEDY, with_cause

_log = logging.getLogger(__name__)

ANSWERS = "answers.db"
"""Name of the file in the state folder."""

MOST_BYTES = 1 << 30
"""Bound of the file, in bytes: some 700,000 rows. The oldest make way."""

OLDEST_SECONDS = 180 * 86_400
"""Age beyond which a row is not reused: the service learns."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (key BLOB UNIQUE NOT NULL, at REAL NOT NULL, row BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (at);
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, directory TEXT NOT NULL, start INTEGER NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
"""
"""`runs` have not come to their end; `start`: the byte of results.jsonl at which they begin."""

_NORMAL_FORM = 1
"""Mark (`user_version`) of a file that has only ever held rows by the normal form of their endpoint."""

_KEY_BYTES = 16  # of a SHA-256: half of it has no collisions among millions
_LOOK_AGAIN = 0.1  # seconds; most contents are new, and a query for these is spared in between
_LEARNT_AT_ONCE = 5000  # keys; some 5 ms of the event loop

CacheKey = bytes
"""Digest of what a step asks, of the endpoint, and of the account where the answer is personal."""


class AnswerCache:
    """Rows of one endpoint; of personal services (EasyDL), those of one account. `now` gives Unix seconds.

    `earlier` are spellings of the endpoint under which versions before the normal form may have kept rows: they are
    looked up in files that hold such rows. `get` and `put` may be called in two threads.
    """

    def __init__(
        self,
        directory: Path,
        endpoint: str,
        account: str,
        now: Callable[[], float],
        most_bytes: int = MOST_BYTES,
        earlier: Sequence[str] = (),
    ) -> None:
        self._path = directory / ANSWERS
        self._endpoint = endpoint
        self._account = account
        self._now = now
        self._most_bytes = most_bytes
        self._usable = True
        self._keys, self._learnt, self._looked_at = BloomFilter(), b"", -math.inf
        self._newest: int | None = None
        self._earlier: Sequence[str] = ()
        self._keys_of_step: dict[CacheKey, tuple[CacheKey, ...]] = {}
        self._opened = ExitStack()
        with self._forgiving():
            self._writer = self._opened.enter_context(closing(open_database(self._path, _SCHEMA)))
            self._reader = self._opened.enter_context(closing(sqlite3.connect(self._path, check_same_thread=False)))
            for table in ("answers", "runs"):
                self._writer.execute(f"DELETE FROM {table} WHERE at < ?", (now() - OLDEST_SECONDS,))
            if not self._is_in_normal_form():
                self._earlier = earlier

    def close(self) -> None:
        """Let go of the file."""
        self._opened.close()

    def cache_key(self, fingerprint: str, *, personal: bool) -> CacheKey:
        """The key of a step: `fingerprint` covers its service, model and options."""
        account = self._account if personal else ""
        key, *earlier = (
            hashlib.sha256(orjson.dumps([fingerprint, endpoint, account])).digest()
            for endpoint in (self._endpoint, *self._earlier)
        )
        self._keys_of_step[key] = (key, *earlier)
        return key

    def get(self, step_key: CacheKey, content: bytes) -> Row | None:
        """The row of an earlier job for a content (see `content_key`), or None."""
        if not self._usable:
            return None
        now = self._now()
        keys = [_key(each, content) for each in self._keys_of_step.get(step_key, (step_key,))]
        fresh = 0 <= now - self._looked_at < _LOOK_AGAIN
        if fresh and not any(key in self._keys for key in keys):
            return None
        with self._forgiving():
            if not fresh:
                self._looked_at = now
                self._look_for_new()
            for key in keys:
                found = self._reader.execute(
                    "SELECT row FROM answers WHERE key = ? AND at >= ?", (key, now - OLDEST_SECONDS)
                ).fetchone()
                if found is not None:
                    row: Row = loads(found[0])
                    return row
        return None

    def put(self, answers: Sequence[tuple[CacheKey, bytes, str, bytes]]) -> None:
        """Add answers: key of the step, key of the content, time (ISO 8601), and the row as JSON.

        The newest answer of a content wins.
        """
        if not self._usable:
            return
        with self._forgiving(), self._writer:  # commits, or undoes it all
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.executemany(
                "INSERT INTO answers VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
                "SET at = excluded.at, row = excluded.row WHERE excluded.at >= at",
                [(_key(step_key, content), _moment(at), line) for step_key, content, at, line in answers],
            )
            make_way(self._writer, "answers", "at, rowid", self._most_bytes)

    def excerpt(self, services: Collection[str], most_bytes: int) -> bytes:
        """A file of this kind with the newest rows of some services, `most_bytes` of them at most.

        For processes elsewhere. Empty where there are none.
        """
        if not self._usable:
            return b""
        with self._forgiving(), closing(sqlite3.connect(":memory:")) as copy:
            (mark,) = self._reader.execute("PRAGMA user_version").fetchone()
            copy.executescript(f"PRAGMA user_version = {int(mark)};{_SCHEMA}")
            given = ", ".join("?" * len(services))
            rows = self._reader.execute(
                "SELECT key, at, row FROM (SELECT *, sum(length(row)) OVER (ORDER BY at DESC, rowid DESC) AS size "
                "FROM answers WHERE at >= ? AND "
                f"json_extract(CAST(row AS TEXT), '$.service') IN ({given})) WHERE size <= ?",
                (self._now() - OLDEST_SECONDS, *services, most_bytes),
            )
            found = copy.executemany("INSERT INTO answers VALUES (?, ?, ?)", rows).rowcount
            copy.commit()
            return copy.serialize() if found > 0 else b""
        return b""

    # -- runs whose rows may be handed on after a kill

    def begin_run(self, directory: Path, start: int) -> str:
        """Note that a run begins, with its rows in results.jsonl from byte `start` on.

        Returns its id, for the journal.
        """
        run = secrets.token_hex(16)
        if self._usable:
            with self._forgiving():
                place = os.path.realpath(directory)
                self._writer.execute("INSERT INTO runs VALUES (?, ?, ?, ?)", (run, place, start, self._now()))
        return run

    def run_start(self, run: str | None, directory: Path) -> int | None:
        """The byte at which an unfinished run of this directory began; None if it is unknown here."""
        if self._usable:
            with self._forgiving():
                place = os.path.realpath(directory)
                row = self._writer.execute(
                    "SELECT start FROM runs WHERE id = ? AND directory = ?", (run, place)
                ).fetchone()
                return int(row[0]) if row else None
        return None

    def end_run(self, run: str | None) -> None:
        """Forget a run: from now on none of its rows is added after a kill."""
        if self._usable:
            with self._forgiving():
                self._writer.execute("DELETE FROM runs WHERE id = ?", (run,))

    def _is_in_normal_form(self) -> bool:
        """Whether no row is of a version before the normal form: an empty file is marked as such."""
        (mark,) = self._writer.execute("PRAGMA user_version").fetchone()
        if mark < _NORMAL_FORM and self._writer.execute("SELECT 1 FROM answers").fetchone() is None:
            self._writer.execute(f"PRAGMA user_version = {_NORMAL_FORM}")
            return True
        return bool(mark >= _NORMAL_FORM)

    def _look_for_new(self) -> None:
        """Add to the filter: the keys put since the last look, by any job, and a batch of the older ones."""
        newest = self._newest
        if newest is None:
            (newest,) = self._reader.execute("SELECT coalesce(max(rowid), 0) FROM answers").fetchone()
        for key, number in self._reader.execute("SELECT key, rowid FROM answers WHERE rowid > ?", (newest,)):
            self._keys.add(key)
            newest = max(newest, number)
        self._newest = newest
        if not self._keys.complete:
            found = self._reader.execute(
                "SELECT key FROM answers WHERE key > ? ORDER BY key LIMIT ?", (self._learnt, _LEARNT_AT_ONCE)
            ).fetchall()
            self._keys.learn([key for (key,) in found])
            self._learnt = found[-1][0] if found else self._learnt

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        """Turn the first error of the file into a warning; from then on the cache is empty."""
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as exc:
            self._usable = False
            _log.warning(
                "%s: cannot be used, so no answer of an earlier job is: %s", self._path, with_cause(exc, STATE_REMEDY)
            )


def content_key(sha256: bytes, variant: str) -> bytes:
    """The key of a file's content, and of what the treatment changes of it: empty where that is nothing."""
    return sha256 + variant.encode()


def _moment(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _key(step_key: CacheKey, content: bytes) -> bytes:
    return hashlib.sha256(step_key + content).digest()[:_KEY_BYTES]
