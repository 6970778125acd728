"""Treatment of failures: the only place that decides between another attempt, giving up and stopping.

Pure: times come in as arguments, jitter from the generator that is passed in.
"""

import random
from dataclasses import dataclass, field
from enum import Enum

from ..values import Failure, Kind
from .codes import row_of

MISCONFIGURED_AFTER = 20
"""Faults of the request in a row, with nothing answered, that show the job to be wrong rather than an image."""

_BACKOFF_FIRST = 0.5
"""Seconds, at most, of the first pause; the ceiling doubles with each attempt."""

_BACKOFF_MOST = 30.0
"""Seconds of the longest pause."""

_WITNESSES = 3
"""Images that have to fail with no result between, before the service counts as failing for everybody."""


class Action(Enum):
    """Action of the engine after a failure, for the image and for everything else."""

    AGAIN = "ask again after a backoff; an attempt is spent"
    REPEAT = "ask again as soon as the gate allows; no attempt is spent"
    FAIL = "the image has failed"
    CLOSE = "no further call for this service"
    HALT = "no further call at all"


ACTIONS: dict[Kind, Action] = {
    Kind.THROTTLED: Action.REPEAT,
    Kind.EXHAUSTED: Action.CLOSE,
    Kind.TOKEN: Action.REPEAT,
    Kind.REFUSED: Action.HALT,
    Kind.TRANSIENT: Action.AGAIN,
    Kind.IMAGE: Action.FAIL,
    Kind.READ: Action.FAIL,
    Kind.REQUEST: Action.FAIL,
    Kind.UNKNOWN: Action.AGAIN,
}


def decide(failure: Failure) -> Action:
    """Decide the action after a failed call."""
    row = row_of(failure.code)
    return Action.CLOSE if row is not None and row.one_service else ACTIONS[failure.kind]


def counts(failure: Failure) -> bool:
    """Whether the failed call stays counted against daily and total limits."""
    row = row_of(failure.code)
    return failure.counted and (row is None or row.billed)


def cluster_busy(failure: Failure) -> bool:
    """Whether the service was busy for everybody, so that the account's own rate is not the reason."""
    row = row_of(failure.code)
    return row is not None and row.cluster_busy


def backoff(attempts: int, rng: random.Random) -> float:
    """Seconds to wait after the given number of spent attempts: full jitter under a doubling ceiling."""
    return rng.uniform(0, min(_BACKOFF_MOST, _BACKOFF_FIRST * 2 ** min(attempts, 10)))


@dataclass(slots=True)
class Tries:
    """One image's attempts at one step.

    A failure is judged only when the image is about to be asked again: by then it is known whether the service was
    failing for everybody, in which case the attempt is not the image's fault and is not spent.
    """

    limit: int
    spent: int = 0
    _unjudged: int | None = None
    _seen_answers: bool = False

    @property
    def suspect(self) -> bool:
        """Whether others were answered while this one failed: then its failures say nothing about the service."""
        return self._seen_answers

    def failed(self, breaker: "Breaker") -> None:
        """The call for this image has failed."""
        self._unjudged = breaker.answers

    def settle(self, breaker: "Breaker") -> bool:
        """Spend the attempt if it was the image's own; True while the image may be asked again."""
        if self._unjudged is not None:
            if breaker.answers > self._unjudged:
                self._seen_answers = True
                self.spent += 1
            elif not breaker.down:
                self.spent += 1
            self._unjudged = None
        return self.spent < self.limit


@dataclass(slots=True)
class Breaker:
    """Whether a service fails for everybody.

    It does while nothing was answered yet, or since three images without a history of failing have failed with no
    answer between. Then one call at a time probes, and after `patience` seconds the run ends.
    """

    patience: float
    proven: bool = False
    """Whether the service has answered such requests before this run."""
    tried: bool = False
    """Whether a call of this run has shown that the service takes the key and such requests."""
    answers: int = 0
    failing_since: float | None = None
    _probes: int = 0
    _witnesses: set[object] = field(default_factory=set)
    _malformed: int = 0

    @property
    def down(self) -> bool:
        """Whether to probe with one call at a time, and spend no attempts."""
        return self.failing_since is not None and (self.answers == 0 or len(self._witnesses) >= _WITNESSES)

    @property
    def misconfigured(self) -> bool:
        """Whether the service has refused so many requests, and answered none, that the job must be wrong."""
        return not self.proven and self.answers == 0 and self._malformed >= MISCONFIGURED_AFTER

    def expired(self, now: float) -> bool:
        """Whether the service has been down for as long as the job is willing to wait."""
        return self.down and self.failing_since is not None and now - self.failing_since >= self.patience

    def on_answer(self) -> None:
        """A call was answered: the service works."""
        self.answers += 1
        self.judged()

    def judged(self) -> None:
        """The service had something to say about an image: it works, though that was no answer."""
        self._works()
        self.tried = True
        self._malformed = 0

    def failed(self, image: object, now: float, *, suspect: bool) -> None:
        """A call has failed in a way that may pass. `image` tells witnesses apart: copies are one."""
        self._malformed = 0
        if self.failing_since is None:
            self.failing_since = now
        if self.down:
            self._probes += 1
        elif not suspect:
            self._witnesses.add(image)

    def malformed(self) -> None:
        """The service found fault with the request itself; it works, and says no."""
        self._works()
        self.tried |= self.proven
        self._malformed += 1

    def _works(self) -> None:
        self.failing_since = None
        self._probes = 0
        self._witnesses.clear()

    def probe_delay(self, rng: random.Random) -> float:
        """Seconds before the next probe, while down: doubling, so that patience holds at least several probes."""
        most = min(10.0, max(0.1, self.patience / 6))
        delay: float = _BACKOFF_FIRST * 2 ** min(self._probes, 10)
        return min(most, delay) * rng.uniform(0.5, 1)
