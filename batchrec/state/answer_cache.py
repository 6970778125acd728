"""Answers that were paid for before, by whatever job: what the service said about a content, asked in that way.

One SQLite file in the state folder, shared by every process of the machine, bounded in size and age. It is a
convenience: where it cannot be read or written the run says so once, asks the service, and goes on.
"""

import hashlib
import logging
import math
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path

import orjson

from ..exact_json import loads
from ..values import Row
from .bloom import BloomFilter
from .database import make_way, open_database

_log = logging.getLogger(__name__)

MOST_BYTES = 1 << 30
"""How large the file may grow; some 700,000 answers. The oldest make way."""

OLDEST_SECONDS = 180 * 86_400
"""Older answers are not given any more: the service learns."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (key BLOB UNIQUE NOT NULL, at REAL NOT NULL, row BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (at);
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, directory TEXT NOT NULL, start INTEGER NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
"""
"""`runs` are those that have begun and not come to their end: where, and from which byte of results.jsonl on."""

_KEY_BYTES = 16
_LOOK_AGAIN = 0.1  # seconds; most contents are new, and for these a look into the file is spared
_LEARNT_AT_ONCE = 5000  # some 5 ms of the event loop

CacheKey = bytes
"""What a step asks, where, and on whose behalf, in a digest."""


class AnswerCache:
    """The answers of one endpoint, and for what belongs to an account, of that account. `now` gives Unix seconds.

    `get` and `put` may be called in two threads.
    """

    def __init__(
        self, directory: Path, endpoint: str, account: str, now: Callable[[], float], most_bytes: int = MOST_BYTES
    ) -> None:
        self._path = directory / "answers.db"
        self._endpoint = endpoint
        self._account = account
        self._now = now
        self._most_bytes = most_bytes
        self._usable = True
        self._keys, self._learnt, self._looked_at = BloomFilter(), b"", -math.inf
        self._newest: int | None = None
        self._opened = ExitStack()
        with self._forgiving():
            self._writer = self._opened.enter_context(closing(open_database(self._path, _SCHEMA)))
            self._reader = self._opened.enter_context(closing(sqlite3.connect(self._path, check_same_thread=False)))
            for table in ("answers", "runs"):
                self._writer.execute(f"DELETE FROM {table} WHERE at < ?", (now() - OLDEST_SECONDS,))

    def close(self) -> None:
        """Let go of the file."""
        self._opened.close()

    def cache_key(self, fingerprint: str, *, personal: bool) -> CacheKey:
        """What a step asks: the digest of its service, model and options, at this endpoint."""
        account = self._account if personal else ""
        return hashlib.sha256(orjson.dumps([fingerprint, self._endpoint, account])).digest()

    def get(self, question: CacheKey, sha256: bytes) -> Row | None:
        """The row of an earlier job for these bytes, or None."""
        if not self._usable:
            return None
        now, key = self._now(), _key(question, sha256)
        fresh = 0 <= now - self._looked_at < _LOOK_AGAIN
        if fresh and key not in self._keys:
            return None
        with self._forgiving():
            if not fresh:
                self._looked_at = now
                self._look_for_new()
            found = self._reader.execute(
                "SELECT row FROM answers WHERE key = ? AND at >= ?", (key, now - OLDEST_SECONDS)
            ).fetchone()
            if found is not None:
                row: Row = loads(found[0])
                return row
        return None

    def put(self, answers: Sequence[tuple[CacheKey, bytes, str, bytes]]) -> None:
        """Keep what the service answered: question, digest of the bytes, when (ISO 8601), and the row as JSON.

        The newest answer wins.
        """
        if not self._usable:
            return
        with self._forgiving(), self._writer:  # commits, or undoes it all
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.executemany(
                "INSERT INTO answers VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
                "SET at = excluded.at, row = excluded.row WHERE excluded.at >= at",
                [(_key(question, sha256), _moment(at), line) for question, sha256, at, line in answers],
            )
            make_way(self._writer, "answers", "at, rowid", self._most_bytes)

    # -- runs whose rows may be handed on after a kill

    def begin_run(self, directory: Path, start: int) -> str:
        """Note that a run begins whose rows stand in results.jsonl from byte `start` on; its id, for the journal."""
        run = secrets.token_hex(16)
        if self._usable:
            with self._forgiving():
                place = os.path.realpath(directory)
                self._writer.execute("INSERT INTO runs VALUES (?, ?, ?, ?)", (run, place, start, self._now()))
        return run

    def run_start(self, run: str | None, directory: Path) -> int | None:
        """Where the rows of an unfinished run of this directory begin; None where this state folder knows of none."""
        if self._usable:
            with self._forgiving():
                place = os.path.realpath(directory)
                row = self._writer.execute(
                    "SELECT start FROM runs WHERE id = ? AND directory = ?", (run, place)
                ).fetchone()
                return int(row[0]) if row else None
        return None

    def end_run(self, run: str | None) -> None:
        """Forget a run: from now on nothing that its directory holds is handed on."""
        if self._usable:
            with self._forgiving():
                self._writer.execute("DELETE FROM runs WHERE id = ?", (run,))

    def _look_for_new(self) -> None:
        """Learn of what was put since the last look, by whatever job, and of a part of what there was before."""
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
        """What goes wrong with the file is said once; from then on nothing is known."""
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as exc:
            self._usable = False
            _log.warning("%s: cannot be used, so no answer of an earlier job is: %s", self._path, exc)


def _moment(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _key(question: CacheKey, sha256: bytes) -> bytes:
    return hashlib.sha256(question + sha256).digest()[:_KEY_BYTES]
