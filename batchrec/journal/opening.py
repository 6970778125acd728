"""Opening of a journal for a run: identity, recovery, and the steps and inputs as they are now."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from ..errors import JobError
from ..language import _
from ..values import InputEntry
from .calls import Calls
from .database import Database
from .queue import Queue
from .schema import ANSWERED, ASIDE, FAILED, FINISHED, IGNORED, NOTE_DIGEST, PENDING, numbers

_SCAN_BATCH = 1000  # rows


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step: an answer belongs to its `fingerprint`; `condition` is its `when`, or empty."""

    name: str
    service: str
    fingerprint: str
    condition: str


@dataclass(frozen=True, slots=True)
class Changed:
    """An input whose file is not what it was: to be hashed if the journal knows its digest."""

    image: int
    found: InputEntry
    sha256: bytes | None


def forget(db: Database, where: str, *numbers: int) -> int:
    """Forget what is known, of a step or an image. Returns how many answers and failures those were.

    The rows of the answers stay, as superseded, until there are new ones. Within a transaction.
    """
    db.execute(
        "INSERT OR REPLACE INTO superseded SELECT image, step, at, sha256, start, length "
        f"FROM items JOIN images ON id = image WHERE {where} AND state = {ANSWERED}",
        numbers,
    )
    done = db.one(f"SELECT count(*) FROM items WHERE {where} AND state {FINISHED}", *numbers)
    for table in ("items", "tiles"):
        db.execute(f"DELETE FROM {table} WHERE {where}", numbers)
    return done


