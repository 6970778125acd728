"""The pace of an account, shared by every process of the machine, and the turns that one job gets in it.

One small SQLite file in the state folder. A call's turn is one transaction, or a share of one: above 200 calls/s turns
are taken some at a time, so that a call costs the less the faster they leave. What a power cut takes from this file
is only a second old, so nothing in it is synced.
"""

import math
import sqlite3
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson

from ..errors import OutputFailed
from ..state.database import open_database
from ..state.durable import boot_id
from .ceiling import Ceiling
from .rate import RateController
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
