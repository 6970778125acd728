"""Endings: finished images and steps by the names of the images, or by a content."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..values import Row
from .database import Database
from .schema import ANSWERED, FINISHED, SUPERSEDED_NOW

_ENDINGS = f"""
SELECT m.id, m.key, m.sha256, s.name, s.service, i.start, i.length, i.old, i.kind, i.code, i.message, i.attempts, i.at
FROM (SELECT image, step, state, start, length, 0 AS old, kind, code, message, attempts, at FROM items
      WHERE state {FINISHED}
      UNION ALL SELECT o.image, o.step, {ANSWERED}, o.start, o.length, 1, NULL, NULL, NULL, NULL, NULL
      FROM {SUPERSEDED_NOW}) i
JOIN images m ON m.id = i.image JOIN steps s ON s.id = i.step
WHERE (i.state = {ANSWERED} OR (m.position IS NOT NULL AND s.active = 1))
"""
"""Rows and failures that count now; a condition and an order may follow."""


_OF_CONTENT = f"""
SELECT m.id, m.key, m.sha256, s.name, s.service, i.start, i.length, 0, i.kind, i.code, i.message, i.attempts, i.at
FROM images m INDEXED BY images_by_content CROSS JOIN items i ON i.image = m.id JOIN steps s ON s.id = i.step
WHERE m.sha256 = ? AND i.state {FINISHED}
AND (i.state = {ANSWERED} OR (m.position IS NOT NULL AND s.active = 1)) ORDER BY m.key, s.id
"""


class Ending(NamedTuple):
    """A finished image and step: the place of its row in results.jsonl, or its failure.

    `failure` is as failures.jsonl has it. `sha256` is of the file as it was looked at last; None where its bytes were
    never read. `superseded`: the row is of earlier bytes or options, and the image is called for again.
    """

    number: int
    image: str
    sha256: bytes | None
    step: str
    start: int
    length: int
    superseded: bool
    failure: Row | None


def _ending(
    number: int,
    image: str,
    sha256: bytes | None,
    step: str,
    service: str,
    start: int,
    length: int,
    old: int,
    *failed: Any,
) -> Ending:
    failure = None
    if failed[0] is not None:
        names = ("kind", "code", "message", "attempts", "failed_at")
        failure = {"image": image, "step": step, "service": service, **dict(zip(names, failed, strict=True))}
    return Ending(number, image, sha256, step, start or 0, length or 0, bool(old), failure)


class Endings:
    """Queries of finished images and steps, over one database. Raises OutputFailed where it is broken."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def all(self) -> Iterator[Ending]:
        """Rows and failures that count now, by the names of the images; those of one image follow each other."""
        for row in self._db.streamed(_ENDINGS + "ORDER BY m.key, s.id"):
            yield _ending(*row)

    def of(self, sha256: bytes) -> list[Ending]:
        """Rows and failures that count now of the images with these bytes, by their names."""
        with self._db.guarded():
            rows = self._db.execute(_OF_CONTENT, (sha256,)).fetchall()
        return [_ending(*row) for row in rows]

    def contents(self) -> Iterator[tuple[int, str, bytes]]:
        """Number, key and digest of the images with a row or a failure, by their names; read ones alone."""
        yield from self._db.streamed(
            "SELECT id, key, sha256 FROM images m WHERE sha256 IS NOT NULL AND (EXISTS "
            f"(SELECT 1 FROM items WHERE image = m.id AND state {FINISHED}) OR EXISTS "
            "(SELECT 1 FROM superseded WHERE image = m.id)) ORDER BY key"
        )