class Opening:
    """Bring a journal up to the job file and the inputs.

    Each part may be cut short by a kill and done again.
    """

    def __init__(self, db: Database, calls: Calls, queue: Queue) -> None:
        self._db = db
        self._calls = calls
        self._queue = queue

    def claim_identity(self, identity: Mapping[str, str], comparable: Callable[[str], str] = str) -> None:
        """Make the directory this job's. Raises JobError where it is another's.

        `comparable` gives the form of a stored value in which values are compared: earlier versions kept endpoints as
        they were written. What is stored becomes that form.
        """
        with self._db.transaction():
            for key, value in identity.items():
                stored = self._db.note(key)
                if stored is not None and comparable(str(stored)) != value:
                    raise JobError(
                        _(
                            "{parent}: holds the results of {key} {stored!r}, but this job has {key} {value!r}; "
                            "give it another output.directory"
                        ).format(parent=self._db.path.parent, key=key, stored=stored, value=value)
                    )
                if stored != value:
                    self._db.put_note(key, value)

    def recover(self) -> int:
        """Return to a state without a running process. Returns the number of calls of unknown outcome."""
        with self._db.transaction():
            self._queue.release()
            return self._calls.recover()

    # -- steps

    def take_steps(self, steps: Sequence[StepRecord], *, evaluate_all: bool = False) -> dict[str, int]:
        """Make these the steps. Returns their numbers by name.

        `to_evaluate` then gives those whose condition is to be evaluated anew: all of them with `evaluate_all`.
        """
        with self._db.transaction():
            was_active = {number for (number,) in self._db.execute("SELECT id FROM steps WHERE active = 1")}
            self._db.execute("UPDATE steps SET active = 0")
            anew = self.to_evaluate()
            for step in steps:
                anew |= self._take_step(step, was_active)
            by_name = dict(self._db.execute("SELECT name, id FROM steps WHERE active = 1").fetchall())
            self._db.put_note("judge", numbers(sorted(anew | set(by_name.values()) if evaluate_all else anew)) or None)
        return by_name

    def to_evaluate(self) -> set[int]:
        """The numbers of the steps whose condition is to be evaluated on the stored answers."""
        return {int(number) for number in (self._db.note("judge") or "").split(",") if number}

    def evaluated(self) -> None:
        """Note that the conditions of all steps have been evaluated."""
        with self._db.transaction():
            self._db.put_note("judge", None)

    def _take_step(self, step: StepRecord, was_active: set[int]) -> set[int]:
        """Its number where its condition is to be evaluated anew: also if it was not active before."""
        row = self._db.execute("SELECT id, fingerprint, condition FROM steps WHERE name = ?", (step.name,)).fetchone()
        if row is None:
            cursor = self._db.execute(
                "INSERT INTO steps (name, service, fingerprint, condition, active) VALUES (?, ?, ?, ?, 1)",
                (step.name, step.service, step.fingerprint, step.condition),
            )
            return {int(cursor.lastrowid or 0)}
        number, fingerprint, condition = row
        if fingerprint != step.fingerprint:
            forget(self._db, "step = ?", number)
        if condition != step.condition:
            self._db.execute(f"DELETE FROM items WHERE step = ? AND state = {PENDING}", (number,))
            self._db.execute(f"UPDATE items SET state = {ASIDE} WHERE step = ? AND state = {FAILED}", (number,))
        self._db.execute(
            "UPDATE steps SET service = ?, fingerprint = ?, condition = ?, active = 1 WHERE id = ?",
            (step.service, step.fingerprint, step.condition, number),
        )
        same = (fingerprint, condition) == (step.fingerprint, step.condition) and number in was_active
        return set() if same else {number}

    # -- inputs

    def take_inputs(self, entries: Iterable[InputEntry]) -> Iterator[Changed]:
        """Make these the inputs, in one transaction.

        The iterator gives those whose files changed, untouched yet.
        """
        with self._db.transaction():
            self._db.execute("DROP TABLE IF EXISTS temp.changed")
            self._list(iter(entries))
            self._rank()
            self._place()
            self._db.execute(
                "CREATE TEMP TABLE changed AS SELECT image, ranked.key, ranked.size, ranked.mtime_ns, ranked.problem, "
                "sha256 FROM ranked JOIN images ON id = image WHERE changed"
            )
            self._db.execute("DROP TABLE found")
            self._db.execute("DROP TABLE ranked")
        return self._changes()

    def touch(self, change: Changed, *, same: bool) -> int:
        """Note the new size and time of a changed file; unless its content is the `same`, forget its results.

        Returns how many those were.
        """
        found = change.found
        with self._db.transaction():
            dropped = 0 if same else forget(self._db, "image = ?", change.image)  # while the digest is known
            self._db.execute(
                "UPDATE images SET size = ?, mtime_ns = ?, problem = ?, sha256 = ? WHERE id = ?",
                (found.size, found.mtime_ns, found.problem, change.sha256 if same else None, change.image),
            )
            return dropped

    def note_ignored(self, kinds: Mapping[str, int]) -> None:
        """Note the files in the input folders that are left out, counted by kind."""
        with self._db.transaction():
            self._db.put_note(IGNORED, json.dumps(kinds, ensure_ascii=False, sort_keys=True))

    def urls(self) -> int:
        """Number of inputs that are URLs. No path is one: a path has no two slashes in a row."""
        with self._db.guarded():
            # The ranges are for the index: LIKE, which knows no case, would read all keys.
            return self._db.one(
                "SELECT count(*) FROM images WHERE (key >= 'H' AND key < 'I' OR key >= 'h' AND key < 'i') "
                "AND (key LIKE 'http://%' OR key LIKE 'https://%') AND position IS NOT NULL"
            )

    def undigested(self) -> Iterator[list[tuple[int, str, int, int]]]:
        """Inputs that can be read and whose digest is not known, in batches: number, key, size and time."""
        last = 0
        while True:
            with self._db.guarded():
                rows = self._db.execute(
                    "SELECT id, key, size, mtime_ns FROM images WHERE id > ? AND sha256 IS NULL AND problem IS NULL "
                    "AND position IS NOT NULL ORDER BY id LIMIT ?",
                    (last, _SCAN_BATCH),
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield rows

    def note_digests(self, digests: Mapping[int, bytes]) -> None:
        """Note by image what its file holds, where that is not known."""
        with self._db.transaction():
            self._db.executemany(NOTE_DIGEST, ((sha256, image) for image, sha256 in digests.items()))

    def _list(self, entries: Iterator[InputEntry]) -> None:
        """Put the inputs into a temporary table; of a key that comes twice, the first."""
        self._db.execute(
            "CREATE TEMP TABLE found (key TEXT PRIMARY KEY, source INTEGER, position INTEGER, size INTEGER, "
            "mtime_ns INTEGER, problem TEXT) WITHOUT ROWID"
        )
        while batch := list(islice(entries, _SCAN_BATCH)):
            self._db.executemany("INSERT OR IGNORE INTO found VALUES (?, ?, ?, ?, ?, ?)", batch)

    def _rank(self) -> None:
        """Order the inputs, beside the images that are known; an input's rank is the number of its row."""
        # Within one folder only the key is left to sort by, as the table is.
        several = self._db.one("SELECT EXISTS (SELECT 1 FROM found WHERE source > 0 OR position > 0)")
        self._db.execute(
            "CREATE TEMP TABLE ranked AS SELECT f.key, f.size, f.mtime_ns, f.problem, images.id AS image, "
            "images.position AS was, "
            "images.size != f.size OR images.mtime_ns != f.mtime_ns OR images.problem IS NOT f.problem AS changed "
            "FROM found f LEFT JOIN images ON images.key = f.key "
            f"ORDER BY {'source, f.position, f.key' if several else 'f.key'}"
        )

    def _place(self) -> None:
        """Add new images, give each input its rank as its position, and take it from those that are gone."""
        self._db.execute(
            "INSERT INTO images (key, size, mtime_ns, problem, position) "
            "SELECT key, size, mtime_ns, problem, rowid FROM ranked WHERE image IS NULL ORDER BY rowid"
        )
        self._db.execute(
            "UPDATE images SET position = ranked.rowid FROM ranked "
            "WHERE ranked.image = images.id AND ranked.was IS NOT ranked.rowid"
        )
        placed = self._db.one("SELECT count(*) FROM images WHERE position IS NOT NULL")
        if placed > self._db.one("SELECT count(*) FROM ranked"):
            self._db.execute(
                "UPDATE images SET position = NULL WHERE position IS NOT NULL AND key NOT IN (SELECT key FROM found)"
            )

    def _changes(self) -> Iterator[Changed]:
        last = 0
        while True:
            with self._db.guarded():
                rows = self._db.execute(
                    "SELECT rowid, * FROM changed WHERE rowid > ? ORDER BY rowid LIMIT ?", (last, _SCAN_BATCH)
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            for _row, image, key, size, mtime_ns, problem, sha256 in rows:
                yield Changed(image, InputEntry(key, 0, 0, size, mtime_ns, problem), sha256)
