"""The times at which calls of an account may leave for a service.

It decides; it has no clock and waits for nothing. Three things together keep to the limit and use it:

- The log: at most `rate` calls may have arrived within any second. A call keeps its place until it is certain that it
  arrived more than a second before the next one can: `sent + 1 s + excess` (`round_trips`). No jitter of the network
  can then bring one call too many into any second, at the cost of the mean excess.
- The timetable: calls leave `1 / rate` apart by an absolute schedule. A timer that rings late is made up for, up to a
  fiftieth of a second; nothing else is saved up.
- The ceiling (`ceiling`): the rate that the service is believed to take.

docs/dev/pacing.md has the theory and a figure.
"""

import math
from dataclasses import dataclass, field

from ..values import Answered, Busy, Lost, Permit, RateEvent, Replied, Throttled, Unused
from .ceiling import SECOND, Ceiling
from .round_trips import RoundTrips

AHEAD = 0.02
"""Seconds before its time at which a permit can be had."""

LOWEST_RATE = 1e-6
"""Calls/s that every job has at least: rates are divided by."""

_LATE_TIMERS = 0.02
"""Seconds of lateness that the timetable makes up for: a fiftieth of a second, so that no burst comes of it."""
_CATCH_UP = 2.0
"""Mean excesses that it makes up for in addition: the log holds calls back by about as much."""
_IDLE = 1.0
"""Seconds without a call after which nothing is made up for."""
_HURRY = 1.02
"""Factor by which the timetable is faster than the rate: the log is what bounds it, and must never starve."""
_LOOK_AGAIN = 0.05
"""Seconds after which to ask again while the log is full: an answer may make room earlier than expected."""
_PAUSE_FIRST = 0.25
"""Seconds of the first pause after code 4 (cluster busy), doubled with each until an answer."""
_PAUSE_MOST = 8.0
"""Seconds of the longest pause."""
_ROUNDING = 1e-9
"""Calls/s that a whole rate may exceed by the rounding of floating-point numbers."""


@dataclass(slots=True)
class RateController:
    """The rate of one account's calls to one service.

    Times are monotonic seconds, rates calls/s; a rate of infinity means that the service's limit is searched for.
    """

    ceiling: Ceiling = field(default_factory=Ceiling)
    trips: RoundTrips = field(default_factory=RoundTrips)
    calls: dict[int, float] = field(default_factory=dict)
    """By number, when a call has arrived at the latest, less the shortest way there."""
    number: int = 0
    """The number of the last permit."""
    next_at: float = -math.inf
    """Time of the next call in the timetable."""
    paused_until: float = -math.inf
    pause: float = _PAUSE_FIRST
    """Seconds of the next pause."""

    @property
    def rate(self) -> float:
        """Calls per second that are let through now."""
        return self.ceiling.rate

    @property
    def slowest(self) -> bool:
        """Whether refusals have brought the rate down as far as they may."""
        return self.ceiling.slowest

    def wish(self, now: float, rate: float) -> None:
        """Note the rate that a running job has set."""
        if self.ceiling.of_another_clock(now):
            self.forget_times()
        self.ceiling.wish(now, rate)

    def forget_times(self) -> None:
        """Drop all times: they are of an earlier boot. What was learnt about the service stays."""
        self.ceiling, self.trips = self.ceiling.learnt(), RoundTrips()
        self.calls.clear()
        self.number = 0
        self.next_at = self.paused_until = -math.inf
        self.pause = _PAUSE_FIRST

    def grant(
        self, now: float, rate: float, many: int = 1, first: float = AHEAD, last: float = AHEAD
    ) -> tuple[list[Permit], float]:
        """Permits for up to so many calls of a job that has set this rate, and when to ask again for more.

        `first` and `last`: seconds before its time at which the first permit and the others can be had.
        """
        self.wish(now, rate)
        if self.ceiling.answered_at == -math.inf:
            self.ceiling.answered_at = now
        self._grow(now)
        allowed = self.ceiling.rate
        room = math.ceil(allowed - _ROUNDING)
        window = room / allowed
        self._forget(now - window)
        arrived = sorted(self.calls.values())
        late = _LATE_TIMERS + _CATCH_UP * self.trips.mean_excess
        apart, unanswered = SECOND / allowed / _HURRY, self.trips.unanswered()
        permits: list[Permit] = []
        for place in range(len(arrived) - room, min(len(arrived) - room + many, len(arrived))):
            table = max(self.next_at, now - (late if now - self.next_at < _IDLE else 0.0), self.paused_until)
            at = max(table, arrived[place] + window) if place >= 0 else table
            if at > now + (last if permits else first):
                return permits, at - first if at == table else min(at - first, now + _LOOK_AGAIN)
            self.number += 1
            self.next_at = table + apart
            permits.append(Permit(self.number, max(at, now)))
            self.calls[self.number] = permits[-1].at + unanswered
        return permits, now

    def apply(self, event: RateEvent) -> None:
        """Take in the end of a call."""
        match event:
            case Answered(number, sent, at):
                self.on_answer(number, sent, at)
            case Unused(number):
                self.forgo(number)
            case Lost(number, at):
                self.lost(number, at)
            case Replied(number, sent, at):
                self.replied(number, sent, at)
            case Throttled(number, sent, at):
                self.replied(number, sent, at)
                self.on_refused(number, sent, at)
            case Busy(number, sent, at):
                self.replied(number, sent, at)
                self.hold(sent, at)

    def forgo(self, number: int) -> None:
        """Free the place of a call that does not leave."""
        self.calls.pop(number, None)

    def lost(self, number: int, now: float) -> None:
        """Keep the place of a call that may have arrived just now, or never."""
        if number in self.calls:
            self.calls[number] = now

    def replied(self, number: int, sent: float, now: float) -> None:
        """Note that something came back, so the call has arrived."""
        if number in self.calls:
            self.calls[number] = self.trips.latest_arrival(sent, now)

    def on_answer(self, number: int, sent: float, now: float) -> None:
        """Learn from a call that was let through.

        A refusal comes back faster, and would be a wrong round trip.
        """
        self.trips.on_answer(now - sent, now, self.number)
        self.ceiling.on_answer(now)
        self.pause = _PAUSE_FIRST
        self.replied(number, sent, now)

    def on_refused(self, number: int, sent: float, now: float) -> None:
        """Slow down: a call sent then was one too many a second (18).

        All refusals of one round trip are one event.
        """
        self.ceiling.on_refused(sent)
        if self.ceiling.already_cut(sent, self.trips.mean):
            return
        self._grow(now)
        since = sent - SECOND + self.trips.mean_excess
        calls = sum(arrived > since and earlier < number for earlier, arrived in self.calls.items())
        self.ceiling.lower(now, self.ceiling.taken_of(calls, sent), self.trips.mean)
        self.trips.on_refused()

    def hold(self, sent: float, now: float) -> None:
        """Pause: a call sent then found the whole cluster busy (4). The pause is longer each time."""
        if sent >= self.paused_until:
            self.paused_until = now + self.pause
            self.pause = min(_PAUSE_MOST, self.pause * 2)

    def _grow(self, now: float) -> None:
        self.ceiling.grow(now, self.number, len(self.calls), self.trips)

    def _forget(self, time: float) -> None:
        """Drop calls that arrived before a time, which bound nothing.

        A late one among the first keeps the next.
        """
        while self.calls and self.calls[first := next(iter(self.calls))] <= time:
            del self.calls[first]
