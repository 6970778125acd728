"""Workers and messages of a Ray cluster, without one: errors of Ray, workers that are lost, nodes that join late."""

import asyncio
import errno
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("Ray's clusters are of Linux machines", allow_module_level=True)

from ray._private import services
from ray.exceptions import (
    ActorDiedError,
    ActorUnschedulableError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
)

from batchrec.api.credentials import Credentials
from batchrec.cluster.client import ShardLost
from batchrec.cluster.fleet import Machine, RayFleet
from batchrec.cluster.keeper import Holder
from batchrec.cluster.keeper_actor import KeeperActor, TokenSource
from batchrec.cluster.messages import DriversKeeper, heard
from batchrec.cluster.node import Report
from batchrec.cluster.ray import located
from batchrec.cluster.versions import Versions
from batchrec.emulator import Settings, serve
from batchrec.engine.assembly import Work
from batchrec.errors import BatchrecError, CredentialsRefused, JobError, OutputFailed, ServiceUnavailable
from batchrec.job.loading import load_job
from batchrec.values import Authorization
from tests.acceptance.harness import KEY, SECRET
from tests.support.virtual_time import virtual

HERE = Versions.here("2.60.0")
HOLDER = Holder("1", 1)


async def told(error: Exception) -> BaseException:
    """What becomes of an error of Ray."""

    async def reply() -> None:
        raise error

    try:
        await heard(reply())
    except Exception as found:
        return found
    raise AssertionError("it is none")


def raised_there(cause: Exception) -> Exception:
    """The error of Ray for one that an actor's method has raised, as a caller gets it."""
    told: Exception = RayTaskError("work", "Traceback", cause).as_instanceof_cause()
    return told


@pytest.mark.parametrize(
    "error",
    [
        ActorDiedError(),
        OutOfMemoryError("killed by the memory monitor"),
        ActorUnschedulableError("the node has left"),
        NodeDiedError("gone"),
        raised_there(RayActorError()),
    ],
)
async def test_every_end_of_a_process_loses_its_shards(error: RayError) -> None:
    """Whatever class Ray has for it: the driver hands them out again."""
    assert isinstance(await told(error), ShardLost)


async def test_errors_of_an_actor_are_ours() -> None:
    """Our own as they were raised, the system's as what could not be written; an actor that did not begin with 69."""
    mine = JobError("no")
    assert await told(raised_there(mine)) is mine
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/batchrec-1/state")
    written = await told(raised_there(full))
    assert isinstance(written, OutputFailed)
    assert str(written).startswith("/tmp/batchrec-1/state: cannot be written: No space left on device")
    begun = RayActorError(error_msg="in __init__\nModuleNotFoundError: no batchrec\n", actor_init_failed=True)
    assert str(await told(begun)) == "ModuleNotFoundError: no batchrec"
    assert isinstance(await told(begun), ServiceUnavailable)


async def test_a_defect_of_an_actor_stays_one() -> None:
    """It is no shard that is lost: the next worker would have it too."""
    assert not isinstance(await told(raised_there(KeyError("x"))), BatchrecError)


class Method:
    """A method of an actor, called as Ray's are."""

    def __init__(self, function: Callable[..., Awaitable[Any]]) -> None:
        self._function = function

    def remote(self, *arguments: object) -> Awaitable[Any]:
        return asyncio.ensure_future(self._function(*arguments))


class Actor:
    """A worker's handle: the versions and the problem of its node; a shard ends when a test says how."""

    def __init__(self, problem: str, versions: Versions, *, dies: bool) -> None:
        self._problem, self._there, self._dies = problem, versions, dies
        self.shards: list[asyncio.Future[Report]] = []
        self.stopped = False

    def __getattr__(self, name: str) -> Method:
        return Method(getattr(self, f"_{name}"))

    async def _versions(self) -> Versions:
        if self._dies:
            raise OutOfMemoryError("killed")
        return self._there

    async def _probe(self, *_told: object) -> str:
        return self._problem

    async def _work(self, *_told: object) -> Report:
        self.shards.append(asyncio.get_running_loop().create_future())
        return await self.shards[-1]

    async def _stop(self) -> None:
        self.stopped = True


class Cluster:
    """The `Machines` of a test."""

    version = HERE.ray

    def __init__(self, *nodes: Machine) -> None:
        self.alive = list(nodes)
        self.problems: dict[str, str] = {}
        self.versions: dict[str, Versions] = {}
        self.dying: set[str] = set()
        self.hired: list[tuple[str, Actor]] = []
        self.killed: list[Actor] = []

    def nodes(self) -> list[Machine]:
        return list(self.alive)

    def hire(self, node: str) -> Actor:
        actor = Actor(self.problems.get(node, ""), self.versions.get(node, HERE), dies=node in self.dying)
        self.hired.append((node, actor))
        return actor

    def kill(self, handle: Actor) -> None:
        self.killed.append(handle)


