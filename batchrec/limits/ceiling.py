"""The rate that a service is believed to take: cuts, recovery, search.

A refusal (18) cuts the rate a little, once for all calls that were under way. It comes back along a cubic curve: soon
near the rate that was refused, long about it, then faster and faster. Where no rate is set it is doubled every second
until the first refusal, and from then on tried again a little above the rate that is known to be taken.
"""

import math
from dataclasses import dataclass, field

from .round_trips import RoundTrips

SLOWEST = 1 / 3
"""The smallest share of a set rate that refusals can bring about: below it the job's rate is wrong, not the moment."""

SECOND = 1.0
"""Seconds over which the service counts calls."""
_OTHER_CLOCK = 60.0
"""Seconds that a time may lie in the future before it is taken for another boot's."""
_HOLDS = 2.0
"""Seconds for which a set rate holds after its job last asked for a permit."""

_FIRST_RATE = 2.0
"""Calls/s with which the search begins: what a new account has."""
_LOWEST_AUTO = 0.5
"""Calls/s under which a searched rate is never cut."""

_CUT = 0.005
"""Share by which a refusal cuts the rate.

A cut to 80 % at every refusal loses 10 to 15 % of the quota.
"""
_CUT_MOST = 0.05
"""The largest share: each cut that follows soon is twice the one before."""
_CUT_IN_VAIN = 0.2
"""Share by which a refusal cuts where nothing was answered for a while: then the rate is far too high."""
_AGAIN_WITHIN = 10.0
"""Seconds in which another refusal counts as following soon."""
_IN_VAIN_AFTER = 1.0
"""Seconds without an answer, or two mean round trips, after which calls are in vain."""

_STEEPEST = 2.5e-5
"""Steepness of the recovery, per second cubed and call/s: half a percent is made up for after 6 s."""
_FLATTEST = 1.5e-6
"""The least, after refusals at the same level: 15 s.

A straight climb had 8 refusals in 1,000 beside another user.
"""
_SAME_LEVEL = 0.1
"""Share of the rate within which two refusals are at the same level."""
_FORGETTING_SECONDS = 600.0
"""Seconds of quiet after which a refusal far below the proven rate replaces it: others may use the account."""
_MANY_REFUSED = 0.15
"""Share of a second's calls that, refused, brings the rate down at once to the calls that were taken."""
_MANY_AT_LEAST = 3
"""Calls that this takes at least."""

_PROBE_CALLS = 4000.0
"""Calls in which a searched rate grows by one call/s, divided by the gain."""
_PROBE_SECONDS = 2.0
"""Seconds that a higher rate has to be taken before it is proven, beside two mean round trips."""
_FIRST_GAIN = 8.0
"""Gain after the search: the limit may have been missed by a little."""
_MOST_GAIN = 64.0
"""The greatest gain, doubled with each rate that was proven and halved with each that was refused."""
_IN_USE = 0.7
"""Share of the rate that must be in the log for the search to go on: a rate that is not used proves nothing."""
_ROUNDING = 1e-9
"""Calls/s that a whole rate may lack by the rounding of floating-point numbers."""


