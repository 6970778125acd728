"""Answers of tiles, each noted as soon as it is there: a restart sends only those that are missing.

They are kept until the row of their image is committed. A failure leaves them, for when the image is sent again.
"""

from typing import Any, NamedTuple

from ..exact_json import dumps, loads
from ..redact import may_hold_secret, redact_json
from ..values import Task
from .calls import Calls
from .database import Database


class TileAnswer(NamedTuple):
    """The service's reply for a tile (its JSON), the attempts and the milliseconds."""

    reply: dict[str, Any]
    attempts: int
    latency_ms: float


class Tiles:
    """Answers of the tiles of images that are not finished."""

    def __init__(self, db: Database, calls: Calls) -> None:
        self._db = db
        self._calls = calls

    def put(self, task: Task, number: int, digest: bytes, answer: TileAnswer) -> None:
        """Note the answer of a tile, whose bytes as they were sent have that SHA-256. Ends its call.

        Secrets that the service repeats in its reply are masked.
        """
        text = dumps(answer.reply)
        if may_hold_secret(text):
            text = redact_json(text)
        with self._db.transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?, ?, ?, ?)",
                (task.image, task.step, number, digest, answer.attempts, answer.latency_ms, text),
            )
            self._calls.end(1)

    def answer(self, task: Task, number: int, digest: bytes) -> TileAnswer | None:
        """The answer of a tile with these bytes, of this image or of a copy; None if there is none yet."""
        with self._db.guarded():
            row = self._db.execute(
                "SELECT reply, attempts, latency_ms FROM tiles WHERE digest = ? AND step = ? AND tile = ? LIMIT 1",
                (digest, task.step, number),
            ).fetchone()
        return None if row is None else TileAnswer(loads(row[0]), row[1], row[2])

    def count(self, image: int, step: int) -> int:
        """Number of tiles of an image that are answered at a step."""
        with self._db.guarded():
            return self._db.one("SELECT count(*) FROM tiles WHERE image = ? AND step = ?", image, step)
