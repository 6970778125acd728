"""Rate and quota of one machine: two SQLite files in the state folder, shared by every process."""

import asyncio
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ..values import (
    Allowance,
    Busy,
    Closure,
    Event,
    Permit,
    Permits,
    QuotaKey,
    RateEvent,
    Reopened,
    Target,
    Throttled,
    Uncounted,
    UsedUp,
)
from .quota import Quota
from .rate import AHEAD, LOWEST_RATE, RateController
from .shared_rate import SharedRates

_SPREAD = 0.8
"""Share of `AHEAD` by which processes that wait are spread, or one might be the first each time."""
_MOST_AHEAD = 1000
"""Calls by which the quota's bound on the disk is moved ahead at most: what a power cut may count too much."""
_HIGHEST_RATE = 1e9
"""Calls/s that a set rate stands for at most: the 1e12 that stands for a search on the disk must be none."""
_URGENT = frozenset({Throttled, Busy})
"""Events that every process must know of at once."""


class LocalKeeper:
    """The `Keeper` of one machine. `time` is monotonic, in seconds.

    Ends of calls are noted with the next lease: they matter only most of a second later. Refusals are noted at once.
    """

    def __init__(self, rates: SharedRates, quota: Quota, time: Callable[[], float]) -> None:
        self._rates, self._quota, self._time = rates, quota, time
        self._noted: defaultdict[Target, list[RateEvent]] = defaultdict(list)
        self._allowances: dict[Target, Allowance] = {}

    def open(self, target: Target) -> tuple[Allowance, Closure | None]:
        """Record the limits of a run, from which `batchrec quota` tells what remains."""
        self._quota.record_limits(target)
        with self._transaction(target) as rate:
            rate.wish(self._time(), _set_rate(target))
        return self._allowances[target], self._quota.closure(target.account, target.service)

    async def lease(self, target: Target, most: int) -> Permits | Closure:
        """Permits that are due within 20 ms. Used-up quota is told by `charge`, which counts to the call."""
        while True:
            permits, wait = self.grant(target, most)
            if permits:
                return Permits(permits, self._allowances[target])
            await asyncio.sleep(wait + random.random() * _SPREAD * AHEAD)

    def grant(
        self, target: Target, most: int, first: float = AHEAD, last: float = AHEAD
    ) -> tuple[Sequence[Permit], float]:
        """Permits that can be had now, and seconds after which to ask again.

        `first` and `last` as in `RateController.grant`.
        """
        now = self._time()
        with self._transaction(target) as rate:
            permits, again = rate.grant(now, _set_rate(target), most, first, last)
        return permits, again - now

    def charge(self, target: Target, permits: Sequence[Permit]) -> Sequence[QuotaKey | Closure]:
        """One transaction for all calls, synced to the disk about once a second."""
        ahead = math.ceil(min(self._allowances[target].rate, _MOST_AHEAD))
        return self._quota.reserve(target, calls=len(permits), ahead=ahead)

    def report(self, target: Target, events: Sequence[Event]) -> Allowance:
        """Note events of the rate for the next lease, refusals and events of the quota at once."""
        for event in events:
            match event:
                case Uncounted(charge):
                    self._quota.give_back(charge)
                case UsedUp(code, day):
                    self._quota.close_service(target.account, target.service, code, day)
                case Reopened():
                    self._quota.reopen(target.account, target.service)
                case _:
                    self._noted[target].append(event)
                    if type(event) in _URGENT:
                        with self._transaction(target):
                            pass  # writes what is noted
        return self._allowances[target]

    @contextmanager
    def _transaction(self, target: Target) -> Iterator[RateController]:
        with self._rates.transaction(target.account, target.service) as rate:
            noted = self._noted[target]
            for event in noted:
                rate.apply(event)
            noted.clear()
            yield rate
            self._allowances[target] = Allowance(min(rate.rate, _set_rate(target)), rate.slowest)


def _set_rate(target: Target) -> float:
    qps = target.caps.qps
    return qps if qps == math.inf else min(max(qps, LOWEST_RATE), _HIGHEST_RATE)