class Keeper:
    """The handle of a keeper, with what it is told.

    `gone`: it is ending. `frozen`: it does not reply. `anew`: it has forgotten its drivers.
    """

    def __init__(self, *, gone: bool = False, frozen: bool = False, anew: bool = False) -> None:
        self.gone, self.frozen, self.anew = gone, frozen, anew
        self.told: list[str] = []

    def __getattr__(self, name: str) -> Method:
        async def reply(*_told: object) -> object:
            self.told.append(name)
            if self.gone:
                raise ActorDiedError
            if self.frozen:
                await asyncio.Event().wait()
            known = not self.anew
            self.anew = self.anew and name != "enter"
            return [HOLDER] if name == "silent" and known else None

        return Method(reply)


SOURCE = TokenSource("http://127.0.0.1:9", Credentials(api_key="k", secret_key="s"), 30.0, 60.0, 10.0)


@asynccontextmanager
async def opened(folder: Path, cluster: Cluster, keeper: Callable[[], Keeper] = Keeper) -> AsyncIterator[RayFleet]:
    """A fleet on machines, with its parts in a folder; `keeper` starts the keeper's double."""
    (folder / "job.toml").write_text('[input]\npaths = ["photos"]\n[[recognize]]\nservice = "dish"\n')
    job = load_job(folder / "job.toml")
    async with (
        DriversKeeper(keeper, "driver", SOURCE) as way,
        RayFleet(job, SOURCE.credentials, str(folder / "out"), cluster, way) as fleet,
    ):
        yield fleet


async def given(fleet: RayFleet) -> "asyncio.Task[Report]":
    """A shard that the fleet has given to a worker."""
    task = asyncio.ensure_future(fleet.start(SHARD, HOLDER))
    await asyncio.sleep(0.01)
    return task


async def two_looks(fleet: RayFleet) -> int | None:
    await fleet.room()
    await asyncio.sleep(0.1)
    return await fleet.room()


SHARD: Any = object()
A, B = Machine("a", "host-a", 1), Machine("b", "host-b", 2)


@virtual
async def test_a_worker_that_is_gone_is_replaced(tmp_path: Path) -> None:
    """Its process is ended, and its node gets another one at the next look at nodes, not before."""
    cluster = Cluster(A)
    async with opened(tmp_path, cluster) as fleet:
        assert await fleet.room() == 2
        shard = await given(fleet)
        (_node, first), *_none = cluster.hired
        first.shards[0].set_exception(OutOfMemoryError("killed"))
        with pytest.raises(ShardLost):
            await shard
        assert (cluster.killed, len(cluster.hired)) == ([first], 1)
        with pytest.raises(ShardLost, match="no worker"):
            await fleet.start(SHARD, HOLDER)
        begun = asyncio.get_running_loop().time()
        assert await fleet.room() == 2
        assert 1.0 < asyncio.get_running_loop().time() - begun < 3.0
        assert [node for node, _actor in cluster.hired] == ["a", "a"]
        second = await given(fleet)
        cluster.hired[1][1].shards[0].set_result(Report(Work()))
        assert not (await second).lost
    assert cluster.killed == [actor for _node, actor in cluster.hired]


@virtual
async def test_a_node_whose_workers_end_at_once_gets_the_next_ones_later_and_later(tmp_path: Path) -> None:
    """Each time after twice as long, up to a minute; once they stay, the next ones come at once, as ever."""
    cluster, now = Cluster(A, B), asyncio.get_running_loop().time
    cluster.dying.add("b")
    async with opened(tmp_path, cluster) as fleet:
        rounds = [now()]
        while len(rounds) < 7:
            before = len(cluster.hired)
            assert await fleet.room() == 2
            await asyncio.sleep(0.1)
            if len(cluster.hired) > before:
                assert len(cluster.hired) - before == (3 if before == 0 else B.cpus)
                rounds.append(now())
        pauses = [later - earlier for earlier, later in pairwise(rounds[1:])]
        assert pauses == [pytest.approx(seconds, abs=2.2) for seconds in (5, 9, 17, 33, 65)]
        for _round in range(1_100):  # a day: the pause does not grow for ever
            await asyncio.sleep(66)
            assert await fleet.room() == 2
        cluster.dying.clear()
        await asyncio.sleep(66)
        await two_looks(fleet)
        await asyncio.sleep(2.0)
        assert await two_looks(fleet) == 6
        cluster.alive = [A, B._replace(cpus=3)]
        await asyncio.sleep(2.0)
        assert await two_looks(fleet) == 8


