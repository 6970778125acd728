"""Treatment of failures: the only place that decides between another attempt, giving up and stopping.

Pure: times come in as arguments, jitter from the generator that is passed in.
"""

import random
from dataclasses import dataclass, field
from enum import Enum

from ..language import mark
from ..values import Failure, Kind
from .codes import row_of

MISCONFIGURED_AFTER = 20
"""Faults of the request in a row, with nothing answered, that show the job to be wrong rather than an image."""

_BACKOFF_FIRST = 0.5
"""Seconds, at most, of the first pause; the ceiling doubles with each attempt."""

_BACKOFF_MOST = 30.0
"""Seconds of the longest pause."""

_WITNESSES = 3
"""Images without a history of failing that have to fail with no result between, before the service counts as failing
for everybody."""

_CROWD = 10
"""Images with or without such a history that are enough too.

In a bad hour all workers may hold images that have failed before. Ten images that the service always fails for are
hardly the only ones in work at once.
"""

_OUTAGE = 10
"""Failures in a row that count as an outage, as a multiple of their usual number.

The number of failures between two results is distributed geometrically. Ten times its mean or more occurs by chance in
one of 1,000 rows at a fault share of 50 %, and in one of 16,000 at 95 %.
"""

_PROBE_LEAST, _PROBE_MOST = 0.1, 10.0
"""Seconds of the longest pause between probes, for a short and a long patience.

Between, it is a sixth of patience up to 4 s, then a fifteenth. So a patience of 60 s holds some 23 probes, and
a service that fails four calls of five passes for dead once in 170 times.
"""

_RISE, _FALL = 1 / 2, 1 / 16
"""Weights of a new row in the usual number: a bad hour is learnt in a few rows, and forgotten in some 50 results."""


class Action(Enum):
    """Action of the engine after a failure, for the image and for everything else."""

    AGAIN = mark("call again after a backoff; an attempt is spent")
    REPEAT = mark("call again as soon as the rate allows; no attempt is spent")
    FAIL = mark("the image has failed")
    CLOSE = mark("no further call for this service")
    HALT = mark("no further call at all")


ACTIONS: dict[Kind, Action] = {
    Kind.THROTTLED: Action.REPEAT,
    Kind.EXHAUSTED: Action.CLOSE,
    Kind.TOKEN: Action.REPEAT,
    Kind.REFUSED: Action.HALT,
    Kind.TRANSIENT: Action.AGAIN,
    Kind.IMAGE: Action.FAIL,
    Kind.READ: Action.FAIL,
    Kind.FETCH: Action.FAIL,
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
    """One image's attempts at one step, of all its tiles where it is sent in tiles.

    A failure is judged only when the image is about to be asked again: by then it is known whether the service was
    failing for everybody, in which case the attempt is not the image's fault and is not spent.
    """

    limit: int
    spent: int = 0
    _on_earlier_tiles: int = 0
    _unjudged: int | None = None
    _seen_answers: bool = False

    @property
    def suspect(self) -> bool:
        """Whether others were answered while this one failed: then its failures say nothing about the service."""
        return self._seen_answers

    @property
    def spent_here(self) -> int:
        """Attempts that were spent on the present tile, or on the whole image."""
        return self.spent - self._on_earlier_tiles

    def next_tile(self) -> None:
        """Go on with the next tile: this one has its answer."""
        self._on_earlier_tiles = self.spent

    def failed(self, breaker: "Breaker") -> None:
        """The call for this image has failed."""
        self._unjudged = breaker.answers

    def settle(self, breaker: "Breaker") -> bool:
        """Spend the attempt if it was the image's own; True while the image may be asked again."""
        if self._unjudged is not None:
            if breaker.answers > self._unjudged:
                self._seen_answers = True
                self.spent += 1
            elif not breaker.failing:
                self.spent += 1
            self._unjudged = None
        return self.spent < self.limit


@dataclass(slots=True)
class Breaker:
    """Whether a service fails for everybody, and whether that is an outage.

    It fails for everybody while nothing was answered yet, or since three images without a history of failing, or ten
    of any kind, have failed with no result between. No attempt is spent then, and after `patience` seconds the run
    ends.

    It is down, so that one call at a time probes, after ten times as many failures in a row as are usual between two
    results. A service that answers some calls is therefore called at the full rate.
    """

    patience: float
    proven: bool = False
    """Whether the service has answered such requests before this run."""
    tried: bool = False
    """Whether a call of this run has shown that the service takes the key and such requests."""
    answers: int = 0
    failing_since: float | None = None
    usual: float = 1.0
    """Failures between two results: a running mean, at least 1."""
    _row: int = 0
    _probes: int = 0
    _witnesses: set[object] = field(default_factory=set)
    _crowd: set[object] = field(default_factory=set)
    _malformed: int = 0

    @property
    def failing(self) -> bool:
        """Whether the service fails for everybody, so that no attempts are spent."""
        shown = self.answers == 0 or len(self._witnesses) >= _WITNESSES or len(self._crowd) >= _CROWD
        return shown and self.failing_since is not None

    @property
    def down(self) -> bool:
        """Whether to probe with one call at a time."""
        return self.failing and (self.answers == 0 or self._row >= _OUTAGE * self.usual)

    @property
    def misconfigured(self) -> bool:
        """Whether the service has refused so many requests, and answered none, that the job must be wrong."""
        return not self.proven and self.answers == 0 and self._malformed >= MISCONFIGURED_AFTER

    def expired(self, now: float) -> bool:
        """Whether the service has failed for everybody for as long as the job is willing to wait."""
        return self.failing and self.failing_since is not None and now - self.failing_since >= self.patience

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
            return
        self._row += 1
        self._crowd.add(image)
        if not suspect:
            self._witnesses.add(image)

    def malformed(self) -> None:
        """The service found fault with the request itself; it works, and says no."""
        self._works()
        self.tried |= self.proven
        self._malformed += 1

    def _works(self) -> None:
        row = min(self._row + self._probes, _OUTAGE * self.usual)
        self.usual = max(1.0, self.usual + (row - self.usual) * (_RISE if row > self.usual else _FALL))
        self.failing_since = None
        self._row = self._probes = 0
        self._witnesses.clear()
        self._crowd.clear()

    def probe_delay(self, rng: random.Random) -> float:
        """Seconds before the next probe, while down: doubling up to `_PROBE_MOST` and a share of `patience`."""
        most = min(_PROBE_MOST, max(_PROBE_LEAST, self.patience / 15, min(4.0, self.patience / 6)))
        delay: float = _BACKOFF_FIRST * 2 ** min(self._probes, 10)
        return min(most, delay) * rng.uniform(0.5, 1)
