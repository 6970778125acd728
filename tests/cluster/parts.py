"""A channel to a cluster's keeper in the same process, with the time that messages take, and clocks that differ."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from batchrec.cluster.client import RemoteKeeper
from batchrec.cluster.keeper import ClusterKeeper, Fenced, Holder, Slice
from batchrec.values import Allowance, Closure, Event, Target

_Value = TypeVar("_Value")


class Direct:
    """Messages arrive at once; a reply takes `delay` seconds where it is not 0."""

    def __init__(
        self, core: ClusterKeeper, time: Callable[[], float], delay: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.core, self._time, self._delay = core, time, delay

    def open(self, target: Target) -> Awaitable[tuple[Allowance, Closure | None]]:
        return self._later(self.core.open(target))

    async def lease(self, holder: Holder, target: Target, events: Sequence[Event]) -> Slice | Closure | Fenced:
        leased = await self.core.lease(holder, target, events)
        return await self._later(leased)

    def report(self, target: Target, events: Sequence[Event]) -> Awaitable[Allowance]:
        return self._later(self.core.report(target, events))

    async def beat(self, holder: Holder) -> tuple[bool, float]:
        if wait := self._delay():
            await asyncio.sleep(wait)
        return await self._later((self.core.beat(holder), self._time()))

    async def _later(self, value: _Value) -> _Value:
        if wait := self._delay():
            await asyncio.sleep(wait)
        return value


class InProcess(RemoteKeeper):
    """A node's keeper that knows at once of what is opened, so that the contract of a `Keeper` can be tried on it."""

    def __init__(self, core: ClusterKeeper, shard: str, time: Callable[[], float]) -> None:
        super().__init__(Direct(core, time), core.begin(shard), time)
        self._core = core

    def open(self, target: Target) -> tuple[Allowance, Closure | None]:
        """Open there and here."""
        self._known[target] = self._core.open(target)
        return super().open(target)
