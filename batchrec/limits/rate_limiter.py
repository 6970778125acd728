"""The permits of one job, leased from the keeper some at a time and used when they are due."""

import asyncio
import math
from collections import deque
from collections.abc import Callable

from aiolimiter import AsyncLimiter

from ..interfaces import Keeper
from ..values import (
    Allowance,
    Answered,
    Busy,
    Closure,
    Lost,
    Permit,
    RateEvent,
    Replied,
    Target,
    Throttled,
    Unused,
)
from .rate import AHEAD, LOWEST_RATE

_SINGLY_UP_TO = 200
"""Calls/s up to which permits are leased one at a time: a lease costs some 100 us."""
_BUCKETS_UP_TO = 500
"""Calls/s above which the timers of aiolimiter ring more often than calls leave; such a job goes by the account's."""
_STALE = 0.05
"""Seconds after its time at which a permit is not used any more: its place in the log may then be gone."""
_NEWEST_WEIGHS = 0.1
"""Weight of the newest round trip in the mean."""


class RateLimiter:
    """Permits of one job for one service. `time` is monotonic, in seconds."""

    def __init__(self, keeper: Keeper, target: Target, allowance: Allowance, time: Callable[[], float]) -> None:
        self._keeper, self._target, self._time = keeper, target, time
        self._leased: deque[Permit] = deque()
        self._share, self._leased_at = 1, -math.inf
        self._bucket = _bucket(target.caps.qps)
        self.allowance = allowance
        self.round_trip = 0.0
        """Seconds that answered calls take, of late."""

    @property
    def rate(self) -> float:
        """Calls per second that are let through now."""
        return self.allowance.rate

    @property
    def limit(self) -> float:
        """Calls/s that the job sets; infinite where they are to be found."""
        return self._target.caps.qps

    async def acquire(self) -> Permit | Closure:
        """Wait until a call may leave. One waiter at a time; a permit that is not used is given to `forgo`."""
        if self._bucket is not None:
            await self._bucket.acquire()
        while True:
            permit = await self._next()
            if isinstance(permit, Closure):
                return permit
            try:
                if (wait := permit.at - self._time()) > 0:
                    await asyncio.sleep(wait)
            except asyncio.CancelledError:
                self.forgo(permit)
                raise
            if not self.stale(permit):
                return permit
            self.forgo(permit)

    def stale(self, permit: Permit) -> bool:
        """Whether the permit is more than 50 ms past its time, so that a new one is needed."""
        return self._time() - permit.at > _STALE

    async def _next(self) -> Permit | Closure:
        if not self._leased:
            self._adjust_share()
            lease = await self._keeper.lease(self._target, self._share)
            if isinstance(lease, Closure):
                return lease
            self._leased.extend(lease.permits)
            self._leased_at, self.allowance = self._time(), lease.allowance
        return self._leased.popleft()

    def _adjust_share(self) -> None:
        """Lease as many permits at a time as are used before they are due: others would be stale by then."""
        used_in = self._time() - self._leased_at
        if used_in > 2 * AHEAD:
            self._share //= 2
        elif used_in < AHEAD:
            self._share *= 2
        most = 1 if self.rate <= _SINGLY_UP_TO else math.ceil(self.rate * AHEAD)
        self._share = max(1, min(self._share, most))

    def forgo(self, permit: Permit) -> None:
        """Give back a permit with which no call leaves."""
        self._report(Unused(permit.number))

    def on_answer(self, permit: Permit, sent_at: float) -> None:
        """Note a call that was let through by the service."""
        now = self._time()
        latest = now - sent_at
        self.round_trip += (latest - self.round_trip) * (_NEWEST_WEIGHS if self.round_trip else 1.0)
        self._report(Answered(permit.number, sent_at, now))

    def replied(self, permit: Permit, sent_at: float) -> None:
        """Note a call that came back with anything else."""
        self._report(Replied(permit.number, sent_at, self._time()))

    def lost(self, permit: Permit) -> None:
        """Note a call that did not come back."""
        self._report(Lost(permit.number, self._time()))

    def on_refused(self, permit: Permit, sent_at: float) -> None:
        """Note a call that was one too many a second (18)."""
        self._report(Throttled(permit.number, sent_at, self._time()))

    def hold(self, permit: Permit, sent_at: float) -> None:
        """Note a call that found the whole cluster busy (4): nobody calls for a moment."""
        self._report(Busy(permit.number, sent_at, self._time()))

    def _report(self, event: RateEvent) -> None:
        self.allowance = self._keeper.report(self._target, (event,))


def _bucket(rate: float) -> AsyncLimiter | None:
    """A bucket that keeps a job to its own rate where another job of the account has set a higher one.

    Above 500 calls/s the timers of aiolimiter ring more often than calls leave, and such a job goes by the account's.
    """
    if rate > _BUCKETS_UP_TO:
        return None
    rate = max(rate, LOWEST_RATE)
    depth = 1 + rate / 50  # one call deep it would lose the lateness of every timer
    return AsyncLimiter(depth, depth / rate)