@virtual
async def test_a_silent_worker_keeps_its_other_shard(tmp_path: Path) -> None:
    """It is given nothing more, and its process ends with the last shard that it has."""
    cluster = Cluster(A)
    async with opened(tmp_path, cluster) as fleet:
        await fleet.room()
        silent, other = await given(fleet), await given(fleet)
        silent.cancel()
        await asyncio.wait([silent])
        assert cluster.killed == []
        await asyncio.sleep(2.0)
        assert await fleet.room() is None  # the next worker may need the CPU of this one
        await asyncio.sleep(0.1)
        assert await fleet.room() == 2
        assert len(cluster.hired) == 2
        cluster.hired[0][1].shards[1].set_result(Report(Work()))
        assert not (await other).lost
        assert cluster.killed == [cluster.hired[0][1]]


@virtual
async def test_workers_of_a_node_that_leaves_are_dropped(tmp_path: Path) -> None:
    """Those that have no shard as well: nothing would tell of them until they get one."""
    cluster = Cluster(A, B)
    async with opened(tmp_path, cluster) as fleet:
        assert await fleet.room() == 6
        cluster.alive.remove(B)
        await asyncio.sleep(2.0)
        assert await fleet.room() == 2
        assert len(cluster.killed) == 2


@virtual
async def test_room_of_one_worker_is_no_debt_of_another(tmp_path: Path) -> None:
    """A shard that was lost is given beyond a worker's places."""
    cluster = Cluster(A)
    async with opened(tmp_path, cluster) as fleet:
        await fleet.room()
        shards = [await given(fleet) for _ in range(3)]
        assert await fleet.room() == 0
        cluster.alive.append(B)
        await asyncio.sleep(2.0)
        await fleet.room()
        await asyncio.sleep(0.01)
        assert await fleet.room() == 4
        for shard in shards:
            shard.cancel()


@pytest.mark.parametrize(
    ("problem", "versions", "code"),
    [
        ("there is no folder /data", HERE, 2),
        ("", HERE._replace(ray="2.61.0"), 69),
    ],
)
def test_a_node_that_cannot_take_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, problem: str, versions: Versions, code: int
) -> None:
    """It ends the run before the first shard; one that joins later is left out, and named once."""

    def wrong(*nodes: Machine) -> Cluster:
        cluster = Cluster(*nodes)
        cluster.problems["b"], cluster.versions["b"] = problem, versions
        return cluster

    @virtual
    async def before() -> None:
        async with opened(tmp_path, wrong(A, B)) as fleet:
            with pytest.raises(BatchrecError, match="node host-b") as raised:
                await two_looks(fleet)
            assert raised.value.exit_code == code

    @virtual
    async def later() -> None:
        cluster = wrong(A)
        async with opened(tmp_path, cluster) as fleet:
            await fleet.room()
            shard = await given(fleet)
            cluster.alive.append(B)
            for _ in range(4):
                await asyncio.sleep(2.0)
                assert await fleet.room() == 1
            assert [node for node, _actor in cluster.hired] == ["a", "b", "b"]
            assert len(cluster.killed) == 2
            shard.cancel()

    before()
    with caplog.at_level(logging.WARNING):
        later()
    assert [record.getMessage().startswith("--on: node host-b is left out") for record in caplog.records] == [True]


@virtual
async def test_no_shard_goes_to_a_node_that_cannot_take_part(tmp_path: Path) -> None:
    """Its worker has fewer shards than others, and its reply has come since the last look."""
    cluster = Cluster(A)
    cluster.problems["b"] = "there is no folder /data"
    async with opened(tmp_path, cluster) as fleet:
        await fleet.room()
        shards = [await given(fleet)]
        cluster.alive.append(B)
        await asyncio.sleep(2.0)
        await fleet.room()
        shards.append(await given(fleet))
        shards.append(await given(fleet))
        assert [len(actor.shards) for _node, actor in cluster.hired] == [3, 0, 0]
        for shard in shards:
            shard.cancel()


@virtual
async def test_a_stop_is_not_kept_waiting_for_a_worker(tmp_path: Path) -> None:
    """There is no room at once, and workers are told."""
    cluster = Cluster()
    async with opened(tmp_path, cluster) as fleet:
        room = asyncio.ensure_future(fleet.room())
        await asyncio.sleep(5.0)
        assert not room.done()
        fleet.stop()
        begun = asyncio.get_running_loop().time()
        assert await room == 0
        assert asyncio.get_running_loop().time() - begun < 1.0
        cluster.alive.append(A)
        assert await fleet.room() == 0


