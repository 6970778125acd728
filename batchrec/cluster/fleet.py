"""Workers of a Ray cluster as a `Fleet`: hired, probed, given shards, and replaced.

Ray places actors and notices processes that end. Exactly-once, fencing and the rate are the keeper's (`keeper`), and
lost shards are the driver's (`driver`). What is asked of Ray itself is behind `Machines`.
"""

import asyncio
import contextlib
import logging
import math
import secrets
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..api.credentials import Credentials
from ..engine.setup import targets_of
from ..errors import BatchrecError, JobError, ServiceUnavailable
from ..job.spec import Job
from ..language import _
from .client import ShardLost
from .keeper import Holder
from .messages import DriversKeeper, heard
from .node import Report, Shard
from .parts import Parts
from .versions import Versions, mismatch

_log = logging.getLogger(__name__)

_SHARDS = 2
"""Shards of a worker: the second one goes on while the first one ends."""
_WORKERS_SECONDS = 180.0
"""Time that is waited for a first worker: on a busy machine its process takes a minute to start."""
_NODES_SECONDS = 2.0
"""Time between two looks for nodes that have joined, and for workers that are to be replaced."""
_MOST_ROUNDS = 5
"""Times that the pause doubles until a node whose workers end before their probe gets the next ones: 64 s at most."""
_AGAIN_SECONDS = 0.2


def _now() -> float:
    return asyncio.get_running_loop().time()


class Machine(NamedTuple):
    """A node of the cluster: its id, the name of its host, and its CPUs."""

    name: str
    host: str
    cpus: int


class Machines(Protocol):
    """Nodes of a cluster, and actors on them. `version` is the one of Ray."""

    version: str

    def nodes(self) -> Sequence[Machine]:
        """Nodes that are alive. Blocks."""
        ...

    def hire(self, node: str) -> Any:
        """Start a worker on a node; the actor's handle."""
        ...

    def kill(self, handle: Any) -> None:
        """End a worker, which may be gone already."""
        ...


@dataclass(slots=True)
class _Worker:
    """A worker of the fleet: its node, the answer to its probe, and its shards.

    `dropped`: it gets no other shard, and ends with those that it has.
    """

    handle: Any
    machine: Machine
    ready: asyncio.Future[str]
    shards: int = 0
    dropped: bool = False

    @property
    def usable(self) -> bool:
        """Whether it can be given a shard, as far as is known."""
        if self.dropped or not self.ready.done() or self.ready.cancelled():
            return False
        return self.ready.exception() is None and not self.ready.result()


@dataclass(slots=True)
class _Hiring:
    """Hiring of workers on a node.

    Where they end before their probe, for want of memory say, the next ones wait. `rounds`: times that this happened,
    one after the other; `lost`: whether it did the last time.
    """

    at: float = -math.inf
    rounds: int = 0
    lost: bool = False

    def begin(self, now: float) -> bool:
        """Whether the next ones are to be hired now; they count as hired then."""
        rounds = min(self.rounds + 1, _MOST_ROUNDS) if self.lost else 0
        if now - self.at < _NODES_SECONDS * 2**rounds:
            return False
        self.at, self.rounds, self.lost = now, rounds, False
        return True


