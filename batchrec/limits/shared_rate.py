"""The pace of an account, shared by every process of the machine, and the turns that one job gets in it.

One small SQLite file in the state folder. A call's turn is one transaction, or a share of one: above 200 calls/s turns
are taken some at a time, so that a call costs the less the faster they leave. What a power cut takes from this file
is only a second old, so nothing in it is synced.
"""

import asyncio
import math
import random
import sqlite3
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson
from aiolimiter import AsyncLimiter

from ..errors import OutputFailed
from ..state.database import open_database
from ..state.durable import boot_id
from ..values import Permit
from .ceiling import Ceiling
from .rate import AHEAD, RateController
from .round_trips import Observed, RoundTrips

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pace (account TEXT, service TEXT, boot TEXT NOT NULL, state BLOB NOT NULL,
    numbers BLOB NOT NULL, arrived BLOB NOT NULL, PRIMARY KEY (account, service));
"""
_KEYS = {
    "limit": "ceiling.limit",
    "known": "ceiling.proven",
    "starting": "ceiling.starting",
    "gain": "ceiling.gain",
    "reached_at": "ceiling.reached_at",
    "refused_at": "ceiling.refused_at",
    "limit_cut": "ceiling.limit_cut",
    "steepness": "ceiling.steepness",
    "changed_at": "ceiling.changed_at",
    "cut_at": "ceiling.cut_at",
    "cut": "ceiling.cut",
    "answered_at": "ceiling.answered_at",
    "most": "ceiling.set_rate",
    "most_at": "ceiling.set_at",
    "next_at": "next_at",
    "paused_until": "paused_until",
    "pause": "pause",
    "slack": "trips.slack",
    "doubt": "trips.doubt",
    "number": "number",
    "flow": "ceiling.flow",
    "flow_since": "ceiling.flow_since",
    "flow_from": "ceiling.flow_from",
}
"""The keys of a state on the disk, and where in a `RateController` their values are."""
_VALUES = attrgetter(*_KEYS.values())
_UNBOUNDED = {1e12: math.inf, -1e12: -math.inf}
"""Numbers that JSON has, and that stand for infinity on the disk."""
_INFINITE = {value: number for number, value in _UNBOUNDED.items()}

_SINGLY_UP_TO = 200
_BUCKETS_UP_TO = 500
_STALE = 0.05
_SPREAD = 0.8
_NEWEST_WEIGHS = 0.1
_LOWEST_RATE = 1e-6


class SharedRates:
    """The paces of all accounts and services. Raises OutputFailed when the file cannot be used.

    Without a directory they are this process's alone.
    """

    def __init__(self, directory: Path | None, boot: str | None = None) -> None:
        self._path = Path(":memory:") if directory is None else directory / "pace.db"
        self._boot = boot or boot_id()
        self._version = -1
        self._cached: dict[tuple[str, str], RateController] = {}
        with self._used():
            if directory is None:
                self._db = sqlite3.connect(self._path, isolation_level=None)
                self._db.executescript(_SCHEMA)
            else:
                self._db = open_database(self._path, _SCHEMA)
            self._db.execute("PRAGMA synchronous = OFF")

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextmanager
    def transaction(self, account: str, service: str) -> Iterator[RateController]:
        """The pace as all processes have left it; no other process touches it inside the block, which must not wait."""
        key = account, service
        with self._used(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            version = self._db.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:  # another process has written since
                self._cached.clear()
                self._version = version
            pace = self._cached.pop(key, None) or self._load(key)
            yield pace
            self._db.execute(
                "INSERT OR REPLACE INTO pace VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *key,
                    self._boot,
                    _stored(pace),
                    array("q", pace.calls).tobytes(),
                    array("d", pace.calls.values()).tobytes(),
                ),
            )
        self._cached[key] = pace

    def _load(self, key: tuple[str, str]) -> RateController:
        row = self._db.execute(
            "SELECT boot, state, numbers, arrived FROM pace WHERE account = ? AND service = ?", key
        ).fetchone()
        if row is None:
            return RateController()
        try:
            pace = _restored(row[1], dict(zip(array("q", row[2]), array("d", row[3]), strict=True)))
        except (TypeError, KeyError, ValueError):  # another version of batchrec has written it
            return RateController()
        if row[0] != self._boot:
            pace.forget_times()
        return pace

    @contextmanager
    def _used(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as exc:
            raise OutputFailed(f"{self._path}: cannot be used: {exc}") from exc


def _stored(pace: RateController) -> bytes:
    """The state without its log, as JSON under the keys of `_KEYS`, in the order of the format."""
    numbers = [_INFINITE.get(value, value) for value in _VALUES(pace)]
    stored: dict[str, Any] = dict(zip(_KEYS, numbers, strict=True))
    stored["refusals"] = pace.ceiling.refusals
    stored["now"], stored["before"] = _finite(pace.trips.recent), _finite(pace.trips.earlier)
    return orjson.dumps(stored)


def _restored(content: bytes, calls: dict[int, float]) -> RateController:
    """The opposite of `_stored`, with the log. Raises TypeError, KeyError and ValueError for another format's."""
    stored = orjson.loads(content)
    parts: dict[str, dict[str, Any]] = {"ceiling": {}, "trips": {}, "": {}}
    for key, path in _KEYS.items():
        part, _, name = path.rpartition(".")
        value = stored.pop(key)
        parts[part][name] = _UNBOUNDED.get(value, value)
    recent, earlier = (
        Observed(**{name: _UNBOUNDED.get(value, value) for name, value in stored.pop(period).items()})
        for period in ("now", "before")
    )
    ceiling = Ceiling(**parts["ceiling"], refusals=stored.pop("refusals"))
    if stored:
        raise ValueError(f"unknown keys: {', '.join(stored)}")
    return RateController(ceiling, RoundTrips(recent, earlier, **parts["trips"]), calls, **parts[""])


