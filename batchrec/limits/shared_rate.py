"""The rates of accounts and services, shared by every process of the machine: one small SQLite file.

What a power cut takes from this file is only a second old, so nothing in it is synced.
"""

import math
import sqlite3
from array import array
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson

from ..errors import OutputFailed
from ..language import _
from ..state.database import open_database
from ..state.durable import boot_id
from ..state.file_system import STATE_REMEDY, with_cause
from ..values import Target
from .ceiling import Ceiling
from .rate import RateController
from .round_trips import Observed, RoundTrips

CLUSTER = "cluster"
"""Folder in the state folder for the rates of a cluster's keeper, which leases further ahead: runs on the machine alone
lease 20 ms ahead, and would never get their turn."""

_FILE = "pace.db"
_LATELY_SECONDS = 5.0
"""Seconds since the last call up to which an account is in use."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pace (account TEXT, service TEXT, boot TEXT NOT NULL, state BLOB NOT NULL,
    numbers BLOB NOT NULL, arrived BLOB NOT NULL, PRIMARY KEY (account, service));
"""
_CEILING = {
    "limit": "limit",
    "known": "proven",
    "starting": "starting",
    "gain": "gain",
    "reached_at": "reached_at",
    "refused_at": "refused_at",
    "limit_cut": "limit_cut",
    "steepness": "steepness",
    "changed_at": "changed_at",
    "cut_at": "cut_at",
    "cut": "cut",
    "answered_at": "answered_at",
    "most": "set_rate",
    "most_at": "set_at",
    "flow": "flow",
    "flow_since": "flow_since",
    "flow_from": "flow_from",
}
_TRIPS = {"slack": "slack", "doubt": "doubt"}
_TIMETABLE = {"next_at": "next_at", "paused_until": "paused_until", "pause": "pause", "number": "number"}
_PERIOD = tuple(field.name for field in fields(Observed))
"""The keys of a state on the disk, and the attributes of its parts that they hold."""
_of_ceiling, _of_trips = attrgetter(*_CEILING.values()), attrgetter(*_TRIPS.values())
_of_timetable, _of_period = attrgetter(*_TIMETABLE.values()), attrgetter(*_PERIOD)
_KEYS = (*_CEILING, *_TRIPS, *_TIMETABLE)
_UNBOUNDED = {1e12: math.inf, -1e12: -math.inf}
"""Numbers that JSON has, and that stand for infinity on the disk."""
_INFINITE = {value: number for number, value in _UNBOUNDED.items()}


class SharedRates:
    """The rates of all accounts and services. Raises OutputFailed when the file cannot be used.

    Without a directory they are this process's own.
    """

    def __init__(self, directory: Path | None, boot: str | None = None) -> None:
        self._path = Path(":memory:") if directory is None else directory / _FILE
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
        """The rate as all processes have left it.

        No other process changes it inside the block, which must not wait.
        """
        key = account, service
        with self._used(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            version = self._db.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:  # another process has written since
                self._cached.clear()
                self._version = version
            rate = self._cached.pop(key, None) or self._load(key)
            yield rate
            self._db.execute(
                "INSERT OR REPLACE INTO pace VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *key,
                    self._boot,
                    _stored(rate),
                    array("q", rate.calls).tobytes(),
                    array("d", rate.calls.values()).tobytes(),
                ),
            )
        self._cached[key] = rate

    def last_call(self, account: str, service: str) -> float:
        """Monotonic time of the last call, or the next one, by the rates on the disk.

        Minus infinity where there was none.
        """
        with self._used():
            return self._load((account, service)).next_at

    def _load(self, key: tuple[str, str]) -> RateController:
        row = self._db.execute(
            "SELECT boot, state, numbers, arrived FROM pace WHERE account = ? AND service = ?", key
        ).fetchone()
        if row is None:
            return RateController()
        try:
            rate = _restored(row[1], dict(zip(array("q", row[2]), array("d", row[3]), strict=True)))
        except (TypeError, KeyError, ValueError, AttributeError):  # another version of batchrec has written it
            return RateController()
        if row[0] != self._boot:
            rate.forget_times()
        return rate

    @contextmanager
    def _used(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as exc:
            raise OutputFailed(
                _("{path}: cannot be used: {reason}").format(path=self._path, reason=with_cause(exc, STATE_REMEDY))
            ) from exc


def used_lately(directory: Path, targets: Iterable[Target], now: float) -> bool:
    """Whether somebody has made calls by the rates of a folder in the last seconds. `now` is monotonic.

    Raises OutputFailed when the file cannot be used.
    """
    if not (directory / _FILE).exists():
        return False
    with closing(SharedRates(directory)) as rates:
        return any(rates.last_call(each.account, each.service) > now - _LATELY_SECONDS for each in targets)


def _stored(rate: RateController) -> bytes:
    """The state without its log, as JSON."""
    ceiling, trips = rate.ceiling, rate.trips
    values = _finite((*_of_ceiling(ceiling), *_of_trips(trips), *_of_timetable(rate)))
    stored: dict[str, Any] = dict(zip(_KEYS, values, strict=True))
    stored["refusals"] = ceiling.refusals
    stored["now"] = dict(zip(_PERIOD, _finite(_of_period(trips.recent)), strict=True))
    stored["before"] = dict(zip(_PERIOD, _finite(_of_period(trips.earlier)), strict=True))
    return orjson.dumps(stored)


def _finite(values: Iterable[float]) -> list[float]:
    number = _INFINITE.get
    return [number(value, value) for value in values]


def _restored(content: bytes, calls: dict[int, float]) -> RateController:
    """The opposite of `_stored`, with the log.

    Raises TypeError, KeyError, ValueError and AttributeError for another format's.
    """
    stored = orjson.loads(content)
    recent, earlier = (Observed(**_unbounded(stored.pop(period))) for period in ("now", "before"))
    refusals, stored = stored.pop("refusals"), _unbounded(stored)
    ceiling, trips, timetable = (
        {name: stored.pop(key) for key, name in part.items()} for part in (_CEILING, _TRIPS, _TIMETABLE)
    )
    if stored:
        raise ValueError(f"unknown keys: {', '.join(stored)}")
    return RateController(
        Ceiling(**ceiling, refusals=refusals), RoundTrips(recent, earlier, **trips), calls, **timetable
    )


def _unbounded(stored: dict[str, Any]) -> dict[str, Any]:
    return {key: _UNBOUNDED.get(value, value) for key, value in stored.items()}
