"""Lists of a job: the images that remain at each step, in input order, and who has taken them off."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from ..values import Kind, Task
from .database import Database
from .schema import ANSWERED, CLAIMED, FAILED, NOTE_DIGEST, PARKED, PENDING, UNFINISHED, UNLESS_LISTED, numbers

EVERYTHING = 2**62
"""Horizon of a run without a limit: a position beyond every input."""

_BATCH = 1_000  # images that are read at once

_TASKS = (
    "SELECT i.image, i.step, m.key, i.position, m.size, m.sha256, m.problem, m.mtime_ns, i.variant, i.message "
    "FROM items i "
)
_FIRST_PENDING = (
    f"{_TASKS}JOIN images m ON m.id = i.image WHERE i.step = ? AND i.state = {PENDING} AND i.position <= ? "
    "ORDER BY i.position LIMIT ?"
)


class Queue:
    """The lists of the steps.

    An image is pending, claimed, or a copy that is parked until its leader is finished.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    # -- filling

    def fill(self, steps: Iterable[int]) -> None:
        """Put every input that a step has not seen on its list, and the lists into the order of the inputs."""
        with self._db.transaction():
            for step in steps:
                self._db.execute(
                    "INSERT INTO items (image, step, state, position) "
                    f"SELECT id, ?, {PENDING}, position FROM images WHERE position IS NOT NULL {UNLESS_LISTED}",
                    (step,),
                )
            self._db.execute(
                "UPDATE items SET position = images.position FROM images "
                f"WHERE images.id = items.image AND state = {PENDING} AND items.position IS NOT images.position"
            )

    def follow_up(self, image_key: str, steps: Iterable[int]) -> None:
        """Put an image on the lists of steps whose conditions its answer fulfils."""
        with self._db.transaction():
            for step in steps:
                self._db.execute(
                    "INSERT INTO items (image, step, state, position) "
                    f"SELECT id, ?, {PENDING}, position FROM images WHERE key = ? {UNLESS_LISTED}",
                    (step, image_key),
                )

    def retry(self, steps: Iterable[int], kinds: Sequence[str] | None) -> int:
        """Put what has failed back on the lists, all or of some kinds. Returns how many."""
        chosen = "" if kinds is None else f" AND kind IN ({', '.join('?' * len(kinds))})"
        again = 0
        with self._db.transaction():
            for step in steps:
                again += self._db.execute(
                    f"UPDATE items SET state = {PENDING}, position = images.position FROM images "
                    "WHERE images.id = image AND images.position IS NOT NULL "
                    f"AND step = ? AND state = {FAILED}{chosen}",
                    (step, *(kinds or ())),
                ).rowcount
        return again

    def refused(self, steps: Sequence[int]) -> Iterator[list[tuple[int, str]]]:
        """Images that failed by their own fault at these steps and have no result, in batches: number and key."""
        last = 0
        while True:
            with self._db.guarded():
                batch = self._db.execute(
                    "SELECT DISTINCT m.id, m.key FROM items i JOIN images m ON m.id = i.image WHERE m.id > ? "
                    f"AND i.step IN ({numbers(steps)}) AND i.state = {FAILED} AND i.kind = '{Kind.IMAGE}' "
                    f"AND NOT EXISTS (SELECT 1 FROM items o WHERE o.image = m.id AND o.state = {ANSWERED}) "
                    "ORDER BY m.id LIMIT ?",
                    (last, _BATCH),
                ).fetchall()
            if not batch:
                return
            yield batch
            last = batch[-1][0]

    def forget_contents(self, images: Iterable[int]) -> None:
        """Forget the digests of images whose bytes are brought anew.

        Under the old ones the failure of a copy would be taken for theirs.
        """
        with self._db.transaction():
            self._db.executemany("UPDATE images SET sha256 = NULL WHERE id = ?", ((image,) for image in images))

    def retry_reads(self, steps: Iterable[int], may_pass: Callable[[str], bool]) -> int:
        """Put inputs that could not be read back on the lists, since nothing was sent. Returns how many.

        Earlier versions noted them as `image`, `unreadable`: of these, the ones whose message `may_pass`.
        """
        earlier = f"state = {FAILED} AND kind = '{Kind.IMAGE}' AND code = 'unreadable'"
        with self._db.transaction():
            messages = self._db.execute(f"SELECT DISTINCT message FROM items WHERE {earlier}").fetchall()
            self._db.executemany(
                f"UPDATE items SET kind = '{Kind.READ}' WHERE {earlier} AND message = ?",
                [(message,) for (message,) in messages if may_pass(message)],
            )
        return self.retry(steps, (Kind.READ, Kind.FETCH))

    def release(self) -> None:
        """Put what a killed run had claimed or parked back on the lists. Within a transaction."""
        self._db.execute(f"UPDATE items SET state = {PENDING}, leader = NULL WHERE state IN ({CLAIMED}, {PARKED})")

    # -- what remains

    def horizon(self, steps: Sequence[int], images: int | None) -> int:
        """The position of the last input that a run limited to so many remaining images may touch."""
        if images is None:
            return EVERYTHING
        with self._db.guarded():
            (last,) = self._db.execute(
                f"SELECT max(position) FROM (SELECT DISTINCT position FROM items WHERE state = {PENDING} AND position "
                f"IS NOT NULL AND step IN ({numbers(steps)}) ORDER BY position LIMIT ?)",
                (images,),
            ).fetchone()
        return last or 0

    def unfinished(self, steps: Sequence[int], horizon: int, *, unclaimed: bool = False) -> bool:
        """Whether any image is pending, claimed or parked at these steps; `unclaimed`: pending."""
        if not steps:
            return False
        states = f"= {PENDING}" if unclaimed else UNFINISHED
        with self._db.guarded():
            row = self._db.execute(
                f"SELECT 1 FROM items WHERE step IN ({numbers(steps)}) AND state {states} AND position <= ? LIMIT 1",
                (horizon,),
            ).fetchone()
        return row is not None

    def answered(self, steps: Sequence[int]) -> bool:
        """Whether any image was ever answered at one of these steps."""
        with self._db.guarded():
            row = self._db.execute(
                f"SELECT 1 FROM items WHERE step IN ({numbers(steps)}) AND state = {ANSWERED} LIMIT 1"
            ).fetchone()
        return row is not None

    # -- claims

    def claim(self, steps: Sequence[int], horizon: int, count: int) -> list[Task]:
        """Take at most `count` images off the lists of the steps, in input order."""
        with self._db.transaction():
            # Step by step, each in the order of its index: all steps in one query would sort their whole lists.
            found = [Task(*row) for step in steps for row in self._db.execute(_FIRST_PENDING, (step, horizon, count))]
            tasks = sorted(found, key=lambda task: task.position)[:count]
            self._db.executemany(
                f"UPDATE items SET state = {CLAIMED} WHERE step = ? AND state = {PENDING} AND position <= ?",
                {task.step: task.position for task in tasks}.items(),  # the last of each step, since they are in order
            )
        return tasks

    def unfinished_task(self, image_key: str, step: int) -> Task | None:
        """An image that remains at a step, on the list or taken off it; None where it does not."""
        with self._db.guarded():
            row = self._db.execute(
                f"{_TASKS}JOIN images m ON m.id = i.image WHERE m.key = ? AND i.step = ? AND i.state {UNFINISHED}",
                (image_key, step),
            ).fetchone()
        return None if row is None else Task(*row)

    def restrict(self, tasks: Iterable[tuple[str, int]]) -> None:
        """Make these images, by key, and steps all that is on the lists."""
        with self._db.transaction():
            self._db.execute(f"DELETE FROM items WHERE state = {PENDING}")
            self._db.executemany(
                "INSERT INTO items (image, step, state, position) "
                f"SELECT id, ?2, {PENDING}, position FROM images WHERE key = ?1",
                tasks,
            )

    def saw(self, task: Task, sha256: bytes) -> None:
        """Note digest and variant of a file for which no call can be made now, so that the next run has them."""
        with self._db.transaction():
            self._db.execute(NOTE_DIGEST, (sha256, task.image))
            self._db.execute(
                "UPDATE items SET variant = ? WHERE image = ? AND step = ?", (task.variant, task.image, task.step)
            )

    def park(self, task: Task, sha256: bytes | None, leader: int) -> None:
        """Set a copy aside until the image whose call is under way is finished. `sha256` None: of a URL."""
        with self._db.transaction():
            if sha256 is not None:
                self._db.execute(NOTE_DIGEST, (sha256, task.image))
            self._db.execute(
                f"UPDATE items SET state = {PARKED}, leader = ? WHERE image = ? AND step = ?",
                (leader, task.image, task.step),
            )

    def hand_over(self, step: int, leader: int) -> int | None:
        """Put one copy back on the list, to lead the others that stay parked.

        Returns it; None where there is none.
        """
        with self._db.transaction():
            row = self._db.execute(
                f"SELECT image FROM items WHERE step = ? AND leader = ? AND state = {PARKED} ORDER BY image LIMIT 1",
                (step, leader),
            ).fetchone()
            if row is None:
                return None
            self._db.execute(
                f"UPDATE items SET state = {PENDING}, leader = NULL WHERE image = ? AND step = ?", (row[0], step)
            )
        return int(row[0])

    def unpark(self, step: int, leader: int) -> None:
        """Put the copies of an image that is finished back on the list."""
        with self._db.transaction():
            self._db.execute(
                f"UPDATE items SET state = {PENDING}, leader = NULL WHERE step = ? AND leader = ? AND state = {PARKED}",
                (step, leader),
            )
