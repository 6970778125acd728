"""Keeper of a cluster: rate and quota of an account for all nodes, and the shards that these hold.

It decides; the connections to the nodes are elsewhere. Whoever works on a shard holds it under an epoch, which is
minted here. Without the current epoch of its shard nobody is given permits, so that a node that was frozen makes no
call for images that somebody else has by then. Nothing of that rests on the engine of the cluster.

A lease is a slice of permits, in the keeper's time. Their calls are counted on the disk with the lease, so that a
restart can use less of a limit than there is, never more; the holder gives back what it does not use.

A keeper that starts anew knows no epoch. Drivers tell it what they have given out when they ask for silent holders,
and whoever asks for a permit before that waits: work goes on where it was. Permits are on the disk before anybody has
them, so that it keeps to the rate at once; where the disk has none, no call leaves for `SILENCE_SECONDS`.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from ..limits.keeper import LocalKeeper
from ..limits.quota import Quota
from ..limits.shared_rate import SharedRates
from ..times import Clock, next_reset
from ..values import Allowance, Closure, Event, Permit, QuotaKey, Target, Unused

SILENCE_SECONDS = 1.0
"""No call leaves for so long after the keeper's start where its state holds none: another head's may."""

SILENT_SECONDS = 10.0
"""Time without a sign of life after which a shard is to be given to somebody else."""

IDLE_SECONDS = 600.0
"""Time without a word of a driver after which a keeper is to end: nobody else would end it."""

_LOOK_SECONDS = 0.02
"""Time between two looks whether a driver has claimed a shard."""

_SLICE_SECONDS = 0.25
"""Share of the account's rate that all holders together have leased ahead."""
_MOST_PERMITS = 64
"""Permits of a slice at most: more save next to nothing."""
_LEAD = 0.05
"""Seconds before its time at which the first permit of a slice can be had: the way to the node, with a pause there."""


class Holder(NamedTuple):
    """Right to work on a shard: the shard's name, and the epoch in which that right was given."""

    shard: str
    epoch: int


class Slice(NamedTuple):
    """Permits in the keeper's time, the keys that their calls are counted on, and the present rate."""

    permits: Sequence[Permit]
    keys: Sequence[QuotaKey]
    allowance: Allowance


class Fenced(NamedTuple):
    """Refusal of a lease: somebody else holds the shard, or nobody does."""

    holder: Holder


