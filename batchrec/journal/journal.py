"""What is finished, exactly: one SQLite file per output directory.

Two clocks of durability. What is finished is committed in groups, after the result files are on the disk, and then
synced. Calls are counted before they leave, without a sync: that must survive a SIGKILL, not a power cut. SQLite would
hold its lock during the sync of a commit and a call would wait for the disk; so the connection runs with
`synchronous = NORMAL`, and `sync` does to the write-ahead log, outside of any lock, what FULL would do inside.

A power cut may take counts with it, so a bound of them is kept on the disk: no call leaves beyond it, every group
commit moves it ahead, and what a later boot of the machine finds missing below it counts as sent.

One connection, one lock: methods may be called from the event loop and from one thread beside it.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import JobError
from ..state.bloom import BloomFilter
from ..state.durable import boot_id, sync_file
from ..state.output_directory import JOURNAL, open_own
from ..values import Failure, InputEntry, Kind, QuotaKey, Row, Task
from .reader import Reader, connect, current_copy, translated
from .schema import Changed, Finished, Known, Pending, State, StepRecord

_LEAST_AHEAD, _MOST_AHEAD = 8, 512
"""Calls by which the bound is moved ahead: twice those since the last sync, and as many too many may be told after a
power cut."""

_CHECKPOINT_BYTES = 4 * 1024 * 1024
_CACHE_KIBIBYTES = 4 * 1024
_SCAN_BATCH = 1000
_LEARNT_AT_ONCE = 20_000  # some 20 ms, of a thread


class Journal(Reader):
    """The journal of one output directory. Raises OutputFailed where the file cannot be written."""

    _done = "written"

    def __init__(self, directory: Path, boot: str | None = None) -> None:
        path = directory / JOURNAL
        with translated(path, self._done), ExitStack() as opened:
            # Judged before anything could change it: a connection that may write would finish another program's log.
            script = _script(path)
            db = opened.enter_context(closing(connect(path)))
            super().__init__(path, db)
            if not path.stat().st_size:
                db.execute("PRAGMA journal_mode = OFF")  # so that a kill leaves no rollback journal
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA wal_autocheckpoint = 0")
            # Without it a log that was long once stays long, and every commit would be checkpointed.
            db.execute(f"PRAGMA journal_size_limit = {_CHECKPOINT_BYTES}")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
            db.executescript(script)
            self._checkpointer = opened.enter_context(closing(connect(path)))
            self._looker = opened.enter_context(closing(connect(path)))
            self._wal = open_own(f"{path}-wal", os.O_RDONLY | os.O_CREAT)
            opened.callback(os.close, self._wal)
            self._made = self._made_at_sync = self._one("SELECT coalesce(sum(made), 0) FROM calls")
            self._bound = self._noted_bound = self._next_bound = int(self.note("bound") or 0)
            self._opened = opened.pop_all()
        self._boot = boot_id() if boot is None else boot
        self._contents, self._learnt = BloomFilter(), 0

    def close(self) -> None:
        """Let go of the file."""
        with self._guarded():
            self._opened.close()

    # -- identity and notes

    def claim_identity(self, identity: Mapping[str, str]) -> None:
        """Make the directory this job's. Raises JobError where it is another's."""
        with self._transaction():
            for key, value in identity.items():
                stored = self.note(key)
                if stored is None:
                    self._put_note(key, value)
                elif stored != value:
                    raise JobError(
                        f"{self.path.parent}: holds the results of {key} {stored!r}, but this job has {key} "
                        f"{value!r}; give it another output.directory"
                    )

    def put_note(self, key: str, value: object) -> None:
        """Keep a value under a word; None forgets it."""
        with self._transaction():
            self._put_note(key, value)

    @property
    def concluded(self) -> bool:
        """Whether the last run came to its end."""
        return self._bound <= self._made

    @property
    def another_boot(self) -> bool:
        """Whether the machine was started anew since the last opening, so that calls may be missing in the counts."""
        return self.note("boot") not in (None, self._boot)

    # -- opening: recovery, steps, inputs

    def recover(self) -> int:
        """Return to a state without a running process. The number of calls that were sent and never finished.

        Where the machine was started anew since, that is an upper bound, as `at_most` says. They are told by every
        opening until a run comes to its end.
        """
        with self._transaction():
            unknown = self._made - self._one("SELECT value FROM meta WHERE key = 'ended'")
            if self.another_boot and self._bound > self._made:
                unknown += self._bound - self._made
                self._put_note("at_most", 1)
            self._put_note("ended", self._made)
            self._db.execute("UPDATE items SET state = 0, leader = NULL WHERE state IN (1, 2)")
            untold = (self.note("untold") or 0) + unknown
            self._put_note("untold", untold or None)
            self._put_note("boot", self._boot)
            self._put_note("bound", self._made)
            self._bound = self._next_bound = self._made
        return int(untold)

    @property
    def at_most(self) -> bool:
        """Whether there may have been fewer calls of unknown outcome than `recover` has counted."""
        return bool(self.note("at_most"))

    def conclude(self, stamps: str) -> None:
        """A run has come to its end: no call is under way, and the files look like this."""
        with self._transaction():
            self._put_note("bound", self._made)
            self._put_note("untold", None)
            self._put_note("at_most", None)
            self._put_note("stamps", stamps)

    def take_steps(self, steps: Sequence[StepRecord], *, judge_all: bool = False) -> dict[str, int]:
        """Make these the steps. Their numbers by name; `to_judge` has those whose condition is to be judged anew."""
        with self._transaction():
            was_active = {number for (number,) in self._db.execute("SELECT id FROM steps WHERE active = 1")}
            self._db.execute("UPDATE steps SET active = 0")
            judge = self.to_judge()
            for step in steps:
                judge |= self._take_step(step, was_active)
            numbers = dict(self._db.execute("SELECT name, id FROM steps WHERE active = 1").fetchall())
            self._put_note("judge", _numbers(sorted(judge | set(numbers.values()) if judge_all else judge)) or None)
        return numbers

    def outdated(self, steps: Sequence[StepRecord]) -> dict[str, int]:
        """Answers and failures that `take_steps` will drop, since their step asks something else: how many, by step."""
        dropped = {}
        for step in steps:
            with self._guarded():
                row = self._db.execute(
                    "SELECT id FROM steps WHERE name = ? AND fingerprint != ?", (step.name, step.fingerprint)
                ).fetchone()
                if row is not None:
                    done = "SELECT count(*) FROM items WHERE step = ? AND state IN (3, 4)"
                    dropped[step.name] = self._one(done, *row)
        return dropped

    def to_judge(self) -> set[int]:
        """The numbers of the steps whose condition is to be judged on the stored answers."""
        return {int(number) for number in (self.note("judge") or "").split(",") if number}

    def judged(self) -> None:
        """The conditions of all steps have been judged."""
        self.put_note("judge", None)

    def take_inputs(self, entries: Iterable[InputEntry]) -> Iterator[Changed]:
        """Make these the inputs, in one transaction. The iterator gives those whose files changed, untouched yet."""
        with self._transaction():
            self._db.execute("DROP TABLE IF EXISTS temp.changed")
            self._db.execute(
                "CREATE TEMP TABLE found (key TEXT PRIMARY KEY, source INTEGER, position INTEGER, size INTEGER, "
                "mtime_ns INTEGER, problem TEXT) WITHOUT ROWID"
            )
            entries = iter(entries)
            while batch := list(islice(entries, _SCAN_BATCH)):
                self._db.executemany("INSERT OR IGNORE INTO found VALUES (?, ?, ?, ?, ?, ?)", batch)
            # Within one folder only the key is left to sort by, as the table is. A rank is a row's number.
            several = self._one("SELECT EXISTS (SELECT 1 FROM found WHERE source > 0 OR position > 0)")
            self._db.execute(
                "CREATE TEMP TABLE ranked AS SELECT f.key, f.size, f.mtime_ns, f.problem, images.id AS image, "
                "images.position AS was, "
                "images.size != f.size OR images.mtime_ns != f.mtime_ns OR images.problem IS NOT f.problem AS changed "
                "FROM found f LEFT JOIN images ON images.key = f.key "
                f"ORDER BY {'source, f.position, f.key' if several else 'f.key'}"
            )
            self._db.execute(
                "INSERT INTO images (key, size, mtime_ns, problem, position) "
                "SELECT key, size, mtime_ns, problem, rowid FROM ranked WHERE image IS NULL ORDER BY rowid"
            )
            self._db.execute(
                "UPDATE images SET position = ranked.rowid FROM ranked "
                "WHERE ranked.image = images.id AND ranked.was IS NOT ranked.rowid"
            )
            if self._one("SELECT count(*) FROM images WHERE position IS NOT NULL") > self._one(
                "SELECT count(*) FROM ranked"
            ):
                self._db.execute(
                    "UPDATE images SET position = NULL "
                    "WHERE position IS NOT NULL AND key NOT IN (SELECT key FROM found)"
                )
            self._db.execute(
                "CREATE TEMP TABLE changed AS SELECT image, ranked.key, ranked.size, ranked.mtime_ns, ranked.problem, "
                "sha256 FROM ranked JOIN images ON id = image WHERE changed"
            )
            self._db.execute("DROP TABLE found")
            self._db.execute("DROP TABLE ranked")
        return self._changes()

    def touch(self, change: Changed, *, same: bool) -> int:
        """Note what a changed file is now; where its content is another, forget what was answered or failed.

        How many those were.
        """
        found = change.found
        with self._transaction():
            self._db.execute(
                "UPDATE images SET size = ?, mtime_ns = ?, problem = ?, sha256 = ? WHERE id = ?",
                (found.size, found.mtime_ns, found.problem, change.sha256 if same else None, change.image),
            )
            return 0 if same else self._forget("image = ?", change.image)

    def undigested(self) -> Iterator[list[tuple[int, str, int, int]]]:
        """Inputs that can be read and whose digest is not known, in batches: number, key, size and time."""
        last = 0
        while True:
            with self._guarded():
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
        with self._transaction():
            self._db.executemany(
                "UPDATE images SET sha256 = ? WHERE id = ? AND sha256 IS NULL",
                ((sha256, image) for image, sha256 in digests.items()),
            )

    # -- looking ahead, in a copy

    def begin_looking(self) -> int:
        """Make room for what is seen of the images that are to be asked about: how many those are."""
        with self._transaction():
            self._db.execute("CREATE TEMP TABLE looked (image INTEGER PRIMARY KEY, sha256 BLOB, words TEXT)")
            self._db.execute(
                "CREATE TEMP TABLE kinds (step INTEGER, sha256 BLOB, PRIMARY KEY (step, sha256)) WITHOUT ROWID"
            )
        return self._one(f"SELECT count(DISTINCT image) {_OPEN}")

    def pending(self) -> Iterator[Pending]:
        """The images that are to be asked about at any step, in no order."""
        for row in self._streamed(
            f"SELECT id, key, size, mtime_ns, sha256, problem FROM images WHERE id IN (SELECT image {_OPEN})"
        ):
            yield Pending(*row)

    def looked_at(self, seen: Iterable[tuple[int, bytes | None, Sequence[str]]]) -> None:
        """Note digest and verdicts of images, by number."""
        rows = list(seen)
        with self._transaction():
            self._db.executemany(
                "INSERT INTO looked VALUES (?, ?, ?)",
                ((image, sha256, " ".join(words)) for image, sha256, words in rows),
            )
        self.note_digests({image: sha256 for image, sha256, _ in rows if sha256 is not None})

    def looked(self, step: int, also: Sequence[int] = ()) -> Iterator[tuple[int, bytes, list[str]]]:
        """What was seen of the readable images that are to be asked about at a step, and of some others."""
        with self._guarded():
            for image, sha256, words in self._db.execute(
                "SELECT image, sha256, words FROM looked WHERE sha256 IS NOT NULL AND (image IN "
                f"(SELECT image FROM items WHERE step = ? AND state < 3) OR image IN ({_numbers(also)}))",
                (step,),
            ):
                yield image, sha256, words.split(" ")

    def first_of_its_kind(self, step: int, sha256: bytes) -> bool:
        """Whether this content was not met at this step before."""
        with self._guarded():
            return self._db.execute("INSERT OR IGNORE INTO kinds VALUES (?, ?)", (step, sha256)).rowcount > 0

    def fill(self, steps: Iterable[int]) -> None:
        """Put every input that a step has not seen on its list, and the lists into the order of the inputs."""
        with self._transaction():
            for step in steps:
                self._db.execute(
                    "INSERT INTO items (image, step, state, position) "
                    f"SELECT id, ?, 0, position FROM images WHERE position IS NOT NULL {_UNLESS_LISTED}",
                    (step,),
                )
            self._db.execute(
                "UPDATE items SET position = images.position FROM images "
                "WHERE images.id = items.image AND state = 0 AND items.position IS NOT images.position"
            )

    def follow_up(self, image_key: str, steps: Iterable[int]) -> None:
        """Put an image on the lists of steps that its answer asks for."""
        with self._transaction():
            for step in steps:
                self._db.execute(
                    "INSERT INTO items (image, step, state, position) "
                    f"SELECT id, ?, 0, position FROM images WHERE key = ? {_UNLESS_LISTED}",
                    (step, image_key),
                )

    def retry(self, steps: Iterable[int], kinds: Sequence[str] | None) -> int:
        """Put what has failed back on the lists, all or of some kinds; how many."""
        chosen = "" if kinds is None else f" AND kind IN ({', '.join('?' * len(kinds))})"
        again = 0
        with self._transaction():
            for step in steps:
                again += self._db.execute(
                    "UPDATE items SET state = 0, position = images.position FROM images "
                    f"WHERE images.id = image AND images.position IS NOT NULL AND step = ? AND state = 4{chosen}",
                    (step, *(kinds or ())),
                ).rowcount
        return again

    def horizon(self, steps: Sequence[int], images: int | None) -> int:
        """The position of the last input that a run limited to so many unanswered images may touch."""
        if images is None:
            return 2**62
        with self._guarded():
            (last,) = self._db.execute(
                "SELECT max(position) FROM (SELECT DISTINCT position FROM items WHERE state = 0 AND position IS NOT "
                f"NULL AND step IN ({_numbers(steps)}) ORDER BY position LIMIT ?)",
                (images,),
            ).fetchone()
        return last or 0

    # -- running: claims, calls, commits

    def claim(self, steps: Sequence[int], horizon: int, count: int) -> list[Task]:
        """Take at most `count` images off the lists of the steps, in input order."""
        with self._transaction():
            # Step by step, each in the order of its index: all steps in one query would sort their whole lists.
            found = [Task(*row) for step in steps for row in self._db.execute(_FIRST_PENDING, (step, horizon, count))]
            tasks = sorted(found, key=lambda task: task.position)[:count]
            self._db.executemany(
                "UPDATE items SET state = 1 WHERE step = ? AND state = 0 AND position <= ?",
                {task.step: task.position for task in tasks}.items(),  # the last of each step, since they are in order
            )
        return tasks

    def unfinished(self, steps: Sequence[int], horizon: int, *, unclaimed: bool = False) -> bool:
        """Whether anything of these steps is neither answered nor failed (`unclaimed`: nor in somebody's hands)."""
        if not steps:
            return False
        states = "= 0" if unclaimed else "< 3"
        with self._guarded():
            row = self._db.execute(
                f"SELECT 1 FROM items WHERE step IN ({_numbers(steps)}) AND state {states} AND position <= ? LIMIT 1",
                (horizon,),
            ).fetchone()
        return row is not None

    def answered(self, steps: Sequence[int]) -> bool:
        """Whether any image was ever answered at one of these steps."""
        with self._guarded():
            row = self._db.execute(
                f"SELECT 1 FROM items WHERE step IN ({_numbers(steps)}) AND state = 3 LIMIT 1"
            ).fetchone()
        return row is not None

    def sent(self, charges: Sequence[QuotaKey]) -> None:
        """Calls that are counted on these leave now. Waits for the disk only where the bound is reached."""
        with self._transaction():
            for charge, count in Counter(charges).items():
                self._count(charge, count, count)
            self._made += len(charges)
            if reached := self._made > self._bound:
                self._put_bound()
        if reached:
            self.sync()

    def settled(self, charge: QuotaKey, *, counted: bool) -> None:
        """A call ended without an answer, or never left. `counted`: the service may have counted it."""
        with self._transaction():
            self._end(1)
            if not counted:
                self._count(charge, 0, -1)

    def saw(self, task: Task, sha256: bytes) -> None:
        """What a file holds, though nothing can be asked about it now: the next run need not read it to know."""
        with self._transaction():
            self._db.execute("UPDATE images SET sha256 = ? WHERE id = ? AND sha256 IS NULL", (sha256, task.image))

    def park(self, task: Task, sha256: bytes, leader: int) -> None:
        """Set a copy aside until the image whose call is under way is finished."""
        with self._transaction():
            self._db.execute("UPDATE images SET sha256 = ? WHERE id = ? AND sha256 IS NULL", (sha256, task.image))
            self._db.execute(
                "UPDATE items SET state = 2, leader = ? WHERE image = ? AND step = ?", (leader, task.image, task.step)
            )

    def hand_over(self, step: int, leader: int) -> int | None:
        """Put one copy back on the list, to lead the others that stay parked; None where there is none."""
        with self._transaction():
            row = self._db.execute(
                "SELECT image FROM items WHERE step = ? AND leader = ? AND state = 2 ORDER BY image LIMIT 1",
                (step, leader),
            ).fetchone()
            if row is None:
                return None
            self._db.execute("UPDATE items SET state = 0, leader = NULL WHERE image = ? AND step = ?", (row[0], step))
        return int(row[0])

    def unpark(self, step: int, leader: int) -> None:
        """Put the copies of an image that is finished back on the list."""
        with self._transaction():
            self._db.execute(
                "UPDATE items SET state = 0, leader = NULL WHERE step = ? AND leader = ? AND state = 2", (step, leader)
            )

    def finished_content(self, step: int, sha256: bytes) -> Known | None:
        """What this job already knows of a content: its answer, or its failure if it is the content's own fault.

        On a connection of its own, which need not wait for a commit; to be called in one thread.
        """
        if sha256 not in self._contents:
            return None
        with translated(self.path, self._done):
            # One look for either: a second one would pass over all copies of a content that many files have.
            row = self._looker.execute(
                "SELECT i.image, i.attempts, i.start, i.length, i.kind, i.code, i.message FROM images m "
                "JOIN items i ON i.image = m.id AND i.step = ? "
                "WHERE m.sha256 = ? AND "
                "(i.state = 3 OR i.state = 4 AND i.kind = 'image' AND i.code != 'unreadable') LIMIT 1",
                (step, sha256),
            ).fetchone()
        if row is None:
            return None
        failure = Failure(Kind(row[4]), row[5], row[6]) if row[4] else None
        return Known(row[0], row[1], row[2] or 0, row[3] or 0, failure)

    def commit(self, finished: Sequence[Finished], outputs: Mapping[str, tuple[int, int]]) -> None:
        """One group: what is finished, the follow-up steps, the files' lengths. `outputs`: (length, crc) by name.

        The first digest that was answered stays: a file that was replaced between two steps is then found out by the
        next run. One that was only looked up when the file was listed makes way for that of the bytes that were sent.
        """
        digests = {f.task.image: f.sha256 for f in reversed(finished) if f.sha256 is not None}
        for sha256 in digests.values():
            self._contents.add(sha256)
        with self._transaction():
            self._learn()
            self._db.executemany(
                "UPDATE images SET sha256 = ?1 WHERE id = ?2 AND (sha256 IS NULL OR sha256 != ?1 AND NOT EXISTS "
                "(SELECT 1 FROM items WHERE image = ?2 AND state = 3))",
                ((sha256, image) for image, sha256 in digests.items()),
            )
            self._db.executemany(
                "UPDATE items SET state = ?, leader = ?, attempts = ?, at = ?, start = ?, length = ?, "
                "kind = ?, code = ?, message = ? WHERE image = ? AND step = ?",
                (_finished_row(f) for f in finished),
            )
            self._end(sum(f.attempts > 0 and f.failure is None for f in finished))
            self._db.executemany(
                f"INSERT INTO items (image, step, state, position) VALUES (?, ?, 0, ?) {_UNLESS_LISTED}",
                ((f.task.image, step, f.task.position) for f in finished for step in f.follow),
            )
            self._put_outputs(outputs)
            self._put_bound()

    def sync(self) -> None:
        """Wait until what was committed is on the disk, and keep the write-ahead log short. Takes no lock."""
        noted, made = self._noted_bound, self._made
        with translated(self.path, self._done):
            sync_file(self._wal)
            self._bound, self._made_at_sync = noted, made
            if os.fstat(self._wal).st_size > _CHECKPOINT_BYTES:
                self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    # -- outputs and views

    def put_outputs(self, outputs: Mapping[str, tuple[int, int]], drop: Iterable[str], swap: str | None) -> None:
        """Note the lengths of result files, forget some, and note which new files are to be put in place."""
        with self._transaction():
            self._db.executemany("DELETE FROM outputs WHERE filename = ?", ((name,) for name in drop))
            self._put_outputs(outputs)
            self._put_note("swap", swap)

    # -- rewriting results.jsonl

    def begin_rewrite(self) -> None:
        """Prepare to note the new places of the rows that are kept."""
        with self._guarded():
            self._db.execute("DROP TABLE IF EXISTS temp.kept")
            self._db.execute(
                "CREATE TEMP TABLE kept (image INTEGER, step INTEGER, start INTEGER, length INTEGER, "
                "PRIMARY KEY (image, step)) WITHOUT ROWID"
            )

    def keep(self, row: Row, start: int, length: int) -> bool:
        """Keep a row if it is an answer of the journal's and the first with that: then note its new place."""
        with self._guarded():
            cursor = self._db.execute(
                "INSERT OR IGNORE INTO kept SELECT i.image, i.step, ?, ? FROM items i "
                "JOIN images m ON m.id = i.image JOIN steps s ON s.id = i.step "
                "WHERE m.key = ? AND s.name = ? AND i.state = 3 AND i.at = ? AND lower(hex(m.sha256)) = ?",
                (start, length, row["image"], row["step"], row["answered_at"], row["sha256"]),
            )
        return cursor.rowcount > 0

    def end_rewrite(self, outputs: Mapping[str, tuple[int, int]], swap: str) -> int:
        """In one transaction: the rows' new places, the new files' lengths, and that the files are to be swapped.

        What was answered but is not in the new file is forgotten, to be asked again: how many answers that are.
        """
        with self._transaction():
            self._db.execute(
                "UPDATE items SET start = kept.start, length = kept.length FROM kept "
                "WHERE kept.image = items.image AND kept.step = items.step"
            )
            lost = self._db.execute(
                "DELETE FROM items WHERE state = 3 AND NOT EXISTS "
                "(SELECT 1 FROM kept WHERE kept.image = items.image AND kept.step = items.step)"
            ).rowcount
            self._db.execute("DELETE FROM outputs")
            self._put_outputs(outputs)
            self._put_note("dirty", None)
            self._put_note("swap", swap)
        self.sync()
        return lost

    # -- within

    def _learn(self) -> None:
        """Tell the filter of a part of the contents that something may be known of."""
        if not self._contents.complete:
            rows = self._db.execute(
                "SELECT id, sha256 FROM images WHERE id > ? AND sha256 IS NOT NULL ORDER BY id LIMIT ?",
                (self._learnt, _LEARNT_AT_ONCE),
            ).fetchall()
            self._contents.learn([sha256 for _, sha256 in rows])
            self._learnt = rows[-1][0] if rows else self._learnt

    def _streamed(self, sql: str) -> Iterator[Any]:
        """On a connection of its own, so that a commit need not wait for the reader."""
        with translated(self.path, self._done), closing(connect(self.path)) as db:
            yield from db.execute(sql)

    def _take_step(self, step: StepRecord, was_active: set[int]) -> set[int]:
        """Its number, where its condition is to be judged anew: also where answers came while it was not there."""
        row = self._db.execute("SELECT id, fingerprint, condition FROM steps WHERE name = ?", (step.name,)).fetchone()
        if row is None:
            cursor = self._db.execute(
                "INSERT INTO steps (name, service, fingerprint, condition, active) VALUES (?, ?, ?, ?, 1)",
                (step.name, step.service, step.fingerprint, step.condition),
            )
            return {int(cursor.lastrowid or 0)}
        number, fingerprint, condition = row
        if fingerprint != step.fingerprint:
            self._forget("step = ?", number)
        if condition != step.condition:
            self._db.execute("DELETE FROM items WHERE step = ? AND state = 0", (number,))
            self._db.execute("UPDATE items SET state = 5 WHERE step = ? AND state = 4", (number,))
        self._db.execute(
            "UPDATE steps SET service = ?, fingerprint = ?, condition = ?, active = 1 WHERE id = ?",
            (step.service, step.fingerprint, step.condition, number),
        )
        same = (fingerprint, condition) == (step.fingerprint, step.condition) and number in was_active
        return set() if same else {number}

    def _changes(self) -> Iterator[Changed]:
        last = 0
        while True:
            with self._guarded():
                rows = self._db.execute(
                    "SELECT rowid, * FROM changed WHERE rowid > ? ORDER BY rowid LIMIT ?", (last, _SCAN_BATCH)
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            for _, image, key, size, mtime_ns, problem, sha256 in rows:
                yield Changed(image, InputEntry(key, 0, 0, size, mtime_ns, problem), sha256)

    def _forget(self, where: str, number: int) -> int:
        if self._one(f"SELECT count(*) FROM items WHERE {where} AND state = 3", number):
            self._put_note("dirty", 1)
        done = self._one(f"SELECT count(*) FROM items WHERE {where} AND state IN (3, 4)", number)
        self._db.execute(f"DELETE FROM items WHERE {where}", (number,))
        return done

    def _count(self, charge: QuotaKey, made: int, counted: int) -> None:
        self._db.execute(
            "INSERT INTO calls VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET made = made + excluded.made, counted = counted + excluded.counted",
            (charge.account, charge.service, charge.day, made, counted),
        )

    def _end(self, calls: int) -> None:
        """Calls are not under way any more, and it is known what became of them."""
        self._db.execute("UPDATE meta SET value = value + ? WHERE key = 'ended'", (calls,))

    def _put_bound(self) -> None:
        """Within a transaction: how many calls may be made in all, from the next sync on.

        Never fewer than before: until that sync calls leave up to the bound of the last one.
        """
        since = self._made - self._made_at_sync
        self._next_bound = max(self._noted_bound, self._made + min(max(_LEAST_AHEAD, 2 * since), _MOST_AHEAD))
        self._put_note("bound", self._next_bound)

    def _put_note(self, key: str, value: object) -> None:
        if value is None:
            self._db.execute("DELETE FROM meta WHERE key = ?", (key,))
        else:
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _put_outputs(self, outputs: Mapping[str, tuple[int, int]]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?)", ((name, *place) for name, place in outputs.items())
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._guarded():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
                self._noted_bound = self._next_bound
            except BaseException:
                if self._db.in_transaction:  # a full disk makes SQLite roll back by itself
                    self._db.execute("ROLLBACK")
                raise


_OPEN = "FROM items JOIN steps ON steps.id = step AND active = 1 WHERE state < 3 AND position IS NOT NULL"
_UNLESS_LISTED = "ON CONFLICT DO UPDATE SET state = 4 WHERE state = 5"
_FIRST_PENDING = (
    "SELECT i.image, i.step, m.key, i.position, m.size, m.sha256, m.problem, m.mtime_ns FROM items i "
    "JOIN images m ON m.id = i.image WHERE i.step = ? AND i.state = 0 AND i.position <= ? ORDER BY i.position LIMIT ?"
)


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(str(int(value)) for value in values)


def _finished_row(item: Finished) -> tuple[object, ...]:
    task, _, attempts, at, leader, failure, _, start, length = item
    kind, code, message = (failure.kind.value, failure.code, failure.message) if failure else (None, None, None)
    # Of the numbers of an enumeration SQLite would ask first what they are.
    state = int(State.ANSWERED if failure is None else State.FAILED)
    return state, leader, attempts, at, start, length, kind, code, message, task.image, task.step


def _script(path: Path) -> str:
    """The script that brings the journal up to date, which is made, empty, where there is none."""
    if not path.exists():
        os.close(open_own(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    with ExitStack() as opened:
        return current_copy(path, opened)[1]
