"""A cluster of Ray as a `Fleet`: its keeper and its workers as actors.

Ray places actors and notices processes that end. Exactly-once, fencing and the rate are the keeper's (`keeper`), and
lost shards are the driver's (`driver`).
"""

import asyncio
import contextlib
import hashlib
import io
import logging
import math
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from .. import __version__
from ..api.credentials import Credentials
from ..engine.setup import payer, rate_of, targets_of
from ..errors import BatchrecError, JobError, ServiceUnavailable
from ..job.spec import Job
from ..language import _, os_reason
from .client import ShardLost
from .keeper import Holder
from .keeper_actor import KeeperActor, TokenSource
from .messages import NAMESPACE, KeeperHandle, heard  # before Ray, whose settings it makes
from .node import Report, Shard
from .parts import Parts
from .versions import Versions, mismatch
from .worker_actor import WorkerActor

# isort: split
import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

LOCAL = "ray"
"""Word of `--on` for a cluster that is running here, or a local one."""

_log = logging.getLogger(__name__)

_SHARDS = 2
"""Shards of a worker: the second one goes on while the first one ends."""
_WORKERS_SECONDS = 180.0
"""Time that is waited for a first worker: on a busy machine its process takes a minute to start."""
_NODES_SECONDS = 2.0
"""Time between two looks for nodes that have joined."""
_REACHED_SECONDS = 5.0
_AGAIN_SECONDS = 0.2
_REASON_CHARACTERS = 300
"""Length of a reason of Ray's at most; that of another version has 200."""
_CALLS = 10_000
"""Messages that an actor works on at once: those that wait for a permit are among them."""
_HEAD = "node:__internal_head__"
"""Resource that the head of a cluster has, and no other node."""


@dataclass(slots=True)
class _Worker:
    """A worker of the fleet: its node, the answer to its probe, and its shards."""

    handle: Any
    node: str
    ready: asyncio.Future[str]
    shards: int = 0

    @property
    def usable(self) -> bool:
        """Whether its node can take part, as far as is known."""
        return self.ready.done() and self.ready.exception() is None


class RayFleet:
    """The `Fleet` of a Ray cluster: a worker for each CPU that it has, or gets."""

    def __init__(
        self, job: Job, credentials: Credentials, output: str, answers: bytes, keeper: str, handle: KeeperHandle
    ) -> None:
        self._job, self._credentials, self._output = job, credentials, output
        self._name, self._keeper = keeper, handle
        self._answers = ray.put(answers)  # a node fetches it once, for all its workers
        self._parts = Parts(output)
        self._token = secrets.token_hex(8)
        self._workers: list[_Worker] = []
        self._known: set[str] = set()
        self._looked_at = -math.inf

    async def __aenter__(self) -> "RayFleet":
        await asyncio.to_thread(self._parts.put_token, self._token)
        self._telling = asyncio.ensure_future(self._tell_of_others())  # beside the start of workers
        return self

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
        self._telling.cancel()
        await asyncio.to_thread(self._parts.put_token, None)
        for worker in self._workers:
            worker.ready.cancel()
            ray.kill(worker.handle)
        with contextlib.suppress(ShardLost):
            await self._keeper.send("leave")

    async def room(self) -> int:
        """Places of workers that are ready; waits for the first one."""
        deadline = time.monotonic() + _WORKERS_SECONDS
        while True:
            await self._look()
            if any(worker.usable for worker in self._workers):
                return sum(_SHARDS - worker.shards for worker in self._workers if worker.usable)
            if time.monotonic() > deadline:
                raise ServiceUnavailable(
                    _("--on: no node of the cluster has had a CPU for a worker for {seconds:.0f} s").format(
                        seconds=_WORKERS_SECONDS
                    )
                )
            await asyncio.sleep(_AGAIN_SECONDS)

    async def start(self, shard: Shard, holder: Holder) -> Report:
        """Have a shard worked on by the worker with the fewest."""
        worker = min((worker for worker in self._workers if worker.usable), key=lambda worker: worker.shards)
        worker.shards += 1
        try:
            report: Report = await heard(worker.handle.work.remote(shard, holder))
            return report
        except ShardLost:
            self._drop(worker)
            raise
        except asyncio.CancelledError:  # silent: nothing more is asked of it
            self._drop(worker)
            raise
        finally:
            worker.shards -= 1

    def stop(self) -> None:
        """Ask all workers to stop. Those that are gone do not hear it."""
        for worker in self._workers:
            worker.handle.stop.remote()

    async def begin(self, shard: str, floor: int) -> Holder:
        """As `ClusterKeeper.begin`."""
        holder: Holder = await self._kept("begin", shard, floor)
        return holder

    async def end(self, holder: Holder) -> None:
        """As `ClusterKeeper.end`."""
        await self._kept("end", holder)

    async def silent(self, given: Sequence[Holder]) -> list[Holder]:
        """As `ClusterKeeper.silent`."""
        silent: list[Holder] = await self._kept("silent", given)
        return silent

    async def _kept(self, method: str, *arguments: object) -> Any:
        """The keeper's reply. Raises ServiceUnavailable where there is no keeper for long."""
        try:
            return await self._keeper.ask(method, *arguments)
        except ShardLost as error:
            text = _("--on: the keeper of the rate is gone: {error}")
            raise ServiceUnavailable(text.format(error=error)) from None

    async def _look(self) -> None:
        """Take in nodes that have joined, and probes that have come back."""
        if time.monotonic() - self._looked_at >= _NODES_SECONDS:
            self._looked_at = time.monotonic()
            for node in await asyncio.to_thread(ray.nodes):
                if node["Alive"] and node["NodeID"] not in self._known:
                    self._known.add(node["NodeID"])
                    for _cpu in range(int(node["Resources"].get("CPU", 0))):
                        self._hire(node["NodeID"], node["NodeManagerHostname"])
        for worker in [worker for worker in self._workers if worker.ready.done()]:
            try:
                problem = worker.ready.result()
            except ShardLost:  # its node has left
                self._drop(worker)
                continue
            except ServiceUnavailable as error:
                text = _("--on: node {node}: {problem}")
                raise ServiceUnavailable(text.format(node=worker.node, problem=error)) from None
            if problem:
                raise JobError(_("--on: node {node}: {problem}").format(node=worker.node, problem=problem))

    def _hire(self, node: str, host: str) -> None:
        placed = NodeAffinitySchedulingStrategy(node, soft=False)
        actor = ray.remote(WorkerActor).options(
            num_cpus=1, max_restarts=0, max_task_retries=0, max_concurrency=_CALLS, scheduling_strategy=placed
        )
        handle: Any = actor.remote(self._name, self._answers)
        self._workers.append(_Worker(handle, host, asyncio.ensure_future(self._probed(handle))))

    async def _probed(self, handle: Any) -> str:
        """The reason why a worker's node cannot take part. Raises ServiceUnavailable for other versions."""
        there: Versions = await heard(handle.versions.remote())
        if differing := mismatch(there, Versions.here(ray.__version__)):
            raise ServiceUnavailable(differing)
        problem: str = await heard(handle.probe.remote(self._output, self._token, str(self._job.base)))
        return problem

    def _drop(self, worker: _Worker) -> None:
        if worker in self._workers:
            self._workers.remove(worker)


