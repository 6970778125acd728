"""Answers and failures of a job, committed in groups, and where the rows stand in the result files.

A group is committed after its rows are on the disk, and then synced.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..state.bloom import BloomFilter
from ..values import Failure, Kind, Row, Task
from .calls import Calls
from .database import WRITTEN, Database, translated
from .schema import ANSWERED, ASIDE, FAILED, IS_UNCHECKED, PENDING, UNLESS_LISTED

Places = Mapping[str, tuple[int, int]]
"""Length in bytes and CRC-32 of each result file, by name."""

_ROWS = tuple(
    f"SELECT i.image, i.step, ?, ? FROM {table} i JOIN images m ON m.id = i.image JOIN steps s ON s.id = i.step "
    f"WHERE m.key = ? AND s.name = ? AND i.at = ? AND (?6 = '' OR lower(hex({digest})) = ?6) AND {condition}"
    for table, digest, condition in (
        ("items", "m.sha256", f"i.state = {ANSWERED}"),
        (
            "superseded",
            "i.sha256",
            f"NOT EXISTS (SELECT 1 FROM items n WHERE n.image = i.image AND n.step = i.step AND n.state = {ANSWERED})",
        ),
    )
)
"""Queries for image and step of a row that counts now, and of a superseded one without a new answer.