@virtual
async def test_a_driver_that_waits_for_a_cpu_gives_signs_of_life(tmp_path: Path) -> None:
    """A keeper that has started anew would end with another driver, which it knows."""
    handle = Keeper(anew=True)
    async with opened(tmp_path, Cluster(), lambda: handle) as fleet:
        waiting = asyncio.ensure_future(fleet.room())
        await asyncio.sleep(5)
        handle.anew = True
        await asyncio.sleep(5)
        fleet.stop()
        assert await waiting == 0
    assert handle.told.count("silent") >= 4
    assert handle.told.count("enter") == 2


@virtual
async def test_a_keeper_that_is_ending_is_started_anew() -> None:
    """Another run of the account has ended it in the same moment."""
    keepers = [Keeper(gone=True), Keeper()]
    handles = iter(keepers)
    async with DriversKeeper(lambda: next(handles), "driver", SOURCE) as keeper:
        assert await keeper.silent([]) == [HOLDER]
    assert [each.told for each in keepers] == [["enter"], ["enter", "silent", "leave"]]


@virtual
async def test_a_keeper_that_has_started_anew_is_told_of_its_driver() -> None:
    """With the credentials, since Ray starts it with those of its first driver."""
    handle = Keeper()
    async with DriversKeeper(lambda: handle, "driver", SOURCE) as keeper:
        await keeper.silent([])
        handle.anew = True
        assert await keeper.silent([]) == [HOLDER]
    assert handle.told == ["enter", "silent", "silent", "enter", "silent", "leave"]


@pytest.mark.parametrize("frozen_before", [True, False])
def test_a_frozen_keeper_is_waited_for_a_minute(frozen_before: bool) -> None:
    """Whether it is frozen before the run or in it; the end of the run does not wait for it."""

    @virtual
    async def frozen() -> None:
        handle, time = Keeper(frozen=frozen_before), asyncio.get_running_loop().time
        async with DriversKeeper(lambda: handle, "driver", SOURCE) as keeper:
            await asyncio.sleep(1.0)
            handle.frozen, begun = True, time()
            with pytest.raises(ServiceUnavailable, match="has not replied for 60 s"):
                await keeper.silent([])
            assert time() - begun < 61.0
        assert time() - begun < 70.0

    frozen()


async def test_a_keeper_fetches_tokens_with_the_newest_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret that was replaced is used when the next driver enters, though the keeper lives on."""
    monkeypatch.setenv("BATCHREC_STATE_DIR", str(tmp_path / "state"))
    async with serve(Settings(api_key=KEY, secret_key=SECRET)) as emulator:
        monkeypatch.setenv("BATCHREC_ENDPOINT", emulator.url)
        old = TokenSource(emulator.url, Credentials(api_key=KEY, secret_key="replaced-since"), 30.0, 60.0, 10.0)
        new = replace(old, credentials=Credentials(api_key=KEY, secret_key=SECRET))
        async with aclosing(KeeperActor(old)) as keeper:
            await keeper.enter("first", old)
            assert isinstance(await keeper.authorize(""), CredentialsRefused)
            await keeper.enter("second", new)
            assert isinstance(await keeper.authorize(""), Authorization)
            assert await keeper.silent("second", []) == []
            assert await keeper.silent("third", []) is None


async def test_a_keeper_that_is_ending_takes_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be gone with its next breath, and the driver's run with it."""
    monkeypatch.setenv("BATCHREC_STATE_DIR", str(tmp_path / "state"))
    async with aclosing(KeeperActor(SOURCE)) as keeper:
        await keeper.enter("first", SOURCE)
        with pytest.raises(TypeError, match="actor"):  # Ray's: it has no actor to end here
            await keeper.leave("first")
        with pytest.raises(ShardLost):
            await keeper.enter("second", SOURCE)


def test_a_cluster_whose_head_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address is left behind in Ray's folder; where somebody listens there, it is taken."""
    monkeypatch.setattr(services, "find_gcs_addresses", frozenset)  # other clusters may run on this machine
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert located("ray") is None
    (tmp_path / "ray").mkdir()
    with socket.create_server(("", 0)) as head:  # Ray looks for it at the address of this machine
        address = f"127.0.0.1:{head.getsockname()[1]}"
        (tmp_path / "ray" / "ray_current_cluster").write_text(address)
        found = located("ray")
        assert found is not None
        assert found.rpartition(":")[2] == address.rpartition(":")[2]
    assert located("ray") is None
    with pytest.raises(ServiceUnavailable, match=f"--on {address}: the cluster cannot be reached"):
        located(address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ServiceUnavailable, match=f"--on {address}: the cluster cannot be reached"):
        located("ray")


def test_addresses_that_are_none() -> None:
    """A port that there is not cannot be reached, and a client is no run."""
    with pytest.raises(ServiceUnavailable, match="cannot be reached"):
        located("127.0.0.1:99999")
    with pytest.raises(JobError, match="ray job submit"):
        located("ray://127.0.0.1:10001")
    assert located("local") is None
