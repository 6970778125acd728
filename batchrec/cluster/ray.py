"""A cluster of Ray: the connection to it, a local one, and the places of its keeper and workers.

Who works on which shard is the fleet's (`fleet`).
"""

import asyncio
import contextlib
import hashlib
import io
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from .. import __version__
from ..api.credentials import Credentials
from ..engine.setup import payer, rate_of
from ..errors import BatchrecError, JobError, ServiceUnavailable
from ..job.spec import Job
from ..language import _, os_reason
from .fleet import Machine, RayFleet
from .keeper_actor import KeeperActor, TokenSource
from .messages import NAMESPACE, DriversKeeper  # before Ray, whose settings it makes
from .worker_actor import WorkerActor

# isort: split
import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

LOCAL = "ray"
"""Word of `--on` for a cluster that is running here, or a local one."""

_AUTO = "auto"
"""Ray's word for a cluster that is running on this machine."""

_REACHED_SECONDS = 5.0
_REASON_CHARACTERS = 300
"""Length of a reason of Ray's at most; that of another version has 200."""
_CALLS = 10_000
"""Messages that an actor works on at once: those that wait for a permit are among them."""
_HEAD = "node:__internal_head__"
"""Resource that the head of a cluster has, and no other node."""


class _RayMachines:
    """The `Machines` of the cluster to which this process is connected.

    `keeper`: name of the keeper's actor; `answers`: as for `open_fleet`.
    """

    version: str = ray.__version__

    def __init__(self, keeper: str, answers: bytes) -> None:
        self._keeper = keeper
        self._answers = ray.put(answers)  # a node fetches it once, for all its workers

    def nodes(self) -> Sequence[Machine]:
        """As `Machines`."""
        return [
            Machine(node["NodeID"], node["NodeManagerHostname"], int(node["Resources"].get("CPU", 0)))
            for node in ray.nodes()  # type: ignore[no-untyped-call]
            if node["Alive"]
        ]

    def hire(self, node: str) -> Any:
        """As `Machines`."""
        placed = NodeAffinitySchedulingStrategy(node, soft=False)
        actor = ray.remote(WorkerActor).options(
            num_cpus=1, max_restarts=0, max_task_retries=0, max_concurrency=_CALLS, scheduling_strategy=placed
        )
        return actor.remote(self._keeper, self._answers)

    def kill(self, handle: Any) -> None:
        """As `Machines`."""
        with contextlib.suppress(RayError, ValueError):  # there is no such actor any more, or no connection
            ray.kill(handle)


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
        machines = _RayMachines(name, answers)
        async with (
            DriversKeeper(lambda: actor.remote(source), secrets.token_hex(8), source) as keeper,
            RayFleet(job, credentials, output, machines, keeper) as fleet,
        ):
            yield fleet
    finally:
        await asyncio.to_thread(ray.shutdown)


def _connect(address: str) -> None:
    quiet: Any = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": logging.CRITICAL}
    found = located(address)
    ray.init(**({"address": "local", "include_dashboard": False} if found is None else {"address": found}), **quiet)


def located(address: str) -> str | None:
    """The address of the cluster that `--on ADDRESS` means; None for a local one, which is to be started.

    Raises JobError, and ServiceUnavailable where nobody listens at an address that the user has given.
    """
    wanted = (os.environ.get("RAY_ADDRESS") or _AUTO) if address == LOCAL else address
    if wanted.startswith("ray://"):
        raise JobError(
            _("--on {address}: a run is no client of a cluster; start it there: ray job submit -- batchrec run").format(
                address=address
            )
        )
    if wanted == "local":
        return None
    found = _running_here() if wanted == _AUTO else wanted
    try:
        if found is not None:
            _check_reachable(found)
        return found
    except ConnectionError as error:
        if wanted == _AUTO:  # a head that was killed leaves its address behind
            return None
        raise ServiceUnavailable(
            _("--on {address}: the cluster cannot be reached: {reason}").format(address=wanted, reason=error)
        ) from None


def _running_here() -> str | None:
    """The address of the cluster that runs on this machine, or did.

    Ray has no public way to it: `auto` would connect at once.
    """
    from ray._private.services import canonicalize_bootstrap_address

    try:
        found: str | None = canonicalize_bootstrap_address(_AUTO)
    except ConnectionError:
        return None
    return found


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
    except (OSError, OverflowError) as error:  # the latter for a port above 65535
        raise ConnectionError(os_reason(error)) from None
