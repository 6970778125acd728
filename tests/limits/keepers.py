"""A second `Keeper`, as one on another machine would be: a lease counts its calls; no file."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from batchrec.limits.quota import used_up
from batchrec.limits.rate import RateController
from batchrec.periods import DAILY, TOTAL
from batchrec.times import Clock, beijing_day, next_reset
from batchrec.values import (
    Allowance,
    Closure,
    Event,
    Permit,
    Permits,
    QuotaKey,
    Reopened,
    Target,
    Uncounted,
    Unused,
    UsedUp,
)


class RemoteKeeper:
    """Rate and quota in memory. A lease takes its calls from the quota; unused permits are handed back.

    The limits are told by `lease`, before a place in flight is taken; `charge` only takes what was leased.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rates: defaultdict[tuple[str, str], RateController] = defaultdict(RateController)
        self._days: defaultdict[QuotaKey, int] = defaultdict(int)
        self._packs: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._closures: dict[tuple[str, str], Closure] = {}

    def open(self, target: Target) -> tuple[Allowance, Closure | None]:
        """Register a job's limits."""
        self._rates[target[:2]].wish(self._clock.time(), target.caps.qps)
        closure = self._closures.get(target[:2])
        holds = closure is not None and (closure.until is None or closure.until > self._clock.now())
        return self._allowance(target), closure if holds else None

    async def lease(self, target: Target, most: int) -> Permits | Closure:
        """Permits whose calls are counted already."""
        while True:
            room = self._room(target)
            if isinstance(room, Closure):
                return room
            now = self._clock.time()
            permits, again = self._rates[target[:2]].grant(now, target.caps.qps, min(most, room))
            if permits:
                self._count(self._key(target), len(permits))
                return Permits(permits, self._allowance(target))
            await asyncio.sleep(again - now)

    def charge(self, target: Target, permits: Sequence[Permit]) -> Sequence[QuotaKey | Closure]:
        """The calls were counted with the lease."""
        return [self._key(target)] * len(permits)

    def report(self, target: Target, events: Sequence[Event]) -> Allowance:
        """Take everything in at once."""
        for event in events:
            match event:
                case Uncounted(charge):
                    self._count(charge, -1)
                case UsedUp(code, day):
                    self._closures[target[:2]] = used_up(code, day)
                case Reopened():
                    self._closures.pop(target[:2], None)
                case _:
                    self._rates[target[:2]].apply(event)
                    if isinstance(event, Unused):
                        self._count(self._key(target), -1)
        return self._allowance(target)

    def calls(self, target: Target) -> int:
        """Calls counted in all."""
        return self._packs[target[:2]]

    def _room(self, target: Target) -> int | Closure:
        limits = dict(target.caps.calls)
        daily, total = limits.get("daily"), limits.get("total")
        rooms = [1000]
        if daily is not None:
            if (room := daily - self._days[self._key(target)]) <= 0:
                return Closure(DAILY.code, next_reset(self._clock.now()), reported=False)
            rooms.append(room)
        if total is not None:
            if (room := total - self._packs[target[:2]]) <= 0:
                return Closure(TOTAL.code, None, reported=False)
            rooms.append(room)
        return min(rooms)

    def _count(self, charge: QuotaKey, calls: int) -> None:
        self._days[charge] += calls
        self._packs[charge.account, charge.service] += calls

    def _key(self, target: Target) -> QuotaKey:
        return QuotaKey(target.account, target.service, beijing_day(self._clock.now()))

    def _allowance(self, target: Target) -> Allowance:
        rate = self._rates[target[:2]]
        return Allowance(min(rate.rate, target.caps.qps), rate.slowest)