@asynccontextmanager
async def open_fleet(
    address: str, job: Job, credentials: Credentials, output: str, answers: bytes
) -> AsyncIterator[RayFleet]:
    """Connect to a cluster, or start a local one, and open the account's keeper.

    `output` is the path or address of the parts, `answers` the file of a result cache to reuse, or nothing.

    Raises JobError or ServiceUnavailable where that cannot be done.
    """
    # Ray prints news of nodes to standard output, whatever `log_to_driver` says; a run prints nothing there.
    with contextlib.redirect_stdout(io.StringIO()):
        async with _connected(address, job, credentials, output, answers) as fleet:
            yield fleet


@asynccontextmanager
async def _connected(
    address: str, job: Job, credentials: Credentials, output: str, answers: bytes
) -> AsyncIterator[RayFleet]:
    connecting = asyncio.ensure_future(asyncio.to_thread(_connect, address))
    await asyncio.wait([connecting])
    if (error := connecting.exception()) is not None:
        raise unconnected(address, error)
    try:
        account = hashlib.sha256(payer(job, credentials).encode()).hexdigest()[:12]
        name = f"quota-{account}-{__version__}"
        actor = ray.remote(KeeperActor).options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            max_task_retries=0,
            num_cpus=0,
            resources={_HEAD: 0.001},
            max_concurrency=_CALLS,
        )
        limits = job.limits
        source = TokenSource(job.account.endpoint, credentials, limits.timeout, limits.patience, rate_of(job))
        keeper = KeeperHandle(actor.remote(source))
        async with RayFleet(job, credentials, output, answers, name, keeper) as fleet:
            yield fleet
    finally:
        await asyncio.to_thread(ray.shutdown)


def _connect(address: str) -> None:
    quiet: Any = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": logging.CRITICAL}
    wanted = (os.environ.get("RAY_ADDRESS") or "auto") if address == LOCAL else address
    if wanted.startswith("ray://"):
        raise JobError(
            _("--on {address}: a run is no client of a cluster; start it there: ray job submit -- batchrec run").format(
                address=address
            )
        )
    local: Any = {"address": "local", "include_dashboard": False}
    try:
        _check_reachable(wanted)
        ray.init(**(local if wanted == "local" else {"address": wanted}), **quiet)
    except ConnectionError as error:
        if wanted != "auto":
            raise ServiceUnavailable(
                _("--on {address}: the cluster cannot be reached: {reason}").format(address=wanted, reason=error)
            ) from None
        ray.init(**local, **quiet)


def unconnected(address: str, error: BaseException) -> BaseException:
    """The error for a cluster that did not take this process, or did not start.

    Ray has no class for these: a start that takes too long is a bare Exception, another version a RuntimeError.
    """
    if isinstance(error, BatchrecError) or not (
        type(error) is Exception or isinstance(error, RuntimeError | ValueError | OSError | RayError)
    ):
        return error
    kind = JobError if isinstance(error, ValueError) else ServiceUnavailable
    reason = " ".join(str(error).split())[:_REASON_CHARACTERS] or type(error).__name__
    return kind(_("--on {address}: {reason}").format(address=address, reason=reason))


def _check_reachable(address: str) -> None:
    """Raise ConnectionError where nobody listens: Ray itself would try for a minute, and end the process."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACHED_SECONDS).close()
    except OSError as error:
        raise ConnectionError(os_reason(error)) from None