class ClusterKeeper:
    """Rate and quota of one account, and the holders of shards. `clock.time` is the keeper's own.

    `silence`: seconds without a call after its start, where no earlier one is known; `anew`: whether it takes the place
    of one that has died, whose drivers go on. Raises OutputFailed where the state cannot be kept.
    """

    def __init__(
        self, rates: SharedRates, quota: Quota, clock: Clock, silence: float = SILENCE_SECONDS, *, anew: bool = False
    ) -> None:
        self._keeper = LocalKeeper(rates, quota, clock.time)
        self._rates, self._clock = rates, clock
        self._silent_until = clock.time() + silence
        self._silenced: set[Target] = set()
        self._driven_at = clock.time()
        self._drivers: dict[str, float] = {}
        self._anew = anew
        self._claimed_until = clock.time() + SILENT_SECONDS
        self._epochs: dict[str, int] = {}
        self._seen: dict[Holder, float] = {}
        self._opened: set[Target] = set()
        self._leased: dict[Target, dict[Holder, float]] = defaultdict(dict)
        # One waits at a time, in the order in which they came: all of them at once would look at the rate in vain.
        self._lines: dict[Target, asyncio.Lock] = defaultdict(asyncio.Lock)

    # -- drivers

    @property
    def idle_seconds(self) -> float:
        """Time since a driver has entered, begun or ended a shard, or asked for silent holders."""
        return self._clock.time() - self._driven_at

    def enter(self, driver: str) -> None:
        """Note a driver, for which the keeper is to stay."""
        self._drivers[driver] = self._driven_at = self._clock.time()

    def hear(self, driver: str) -> bool:
        """Note a word of a driver; False where it has not entered, or before the keeper's start."""
        known = driver in self._drivers
        if known:
            self.enter(driver)
        self._anew |= not known
        return known

    def leave(self, driver: str) -> bool:
        """Forget a driver. Returns whether the keeper is to end with it.

        A driver without a word for `IDLE_SECONDS` was killed. A keeper that has started anew hears of all drivers that
        live within `SILENT_SECONDS`, and ends with none before.
        """
        known = self._drivers.pop(driver, None) is not None
        limit = self._clock.time() - IDLE_SECONDS
        all_known = not self._anew or self._clock.time() >= self._claimed_until
        return known and all_known and all(at < limit for at in self._drivers.values())

    # -- shards

    def begin(self, shard: str, floor: int = 0) -> Holder:
        """Give a shard to somebody, under a new epoch above `floor`; whoever held it is fenced."""
        self._driven_at = self._clock.time()
        epoch = max(self._epochs.get(shard, 0), floor) + 1
        self._seen.pop(Holder(shard, self._epochs.get(shard, 0)), None)
        self._epochs[shard] = epoch
        holder = Holder(shard, epoch)
        self._seen[holder] = self._clock.time()
        return holder

    def beat(self, holder: Holder) -> bool:
        """Note a sign of life; False where the holder is fenced."""
        if holder not in self._seen:
            return self._may_be_claimed(holder)
        self._seen[holder] = self._clock.time()
        return True

    def end(self, holder: Holder) -> None:
        """Note that the shard is finished or given up."""
        self._driven_at = self._clock.time()
        self._epochs.setdefault(holder.shard, holder.epoch)
        self._seen.pop(holder, None)
        for leased in self._leased.values():
            leased.pop(holder, None)

    def silent(self, given: Sequence[Holder] = ()) -> list[Holder]:
        """Holders without a sign of life for `SILENT_SECONDS`.

        `given`: what the driver that asks has given out, which a keeper that has started anew learns so.
        """
        now = self._driven_at = self._clock.time()
        for holder in given:
            if holder.shard not in self._epochs:
                self._epochs[holder.shard] = holder.epoch
                self._seen[holder] = now
        return [holder for holder, seen in self._seen.items() if seen < now - SILENT_SECONDS]

    def _may_be_claimed(self, holder: Holder) -> bool:
        """Whether a driver may still say that the shard was given out before this keeper's start."""
        return holder.shard not in self._epochs and self._clock.time() < self._claimed_until

    # -- rate and quota

    def open(self, target: Target) -> tuple[Allowance, Closure | None]:
        """Register a job's limits; as a `Keeper`."""
        if target not in self._opened and self._rates.last_call(target.account, target.service) == -math.inf:
            self._silenced.add(target)
        self._opened.add(target)
        return self._keeper.open(target)

    async def lease(self, holder: Holder, target: Target, events: Sequence[Event] = ()) -> Slice | Closure | Fenced:
        """Take events in, and wait until calls may leave soon."""
        self.report(target, events)
        # Before the line, which goes on for others.
        while self._may_be_claimed(holder):  # noqa: ASYNC110 - a look at the clock as well
            await asyncio.sleep(_LOOK_SECONDS)
        self.beat(holder)
        async with self._lines[target]:
            while True:
                if holder not in self._seen:
                    return Fenced(holder)
                now = self._clock.time()
                wait = self._silent_until - now if target in self._silenced else 0.0
                if wait <= 0:
                    self._leased[target][holder] = now
                    found = self._grant(target)
                    if not isinstance(found, float):
                        return found
                    wait = found
                await asyncio.sleep(wait)

    def report(self, target: Target, events: Sequence[Event]) -> Allowance:
        """Take events in, in order, of fenced holders too: they are facts. Returns the present rate."""
        if target not in self._opened:  # before a restart
            self.open(target)
        return self._keeper.report(target, events)

    def _grant(self, target: Target) -> Slice | Closure | float:
        """Permits, or the reason why there are none: a closure, or the seconds after which to ask again."""
        rate = self.report(target, ()).rate
        most = self._slice(target, rate)
        permits, wait = self._keeper.grant(target, most, _LEAD, _LEAD + most / rate)
        permits, later = self._until_midnight(target, permits)
        if not permits:
            return max(wait, later)
        keys: list[QuotaKey] = []
        closure = None
        for booked in self._keeper.charge(target, permits):
            if isinstance(booked, Closure):
                closure = booked
            else:
                keys.append(booked)
        allowance = self.report(target, [Unused(permit.number) for permit in permits[len(keys) :]])
        if closure is not None and not keys:
            return closure
        return Slice(permits[: len(keys)], keys, allowance)

    def _slice(self, target: Target, rate: float) -> int:
        """Permits of a slice: so many that all holders together have a quarter of a second's."""
        leased, limit = self._leased[target], self._clock.time() - SILENT_SECONDS
        for holder in [holder for holder, at in leased.items() if at < limit]:
            del leased[holder]
        return max(1, min(math.ceil(_SLICE_SECONDS * rate / max(1, len(leased))), _MOST_PERMITS))

    def _until_midnight(self, target: Target, permits: Sequence[Permit]) -> tuple[Sequence[Permit], float]:
        """Permits up to midnight in Beijing, and the seconds until then where there were others.

        A call counts on the day on which it leaves, so the others are given back.
        """
        now = self._clock.now()
        left = next_reset(now) - now
        midnight = self._clock.time() + left
        today = [permit for permit in permits if permit.at < midnight]
        if len(today) == len(permits):
            return today, 0.0
        self.report(target, [Unused(permit.number) for permit in permits[len(today) :]])
        return today, left