@dataclass(slots=True)
class Ceiling:
    """Rates in calls/s, times in monotonic seconds. A set rate of infinity stands for a search."""

    limit: float = math.inf
    """The rate that the service is believed to take."""
    proven: float = 0.0
    """In a search: the rate that it has taken, so that more is only tried now and then."""
    starting: bool = True
    """In a search: not refused yet."""
    gain: float = _FIRST_GAIN
    reached_at: float = math.inf
    """In a search: since when the rate above the proven one is used."""
    refused_at: float = math.inf
    """The rate that was too much when it was last cut."""
    limit_cut: float = math.inf
    """The rate to which it was cut then."""
    steepness: float = _STEEPEST
    refusals: list[float] = field(default_factory=list)
    """Times at which the calls left that were refused in the last seconds."""
    changed_at: float = -math.inf
    cut_at: float = -math.inf
    cut: float = _CUT
    answered_at: float = -math.inf
    set_rate: float = 0.0
    """The highest rate that a running job has set."""
    set_at: float = -math.inf
    flow: float = 0.0
    """Calls per second that left in the last full second."""
    flow_since: float = -math.inf
    flow_from: int = 0
    """The number of calls at `flow_since`."""

    @property
    def searching(self) -> bool:
        """Whether no job has set a rate."""
        return self.set_rate == math.inf

    @property
    def rate(self) -> float:
        """Calls per second that are let through now. Above what is proven, whole ones."""
        limit, set_rate = self.limit, self.set_rate
        if set_rate < math.inf or limit <= self.proven or limit < 1:
            return limit if limit < set_rate else set_rate
        return float(math.floor(limit + _ROUNDING))

    @property
    def slowest(self) -> bool:
        """Whether refusals have brought the rate down as far as they may."""
        return self.limit <= self._floor * 1.0001

    @property
    def _floor(self) -> float:
        return _LOWEST_AUTO if self.searching else self.set_rate * SLOWEST

    def of_another_clock(self, now: float) -> bool:
        """Whether its times are another boot's, which began earlier."""
        return self.changed_at > now + _OTHER_CLOCK

    def learnt(self) -> "Ceiling":
        """The same without its times."""
        return Ceiling(self.limit, self.proven, self.starting, self.gain)

    def wish(self, now: float, rate: float) -> None:
        """Note the rate that a running job has set. The highest of the last seconds is the account's."""
        if rate >= self.set_rate or now - self.set_at > _HOLDS:
            if rate == self.limit == math.inf:
                self.limit = self.proven or _FIRST_RATE
                self.changed_at = now
            self.set_rate, self.set_at = rate, now

    def grow(self, now: float, calls: int, in_log: int, trips: RoundTrips) -> None:
        """Recover, or search on. `calls` have left so far, of which `in_log` bound the next ones."""
        seconds, self.changed_at = max(0.0, now - self.changed_at), now
        if (elapsed := now - self.flow_since) >= SECOND:
            self.flow = (calls - self.flow_from) / elapsed
            self.flow_since, self.flow_from = now, calls
        searching = self.searching
        usual = self.proven if searching else self.set_rate
        if self.limit < usual:
            self.limit = min(usual, max(self.limit, self._recovered(now, usual)))
        elif not searching:
            self.limit = math.inf
        elif in_log >= _IN_USE * self.rate:
            self._explore(now, min(seconds, SECOND), trips)

    def on_answer(self, now: float) -> None:
        """Note that a call was answered."""
        self.answered_at = max(self.answered_at, now)

    def on_refused(self, sent: float) -> None:
        """Note that a call sent then was refused."""
        self.refusals = [*(time for time in self.refusals if time > sent - 2 * SECOND), sent]

    def already_cut(self, sent: float, mean: float) -> bool:
        """Whether a call sent then could not feel the last cut yet: all refusals of a round trip are one."""
        return sent <= self.cut_at + min(mean, SECOND)

    def lower(self, now: float, taken: int | None, mean: float) -> None:
        """Cut the rate; to `taken` calls/s where the service took so few, refusing many."""
        rate = self.rate
        if taken is not None:
            self.limit = float(max(1, taken))
            if self.searching and self.starting:
                self.proven = self.limit
        elif self.searching and rate > self.proven:
            self.limit, self.gain = self.proven, max(1.0, self.gain / 2)
        else:
            self._flatten(rate, now - self.cut_at)
            in_vain = now - self.answered_at > max(_IN_VAIN_AFTER, 2 * mean)
            again = now - self.cut_at < _AGAIN_WITHIN
            self.cut = min(_CUT_MOST, 2 * self.cut) if again else _CUT
            self.limit = rate * (1 - (_CUT_IN_VAIN if in_vain else self.cut))
            if self.searching:
                self._doubt_proven(rate, now - self.cut_at)
        self.starting = False
        self.limit = max(self._floor, self.limit)
        self.refused_at, self.limit_cut, self.reached_at = rate, self.limit, math.inf
        self.cut_at = self.changed_at = now

    def taken_of(self, calls: int, sent: float) -> int | None:
        """Of `calls` in the second before one sent then, those taken; None unless many were refused."""
        if self.starting and self.searching:
            return calls
        refused = sum(time > sent - SECOND for time in self.refusals) - 1
        if refused < _MANY_AT_LEAST or refused < _MANY_REFUSED * calls:
            return None
        return max(0, calls - refused)

    def _recovered(self, now: float, usual: float) -> float:
        """The rate some time after a cut, on the cubic curve through the rate that was refused."""
        if self.cut_at == -math.inf:  # below the usual rate, but not by a refusal
            return usual
        steepness = self.steepness * usual
        level = math.cbrt(max(0.0, self.refused_at - self.limit_cut) / steepness)
        since = now - self.cut_at - level
        return self.refused_at + steepness * since * since * since

    def _explore(self, now: float, seconds: float, trips: RoundTrips) -> None:
        if self.starting:
            if trips.answers:
                self.limit *= 2 ** (seconds / max(SECOND, 2 * trips.mean))
            return
        self.limit += self.limit * self.gain / _PROBE_CALLS * seconds
        rate = self.rate
        if rate > self.proven + 1:
            self.proven = rate - 1
        elif rate <= self.proven or self.flow < rate - 1:
            self.reached_at = math.inf
        elif self.reached_at == math.inf:
            self.reached_at = now
        elif now - self.reached_at > _PROBE_SECONDS + 2 * trips.mean:
            self.proven, self.reached_at = rate, math.inf
            self.gain = min(_MOST_GAIN, self.gain * 2)

    def _flatten(self, rate: float, quiet: float) -> None:
        """Come near a rate that was refused twice more slowly. `quiet`: seconds since the last cut."""
        if abs(rate - self.refused_at) > _SAME_LEVEL * rate:
            self.steepness = _STEEPEST
        elif quiet > _AGAIN_WITHIN:
            self.steepness = max(_FLATTEST, self.steepness / 2)

    def _doubt_proven(self, rate: float, quiet: float) -> None:
        """Lower the proven rate, since less was refused. `quiet`: seconds since the last cut."""
        if rate > self.proven - 1 and quiet > _AGAIN_WITHIN:
            self.proven = max(1.0, math.ceil(self.proven) - 1.0)
        else:  # somebody else uses the account: that may be over soon
            self.proven -= (self.proven - self.limit) * min(1.0, quiet / _FORGETTING_SECONDS)
