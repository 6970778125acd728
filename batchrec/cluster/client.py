"""A node's side of the cluster's keeper: a `Keeper` for the engine, over a channel that takes time.

A slice of permits is leased at a time, with the keys on which its calls are counted, so that counting a call needs no
message. Ends of calls are reported with the next lease; what all nodes must know of is sent at once.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from ..errors import BatchrecError
from ..language import _
from ..values import (
    Allowance,
    Answered,
    Busy,
    Closure,
    Event,
    Lost,
    Permit,
    Permits,
    QuotaKey,
    Reopened,
    Replied,
    Target,
    Throttled,
    Uncounted,
    Unused,
    UsedUp,
)
from .keeper import Fenced, Holder, Slice

BEAT_SECONDS = 2.0
"""Time between two signs of life of a holder."""

_URGENT = frozenset({Throttled, Busy, Uncounted, UsedUp, Reopened})
"""Events that every node must know of at once."""
_SAMPLE_SECONDS = 60.0
"""Age up to which a sample of the keeper's clock counts: two clocks drift apart by 3 ms in that time at most."""


class ShardLost(BatchrecError):
    """The shard is somebody else's now, or the keeper is gone.

    What was answered is saved, and the driver goes on.
    """

    exit_code = 69


def gone(reason: str) -> ShardLost:
    """The error for a process of the cluster that has ended, with the name of its cause."""
    return ShardLost(_("a process of the cluster is gone: {reason}").format(reason=reason))


class Sample(NamedTuple):
    """A look at the keeper's clock: when it was asked and answered here, and what it said. In seconds."""

    sent: float
    received: float
    there: float


class ClockMap:
    """The keeper's clock as seen from here, by the sample with the shortest round trip.

    The error is half of that round trip at most.
    """

    def __init__(self) -> None:
        self._samples: list[Sample] = []
        self.offset = 0.0
        """Seconds to add to a time here for the keeper's."""

    def add(self, sample: Sample) -> None:
        """Take a sample in, and drop old ones."""
        oldest = sample.received - _SAMPLE_SECONDS
        self._samples = [each for each in self._samples if each.received >= oldest]
        self._samples.append(sample)
        best = min(self._samples, key=lambda each: each.received - each.sent)
        self.offset = best.there - (best.sent + best.received) / 2


class Channel(Protocol):
    """The way to the keeper. A message is on its way when the method returns; messages keep their order.

    A keeper that starts anew is waited for. What is awaited raises ShardLost where it cannot be reached.
    """

    def open(self, target: Target) -> Awaitable[tuple[Allowance, Closure | None]]:
        """As `ClusterKeeper.open`."""
        ...

    def lease(self, holder: Holder, target: Target, events: Sequence[Event]) -> Awaitable[Slice | Closure | Fenced]:
        """As `ClusterKeeper.lease`."""
        ...

    def report(self, target: Target, events: Sequence[Event]) -> Awaitable[Allowance]:
        """As `ClusterKeeper.report`."""
        ...

    def beat(self, holder: Holder) -> Awaitable[tuple[bool, float]]:
        """As `ClusterKeeper.beat`, with the time on the keeper's clock."""
        ...


