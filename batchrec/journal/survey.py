"""Survey of the remaining images for `plan`: verdicts of the preparation, repeated contents.

It is made in a copy of the journal and kept in a temporary table: nothing of it is stored. Contents are put together
by SQLite, since a statement for each image costs more than all else about it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .database import Database
from .schema import FINISHED, UNFINISHED, numbers

_REMAINING = (
    f"FROM items JOIN steps ON steps.id = step AND active = 1 WHERE state {UNFINISHED} AND position IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class Pending:
    """An input that remains, as it was listed: `size` in bytes, `mtime_ns` in nanoseconds."""

    number: int
    key: str
    size: int
    mtime_ns: int
    sha256: bytes | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """A content that remains at a step: its first image, the number of images with it, verdicts, bytes.

    `finished`: it may have a result or a failure at this step already, of another image.
    """

    image: int
    copies: int
    sha256: bytes
    words: list[str]
    size: int
    finished: bool


class Survey:
    """Verdicts on the remaining images, by number. `begin_looking` comes first."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def begin_looking(self) -> int:
        """Make room for the verdicts. Returns how many images remain."""
        with self._db.transaction():
            self._db.execute("CREATE TEMP TABLE looked (image INTEGER PRIMARY KEY, sha256 BLOB, words TEXT)")
            return self._db.one(f"SELECT count(DISTINCT image) {_REMAINING}")

    def pending(self) -> Iterator[Pending]:
        """The images that remain at any step, in no order."""
        for row in self._db.streamed(
            f"SELECT id, key, size, mtime_ns, sha256, problem FROM images WHERE id IN (SELECT image {_REMAINING})"
        ):
            yield Pending(*row)

    def looked_at(self, seen: Iterable[tuple[int, bytes | None, Sequence[str]]]) -> None:
        """Note digest and verdicts (words without spaces) of images, by number."""
        with self._db.transaction():
            self._db.executemany(
                "INSERT INTO looked VALUES (?, ?, ?)",
                ((image, sha256, " ".join(words)) for image, sha256, words in seen),
            )

    def contents(self, step: int, also: Sequence[int] = ()) -> Iterator[Content]:
        """The contents of the readable images that remain at a step, and of some others."""
        with self._db.guarded():
            # Of a group SQLite takes words and size from the row with the least image.
            for image, copies, sha256, words, size, finished in self._db.execute(
                "SELECT min(image), count(*), sha256, words, "
                "(SELECT size FROM images WHERE id = looked.image), EXISTS (SELECT 1 FROM images m JOIN items i "
                f"ON i.image = m.id AND i.step = ?1 WHERE m.sha256 = looked.sha256 AND i.state {FINISHED}) "
                "FROM looked WHERE sha256 IS NOT NULL AND (image IN "
                f"(SELECT image FROM items WHERE step = ?1 AND state {UNFINISHED}) OR image IN ({numbers(also)})) "
                "GROUP BY sha256",
                (step,),
            ):
                yield Content(image, copies, sha256, words.split(" "), size, bool(finished))

    def duplicates(self) -> int:
        """Number of inputs with the same content as another one: by the journal, else as it was looked at."""
        with self._db.guarded():
            return self._db.one(
                "SELECT count(sha256) - count(DISTINCT sha256) FROM (SELECT coalesce(m.sha256, l.sha256) AS sha256 "
                "FROM images m LEFT JOIN looked l ON l.image = m.id WHERE m.position IS NOT NULL)"
            )
