"""Counts of an account's calls, per service and Beijing day, and the services that it has used up.

One SQLite file in the state folder, shared by every process of the machine. A call is reserved before it leaves and
settled when its reply is there. The counts survive a SIGKILL to the unit. They are not synced one by one, so a power
cut may take the last of them; but no call leaves beyond a bound that is on the disk, and a later boot of the machine
counts up to it: then the count is an upper bound, at most a second's calls too high.
"""

import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutputFailed
from ..language import _
from ..periods import PERIODS, Period, period_of
from ..state.database import open_database
from ..state.durable import boot_id
from ..state.file_system import STATE_REMEDY, with_cause
from ..times import beijing_day
from ..values import Closure, QuotaKey, Target

_SCHEMA = """
CREATE TABLE IF NOT EXISTS used (
    account TEXT, service TEXT, day TEXT, calls INTEGER NOT NULL, PRIMARY KEY (account, service, day)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pack (
    account TEXT, service TEXT, calls INTEGER NOT NULL, PRIMARY KEY (account, service)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS caps (
    account TEXT, service TEXT, daily INTEGER, total INTEGER, PRIMARY KEY (account, service)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS other_caps (
    account TEXT, service TEXT, name TEXT, calls INTEGER, PRIMARY KEY (account, service, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS closed (
    account TEXT, service TEXT, code INTEGER NOT NULL, until REAL, PRIMARY KEY (account, service)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bounds (
    account TEXT, service TEXT, day TEXT, calls INTEGER NOT NULL, PRIMARY KEY (account, service, day)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS boot (id TEXT) STRICT;
"""


_COLUMNS = ("daily", "total")
"""Limits that `caps` has columns of, in their order. Earlier versions rely on its shape, so others have a table."""


def used_up(code: int | str, day: str) -> Closure:
    """The closure of a service that said 17 or 19 to a call that left on that Beijing day."""
    return Closure(code, period_of(code).end(day))


@dataclass(frozen=True, slots=True)
class Usage:
    """A line of `batchrec quota`: the calls of each period of `PERIODS`, and the closure if there is one.

    `left` is what the limits of the last run leave, None where it had none, and where the service has said that nothing
    is left.
    """

    account: str
    service: str
    used: tuple[int, ...]
    left: tuple[int | None, ...]
    closure: Closure | None