Given as they are returned: start and length; then the row's image, step, time and digest, which is empty in the row of
a URL that the service fetched.
"""

_DROP_UNASKED = (
    "DELETE FROM superseded AS o WHERE o.step IN (SELECT id FROM steps WHERE active = 1) "
    "AND EXISTS (SELECT 1 FROM images WHERE id = o.image AND position IS NOT NULL AND sha256 IS NOT o.sha256) "
    f"AND EXISTS (SELECT 1 FROM items WHERE image = o.image AND state = {ANSWERED}) AND NOT EXISTS "
    f"(SELECT 1 FROM items WHERE image = o.image AND (step = o.step OR state NOT IN ({ANSWERED}, {ASIDE})))"
)
"""Forget the superseded rows of images whose new bytes are answered at each step that asks for them."""

_LEARNT_AT_ONCE = 20_000  # digests; some 20 ms, of a thread


@dataclass(frozen=True, slots=True)
class Known:
    """A finished content at a step: the place of its row in results.jsonl, in bytes, or its failure."""

    image: int
    attempts: int
    start: int = 0
    length: int = 0
    failure: Failure | None = None
    variant: str | None = None


class Finished(NamedTuple):
    """An image that is finished at a step: place of its row or failure, and the steps that follow.

    `in_tiles`: its calls were tiles, and the end of each is noted already.
    """

    task: Task
    sha256: bytes | None
    attempts: int
    at: str
    leader: int | None = None
    failure: Failure | None = None
    follow: tuple[int, ...] = ()
    in_tiles: bool = False
    start: int = 0
    length: int = 0


class Answers:
    """Finished images. One thread may call `finished_content` while another one calls `commit`."""

    def __init__(self, db: Database, calls: Calls, looker: sqlite3.Connection) -> None:
        self._db = db
        self._calls = calls
        self._looker = looker
        self._contents, self._learnt = BloomFilter(), 0

    def finished_content(
        self, step: int, sha256: bytes, variant: str | None = None, *, earlier: bool = False
    ) -> Known | None:
        """The answer of this job for a content, or its failure if that is the content's own fault.

        `variant` None: not known, since the file was not read; then any will do that agrees with the step's treatment.
        `earlier`: take rows of earlier versions too, whose variant is not known. On a connection of its own, which
        need not wait for a commit; to be called in one thread.
        """
        if sha256 not in self._contents:
            return None
        with translated(self._db.path, WRITTEN):
            # One query for either: a second one would pass over all copies of a content that many files have.
            row = self._looker.execute(
                "SELECT i.image, i.attempts, i.start, i.length, i.kind, i.code, i.message, i.variant FROM images m "
                "JOIN items i ON i.image = m.id AND i.step = ? WHERE m.sha256 = ? AND (i.state = "
                f"{ANSWERED} OR i.state = {FAILED} AND i.kind = 'image' AND i.code != 'unreadable') "
                f"AND (i.variant = coalesce(?, i.variant) AND NOT {IS_UNCHECKED} OR i.variant IS NULL AND ?) LIMIT 1",
                (step, sha256, variant, earlier),
            ).fetchone()
        return _known(row)

    def finished_image(self, step: int, image: int) -> Known | None:
        """The answer of an image of this job, or its failure if that is its own fault. As `finished_content`."""
        with translated(self._db.path, WRITTEN):
            row = self._looker.execute(
                "SELECT image, attempts, start, length, kind, code, message, variant FROM items "
                f"WHERE image = ? AND step = ? AND (state = {ANSWERED} OR state = {FAILED} AND kind = 'image')",
                (image, step),
            ).fetchone()
        return _known(row)

    def commit(self, finished: Sequence[Finished], outputs: Places) -> None:
        """Commit one group: what is finished, the follow-up steps, and the lengths of the files.

        The first digest that was answered stays: a file that was replaced between two steps is then found out by the
        next run. One that was only looked up when the file was listed makes way for that of the bytes that were sent.
        """
        digests = {f.task.image: f.sha256 for f in reversed(finished) if f.sha256 is not None}
        for sha256 in digests.values():
            self._contents.add(sha256)
        with self._db.transaction():
            self._learn()
            self._db.executemany(
                "UPDATE images SET sha256 = ?1 WHERE id = ?2 AND (sha256 IS NULL OR sha256 != ?1 AND NOT EXISTS "
                f"(SELECT 1 FROM items WHERE image = ?2 AND state = {ANSWERED}))",
                ((sha256, image) for image, sha256 in digests.items()),
            )
            self._db.executemany(
                "UPDATE items SET state = ?, leader = ?, attempts = ?, at = ?, start = ?, length = ?, "
                "kind = ?, code = ?, message = ?, variant = ? WHERE image = ? AND step = ?",
                (_finished_row(f) for f in finished),
            )
            self._calls.end(sum(f.attempts > 0 and f.failure is None and not f.in_tiles for f in finished))
            if self._db.one("SELECT EXISTS (SELECT 1 FROM tiles)"):
                self._db.executemany(
                    "DELETE FROM tiles WHERE image = ? AND step = ?",
                    ((f.task.image, f.task.step) for f in finished if f.failure is None),
                )
            self._db.executemany(
                f"INSERT INTO items (image, step, state, position) VALUES (?, ?, {PENDING}, ?) {UNLESS_LISTED}",
                ((f.task.image, step, f.task.position) for f in finished for step in f.follow),
            )
            self._put_outputs(outputs)
            self._calls.move_bound()

    def put_outputs(self, outputs: Places, drop: Iterable[str], swap: str | None) -> None:
        """Note the lengths of result files, forget some, and note which new files are to be put in place."""
        with self._db.transaction():
            self._db.executemany("DELETE FROM outputs WHERE filename = ?", ((name,) for name in drop))
            self._put_outputs(outputs)
            self._db.put_note("swap", swap)

    # -- rewriting results.jsonl

    def begin_rewrite(self) -> None:
        """Prepare to note the new places of the rows that are kept."""
        with self._db.guarded():
            self._db.execute("DROP TABLE IF EXISTS temp.kept")
            self._db.execute(
                "CREATE TEMP TABLE kept (image INTEGER, step INTEGER, start INTEGER, length INTEGER, "
                "PRIMARY KEY (image, step)) WITHOUT ROWID"
            )

    def keep(self, row: Row, start: int, length: int) -> bool:
        """Keep a row if it is an answer of the journal's and the first with that: then note its new place.

        A superseded one is kept while there is no new answer.
        """
        whose = (start, length, row["image"], row["step"], row["answered_at"], row["sha256"] or "")
        with self._db.guarded():
            return any(self._db.execute(f"INSERT OR IGNORE INTO kept {rows}", whose).rowcount > 0 for rows in _ROWS)

    def current(self, row: Row) -> bool:
        """Whether a row is an answer that counts now, not a superseded one."""
        whose = (0, 0, row["image"], row["step"], row["answered_at"], row["sha256"] or "")
        with self._db.guarded():
            return self._db.execute(_ROWS[0], whose).fetchone() is not None

    def outlived(self) -> bool:
        """Whether results.jsonl has rows that a rewrite takes out.

        Superseded ones beside new ones, and those of follow-up steps that the new bytes of an image do not ask for.
        """
        with self._db.transaction():
            if self._db.execute(_DROP_UNASKED).rowcount > 0:
                self._db.put_note("dirty", 1)
            both = "SELECT 1 FROM superseded o JOIN items i ON i.image = o.image AND i.step = o.step"
            return bool(self._db.note("dirty") or self._db.one(f"SELECT EXISTS ({both} WHERE i.state = {ANSWERED})"))

    def end_rewrite(self, outputs: Places, swap: str) -> int:
        """Commit the rows' new places, the new files' lengths and the note to swap them; then sync.

        Answers that are not in the new file are forgotten, to be called for again. Returns how many those are.
        """
        with self._db.transaction():
            self._db.execute(
                "UPDATE items SET start = kept.start, length = kept.length FROM kept "
                f"WHERE kept.image = items.image AND kept.step = items.step AND state = {ANSWERED}"
            )
            self._db.execute(
                "DELETE FROM superseded AS o WHERE NOT EXISTS "
                "(SELECT 1 FROM kept WHERE kept.image = o.image AND kept.step = o.step) OR EXISTS "
                f"(SELECT 1 FROM items i WHERE i.image = o.image AND i.step = o.step AND i.state = {ANSWERED})"
            )
            self._db.execute(
                "UPDATE superseded SET start = kept.start, length = kept.length FROM kept "
                "WHERE kept.image = superseded.image AND kept.step = superseded.step"
            )
            lost = self._db.execute(
                f"DELETE FROM items WHERE state = {ANSWERED} AND NOT EXISTS "
                "(SELECT 1 FROM kept WHERE kept.image = items.image AND kept.step = items.step)"
            ).rowcount
            self._db.execute("DELETE FROM outputs")
            self._put_outputs(outputs)
            self._db.put_note("dirty", None)
            self._db.put_note("swap", swap)
        self._calls.sync()
        return lost

    # -- within a transaction

    def _learn(self) -> None:
        """Add a part of the contents that something may be known of to the filter."""
        if not self._contents.complete:
            rows = self._db.execute(
                "SELECT id, sha256 FROM images WHERE id > ? AND sha256 IS NOT NULL ORDER BY id LIMIT ?",
                (self._learnt, _LEARNT_AT_ONCE),
            ).fetchall()
            self._contents.learn([sha256 for _, sha256 in rows])
            self._learnt = rows[-1][0] if rows else self._learnt

    def _put_outputs(self, outputs: Places) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?)", ((name, *place) for name, place in outputs.items())
        )


def _known(row: tuple[Any, ...] | None) -> Known | None:
    if row is None:
        return None
    failure = Failure(Kind(row[4]), row[5], row[6]) if row[4] else None
    return Known(row[0], row[1], row[2] or 0, row[3] or 0, failure, row[7])


def _finished_row(item: Finished) -> tuple[object, ...]:
    task, _, attempts, at, leader, failure, _, _, start, length = item
    kind, code, message = (failure.kind.value, failure.code, failure.message) if failure else (None, None, None)
    state = ANSWERED if failure is None else FAILED
    return state, leader, attempts, at, start, length, kind, code, message, task.variant, task.image, task.step
