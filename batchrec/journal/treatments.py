"""Comparison of finished images with the treatment of their step.

An answer belongs to what the treatment changes of its image. The text of that change, the variant, is noted with it.
Where the treatment of a step is another one than in its last run, all that is finished there is marked as unchecked;
each image is then read and compared, and stays or is forgotten. A kill in between does no harm: what is unchecked stays
marked, and serves no copy.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .database import Database
from .opening import forget
from .schema import ANSWERED, ASIDE, FAILED, IS_UNCHECKED, PENDING, UNCHECKED, UNFINISHED, numbers

_BATCH = 500  # images


@dataclass(frozen=True, slots=True)
class Item:
    """An input that is finished at a step: its file as it was listed, and the variant that is noted."""

    image: int
    key: str
    size: int
    mtime_ns: int
    sha256: bytes | None
    problem: str | None
    variant: str


class Treatments:
    """Treatments of the steps, and variants of what is finished."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def of_step(self, step: int) -> str | None:
        """The treatment of a step in its last run; None without one, or where an earlier version made it."""
        with self._db.guarded():
            (treatment,) = self._db.execute("SELECT treatment FROM steps WHERE id = ?", (step,)).fetchone()
        return None if treatment is None else str(treatment)

    def begin(self, step: int) -> None:
        """Mark what is finished at a step as unchecked, and forget the variants of what is not.

        Answers of earlier versions have no variant, and stay.
        """
        with self._db.transaction():
            self._db.execute(f"UPDATE items SET variant = NULL WHERE step = ? AND state {UNFINISHED}", (step,))
            self._db.execute(
                f"UPDATE items AS i SET variant = '{UNCHECKED}' || coalesce(variant, '') WHERE step = ? "
                f"AND NOT state {UNFINISHED} AND (variant IS NOT NULL AND NOT {IS_UNCHECKED} "
                f"OR variant IS NULL AND state != {ANSWERED})",
                (step,),
            )
            self._db.put_note("unchecked", 1)

    def unchecked(self, step: int) -> Iterator[list[Item]]:
        """The inputs at a step whose variant is to be compared with its treatment, in batches."""
        if self._db.note("unchecked"):
            yield from self._items(step, IS_UNCHECKED)

    def untold(self, step: int) -> Iterator[list[Item]]:
        """The inputs at a step that an earlier version answered without noting a variant, in batches."""
        yield from self._items(step, f"i.state = {ANSWERED} AND i.variant IS NULL")

    def settle(self, step: int, kept: Mapping[int, str], gone: Sequence[int], after: Sequence[int]) -> int:
        """Note the variants of finished images, and forget others, to be sent again.

        At the steps `after`, which follow on the step's labels, these images are not on the lists any more. Returns how
        many answers and failures are forgotten.
        """
        with self._db.transaction():
            self._db.executemany(
                "UPDATE items SET variant = ? WHERE image = ? AND step = ?",
                ((variant, image, step) for image, variant in kept.items()),
            )
            for image in gone:
                self._db.execute(
                    f"DELETE FROM items WHERE image = ? AND step IN ({numbers(after)}) AND state = {PENDING}", (image,)
                )
                self._db.execute(
                    f"UPDATE items SET state = {ASIDE} WHERE image = ? AND step IN ({numbers(after)}) "
                    f"AND state = {FAILED}",
                    (image,),
                )
            return sum(forget(self._db, "image = ? AND step = ?", image, step) for image in gone)

    def end(self, treatments: Mapping[int, str]) -> None:
        """Note by step the treatment with which its results agree now, but for those that are still unchecked."""
        with self._db.transaction():
            self._db.executemany(
                "UPDATE steps SET treatment = ? WHERE id = ?",
                ((treatment, step) for step, treatment in treatments.items()),
            )
            if self._db.note("unchecked"):
                left = self._db.one(f"SELECT EXISTS (SELECT 1 FROM items i WHERE {IS_UNCHECKED})")
                self._db.put_note("unchecked", left or None)

    def _items(self, step: int, condition: str) -> Iterator[list[Item]]:
        last = 0
        while True:
            with self._db.guarded():
                rows = self._db.execute(
                    f"SELECT i.image, m.key, m.size, m.mtime_ns, m.sha256, m.problem, ltrim(i.variant, '{UNCHECKED}') "
                    f"FROM items i JOIN images m ON m.id = i.image WHERE i.step = ? AND i.image > ? AND {condition} "
                    "AND m.position IS NOT NULL ORDER BY i.image LIMIT ?",
                    (step, last, _BATCH),
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield [Item(*row) for row in rows]
