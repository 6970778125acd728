"""When the next call may leave: an even rate, cut a little when the service refuses, and back.

The base is a leaky bucket of `1 + rate / 50` calls: one call deep it would lose the lateness of every timer (3 to 10 %
of the rate from 50 a second on), a second deep it would let twice the rate into the first second.
"""

import asyncio
import math
from collections.abc import Callable

from aiolimiter import AsyncLimiter

SLOWEST = 1 / 3
"""The smallest share of a set rate that refusals can bring about."""

_SLOWEST_RATE = 1e-6
_CUT = 0.95
_CUT_IN_VAIN = 0.8
_IN_VAIN_AFTER = 1.0
_NEWEST_WEIGHS = 0.1
_RECOVERY_PER_SECOND = 0.005
_PAUSE_FIRST = 0.25
_PAUSE_MOST = 8.0


class Pacer:
    """The pace of one account's calls to one service. `rate` is in calls per second; `time` is monotonic."""

    def __init__(self, rate: float, time: Callable[[], float]) -> None:
        self.set_rate = rate = max(rate, _SLOWEST_RATE)
        self._time = time
        depth = 1 + rate / 50
        self._bucket = AsyncLimiter(depth, depth / rate)
        self._share = 1.0
        self._last_cut = -math.inf
        self._last_change = time()
        self._last_answer = time()
        self.round_trip = 0.0
        """Seconds that answered calls take, of late."""
        self._pause = _PAUSE_FIRST
        self._paused_until = 0.0
        self._begun = False

    @property
    def rate(self) -> float:
        """Calls per second that are let through now."""
        return self.set_rate * self._share

    @property
    def slowest(self) -> bool:
        """Whether refusals have brought the rate down as far as they may."""
        return self._share <= SLOWEST

    async def turn(self) -> None:
        """Wait until a call may leave. One waiter at a time."""
        if not self._begun:  # the bucket's depth is for late timers, not for a burst to begin with
            self._begun = True
            await self._bucket.acquire(self._bucket.max_rate - 1)
        self._recover()
        # A call costs more while the rate is cut, in parts that the bucket holds: a wait beside the bucket would be
        # no cut at all, since the bucket fills again meanwhile.
        cost = 1 / self._share
        while cost > 0:
            await self._bucket.acquire(min(cost, 1.0))
            cost -= 1
        while (pause := self._paused_until - self._time()) > 0:
            await asyncio.sleep(pause)
            while self._bucket.has_capacity():  # what was saved up during a pause would follow it as a burst
                await self._bucket.acquire()

    def answered(self, sent_at: float) -> None:
        """A call sent at that time was let through by the service."""
        self._last_answer = self._time()
        latest = self._last_answer - sent_at
        self.round_trip += (latest - self.round_trip) * (_NEWEST_WEIGHS if self.round_trip else 1.0)
        self._pause = _PAUSE_FIRST

    def refused(self, sent_at: float) -> None:
        """A call sent at that time was one too many a second. All refusals of one round trip are one event.

        A refusal comes back faster than an answer, so a round trip is what answered calls take.
        """
        if sent_at < self._last_cut + self.round_trip:
            return
        self._recover()
        now = self._time()
        in_vain = now - self._last_answer > max(_IN_VAIN_AFTER, 2 * self.round_trip)
        self._share = max(SLOWEST, self._share * (_CUT_IN_VAIN if in_vain else _CUT))
        self._last_cut = self._last_change = now

    def hold(self, sent_at: float) -> None:
        """A call sent at that time found the whole cluster busy: nobody calls for a moment, longer each time."""
        if sent_at < self._paused_until:
            return
        self._paused_until = self._time() + self._pause
        self._pause = min(_PAUSE_MOST, self._pause * 2)

    def _recover(self) -> None:
        now = self._time()
        self._share = min(1.0, self._share + _RECOVERY_PER_SECOND * (now - self._last_change))
        self._last_change = now
