"""Beijing days and ISO 8601 timestamps of Unix times."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

BEIJING = timezone(timedelta(hours=8))
"""The service's day is assumed to begin at 00:00 here: no page says so, but arrears are reckoned in this time."""


def beijing_day(now: float) -> str:
    """The service's calendar day at a Unix time, as YYYY-MM-DD."""
    return datetime.fromtimestamp(now, BEIJING).date().isoformat()


def next_reset(now: float) -> float:
    """The Unix time at which the service's next day begins."""
    return end_of_day(beijing_day(now))


def end_of_day(day: str) -> float:
    midnight = datetime.fromisoformat(day).replace(tzinfo=BEIJING)
    return (midnight + timedelta(days=1)).timestamp()


def iso_beijing(moment: float) -> str:
    """A Unix time as ISO 8601 with the service's offset."""
    return datetime.fromtimestamp(moment, BEIJING).isoformat(timespec="seconds")


def iso_utc(moment: float) -> str:
    """A Unix time as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


class Clock(NamedTuple):
    """Monotonic seconds, Unix seconds and chance, as a run or a test has them."""

    time: Callable[[], float]
    now: Callable[[], float]
    rng: random.Random