class Quota:
    """The counts of all accounts.

    `now` gives Unix seconds. Raises OutputFailed when the file cannot be written.
    """

    def __init__(self, directory: Path, now: Callable[[], float], boot: str | None = None) -> None:
        self._now = now
        self._path = directory / "quota.db"
        with _used(self._path):
            self._db = open_database(self._path, _SCHEMA)
        with ExitStack() as opening:
            opening.callback(self._db.close)
            self._recover(boot_id() if boot is None else boot)
            opening.pop_all()

    def close(self) -> None:
        """Let go of the file: what was counted needs no bound any more.

        Other processes move theirs ahead again.
        """
        with suppress(OutputFailed), self._transaction():  # a bound that stays is on the safe side
            self._db.execute("DELETE FROM bounds")
        self._db.close()

    def record_limits(self, target: Target) -> None:
        """Remember the limits of a run, from which `usage` tells what is left."""
        account, service, caps = target
        with self._transaction():
            calls = dict(caps.calls)
            columns = [calls.pop(name, None) for name in _COLUMNS]
            self._db.execute("INSERT OR REPLACE INTO caps VALUES (?, ?, ?, ?)", (account, service, *columns))
            self._db.execute("DELETE FROM other_caps WHERE account = ? AND service = ?", (account, service))
            others = ((account, service, name, most) for name, most in calls.items())
            self._db.executemany("INSERT INTO other_caps VALUES (?, ?, ?, ?)", others)

    def reserve(self, target: Target, *, calls: int = 1, ahead: int = 1) -> list[QuotaKey | Closure]:
        """Count calls that are about to leave: for each what it is counted on, or why it must not leave.

        `ahead` is by how many calls the bound on the disk is moved ahead when it is reached, which waits for the disk.
        """
        account, service, caps = target
        charge = QuotaKey(account, service, beijing_day(self._now()))
        closure = None
        with self._transaction():
            today, room = self._calls(charge), calls
            for name, most in caps.calls:
                period = PERIODS[name]
                if (left := most - self._used(period, charge, today)) < room:
                    room, closure = max(0, left), Closure(period.code, period.end(charge.day), reported=False)
            self._add(charge, room)
            bound = self._bound(charge)
        if room and today + room > bound:
            self._move_bound(charge, today + room - 1 + max(1, ahead))
        refused = [closure] * (calls - room) if closure is not None else []
        return [charge] * room + refused

    def give_back(self, charge: QuotaKey) -> None:
        """Take back the count of a call that the service did not count."""
        with self._transaction():
            self._add(charge, -1)

    def counted(self, charge: QuotaKey) -> int:
        """Calls counted on an account and service on that day."""
        with _used(self._path):
            return self._calls(charge)

    def left(self, target: Target) -> dict[str, int]:
        """Calls that the limits of a job leave now, by name.

        0 where the service has said that nothing is left.
        """
        account, service, caps = target
        with _used(self._path):
            left = self._left(account, service, dict(caps.calls), self.closure(account, service))
        return {name: calls or 0 for name, calls in left.items()}

    def close_service(self, account: str, service: str, code: int | str, day: str) -> Closure:
        """Remember that the service said 17 or 19 to a call that left on that Beijing day."""
        closure = used_up(code, day)
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO closed VALUES (?, ?, ?, ?)", (account, service, code, closure.until)
            )
        return closure

    def closure(self, account: str, service: str) -> Closure | None:
        """The closure that the service reported last, while it holds."""
        with _used(self._path):
            row = self._db.execute(
                "SELECT code, until FROM closed WHERE account = ? AND service = ?", (account, service)
            ).fetchone()
        closure = Closure(*row) if row else None
        return None if closure is None or (closure.until or float("inf")) <= self._now() else closure

    def reopen(self, account: str, service: str) -> bool:
        """Forget a closure; False where there was none."""
        with self._transaction():
            cursor = self._db.execute("DELETE FROM closed WHERE account = ? AND service = ?", (account, service))
        return cursor.rowcount > 0

    def correct(self, account: str, service: str, *, today: int | None = None, total: int | None = None) -> None:
        """Set the counts to what a person knows better."""
        with self._transaction():
            if today is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO used VALUES (?, ?, ?, ?)",
                    (account, service, beijing_day(self._now()), today),
                )
            if total is not None:
                self._db.execute("INSERT OR REPLACE INTO pack VALUES (?, ?, ?)", (account, service, total))

    def usage(self) -> list[Usage]:
        """Every account and service that has made a call or is closed, in order."""
        day = beijing_day(self._now())
        with _used(self._path):
            rows = self._db.execute(
                "SELECT account, service FROM pack UNION SELECT account, service FROM used "
                "UNION SELECT account, service FROM closed ORDER BY 1, 2"
            ).fetchall()
            return [self._usage(QuotaKey(account, service, day)) for account, service in rows]

    def _usage(self, key: QuotaKey) -> Usage:
        account, service, _day = key
        row = self._db.execute(
            f"SELECT {', '.join(_COLUMNS)} FROM caps WHERE account = ? AND service = ?", (account, service)
        ).fetchone()
        others = "SELECT name, calls FROM other_caps WHERE account = ? AND service = ?"
        caps = dict(zip(_COLUMNS, row or (), strict=False)) | dict(self._db.execute(others, (account, service)))
        closure, today = self.closure(account, service), self._calls(key)
        used = tuple(self._used(period, key, today) for period in PERIODS.values())
        left = self._left(account, service, caps, closure)
        return Usage(account, service, used, tuple(left.get(name) for name in PERIODS), closure)

    def _left(
        self, account: str, service: str, caps: Mapping[str, int | None], closure: Closure | None
    ) -> dict[str, int | None]:
        """Calls that limits leave. None: no limit, or closed until its period ends; the service knows better."""
        key = QuotaKey(account, service, beijing_day(self._now()))
        closed_until = -math.inf if closure is None else _or_never(closure.until)
        left: dict[str, int | None] = {}
        for name, most in caps.items():
            if name not in PERIODS:  # of a later version
                continue
            period = PERIODS[name]
            closed = _or_never(period.end(key.day)) <= closed_until
            left[name] = None if most is None or closed else max(0, most - self._used(period, key, self._calls(key)))
        return left

    def _recover(self, boot: str) -> None:
        """Once after each start of the machine: whatever a power cut may have taken is counted."""
        with self._transaction():
            last = self._db.execute("SELECT id FROM boot").fetchone()
            if last == (boot,):
                return
            if last is not None:
                for *charge, bound in self._db.execute("SELECT * FROM bounds").fetchall():
                    self._add(QuotaKey(*charge), max(0, bound - self._calls(QuotaKey(*charge))))
            self._db.execute("DELETE FROM bounds")
            self._db.execute("DELETE FROM boot")
            self._db.execute("INSERT INTO boot VALUES (?)", (boot,))

    def _move_bound(self, charge: QuotaKey, calls: int) -> None:
        """Other processes wait until it is on the disk, for SQLite holds its lock through such a commit."""
        with _used(self._path):
            self._db.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            self._db.execute(
                "INSERT INTO bounds VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET calls = max(calls, excluded.calls)",
                (charge.account, charge.service, charge.day, calls),
            )
        with _used(self._path):
            self._db.execute("PRAGMA synchronous = NORMAL")

    def _calls(self, charge: QuotaKey) -> int:
        return self._one("SELECT calls FROM used WHERE account = ? AND service = ? AND day = ?", *_key(charge))

    def _bound(self, charge: QuotaKey) -> int:
        return self._one("SELECT calls FROM bounds WHERE account = ? AND service = ? AND day = ?", *_key(charge))

    def _used(self, period: Period, key: QuotaKey, today: int) -> int:
        """Calls counted in the period that the key's day belongs to; `today`: those of the day."""
        if period.first_day is None:
            return self._pack(key.account, key.service)
        if (first := period.first_day(key.day)) == key.day:
            return today
        sql = "SELECT coalesce(sum(calls), 0) FROM used WHERE account = ? AND service = ? AND day BETWEEN ? AND ?"
        return self._one(sql, key.account, key.service, first, key.day)

    def _pack(self, account: str, service: str) -> int:
        return self._one("SELECT calls FROM pack WHERE account = ? AND service = ?", account, service)

    def _one(self, sql: str, *values: str) -> int:
        row = self._db.execute(sql, values).fetchone()
        return int(row[0]) if row else 0

    def _add(self, charge: QuotaKey, calls: int) -> None:
        self._db.execute(
            "INSERT INTO used VALUES (?, ?, ?, max(0, ?)) ON CONFLICT DO UPDATE SET calls = max(0, calls + ?)",
            (*_key(charge), calls, calls),
        )
        self._db.execute(
            "INSERT INTO pack VALUES (?, ?, max(0, ?)) ON CONFLICT DO UPDATE SET calls = max(0, calls + ?)",
            (charge.account, charge.service, calls, calls),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _used(self._path), self._db:  # commits, or undoes it all
            self._db.execute("BEGIN IMMEDIATE")
            yield


def _or_never(moment: float | None) -> float:
    return math.inf if moment is None else moment


def _key(charge: QuotaKey) -> tuple[str, str, str]:
    return charge.account, charge.service, charge.day


@contextmanager
def _used(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as exc:
        raise OutputFailed(
            _("{path}: cannot be used: {reason}").format(path=path, reason=with_cause(exc, STATE_REMEDY))
        ) from exc
