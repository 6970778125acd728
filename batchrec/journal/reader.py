"""Reading of a journal: what is answered, failed and remaining.

Writes nothing, also where a run is writing.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import JobError
from ..language import _
from ..outputs.directory import JOURNAL, check_directory, check_unclaimed
from ..values import QuotaKey
from .database import Database, translated
from .endings import Endings
from .opening import StepRecord
from .overview import FAILED_NOW, Overview
from .schema import ANSWERED, ASIDE, FAILED, FINISHED, IGNORED, SUPERSEDED_NOW, UNFINISHED, current_copy


@dataclass(frozen=True, slots=True)
class AnswerPlace:
    """An answer as the journal knows it: whose it is, and where its row stands in results.jsonl, in bytes."""

    image: str
    step: str
    sha256: bytes | None
    start: int
    length: int
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class ActiveStep:
    """A step of the job as it was run last; `condition` is its `when`, or empty."""

    number: int
    name: str
    condition: str


@dataclass(frozen=True, slots=True)
class StepCounts:
    """Images of one step that are answered, failed, and still to be called for."""

    answered: int = 0
    failed: int = 0
    open: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of a job.

    `images` are inputs now, `duplicates` their copies; the others count images and steps. `answered` are those with a
    row, of which `superseded` ones are called for again.
    """

    images: int
    duplicates: int
    answered: int
    failed: int
    open: int
    superseded: int = 0

    @property
    def done(self) -> int:
        """Images and steps with a result or a failure that counts now."""
        return self.answered - self.superseded + self.failed


