"""Simulation: the rate controller against a model of the service, in virtual time, without sockets.

For loads that a machine cannot hold in real time: hours, thousands of calls a second, twenty processes, another user of
the account who comes and goes. Used by `benchmarks.quota` for its table, and by the tests.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from batchrec.limits.rate import RateController
from batchrec.values import Permit

Window = Literal["fixed", "sliding"]
START = 1_000.0
_DOWN = 0.01
_LATEST_TIMER = 0.001
_SPREAD = 0.016


@dataclass(frozen=True, slots=True)
class Service:
    """A service with `limit` calls in any second, or calendar second; `way` and `thinking` in seconds."""

    limit: int
    window: Window = "sliding"
    way: tuple[float, float] = (0.02, 0.02)
    thinking: tuple[float, float] = (0.1, 0.1)


@dataclass(slots=True)
class Outcome:
    """Times of calls taken and refused, in seconds from the beginning."""

    seconds: float
    taken: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def used(self, limit: int, since: float = 5.0, until: float | None = None) -> float:
        """The share of the limit that was used."""
        end = self.seconds if until is None else until
        return sum(since < time <= end for time in self.taken) / (end - since) / limit

    def refusals(self, since: float = 0.0) -> float:
        """The share of calls that were refused."""
        refused = sum(time > since for time in self.refused)
        return refused / max(1, refused + sum(time > since for time in self.taken))

    def second_reaching(self, rate: float) -> int | None:
        """The first second in which so many calls were taken."""
        counts = [0] * (int(self.seconds) + 1)
        for time in self.taken:
            counts[int(time)] += 1
        return next((second for second, count in enumerate(counts) if count >= rate), None)


class Counter:
    """Counts the calls of a second, strictly. A refused call takes no place."""

    def __init__(self, limit: int, window: Window) -> None:
        self._limit = limit
        self._window = window
        self._recent: deque[float] = deque()

    def takes(self, now: float) -> bool:
        """Whether a call that arrives now is taken."""
        while self._recent and self._over(self._recent[0], now):
            self._recent.popleft()
        if len(self._recent) >= self._limit:
            return False
        self._recent.append(now)
        return True

    def _over(self, then: float, now: float) -> bool:
        return now - then >= 1.0 if self._window == "sliding" else int(then) != int(now)


def simulate(
    service: Service,
    rate: float,
    seconds: float,
    *,
    processes: int = 1,
    other: tuple[float, float, float] | None = None,
    seed: int = 1,
) -> Outcome:
    """Simulate jobs that always have another call. `other` user: begin and end (s), and calls/s."""
    rng = random.Random(seed)
    pace, counter, outcome = RateController(), Counter(service.limit, service.window), Outcome(seconds)
    events: list[tuple[float, int, str, Permit | None, float]] = []
    order = itertools.count()

    def at(time: float, what: str, slot: Permit | None = None, sent: float = 0.0) -> None:
        heapq.heappush(events, (time, next(order), what, slot, sent))

    for _ in range(processes):
        at(START + rng.random() / 100, "ask")
    for time in _calls_of(other):
        at(START + time, "other")
    while events and events[0][0] <= START + seconds:
        now, _, what, slot, sent = heapq.heappop(events)
        if what == "ask":
            slots, again = pace.grant(now, rate)
            if slots:
                at(max(now, slots[0].at) + rng.random() * _LATEST_TIMER, "leave", slots[0])
            else:
                at(max(now, again) + rng.random() * _SPREAD, "ask")
        elif what == "leave":
            at(now + rng.uniform(*service.way), "arrive", slot, now)
            at(now + 1e-5, "ask")
        elif what == "other":
            counter.takes(now)
        elif what == "arrive":
            taken = counter.takes(now)
            (outcome.taken if taken else outcome.refused).append(now - START)
            at(now + _DOWN + (rng.uniform(*service.thinking) if taken else 0.0), "yes" if taken else "no", slot, sent)
        elif slot is not None and what == "yes":
            pace.on_answer(slot.number, sent, now)
        elif slot is not None:
            pace.replied(slot.number, sent, now)
            pace.on_refused(slot.number, sent, now)
    return outcome


def _calls_of(other: tuple[float, float, float] | None) -> Iterator[float]:
    if other is not None:
        begin, end, rate = other
        yield from (begin + number / rate for number in range(int((end - begin) * rate)))