class RemoteKeeper:
    """The `Keeper` of an engine that works on a shard. `time` is monotonic, in seconds.

    `prepare` comes before `open`, and `beating` has to run beside the engine.
    """

    def __init__(self, channel: Channel, holder: Holder, time: Callable[[], float]) -> None:
        self._channel, self._holder, self._time = channel, holder, time
        self._clock = ClockMap()
        self._known: dict[Target, tuple[Allowance, Closure | None]] = {}
        self._permits: defaultdict[Target, deque[Permit]] = defaultdict(deque)
        self._keys: defaultdict[Target, dict[int, QuotaKey]] = defaultdict(dict)
        self._events: defaultdict[Target, list[Event]] = defaultdict(list)
        self._sending: set[asyncio.Future[None]] = set()
        self._lost: ShardLost | None = None

    @property
    def lost(self) -> bool:
        """Whether the shard is somebody else's by now, or the keeper is gone."""
        return self._lost is not None

    async def prepare(self, targets: Sequence[Target]) -> None:
        """Compare clocks, and learn the rates and closures of services. Raises ShardLost."""
        for _sample in range(5):  # the shortest of five round trips is near the shortest there is
            await self.beat()
        for target in targets:
            self._known[target] = await self._channel.open(target)

    async def beat(self) -> None:
        """Give a sign of life. Raises ShardLost where the shard is lost."""
        sent = self._time()
        current, there = await self._channel.beat(self._holder)
        self._clock.add(Sample(sent, self._time(), there))
        if not current:
            raise self._fenced()

    async def beating(self) -> None:
        """Give signs of life, and report, until cancelled. Raises ShardLost."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            for target, events in self._events.items():
                if events:
                    self._send(target)
            await self.beat()

    async def close(self) -> None:
        """Give back what was not used, and wait until all is reported."""
        for target, permits in self._permits.items():
            self.report(target, [Unused(permit.number) for permit in permits])
            permits.clear()
            self._send(target)
        await asyncio.gather(*self._sending)

    def open(self, target: Target) -> tuple[Allowance, Closure | None]:
        """Return what `prepare` has learnt."""
        return self._known[target]

    async def lease(self, target: Target, most: int) -> Permits | Closure:
        """Permits of the present slice, or of a new one. Raises ShardLost."""
        permits = self._permits[target]
        if not permits:
            if self._lost is not None:
                raise self._lost
            events, self._events[target] = self._events[target], []
            leased = await self._channel.lease(self._holder, target, events)
            if isinstance(leased, Fenced):
                raise self._fenced()
            if isinstance(leased, Closure):
                return leased
            self._learn(target, leased.allowance)
            offset = self._clock.offset
            permits.extend(Permit(number, at - offset) for number, at in leased.permits)
            self._keys[target].update(
                (permit.number, key) for permit, key in zip(leased.permits, leased.keys, strict=True)
            )
        taken = [permits.popleft() for _ in range(min(most, len(permits)))]
        return Permits(taken, self._known[target][0])

    def charge(self, target: Target, permits: Sequence[Permit]) -> Sequence[QuotaKey | Closure]:
        """Return the keys on which the calls were counted with their lease."""
        keys = self._keys[target]
        return [keys.pop(permit.number) for permit in permits]

    def report(self, target: Target, events: Sequence[Event]) -> Allowance:
        """Note events for the next lease; urgent ones are sent at once."""
        urgent = False
        for event in events:
            self._events[target].append(_shifted(event, self._clock.offset))
            urgent |= type(event) in _URGENT
            if isinstance(event, Unused) and (key := self._keys[target].pop(event.number, None)) is not None:
                self._events[target].append(Uncounted(key))
        if urgent:
            self._send(target)
        return self._known[target][0]

    def _send(self, target: Target) -> None:
        """Send what is noted. The answer is waited for elsewhere."""
        events, self._events[target] = self._events[target], []
        sent = asyncio.ensure_future(self._heard(target, self._channel.report(target, events)))
        self._sending.add(sent)
        sent.add_done_callback(self._sending.discard)

    async def _heard(self, target: Target, answer: Awaitable[Allowance]) -> None:
        try:
            self._learn(target, await answer)
        except ShardLost as error:
            self._lost = error

    def _learn(self, target: Target, allowance: Allowance) -> None:
        self._known[target] = allowance, self._known[target][1]

    def _fenced(self) -> ShardLost:
        text = _("shard {shard} is not held under epoch {epoch} any more")
        self._lost = ShardLost(text.format(shard=self._holder.shard, epoch=self._holder.epoch))
        return self._lost


def _shifted(event: Event, offset: float) -> Event:
    """The event with its times on the keeper's clock."""
    match event:
        case Lost(number, at):
            return Lost(number, at + offset)
        case Answered() | Replied() | Throttled() | Busy():
            return event._replace(sent_at=event.sent_at + offset, at=event.at + offset)
    return event