class Reader:
    """Queries of a journal, over one database. Raises OutputFailed where it is broken."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.overview = Overview(db)
        self.endings = Endings(db)

    def note(self, key: str) -> Any:
        """The value of a note, or None."""
        return self._db.note(key)

    def outputs(self) -> dict[str, tuple[int, int]]:
        """Committed (length, crc) of every result file, by name."""
        with self._db.guarded():
            return {name: (length, crc) for name, length, crc in self._db.execute("SELECT * FROM outputs")}

    def digest(self, key: str) -> bytes | None:
        """The SHA-256 of an image as it was read last; None where its bytes were never read."""
        with self._db.guarded():
            row = self._db.execute("SELECT sha256 FROM images WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def images(self) -> int:
        """Number of inputs."""
        with self._db.guarded():
            return self._db.one("SELECT count(*) FROM images WHERE position IS NOT NULL")

    def ignored(self) -> dict[str, int]:
        """By kind: files in the input folders that were left out when these were listed last."""
        found: dict[str, int] = json.loads(self._db.note(IGNORED) or "{}")
        return found

    def counts(self) -> Counts:
        """Counts of the whole job, as they are now."""
        with self._db.guarded():
            images = self.images()
            duplicates = self._db.one(
                "SELECT count(*) - count(DISTINCT sha256) FROM images INDEXED BY images_by_content "
                "WHERE sha256 IS NOT NULL AND position IS NOT NULL"
            )
            remaining = self._db.one(
                "SELECT count(*) FROM items JOIN steps ON steps.id = step AND active = 1 "
                f"WHERE state {UNFINISHED} AND position IS NOT NULL"
            )
            current, superseded, failed = self.overview.current(), self.overview.superseded(), self.overview.failed()
        return Counts(images, duplicates, current + superseded, failed, remaining, superseded)

    def remaining(self) -> int:
        """Number of images that remain at any step."""
        with self._db.guarded():
            return self._db.one(
                "SELECT count(DISTINCT image) FROM items JOIN steps ON steps.id = step AND active = 1 "
                f"WHERE state {UNFINISHED} AND position IS NOT NULL"
            )

    def failures_by_code(self) -> dict[str, int]:
        """By code: what is failed now."""
        with self._db.guarded():
            rows = self._db.execute(
                f"SELECT CAST(code AS TEXT), count(*) FROM {FAILED_NOW} GROUP BY 1 ORDER BY 1"
            ).fetchall()
        return dict(rows)

    def by_step(self) -> dict[int, StepCounts]:
        """By a step's number: where its images stand."""
        with self._db.guarded():
            rows = self._db.execute(
                f"SELECT s.id, total(i.state = {ANSWERED}), total(i.state = {FAILED} AND m.position IS NOT NULL), "
                f"total(i.state {UNFINISHED} AND m.position IS NOT NULL) FROM steps s "
                "LEFT JOIN items i ON i.step = s.id LEFT JOIN images m ON m.id = i.image "
                "WHERE s.active = 1 GROUP BY s.id"
            ).fetchall()
        return {number: StepCounts(*map(int, counts)) for number, *counts in rows}

    def finished_since(self, moment: str) -> int:
        """Images and steps that were answered or failed after a moment (ISO 8601, UTC)."""
        with self._db.guarded():
            return self._db.one(f"SELECT count(*) FROM items WHERE state {FINISHED} AND at > ?", moment)

    def failures(self) -> Iterator[dict[str, Any]]:
        """The rows of failures.jsonl, in input order, read beside a running commit."""
        columns = ("image", "step", "service", "kind", "code", "message", "attempts", "failed_at")
        for row in self._db.streamed(
            f"SELECT m.key, s.name, s.service, kind, code, message, attempts, at FROM {FAILED_NOW} "
            "ORDER BY m.position, s.id"
        ):
            yield dict(zip(columns, row, strict=True))

    def by_image(self) -> Iterator[tuple[str, str, int | None, int, str]]:
        """Results and failures that count, in input order; images that are no input any more come last.

        Key, step, start and length of the row in results.jsonl, and the failure as a JSON object. Start is None and the
        failure is not empty where the image has failed.
        """
        key = "m.position IS NULL, m.position, m.id, s.id, "
        failure = (
            "json_object('image', m.key, 'step', s.name, 'service', s.service, 'kind', kind, 'code', code, "
            "'message', message, 'attempts', attempts, 'failed_at', at)"
        )
        step = "JOIN images m ON m.id = {0}.image JOIN steps s ON s.id = {0}.step"
        for row in self._db.streamed(
            f"SELECT {key} m.key, s.name, i.start, i.length, '' FROM items i {step.format('i')} "
            f"WHERE i.state = {ANSWERED} UNION ALL "
            f"SELECT {key} m.key, s.name, o.start, o.length, '' FROM (SELECT * FROM {SUPERSEDED_NOW}) o "
            f"{step.format('o')} UNION ALL "
            f"SELECT {key} m.key, s.name, NULL, 0, {failure} FROM {FAILED_NOW} ORDER BY 1, 2, 3, 4"
        ):
            yield row[4:]

    def steps_with_results(self) -> list[str]:
        """Names of the steps that have a row, also of those that are no longer in the job."""
        with self._db.guarded():
            rows = self._db.execute(
                f"SELECT name FROM steps s WHERE EXISTS (SELECT 1 FROM items WHERE step = s.id AND state = {ANSWERED}) "
                "OR EXISTS (SELECT 1 FROM superseded WHERE step = s.id) ORDER BY id"
            ).fetchall()
        return [name for (name,) in rows]

    def images_with_results(self) -> int:
        """Number of images that have a row or a failure."""
        with self._db.guarded():
            return self._db.one(f"SELECT count(DISTINCT image) FROM items WHERE state {FINISHED}")

    def answers(self) -> Iterator[AnswerPlace]:
        """Every row of an answer, also those that are superseded, in the order of results.jsonl."""
        for row in self._db.streamed(
            "SELECT m.key, s.name, m.sha256, i.start, i.length, 0 FROM items i "
            f"JOIN images m ON m.id = i.image JOIN steps s ON s.id = i.step WHERE i.state = {ANSWERED} "
            "UNION ALL SELECT m.key, s.name, o.sha256, o.start, o.length, 1 FROM superseded o "
            "JOIN images m ON m.id = o.image JOIN steps s ON s.id = o.step ORDER BY 4"
        ):
            yield AnswerPlace(*row)

    def in_input_order(self, step: str | None = None, most: int | None = None) -> Iterator[tuple[int, int]]:
        """Offset and length of every row that counts now, in the order of the inputs and steps.

        Rows of inputs that are gone come last. `step`: the rows of this step only; `most`: at most so many.
        """
        joined = "JOIN images m ON m.id = image " + ("JOIN steps s ON s.id = step AND s.name = ?1" if step else "")
        rows = f"(SELECT image, step, start, length FROM items WHERE state = {ANSWERED})"
        with self._db.guarded():
            if self._db.one(f"SELECT EXISTS (SELECT 1 FROM {SUPERSEDED_NOW})"):
                rows = f"({rows[1:-1]} UNION ALL SELECT o.image, o.step, o.start, o.length FROM {SUPERSEDED_NOW})"
        yield from self._db.streamed(
            f"SELECT start, length FROM {rows} {joined} ORDER BY m.position NULLS LAST, m.id, step LIMIT ?2",
            step,
            -1 if most is None else most,
        )

    def stands(self, image: str, step: str, start: int) -> bool:
        """Whether the row of an image and step, or its superseded row, is at an offset of results.jsonl."""
        with self._db.guarded():
            found = self._db.execute(
                "SELECT 1 FROM images m, steps s WHERE m.key = ?1 AND s.name = ?2 AND (EXISTS (SELECT 1 FROM items i "
                f"WHERE i.image = m.id AND i.step = s.id AND i.state = {ANSWERED} AND i.start = ?3) OR EXISTS "
                "(SELECT 1 FROM superseded o WHERE o.image = m.id AND o.step = s.id AND o.start = ?3))",
                (image, step, start),
            ).fetchone()
        return found is not None

    def superseded(self, step: int) -> set[int]:
        """The numbers of the images at a step whose answer is superseded, and that have no new one."""
        with self._db.guarded():
            rows = self._db.execute(f"SELECT image FROM {SUPERSEDED_NOW} AND step = ?", (step,)).fetchall()
        return {image for (image,) in rows}

    def replaced(self) -> frozenset[int]:
        """Offsets in results.jsonl of the rows that a newer row of their image and step has replaced."""
        with self._db.guarded():
            rows = self._db.execute(
                "SELECT o.start FROM superseded o JOIN items i ON i.image = o.image AND i.step = o.step "
                f"WHERE i.state = {ANSWERED}"
            ).fetchall()
        return frozenset(start for (start,) in rows)

    def latest(self, count: int) -> list[tuple[str, str, int, int]]:
        """The answers committed last: their step's fingerprint, their variant, start and length of their row."""
        with self._db.guarded():
            return self._db.execute(
                "SELECT s.fingerprint, coalesce(i.variant, ''), i.start, i.length "
                "FROM items i JOIN steps s ON s.id = i.step "
                f"WHERE i.state = {ANSWERED} ORDER BY i.start DESC LIMIT ?",
                (count,),
            ).fetchall()

    def inputs(self) -> Iterator[tuple[str, bytes]]:
        """Key and digest of every input whose bytes were looked at."""
        yield from self._db.streamed(
            "SELECT key, sha256 FROM images WHERE position IS NOT NULL AND sha256 IS NOT NULL ORDER BY position"
        )

    def active_steps(self) -> list[ActiveStep]:
        """The steps of the job."""
        with self._db.guarded():
            rows = self._db.execute("SELECT id, name, condition FROM steps WHERE active = 1 ORDER BY id").fetchall()
        return [ActiveStep(*row) for row in rows]

    def unlisted(self, step: int) -> list[str]:
        """Keys of the inputs that are neither answered, nor failed, nor on the list of a step, in order."""
        with self._db.guarded():
            rows = self._db.execute(
                "SELECT key FROM images WHERE position IS NOT NULL AND NOT EXISTS "
                f"(SELECT 1 FROM items WHERE image = images.id AND step = ? AND state != {ASIDE}) ORDER BY position",
                (step,),
            ).fetchall()
        return [key for (key,) in rows]

    def listed(self, image: str, step: int) -> bool:
        """Whether an image is answered, failed or to be asked at a step, or no input any more."""
        with self._db.guarded():
            row = self._db.execute(
                f"SELECT 1 FROM images m LEFT JOIN items i ON i.image = m.id AND i.step = ? AND i.state != {ASIDE} "
                "WHERE m.key = ? AND (i.image IS NOT NULL OR m.position IS NULL)",
                (step, image),
            ).fetchone()
        return row is not None

    def outdated(self, steps: Sequence[StepRecord]) -> dict[str, int]:
        """Count by step the answers and failures of another fingerprint, which `take_steps` will drop."""
        dropped = {}
        for step in steps:
            with self._db.guarded():
                row = self._db.execute(
                    "SELECT id FROM steps WHERE name = ? AND fingerprint != ?", (step.name, step.fingerprint)
                ).fetchone()
                if row is not None:
                    done = f"SELECT count(*) FROM items WHERE step = ? AND state {FINISHED}"
                    dropped[step.name] = self._db.one(done, *row)
        return dropped

    def calls(self) -> list[tuple[QuotaKey, int]]:
        """By what they were counted on: calls of this job that the service may have counted."""
        with self._db.guarded():
            rows = self._db.execute("SELECT account, service, day, counted FROM calls ORDER BY 1, 2, 3").fetchall()
        return [(QuotaKey(*charge), counted) for *charge, counted in rows]

    def copy(self, to: sqlite3.Connection) -> None:
        """Put all that is in it into another database."""
        with self._db.guarded():
            self._db.connection.backup(to)


@contextmanager
def reading(directory: Path) -> Iterator[Reader]:
    """Open the journal of an output directory for reading, as it is at this moment.

    One of an earlier version is brought up to date in a temporary copy. Raises JobError where there is none, one of
    a later version, or a link or the like in the place of a file.
    """
    path = directory / JOURNAL
    with translated(path):
        check_directory(directory, writing=False)
    if not os.path.isfile(path):
        raise JobError(
            _("{directory}: holds no {journal}; expected the output directory of a job").format(
                directory=directory, journal=JOURNAL
            )
        )
    with translated(path), ExitStack() as opened:
        db, _version = current_copy(path, opened)
        db.execute("BEGIN")
        yield Reader(Database(path, db))


def copy_journal(directory: Path, to: Path) -> None:
    """Copy a directory's journal, as it is at this moment, into another folder, if there is one.

    Raises JobError where it is of a later version, and where a run would find files in the directory that are not ours.
    """
    path = directory / JOURNAL
    with translated(path):
        check_directory(directory)
        check_unclaimed(directory)
    if not os.path.isfile(path):
        return
    with reading(directory) as journal, closing(sqlite3.connect(to / JOURNAL)) as copy:
        journal.copy(copy)
