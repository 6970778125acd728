"""Lanes: gate, steps and queues of one service, fed from the backlog that all lanes share."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ..api.client import Request
from ..job.follow_ups import Conditions
from ..journal import Journal
from ..limits.gate import Gate
from ..state.answer_cache import CacheKey
from ..values import Task, Treatment
from .canary import Canary
from .rows import Asked

MOST_WORKERS = 256
"""Calls in flight at most, of a lane and of all lanes together."""

PREPARING = 8
"""Workers beside those whose calls are in flight, so that the next call is ready when one of these ends."""

_MOST_ASIDE = 1000
"""Images that wait for a decoder at most, before a lane takes no more from the backlog."""

_MOST_FETCHING = 10_000
"""Images that are fetched or wait for that at most, before a lane takes no more from the backlog."""

_STOCK = 64
"""Images under way to a lane by the fetchers, below which it hands over more before it uses what has come."""

_CLAIMED_AT_ONCE = 256
"""Images that a lane takes from the journal's list in one transaction."""


class Postponed(Enum):
    """Reason why an image leaves its worker without an outcome."""

    PARKED = "an image with the same bytes is under way; the journal puts the copy back on the list"
    DEFERRED = "the service is down; an image that has not failed yet is the better probe"
    SET_ASIDE = "the image has to be decoded, and as many as may be are decoded"
    FETCHING = "the image is fetched by its URL, and comes back to its lane"
    CLOSED = "no further call may leave in this run"


@dataclass(frozen=True, slots=True)
class Step:
    """A step made ready: how its requests look, what its images must be, and which steps may follow.

    `cache_key` is the step's key in the result cache, None where its results are not kept; with `reuse` cached results
    are taken. `by_url`: the service fetches images by URL itself. `canary`: images that are sent first.
    """

    asked: Asked
    request: Request
    attempts: int
    treatment: Treatment
    follow: Conditions = ()
    cache_key: CacheKey | None = None
    reuse: bool = False
    by_url: bool = False
    canary: Canary | None = None


class Backlog:
    """The journal's lists of images up to the input at `horizon`, and how many of them lanes have in hand.

    The lanes of a run share it, since the result of one step may put an image on the list of another: a lane is done
    when the lists are empty and no lane has an image in hand.
    """

    def __init__(self, journal: Journal, steps: Sequence[int], horizon: int) -> None:
        self._journal = journal
        self._steps = tuple(steps)
        self._horizon = horizon
        self._in_hand = 0
        self._changed = asyncio.Event()

    def claim(self, steps: Sequence[int]) -> list[Task]:
        """Take images of these steps in hand, in input order; empty where none are listed."""
        tasks = self._journal.queue.claim(steps, self._horizon, _CLAIMED_AT_ONCE)
        self._in_hand += len(tasks)
        return tasks

    def finished(self, count: int) -> None:
        """Let go of images that have an outcome, are parked, or wait for a later run."""
        self._in_hand -= count
        self._changed.set()

    @property
    def exhausted(self) -> bool:
        """Whether no image is listed or in hand, so that none will be."""
        return not self._in_hand and not self._journal.queue.unfinished(self._steps, self._horizon, unclaimed=True)

    def wake(self) -> None:
        """Let all that wait in `change` look again."""
        self._changed.set()

    async def change(self) -> None:
        """Wait for the next `finished` or `wake`."""
        self._changed.clear()
        await self._changed.wait()


class Lane:
    """One service at one account: gate, steps by number, queues, and the number of workers.

    `workers` at present, `most` at most. `has_decoder` takes an image and says whether a decoder is free for it, which
    then is its own.
    """

    def __init__(
        self,
        gate: Gate,
        steps: Mapping[int, Step],
        backlog: Backlog,
        has_decoder: Callable[[Task], bool],
        workers: int,
        most: int = MOST_WORKERS,
    ) -> None:
        self.gate = gate
        self.steps = steps
        self.workers = workers
        self._numbers = tuple(steps)
        self._most = most
        self._backlog = backlog
        self._has_decoder = has_decoder
        self._ready: deque[Task] = deque()
        self._deferred: deque[Task] = deque()
        self._aside: deque[Task] = deque()
        self._fetched: deque[Task] = deque()
        self._fetching = 0

    async def next(self) -> Task | None:
        """Return the next image; None when there is none and will be none.

        Deferred images come first while the service works, and last while it is down. A closed gate ends nothing: an
        image whose result is known needs no call.
        """
        while True:
            if self._deferred and not self.gate.breaker.down:
                return self._deferred.popleft()
            if self._aside and self._has_decoder(self._aside[0]):
                return self._aside.popleft()
            if self._fetched and not self._stocks_up():
                return self._fetched.popleft()
            if len(self._aside) >= _MOST_ASIDE or self._fetching >= _MOST_FETCHING:
                await self._backlog.change()
                continue
            self._claim()
            if self._ready or self._deferred:
                return (self._ready or self._deferred).popleft()
            if self._backlog.exhausted:
                self._backlog.wake()  # the other workers end too
                return None
            await self._backlog.change()

    def _claim(self) -> None:
        if not self._ready:
            self._ready.extend(self._backlog.claim(self._numbers))

    def _stocks_up(self) -> bool:
        """Whether the next image is likely a URL (its size is not known), and too few are on their way."""
        if self._fetching >= _STOCK:
            return False
        self._claim()
        return bool(self._ready) and self._ready[0].size < 0

    def begin_fetch(self) -> None:
        """Note that an image is handed to the fetchers."""
        self._fetching += 1

    def fetched(self, task: Task) -> None:
        """Queue an image that was fetched, or could not be."""
        self._fetching -= 1
        self._fetched.append(task)

    def defer(self, task: Task) -> None:
        """Queue an image that failed while the service was down, behind those that have not failed."""
        self._deferred.append(task)

    def set_aside(self, task: Task) -> None:
        """Queue an image until a decoder is free for it, so that no worker waits for that."""
        self._aside.append(task)

    @property
    def understaffed(self) -> bool:
        """Whether the rate needs more calls in flight than workers make: rate x round trip (Little's law)."""
        limiter = self.gate.limiter
        return self.workers < min(limiter.rate * limiter.round_trip + PREPARING, self._most)
