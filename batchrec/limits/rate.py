"""When the next call of an account may leave for a service. It decides; it has no clock, and waits for nothing.

What counts is when a call arrives, and that is seen by nobody here: it lies somewhere between its sending and its
answer. Three things together keep to the limit and use it:

- *The log.* At most `rate` calls may have arrived within any second. A call takes its place until it is certain that
  it arrived more than a second before the next one can: `sent + 1 s + excess`, where the excess is how much longer its
  round trip was than the shortest. A call whose answer is not there yet is taken to be as slow as the slowest of late.
  No jitter of the network can then bring one call too many into any second, at the cost of the mean excess.
- *The timetable.* Calls leave `1 / rate` apart by an absolute schedule: a timer that rings late is made up for, up to
  a fiftieth of a second, and nothing else is ever saved up.
- *The limit.* Where the service refuses after all (18), the rate is cut a little, once for all calls that were under
  way, and comes back by itself. With no rate set, the limit is found: doubled every second until the first refusal,
  and from then on tried again a little above what is known to be taken.

Not all of the excess is on the way there: some is the service thinking. Where that is so the log waits longer than it
must, so the part of the excess that is respected (`slack`) shrinks with every answer, by so little that the refusals
which put it up again are less than one call in a thousand.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from ..values import AUTO
from .round_trips import FAR, Observed

SLOWEST = 1 / 3
"""The smallest share of a set rate that refusals can bring about."""


AHEAD = 0.02
"""Seconds before its time in which a place can be had."""

_SECOND = 1.0
_LATE_TIMERS, _IDLE = 0.02, 1.0
_OTHER_CLOCK = 60.0
_LOOK_AGAIN = 0.05
_MARGIN = 0.002
_UNSURE, _UNSURE_SECONDS = 8.0, 0.2
_HURRY = 1.02
_CATCH_UP = 2.0
_LEAST_SLACK = 0.005
_SLACK_AFTER = 500
_DOUBT_FIRST, _DOUBT_REFUSED, _DOUBT_LEAST = 20_000.0, 100_000.0, 1_000.0
_DOUBT_FADES = math.log(2) / math.log(1 / 0.9)
_SLACK_REFUSED = 1.25
_STATISTICS_SECONDS, _STATISTICS_ANSWERS = 60.0, 300
_UNKNOWN_SECONDS = 10.0

_FIRST_RATE = 2.0
_LOWEST_AUTO = 0.5
_CUT, _CUT_MOST, _CUT_IN_VAIN = 0.005, 0.05, 0.2
_AGAIN_WITHIN = 10.0
_IN_VAIN_AFTER = 1.0
_STEEPEST, _FLATTEST = 2.5e-5, 1.5e-6
_SAME_LEVEL = 0.1
_FORGETTING_SECONDS = 600.0
_MANY_REFUSED, _MANY_AT_LEAST = 0.15, 3
_PROBE_CALLS = 4000.0
_PROBE_SECONDS = 2.0
_FIRST_GAIN, _MOST_GAIN = 8.0, 64.0
_HOLDS = 2.0

_PAUSE_FIRST = 0.25
_PAUSE_MOST = 8.0


@dataclass(slots=True)
class State:
    """What all processes of the account know together: times in monotonic seconds, rates in calls/s."""

    limit: float = FAR
    """What the service is believed to take."""
    known: float = 0.0
    """Without a set rate: what it has taken, so that more is only tried now and then."""
    starting: bool = True
    """Without a set rate: not refused yet."""
    gain: float = _FIRST_GAIN
    reached_at: float = FAR
    refused_at: float = FAR
    limit_cut: float = FAR
    steepness: float = _STEEPEST
    """The rate that was too much when it was last cut."""
    refusals: list[float] = field(default_factory=list)
    """When the calls left that were refused in the last seconds."""
    changed_at: float = -FAR
    cut_at: float = -FAR
    cut: float = _CUT
    answered_at: float = -FAR
    most: float = 0.0
    """The highest rate that a job which runs has set."""
    most_at: float = -FAR
    next_at: float = -FAR
    paused_until: float = -FAR
    pause: float = _PAUSE_FIRST
    slack: float = FAR
    doubt: float = _DOUBT_FIRST
    """Answers in which the slack shrinks to 1/e. Halved for every tenth that it shrank without a refusal."""
    now: Observed = field(default_factory=Observed)
    before: Observed = field(default_factory=Observed)
    number: int = 0
    flow: float = 0.0
    """Calls per second that left in the last full second; from then on, `flow_from` was the number of calls."""
    flow_since: float = -FAR
    flow_from: int = 0


class Permit(NamedTuple):
    """A place in the log, and when its call is to leave (monotonic seconds)."""

    number: int
    at: float


class RateController:
    """The pace of one account's calls to one service.

    `calls`: by number, when a call has arrived at the latest, less the shortest way there (seconds).
    """

    def __init__(self, state: State | None = None, calls: dict[int, float] | None = None) -> None:
        self.state = state or State()
        self.calls = calls or {}

    @property
    def rate(self) -> float:
        """Calls per second that are let through now. Above what is known to be taken, whole ones."""
        state = self.state
        if state.most < AUTO or state.limit <= state.known or state.limit < 1:
            return min(state.limit, state.most)
        return float(math.floor(state.limit + 1e-9))

    @property
    def slowest(self) -> bool:
        """Whether refusals have brought the rate down as far as they may."""
        return self.state.limit <= self._floor * 1.0001

    @property
    def _floor(self) -> float:
        return self.state.most * SLOWEST if self.state.most < AUTO else _LOWEST_AUTO

    def wish(self, now: float, rate: float) -> None:
        """A job that runs has set this rate. The highest that was set in the last seconds is the account's."""
        if self.state.changed_at > now + _OTHER_CLOCK:
            self.forget_times()
        state = self.state
        if rate >= state.most or now - state.most_at > _HOLDS:
            if rate == AUTO and state.limit >= FAR:
                state.limit = state.known or _FIRST_RATE
                state.changed_at = now
            state.most, state.most_at = rate, now

    def forget_times(self) -> None:
        """They were another clock's: the machine was started anew. What was learnt about the service holds."""
        old = self.state
        self.state = State(limit=old.limit, known=old.known, starting=old.starting, gain=old.gain)
        self.calls.clear()

    def grant(self, now: float, rate: float, many: int = 1) -> tuple[list[Permit], float]:
        """Places for up to so many calls of a job that has set this rate; without any, from when on to ask again."""
        self.wish(now, rate)
        state = self.state
        if state.answered_at <= -FAR:
            state.answered_at = now
        self._grow(now)
        room = math.ceil(self.rate - 1e-9)
        window = room / self.rate
        self._forget(now - window)
        arrived = sorted(self.calls.values())
        late = _LATE_TIMERS + _CATCH_UP * self._mean_excess
        apart, unanswered = 1 / self.rate / _HURRY, self._unanswered()
        slots: list[Permit] = []
        for place in range(len(arrived) - room, min(len(arrived) - room + many, len(arrived))):
            table = max(state.next_at, now - (late if now - state.next_at < _IDLE else 0.0), state.paused_until)
            at = max(table, arrived[place] + window) if place >= 0 else table
            if at > now + AHEAD:
                return slots, at - AHEAD if at == table else min(at - AHEAD, now + _LOOK_AGAIN)
            state.number += 1
            state.next_at = table + apart
            slots.append(Permit(state.number, max(at, now)))
            self.calls[state.number] = slots[-1].at + unanswered
        return slots, now

    def forgo(self, number: int) -> None:
        """The call of this place does not leave."""
        self.calls.pop(number, None)

    def lost(self, number: int, now: float) -> None:
        """Nobody knows when, or whether, the call arrived: it may have been just now."""
        if number in self.calls:
            self.calls[number] = now

    def replied(self, number: int, sent: float, now: float) -> None:
        """Something came back, so the call arrived."""
        if number in self.calls:
            self.calls[number] = sent + self._respected(now - sent - self._fastest) + self._margin()

    def on_answer(self, number: int, sent: float, now: float) -> None:
        """A call was let through by the service. A refusal comes back faster, and would be a wrong round trip."""
        state = self.state
        if now - state.now.since > _STATISTICS_SECONDS and state.now.answers >= _STATISTICS_ANSWERS:
            state.before, state.now = state.now, Observed(now)
        trip, seen = now - sent, state.now
        seen.answers += 1
        seen.total += trip
        seen.fastest = min(seen.fastest, trip)
        seen.slowest = max(seen.slowest, trip)
        state.answered_at = max(state.answered_at, now)
        state.pause = _PAUSE_FIRST
        if state.slack < FAR:
            state.slack = max(_LEAST_SLACK, state.slack * (1 - 1 / state.doubt))
            state.doubt = max(_DOUBT_LEAST, state.doubt - _DOUBT_FADES)
        elif state.number > _SLACK_AFTER:
            state.slack = max(_LEAST_SLACK, self._most_excess)
        self.replied(number, sent, now)

    def on_refused(self, number: int, sent: float, now: float) -> None:
        """A call sent then was one too many a second (18). All refusals of one round trip are one event."""
        state = self.state
        state.refusals = [*(time for time in state.refusals if time > sent - 2 * _SECOND), sent]
        if sent <= state.cut_at + min(self._mean, _SECOND):
            return
        self._grow(now)
        rate, automatic = self.rate, state.most == AUTO
        taken = self._taken_before(number, sent)
        if taken is not None:
            state.limit = float(max(1, taken))
            if automatic and state.starting:
                state.known = state.limit
        elif automatic and rate > state.known:
            state.limit, state.gain = state.known, max(1.0, state.gain / 2)
        else:
            self._flatten(rate, now - state.cut_at)
            in_vain = now - state.answered_at > max(_IN_VAIN_AFTER, 2 * self._mean)
            again = now - state.cut_at < _AGAIN_WITHIN
            state.cut = min(_CUT_MOST, 2 * state.cut) if again else _CUT
            state.limit = rate * (1 - (_CUT_IN_VAIN if in_vain else state.cut))
            if automatic:
                self._doubt_known(rate, now - state.cut_at)
        state.starting = False
        state.limit = max(self._floor, state.limit)
        state.slack, state.doubt = min(FAR, _SLACK_REFUSED * state.slack), _DOUBT_REFUSED
        state.refused_at, state.limit_cut, state.reached_at = rate, state.limit, FAR
        state.cut_at = state.changed_at = now

    def hold(self, sent: float, now: float) -> None:
        """A call sent then found the whole cluster busy (4): nobody calls for a moment, longer each time."""
        state = self.state
        if sent >= state.paused_until:
            state.paused_until = now + state.pause
            state.pause = min(_PAUSE_MOST, state.pause * 2)

    # -- the limit

    def _grow(self, now: float) -> None:
        state = self.state
        seconds, state.changed_at = max(0.0, now - state.changed_at), now
        if (elapsed := now - state.flow_since) >= _SECOND:
            state.flow = (state.number - state.flow_from) / elapsed
            state.flow_since, state.flow_from = now, state.number
        automatic = state.most == AUTO
        known = state.known if automatic else state.most
        if state.limit < known:
            state.limit = min(known, max(state.limit, self._recovered(now, known)))
        elif not automatic:
            state.limit = FAR
        elif len(self.calls) >= 0.7 * self.rate:  # what is not used proves nothing
            self._explore(now, min(seconds, _SECOND))

    def _recovered(self, now: float, known: float) -> float:
        """The rate some time after a cut: soon near what was too much, long about it, and then faster and faster."""
        state = self.state
        steepness = state.steepness * known
        level = math.cbrt(max(0.0, state.refused_at - state.limit_cut) / steepness)
        since = now - state.cut_at - level
        return state.refused_at + steepness * since * since * since

    def _explore(self, now: float, seconds: float) -> None:
        state = self.state
        if state.starting:
            if self._answers:
                state.limit *= 2 ** (seconds / max(_SECOND, 2 * self._mean))
            return
        state.limit += state.limit * state.gain / _PROBE_CALLS * seconds
        rate = self.rate
        if rate > state.known + 1:
            state.known = rate - 1
        elif rate <= state.known or state.flow < rate - 1:
            state.reached_at = FAR
        elif state.reached_at >= FAR:
            state.reached_at = now
        elif now - state.reached_at > _PROBE_SECONDS + 2 * self._mean:
            state.known, state.reached_at = rate, FAR
            state.gain = min(_MOST_GAIN, state.gain * 2)

    def _flatten(self, rate: float, quiet: float) -> None:
        """Refused where it was refused before: the next time it is come near more slowly."""
        state = self.state
        if abs(rate - state.refused_at) > _SAME_LEVEL * rate:
            state.steepness = _STEEPEST
        elif quiet > _AGAIN_WITHIN:
            state.steepness = max(_FLATTEST, state.steepness / 2)

    def _doubt_known(self, rate: float, quiet: float) -> None:
        """Refused below what was known to be taken, `quiet` seconds after the last time."""
        state = self.state
        if rate > state.known - 1 and quiet > _AGAIN_WITHIN:
            state.known = max(1.0, math.ceil(state.known) - 1.0)
        else:  # somebody else uses the account: that may be over soon
            state.known -= (state.known - state.limit) * min(1.0, quiet / _FORGETTING_SECONDS)

    def _taken_before(self, number: int, sent: float) -> int | None:
        """How many calls the service took in the second before one that it refused, where it refused many."""
        refused = sum(time > sent - _SECOND for time in self.state.refusals) - 1
        since = sent - _SECOND + self._mean_excess
        calls = sum(arrived > since and earlier < number for earlier, arrived in self.calls.items())
        if self.state.starting and self.state.most == AUTO:
            return calls
        if refused < _MANY_AT_LEAST or refused < _MANY_REFUSED * calls:
            return None
        return max(0, calls - refused)

    def _forget(self, time: float) -> None:
        """Calls that arrived before a time bound nothing any more. What is late among the first keeps the next."""
        while self.calls and self.calls[first := next(iter(self.calls))] <= time:
            del self.calls[first]

    # -- the slack

    @property
    def _fastest(self) -> float:
        return min(self.state.now.fastest, self.state.before.fastest)

    @property
    def _most_excess(self) -> float:
        return max(0.0, max(self.state.now.slowest, self.state.before.slowest) - self._fastest)

    @property
    def _answers(self) -> int:
        return self.state.now.answers + self.state.before.answers

    @property
    def _mean(self) -> float:
        return (self.state.now.total + self.state.before.total) / max(1, self._answers)

    @property
    def _mean_excess(self) -> float:
        return max(0.0, self._mean - self._fastest)

    def _respected(self, excess: float) -> float:
        return max(0.0, min(excess, self.state.slack))

    def _margin(self) -> float:
        """What the shortest round trip may be too long by: the fewer were seen, the more."""
        seen = float(max(1, self._answers))
        return _MARGIN + (_UNSURE * self._mean_excess + _UNSURE_SECONDS / math.sqrt(seen)) / seen

    def _unanswered(self) -> float:
        """Seconds that a call takes its place for, as long as no answer is there."""
        if not self._answers:
            return _UNKNOWN_SECONDS
        return self._respected(self._most_excess + self._margin()) + self._margin()
