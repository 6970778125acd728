"""Limits that count calls: a module for each period over which they are counted, and their table.

A new limit is a module and a row here. The keys of the job file, the count of a call before it leaves, the exit
status, the days of a plan and `batchrec quota` follow from it.
"""

from .daily import DAILY
from .period import Period
from .total import TOTAL

_TABLE: tuple[Period, ...] = (DAILY, TOTAL)

PERIODS: dict[str, Period] = {period.name: period for period in _TABLE}
"""Periods by the name that `[limits]` uses."""


def period_of(code: int | str) -> Period:
    """The period whose quota a code reports as used up; `total`, which no time ends, for a code of no row."""
    return next((period for period in PERIODS.values() if period.code == code), TOTAL)


__all__ = ["DAILY", "PERIODS", "TOTAL", "Period", "period_of"]
