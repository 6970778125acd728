"""Overview of a job: failures by code, images that have failed, images on the lists."""

from .database import Database
from .schema import ANSWERED, FAILED, SUPERSEDED_NOW, UNFINISHED

FAILED_NOW = (
    "items i JOIN images m ON m.id = i.image JOIN steps s ON s.id = i.step "
    f"WHERE i.state = {FAILED} AND m.position IS NOT NULL AND s.active = 1"
)
"""Items that are failed now, with their images and steps, as tables and condition of a query."""


class Overview:
    """Counts for a person, over one database. Raises OutputFailed where it is broken."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def answered(self) -> int:
        """Number of results that count now, superseded ones too that have no successor yet."""
        with self._db.guarded():
            return self.current() + self.superseded()

    def current(self) -> int:
        """Number of results that are not superseded."""
        with self._db.guarded():
            return self._db.one(f"SELECT count(*) FROM items WHERE state = {ANSWERED}")

    def superseded(self) -> int:
        """Number of superseded results that have no successor yet."""
        with self._db.guarded():
            return self._db.one(f"SELECT count(*) FROM {SUPERSEDED_NOW}")

    def failed(self) -> int:
        """Number of failures that count now."""
        with self._db.guarded():
            return self._db.one(f"SELECT count(*) FROM {FAILED_NOW}")

    def failed_images(self) -> int:
        """Number of images that have failed at a step, and do not remain at another."""
        with self._db.guarded():
            return self._db.one(
                f"SELECT count(DISTINCT i.image) FROM {FAILED_NOW} AND NOT EXISTS (SELECT 1 FROM items o JOIN steps t "
                f"ON t.id = o.step AND t.active = 1 WHERE o.image = i.image AND o.state {UNFINISHED})"
            )

    def failure_groups(self) -> list[tuple[int | str, str, str, int]]:
        """Code, kind, message and number of images of what is failed now, the most frequent codes first.

        The message is empty where it is not the same for all of a code.
        """
        with self._db.guarded():
            return self._db.execute(
                f"SELECT code, min(kind), CASE WHEN min(message) = max(message) THEN min(message) ELSE '' END, "
                f"count(DISTINCT i.image) FROM {FAILED_NOW} GROUP BY code "
                "ORDER BY 4 DESC, 1"
            ).fetchall()

    def failed_at(self, code: int | str, most: int) -> list[str]:
        """The first images, in input order, that failed with a code."""
        with self._db.guarded():
            rows = self._db.execute(
                f"SELECT m.key FROM {FAILED_NOW} AND code = ? GROUP BY m.id ORDER BY m.position LIMIT ?", (code, most)
            ).fetchall()
        return [key for (key,) in rows]

    def listed_up_to(self, horizon: int) -> dict[int, int]:
        """By a step's number: images that remain, of the inputs up to a position."""
        with self._db.guarded():
            return dict(
                self._db.execute(
                    f"SELECT step, count(*) FROM items WHERE state {UNFINISHED} AND position <= ? GROUP BY step",
                    (horizon,),
                ).fetchall()
            )
