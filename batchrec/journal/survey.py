"""Survey of the remaining images for `plan`: verdicts of the preparation, repeated contents.

It is made in a copy of the journal and kept in temporary tables: nothing of it is stored.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .database import Database
from .schema import NOTE_DIGEST, UNFINISHED, numbers

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


class Survey:
    """Verdicts on the remaining images, by number. `begin_looking` comes first."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def begin_looking(self) -> int:
        """Make room for the verdicts. Returns how many images remain."""
        with self._db.transaction():
            self._db.execute("CREATE TEMP TABLE looked (image INTEGER PRIMARY KEY, sha256 BLOB, words TEXT)")
            self._db.execute(
                "CREATE TEMP TABLE kinds (step INTEGER, sha256 BLOB, PRIMARY KEY (step, sha256)) WITHOUT ROWID"
            )
            return self._db.one(f"SELECT count(DISTINCT image) {_REMAINING}")

    def pending(self) -> Iterator[Pending]:
        """The images that remain at any step, in no order."""
        for row in self._db.streamed(
            f"SELECT id, key, size, mtime_ns, sha256, problem FROM images WHERE id IN (SELECT image {_REMAINING})"
        ):
            yield Pending(*row)

    def looked_at(self, seen: Iterable[tuple[int, bytes | None, Sequence[str]]]) -> None:
        """Note digest and verdicts (words without spaces) of images, by number."""
        rows = list(seen)
        with self._db.transaction():
            self._db.executemany(
                "INSERT INTO looked VALUES (?, ?, ?)",
                ((image, sha256, " ".join(words)) for image, sha256, words in rows),
            )
            self._db.executemany(NOTE_DIGEST, ((sha256, image) for image, sha256, _ in rows if sha256 is not None))

    def looked(self, step: int, also: Sequence[int] = ()) -> Iterator[tuple[int, bytes, list[str], int]]:
        """Number, digest, verdicts and size of the readable images that remain at a step, and of some others."""
        with self._db.guarded():
            for image, sha256, words, size in self._db.execute(
                "SELECT image, looked.sha256, words, size FROM looked JOIN images ON id = image "
                "WHERE looked.sha256 IS NOT NULL AND (image IN "
                f"(SELECT image FROM items WHERE step = ? AND state {UNFINISHED}) OR image IN ({numbers(also)}))",
                (step,),
            ):
                yield image, sha256, words.split(" "), size

    def first_of_its_kind(self, step: int, sha256: bytes) -> bool:
        """Whether this content is met at this step for the first time."""
        with self._db.guarded():
            return self._db.execute("INSERT OR IGNORE INTO kinds VALUES (?, ?)", (step, sha256)).rowcount > 0