def _finite(period: Observed) -> dict[str, float]:
    return {
        "since": _INFINITE.get(period.since, period.since),
        "answers": period.answers,
        "fastest": _INFINITE.get(period.fastest, period.fastest),
        "slowest": period.slowest,
        "total": period.total,
    }


class RateLimiter:
    """One job's turns. `rate` is in calls per second, infinite for whatever the account has; `time` is monotonic."""

    def __init__(self, paces: SharedRates, account: str, service: str, rate: float, time: Callable[[], float]) -> None:
        self._paces = paces
        self._key = account, service
        self._set_rate = max(rate, _LOWEST_RATE)
        self._time = time
        self._granted: deque[Permit] = deque()
        self._share, self._granted_at = 1, -math.inf
        self._told: list[Callable[[RateController], None]] = []
        self._bucket = _bucket(self._set_rate)
        self.rate, self.slowest = self._set_rate, False
        """Calls per second that are let through now, and whether refusals have brought that down as far as they may."""
        self.round_trip = 0.0
        """Seconds that answered calls take, of late."""
        with self._transaction() as pace:
            pace.wish(time(), self._set_rate)

    async def acquire(self) -> Permit:
        """Wait until a call may leave. One waiter at a time; a slot that is not used is given to `forgo`."""
        if self._bucket is not None:
            await self._bucket.acquire()
        while True:
            slot = await self._next()
            try:
                if (wait := slot.at - self._time()) > 0:
                    await asyncio.sleep(wait)
            except asyncio.CancelledError:
                self.forgo(slot)
                raise
            if not self.stale(slot):
                return slot
            self.forgo(slot)

    def stale(self, slot: Permit) -> bool:
        """Whether its time is so long over that the call must have another."""
        return self._time() - slot.at > _STALE

    async def _next(self) -> Permit:
        if not self._granted:
            self._adjust_share()
        while not self._granted:
            now = self._time()
            with self._transaction() as pace:
                slots, again = pace.grant(now, self._set_rate, self._share)
            self._granted.extend(slots)
            self._granted_at = now
            if not slots:  # not all processes at the same moment, or one might be the first each time
                await asyncio.sleep(again - now + random.random() * _SPREAD * AHEAD)
        return self._granted.popleft()

    def _adjust_share(self) -> None:
        """Take as many places at a time as are used before they are due: others would be stale before they are used."""
        used_in = self._time() - self._granted_at
        if used_in > 2 * AHEAD:
            self._share //= 2
        elif used_in < AHEAD:
            self._share *= 2
        most = 1 if self.rate <= _SINGLY_UP_TO else math.ceil(self.rate * AHEAD)
        self._share = max(1, min(self._share, most))

    def forgo(self, slot: Permit) -> None:
        """No call leaves in this slot."""
        self._told.append(lambda pace: pace.forgo(slot.number))

    def on_answer(self, slot: Permit, sent_at: float) -> None:
        """A call was let through by the service."""
        now = self._time()
        latest = now - sent_at
        self.round_trip += (latest - self.round_trip) * (_NEWEST_WEIGHS if self.round_trip else 1.0)
        self._told.append(lambda pace: pace.on_answer(slot.number, sent_at, now))

    def replied(self, slot: Permit, sent_at: float) -> None:
        """Something else came back."""
        now = self._time()
        self._told.append(lambda pace: pace.replied(slot.number, sent_at, now))

    def lost(self, slot: Permit) -> None:
        """Nothing came back."""
        now = self._time()
        self._told.append(lambda pace: pace.lost(slot.number, now))

    def on_refused(self, slot: Permit, sent_at: float) -> None:
        """The call was one too many a second (18), which every process must know at once."""
        self.replied(slot, sent_at)
        with self._transaction() as pace:
            pace.on_refused(slot.number, sent_at, self._time())

    def hold(self, slot: Permit, sent_at: float) -> None:
        """The call found the whole cluster busy (4): nobody calls for a moment."""
        self.replied(slot, sent_at)
        with self._transaction() as pace:
            pace.hold(sent_at, self._time())

    @contextmanager
    def _transaction(self) -> Iterator[RateController]:
        with self._paces.transaction(*self._key) as pace:
            for tell in self._told:
                tell(pace)
            self._told.clear()
            yield pace
            self.rate, self.slowest = min(pace.rate, self._set_rate), pace.slowest


def _bucket(rate: float) -> AsyncLimiter | None:
    """What keeps a job to a rate of its own where another job of the account has set a higher one.

    Above 500 calls/s the timers of aiolimiter ring more often than calls leave, and such a job goes by the account's.
    """
    if rate > _BUCKETS_UP_TO:
        return None
    depth = 1 + rate / 50  # one call deep it would lose the lateness of every timer
    return AsyncLimiter(depth, depth / rate)
