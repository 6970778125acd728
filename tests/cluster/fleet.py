"""Nodes of a cluster in this process: real engines, files and sockets, and no engine of a cluster."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM

from batchrec.api.accounts import open_account
from batchrec.api.credentials import Credentials
from batchrec.api.http import open_transport
from batchrec.cluster.client import ShardLost
from batchrec.cluster.keeper import ClusterKeeper, Fenced, Holder, Slice
from batchrec.cluster.node import Report, Shard, work_on
from batchrec.engine.process import Stopper
from batchrec.interfaces import Account
from batchrec.job.spec import Job
from batchrec.limits.quota import Quota
from batchrec.limits.shared_rate import SharedRates
from batchrec.times import Clock
from batchrec.values import Authorization, Closure, Event, Target

from .parts import Direct

_SHARDS = 2
"""Shards of a node at once."""


@dataclass
class Node:
    """A node: its shards under way, and whether it is frozen."""

    frozen: asyncio.Event = field(default_factory=asyncio.Event)
    stopper: list[Stopper] = field(default_factory=list)
    tasks: list[asyncio.Task[Report]] = field(default_factory=list)
    dead: bool = False

    def kill(self) -> None:
        """End all that it does, at once."""
        self.dead = True
        for task in self.tasks:
            task.cancel()


class Frozen(Direct):
    """The way of a node to the keeper, over which nothing comes while the node is frozen."""

    def __init__(self, core: ClusterKeeper, node: Node) -> None:
        super().__init__(core, asyncio.get_running_loop().time)
        self._node = node

    async def lease(self, holder: Holder, target: Target, events: Sequence[Event]) -> Slice | Closure | Fenced:
        await self._thawed()
        return await super().lease(holder, target, events)

    async def beat(self, holder: Holder) -> tuple[bool, float]:
        await self._thawed()
        return await super().beat(holder)

    async def _thawed(self) -> None:
        if self._node.frozen.is_set():
            await asyncio.Event().wait()


class LocalFleet:
    """A `Fleet` of nodes in this process."""

    def __init__(self, core: ClusterKeeper, account: Account, nodes: int, answers: Path | None) -> None:
        self.core, self._account, self._answers = core, account, answers
        self.nodes = [Node() for _ in range(nodes)]
        self._stopped = False

    async def room(self) -> int:
        return sum(self._room(node) for node in self.nodes)

    async def start(self, shard: Shard, holder: Holder) -> Report:
        if self._stopped:
            raise ShardLost("the run is stopped")
        node = max(self.nodes, key=self._room)
        stopper = Stopper()
        node.stopper.append(stopper)
        way = Frozen(self.core, node)
        task = asyncio.ensure_future(work_on(shard, holder, way, self._authorize, stopper, self._answers))
        node.tasks.append(task)
        try:
            return await task
        except asyncio.CancelledError:
            if node.dead:
                raise ShardLost("the node is dead") from None
            raise

    def stop(self) -> None:
        self._stopped = True
        for node in self.nodes:
            for stopper in node.stopper:
                stopper.stop(SIGTERM)

    async def begin(self, shard: str, floor: int) -> Holder:
        return self.core.begin(shard, floor)

    async def end(self, holder: Holder) -> None:
        self.core.end(holder)

    async def silent(self, given: Sequence[Holder]) -> list[Holder]:
        return self.core.silent(given)

    def _room(self, node: Node) -> int:
        if node.dead or node.frozen.is_set():
            return 0
        return max(0, _SHARDS - sum(not task.done() for task in node.tasks))

    async def _authorize(self, refused: str) -> Authorization:
        return await self._account.authorize()


@asynccontextmanager
async def local_fleet(
    job: Job, credentials: Credentials, output: str, known: bytes, state: Path, nodes: int
) -> AsyncIterator[LocalFleet]:
    """Open a fleet; its keeper's state is in `state`, `known` a file of results to reuse."""
    answers = state / "known.db" if known else None
    if answers is not None:
        answers.write_bytes(known)
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        rates = stack.enter_context(closing(SharedRates(state)))
        quota = stack.enter_context(closing(Quota(state, time.time)))
        core = ClusterKeeper(rates, quota, Clock(loop.time, time.time, random.Random(1)))
        async with open_transport(job.account.endpoint, 30.0, 100.0) as transport:
            account = open_account(
                job.account.endpoint, credentials, transport, cache=state, patience=60.0, now=time.time
            )
            fleet = LocalFleet(core, account, nodes, answers)
            yield fleet
            tasks = [task for node in fleet.nodes for task in node.tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