class RayFleet:
    """The `Fleet` of a Ray cluster: a worker for each CPU that it has, or gets."""

    def __init__(
        self, job: Job, credentials: Credentials, output: str, machines: Machines, keeper: DriversKeeper
    ) -> None:
        self._job, self._credentials, self._output = job, credentials, output
        self._machines, self._keeper = machines, keeper
        self._parts = Parts(output)
        self._token = secrets.token_hex(8)
        self._workers: list[_Worker] = []
        self._left_out: set[str] = set()
        self._hiring: defaultdict[str, _Hiring] = defaultdict(_Hiring)
        self._looked_at = -math.inf
        self._begun = self._stopped = self._suspicious = False

    async def __aenter__(self) -> "RayFleet":
        await asyncio.to_thread(self._parts.put_token, self._token)
        self._speaking = asyncio.ensure_future(self._speak())  # beside the start of workers
        return self

    async def _speak(self) -> None:
        """Tell of other users of the account, and go on giving signs of life.

        A driver that waits for its first CPU asks the keeper nothing, which may have started anew meanwhile.
        """
        await self._tell_of_others()
        while True:
            await asyncio.sleep(_NODES_SECONDS)
            with contextlib.suppress(BatchrecError):
                await self._keeper.silent(())

    async def _tell_of_others(self) -> None:
        targets = [target for target, _steps in targets_of(self._job, self._credentials)]
        with contextlib.suppress(BatchrecError):  # whoever needs the keeper next says so
            if await self._keeper.ask("shares", targets):
                text = _(
                    "this account is also used by a run on the head alone, which has a rate of its own: "
                    "give each a part of limits.qps"
                )
                _log.warning("%s", text)

    async def __aexit__(self, *exc: object) -> None:
        self._speaking.cancel()
        for worker in list(self._workers):
            self._end(worker)
        await asyncio.to_thread(self._parts.put_token, None)

    async def room(self) -> int | None:
        """Places of workers that are ready; None where there are none of these, and some are at work.

        Waits for the first one, unless the run is stopped.
        """
        deadline = _now() + _WORKERS_SECONDS
        while not self._stopped:
            await self._look()
            if any(worker.usable for worker in self._workers):
                # One may have more than its places: what was lost does not wait for one.
                return sum(max(0, _SHARDS - worker.shards) for worker in self._workers if worker.usable)
            if any(worker.shards for worker in self._workers):
                return None  # its CPU may be the one that the next worker waits for
            if _now() > deadline:
                raise ServiceUnavailable(
                    _("--on: no node of the cluster has had a CPU for a worker for {seconds:.0f} s").format(
                        seconds=_WORKERS_SECONDS
                    )
                )
            await asyncio.sleep(_AGAIN_SECONDS)
        return 0

    async def start(self, shard: Shard, holder: Holder) -> Report:
        """Have a shard worked on by the worker with the fewest."""
        usable = (worker for worker in self._workers if worker.usable)
        worker = min(usable, key=lambda worker: worker.shards, default=None)
        if worker is None or self._stopped:
            raise ShardLost(_("no worker of the cluster is left"))
        self._begun = True
        worker.shards += 1
        try:
            report: Report = await heard(worker.handle.work.remote(shard, holder))
            return report
        except (ShardLost, asyncio.CancelledError):  # it is gone; or it is silent: nothing more is asked of it
            worker.dropped = True
            self._suspicious = True  # others of its node may be gone as well
            raise
        finally:
            worker.shards -= 1
            if worker.dropped and not worker.shards:
                self._end(worker)

    def stop(self) -> None:
        """Ask all workers to stop. Those that are gone do not hear it."""
        self._stopped = True
        for worker in self._workers:
            worker.handle.stop.remote()

    async def begin(self, shard: str, floor: int) -> Holder:
        """As `ClusterKeeper.begin`."""
        holder: Holder = await self._keeper.ask("begin", shard, floor)
        return holder

    async def end(self, holder: Holder) -> None:
        """As `ClusterKeeper.end`."""
        await self._keeper.ask("end", holder)

    async def silent(self, given: Sequence[Holder]) -> list[Holder]:
        """As `ClusterKeeper.silent`."""
        return await self._keeper.silent(given)

    # -- workers

    async def _look(self) -> None:
        """Take in nodes that have joined or left, and probes that have come back."""
        due = _now() - self._looked_at >= _NODES_SECONDS
        if due or self._suspicious:
            self._suspicious = False
            machines = await asyncio.to_thread(self._machines.nodes)
            self._drop_left(machines)
            if due:  # not before: a node may kill each worker
                self._looked_at = _now()
                self._staff(machines)
        for worker in list(self._workers):
            if worker.ready.done() and not worker.dropped:  # another one of its node may have had it dropped
                self._judge(worker)

    def _drop_left(self, machines: Sequence[Machine]) -> None:
        """Drop the workers of nodes that have left."""
        alive = {machine.name for machine in machines}
        for worker in [worker for worker in self._workers if worker.machine.name not in alive]:
            self._drop(worker)

    def _staff(self, machines: Sequence[Machine]) -> None:
        """Hire up to the CPUs of each node; those that were dropped have their successors so."""
        for machine in machines:
            if machine.name in self._left_out:
                continue
            present = sum(worker.machine.name == machine.name and not worker.dropped for worker in self._workers)
            if present >= machine.cpus or not self._hiring[machine.name].begin(self._looked_at):
                continue
            for _cpu in range(present, machine.cpus):
                handle = self._machines.hire(machine.name)
                self._workers.append(_Worker(handle, machine, asyncio.ensure_future(self._probed(handle))))

    async def _probed(self, handle: Any) -> str:
        """The reason why a worker's node cannot take part. Raises ServiceUnavailable for other versions."""
        there: Versions = await heard(handle.versions.remote())
        if differing := mismatch(there, Versions.here(self._machines.version)):
            raise ServiceUnavailable(differing)
        problem: str = await heard(handle.probe.remote(self._output, self._token, str(self._job.base)))
        return problem

    def _judge(self, worker: _Worker) -> None:
        """Take in the reply to a probe.

        A node that cannot take part ends the run before the first shard; one that joins later is left out.
        """
        kind: type[BatchrecError] = JobError
        try:
            problem = worker.ready.result()
        except ShardLost:
            self._hiring[worker.machine.name].lost = True
            self._drop(worker)
            return
        except BatchrecError as error:
            kind, problem = type(error), str(error)
        if not problem:
            return
        node = worker.machine
        if not self._begun:
            raise kind(_("--on: node {node}: {problem}").format(node=node.host, problem=problem))
        text = _("--on: node {node} is left out: {problem}")
        _log.warning("%s", text.format(node=node.host, problem=problem))
        self._left_out.add(node.name)
        for each in [each for each in self._workers if each.machine.name == node.name]:
            self._drop(each)

    def _drop(self, worker: _Worker) -> None:
        """Give a worker nothing more; it ends with its shards."""
        worker.dropped = True
        if not worker.shards:
            self._end(worker)

    def _end(self, worker: _Worker) -> None:
        """End a worker's process, which keeps its CPU otherwise."""
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        if not worker.ready.cancel() and not worker.ready.cancelled():
            worker.ready.exception()  # looked at, so that nobody is told of it
        self._machines.kill(worker.handle)
