"""Round trips of answered calls, and how much of their length calls are kept apart for.

The arrival of a call lies somewhere between its sending and its answer. How much longer a round trip was than the
shortest one (its excess) bounds how late the call arrived. Some of the excess is the service thinking, so the part of
it that is respected (`slack`) shrinks with every answer and is put up again by a refusal.
"""

import math
from dataclasses import dataclass, field

_MARGIN = 0.002
"""Seconds by which the clock and the event loop may have read a round trip wrong."""
_UNSURE_EXCESSES = 8.0
"""Mean excesses, over the number of answers: with few answers the shortest round trip is not known yet."""
_UNSURE_SECONDS = 0.2
"""Seconds, over the number of answers to the power 1.5: the same where the answers seen so far vary little."""
_UNKNOWN_SECONDS = 10.0
"""Seconds that a call is taken to last before the first answer."""

_LEAST_SLACK = 0.005
"""Seconds of excess that are always respected: less gains nothing at any rate."""
_SLACK_AFTER = 500
"""Calls before the slack is learnt: by then the longest round trip has been seen."""
_DOUBT_FIRST = 20_000.0
"""Answers in which the slack shrinks to 1/e at first."""
_DOUBT_REFUSED = 100_000.0
"""The same after a refusal, so that refusals stay below one call in a thousand."""
_DOUBT_LEAST = 1_000.0
"""The least of it, however long nothing was refused."""
_DOUBT_FADES = math.log(2) / math.log(1 / 0.9)
"""Answers by which the doubt falls with each answer: halved for every tenth that the slack shrank."""
_SLACK_REFUSED = 1.25
"""Factor by which a refusal puts the slack up."""

_STATISTICS_SECONDS = 60.0
"""Seconds after which a new period of statistics begins: a network changes within minutes."""
_STATISTICS_ANSWERS = 300
"""Answers that a period holds at least, so that its shortest round trip means something."""


@dataclass(slots=True)
class Observed:
    """Round trips of answered calls in one period, in seconds."""

    since: float = -math.inf
    answers: int = 0
    fastest: float = math.inf
    slowest: float = 0.0
    total: float = 0.0


@dataclass(slots=True)
class RoundTrips:
    """Statistics of this period and the one before it, and the learnt slack, in seconds."""

    recent: Observed = field(default_factory=Observed)
    earlier: Observed = field(default_factory=Observed)
    slack: float = math.inf
    """The longest excess that is respected; infinite until it is learnt."""
    doubt: float = _DOUBT_FIRST
    """Answers in which the slack shrinks to 1/e."""

    @property
    def answers(self) -> int:
        """Answered calls of both periods."""
        return self.recent.answers + self.earlier.answers

    @property
    def shortest(self) -> float:
        """The shortest round trip; infinite before the first answer."""
        return min(self.recent.fastest, self.earlier.fastest)

    @property
    def mean(self) -> float:
        """The mean round trip; 0 before the first answer."""
        return (self.recent.total + self.earlier.total) / max(1, self.answers)

    @property
    def mean_excess(self) -> float:
        """The mean round trip less the shortest."""
        return max(0.0, self.mean - self.shortest)

    @property
    def most_excess(self) -> float:
        """The longest round trip less the shortest."""
        return max(0.0, max(self.recent.slowest, self.earlier.slowest) - self.shortest)

    def on_answer(self, trip: float, now: float, calls: int) -> None:
        """Add a round trip that ended now. `calls` is the number of calls that have left so far."""
        if now - self.recent.since > _STATISTICS_SECONDS and self.recent.answers >= _STATISTICS_ANSWERS:
            self.earlier, self.recent = self.recent, Observed(now)
        seen = self.recent
        seen.answers += 1
        seen.total += trip
        seen.fastest = min(seen.fastest, trip)
        seen.slowest = max(seen.slowest, trip)
        if self.slack < math.inf:
            self.slack = max(_LEAST_SLACK, self.slack * (1 - 1 / self.doubt))
            self.doubt = max(_DOUBT_LEAST, self.doubt - _DOUBT_FADES)
        elif calls > _SLACK_AFTER:
            self.slack = max(_LEAST_SLACK, self.most_excess)

    def on_refused(self) -> None:
        """Respect more of the excess from now on, and shrink it more slowly."""
        self.slack *= _SLACK_REFUSED
        self.doubt = _DOUBT_REFUSED

    def latest_arrival(self, sent: float, now: float) -> float:
        """When a call that was answered now has arrived at the latest, less the shortest way there."""
        return sent + self._respected(now - sent - self.shortest) + self._margin()

    def unanswered(self) -> float:
        """Seconds that a call without an answer is taken to be on its way: as long as the slowest of late."""
        if not self.answers:
            return _UNKNOWN_SECONDS
        margin = self._margin()
        return self._respected(self.most_excess + margin) + margin

    def _respected(self, excess: float) -> float:
        return max(0.0, min(excess, self.slack))

    def _margin(self) -> float:
        """Seconds by which the shortest round trip may be too long: the fewer were seen, the more."""
        recent, earlier = self.recent, self.earlier  # twice a call: without the properties it takes half as long
        seen = max(1, recent.answers + earlier.answers)
        excess = max(0.0, (recent.total + earlier.total) / seen - min(recent.fastest, earlier.fastest))
        return _MARGIN + (_UNSURE_EXCESSES * excess + _UNSURE_SECONDS / math.sqrt(seen)) / seen
