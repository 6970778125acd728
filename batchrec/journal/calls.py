"""Counts of calls, and an upper bound of them that survives a power cut.

Calls are counted before they leave, without a sync: the counts survive a SIGKILL, not a power cut. So a bound of them
is kept on the disk. No call leaves beyond it, every group commit moves it ahead, and what a later boot of the machine
finds missing below it counts as sent.
"""

from collections import Counter
from collections.abc import Sequence

from ..values import QuotaKey
from .database import Database, Log

_LEAST_AHEAD, _MOST_AHEAD = 8, 512
"""Calls by which the bound is moved ahead: twice those since the last sync, within these limits.

As many calls too many may be reported after a power cut.
"""


class Calls:
    """The call log of a job. `boot` is the kernel's boot id, empty where there is none."""

    def __init__(self, db: Database, log: Log, boot: str) -> None:
        self._db = db
        self._log = log
        self._boot = boot
        self._made = self._made_at_sync = db.one("SELECT coalesce(sum(made), 0) FROM calls")
        self._bound = self._committed_bound = self._next_bound = int(db.note("bound") or 0)
        db.on_commit = self._on_commit

    @property
    def concluded(self) -> bool:
        """Whether the last run came to its end."""
        return self._bound <= self._made

    @property
    def another_boot(self) -> bool:
        """Whether the machine was started anew since the last opening, so that counts may be missing."""
        return self._db.note("boot") not in (None, self._boot)

    @property
    def at_most(self) -> bool:
        """Whether the number that `recover` gives is an upper bound."""
        return bool(self._db.note("at_most"))

    def sent(self, charges: Sequence[QuotaKey]) -> None:
        """Count calls that leave now. Waits for the disk only where the bound is reached. Raises OutputFailed."""
        with self._db.transaction():
            for charge, count in Counter(charges).items():
                self._count(charge, count, count)
            self._made += len(charges)
            if reached := self._made > self._bound:
                self.move_bound()
        if reached:
            self.sync()

    def settled(self, charge: QuotaKey, *, counted: bool) -> None:
        """Note that a call ended without an answer, or never left. `counted`: the service may have counted it."""
        with self._db.transaction():
            self.end(1)
            if not counted:
                self._count(charge, 0, -1)

    def sync(self) -> None:
        """Wait until what was committed is on the disk, with the bound up to which calls may leave.

        Takes no lock.
        """
        committed, made = self._committed_bound, self._made
        self._log.sync()
        self._bound, self._made_at_sync = committed, made

    # -- within a transaction of another part

    def end(self, calls: int) -> None:
        """Note that the outcome of so many calls is recorded. Within a transaction."""
        self._db.execute("UPDATE meta SET value = value + ? WHERE key = 'ended'", (calls,))

    def move_bound(self) -> None:
        """Note how many calls may be made in all, from the next sync on. Within a transaction.

        Never fewer than before: until that sync calls leave up to the bound of the last one.
        """
        since = self._made - self._made_at_sync
        self._next_bound = max(self._committed_bound, self._made + min(max(_LEAST_AHEAD, 2 * since), _MOST_AHEAD))
        self._db.put_note("bound", self._next_bound)

    def recover(self) -> int:
        """Close the accounts of a killed run. Returns the number of calls of unknown outcome.

        Within a transaction.

        Where the machine was started anew since, that is an upper bound, as `at_most` says. The number is given by
        every opening until a run comes to its end.
        """
        unknown = self._made - self._db.one("SELECT value FROM meta WHERE key = 'ended'")
        if self.another_boot and self._bound > self._made:
            unknown += self._bound - self._made
            self._db.put_note("at_most", 1)
        self._db.put_note("ended", self._made)
        unknown += self._db.note("untold") or 0
        self._db.put_note("untold", unknown or None)
        self._db.put_note("boot", self._boot)
        self._db.put_note("bound", self._made)
        self._bound = self._next_bound = self._made
        return int(unknown)

    def conclude(self) -> None:
        """Note that a run has come to its end, with no call under way. Within a transaction."""
        self._db.put_note("bound", self._made)
        self._db.put_note("untold", None)
        self._db.put_note("at_most", None)

    def _on_commit(self) -> None:
        self._committed_bound = self._next_bound

    def _count(self, charge: QuotaKey, made: int, counted: int) -> None:
        self._db.execute(
            "INSERT INTO calls VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET made = made + excluded.made, counted = counted + excluded.counted",
            (charge.account, charge.service, charge.day, made, counted),
        )
