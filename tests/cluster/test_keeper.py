"""The cluster's keeper in virtual time: the rate over all nodes, fencing, signs of life, counts, a restart."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchrec.cluster.client import ClockMap, RemoteKeeper, Sample, ShardLost
from batchrec.cluster.keeper import SILENT_SECONDS, ClusterKeeper, Fenced, Holder, Slice
from batchrec.emulator.counters import busiest_second
from batchrec.limits.quota import Quota
from batchrec.limits.shared_rate import SharedRates
from batchrec.times import Clock
from batchrec.values import Answered, Caps, Closure, Event, Permit, Target, Unused
from tests.support.gates import unix
from tests.support.virtual_time import run, virtual

from .parts import Direct


class Head:
    """The machine of a keeper: a folder that outlives it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack

    def keeper(self, *, anew: bool = False) -> ClusterKeeper:
        """Start the keeper; `anew`: in the place of one that has died."""
        rates, self.quota = SharedRates(self._folder), Quota(self._folder, unix)
        self._stack.callback(rates.close)
        self._stack.callback(self.quota._db.close)
        return ClusterKeeper(rates, self.quota, Clock(now, unix, random.Random(1)), anew=anew)


@pytest.fixture
def head(tmp_path: Path) -> Iterator[Head]:
    with ExitStack() as stack:
        yield Head(tmp_path, stack)


def now() -> float:
    return asyncio.get_running_loop().time()


def target(qps: float = 50, **limits: int) -> Target:
    return Target("me", "dish", Caps.of(qps, **limits))


async def sliced(keeper: ClusterKeeper, shard: str, wanted: Target) -> Slice:
    leased = await keeper.lease(keeper.begin(shard), wanted)
    assert isinstance(leased, Slice)
    return leased


@virtual
async def test_no_call_leaves_in_the_first_second(head: Head) -> None:
    """Calls may have left that the new keeper's state does not hold."""
    begun = now()
    assert (await sliced(head.keeper(), "1", target())).permits[0].at >= begun + 1.0


@virtual
async def test_a_slice_is_a_quarter_of_a_second_of_all_holders(head: Head) -> None:
    """At 100 calls/s: 25 permits for one holder, 9 for three, one where a quarter holds none, and 64 at most."""
    keeper = head.keeper()
    for qps, holders, most in ((100, 1, 25), (100, 3, 9), (2, 1, 1), (5000, 1, 64)):
        wanted = Target("me", f"{qps} {holders}", Caps(qps))
        sizes = [len((await sliced(keeper, f"{qps} {shard}", wanted)).permits) for shard in range(holders)]
        assert sizes[-1] == most


@virtual
async def test_a_new_epoch_fences_the_one_before(head: Head) -> None:
    """Nobody who held the shard before is given a permit, not even one who waits for it already."""
    keeper, wanted = head.keeper(), target()
    first = keeper.begin("1", floor=4)
    waiting = asyncio.ensure_future(keeper.lease(first, wanted))
    await asyncio.sleep(0.1)
    second = keeper.begin("1")
    assert (first.epoch, second.epoch) == (5, 6)
    assert await waiting == Fenced(first)
    assert not keeper.beat(first)
    assert isinstance(await keeper.lease(second, wanted), Slice)
    keeper.end(second)
    assert await keeper.lease(second, wanted) == Fenced(second)


@virtual
async def test_a_keeper_that_starts_anew_learns_of_holders(head: Head) -> None:
    """Who holds a shard by its driver's word goes on after the silence; who held it before that is fenced."""
    before, wanted = head.keeper(), target()
    zombie, ended = before.begin("1"), before.begin("2")
    holder = before.begin("1")
    keeper, begun = head.keeper(), now()
    leases = [asyncio.ensure_future(keeper.lease(each, wanted)) for each in (zombie, holder, ended)]
    await asyncio.sleep(0.5)
    assert keeper.beat(holder)
    assert keeper.silent([holder]) == []
    keeper.end(ended)
    fenced, slice_, over = await asyncio.gather(*leases)
    assert (fenced, over) == (Fenced(zombie), Fenced(ended))
    assert isinstance(slice_, Slice)
    assert begun + 1.0 <= slice_.permits[0].at < begun + 1.1
    assert [keeper.beat(each) for each in (zombie, holder, ended)] == [False, True, False]


@virtual
async def test_a_keeper_that_starts_anew_knows_the_calls_of_the_one_before(head: Head) -> None:
    """It goes on at once, and no second holds more than the rate."""
    wanted = target(10)
    before = await sliced(head.keeper(), "1", wanted)
    keeper, begun, times = head.keeper(), now(), [permit.at for permit in before.permits]
    while now() < begun + 3.0:
        leased = await keeper.lease(keeper.begin("1"), wanted)
        assert isinstance(leased, Slice)
        times += [permit.at for permit in leased.permits]
    assert times[len(before.permits)] < begun + 0.5
    assert busiest_second(times) <= 10


@virtual
async def test_a_holder_that_no_driver_claims_is_fenced(head: Head) -> None:
    """After as long as a holder may be silent; others are given permits meanwhile."""
    holder = head.keeper().begin("1")
    keeper, begun = head.keeper(), now()
    lease = asyncio.ensure_future(keeper.lease(holder, target()))
    await sliced(keeper, "2", target())
    assert now() < begun + 1.1
    assert await lease == Fenced(holder)
    assert begun + 10.0 <= now() < begun + 10.1
    assert not keeper.beat(holder)


@virtual
async def test_a_holder_without_a_sign_of_life_is_silent(head: Head) -> None:
    """From the moment at which it was given the shard on, whether it ever began or not."""
    keeper = head.keeper()
    frozen, alive = keeper.begin("frozen"), keeper.begin("alive")
    for _ in range(5):
        await asyncio.sleep(1.9)
        assert keeper.beat(alive)
        assert keeper.silent() == []
    await asyncio.sleep(0.6)
    assert keeper.silent() == [frozen]


@virtual
async def test_a_keeper_is_idle_without_a_driver(head: Head) -> None:
    """Words of a driver count; signs of life and leases of nodes do not."""
    keeper = head.keeper()
    await asyncio.sleep(300)
    assert keeper.idle_seconds == pytest.approx(300)
    holder = keeper.begin("1")
    await asyncio.sleep(1)
    keeper.beat(holder)
    await keeper.lease(holder, target())
    assert keeper.idle_seconds >= 1
    keeper.silent()
    assert keeper.idle_seconds == 0
    await asyncio.sleep(2)
    keeper.end(holder)
    assert keeper.idle_seconds == 0


@virtual
async def test_a_keeper_ends_with_its_last_driver(head: Head) -> None:
    """Whether drivers hold shards or not; one that was killed does not keep it for ever."""
    keeper = head.keeper()
    for driver in ("first", "second", "killed"):
        keeper.enter(driver)
    holder = keeper.begin("1")
    assert not keeper.leave("first")
    assert not keeper.hear("first")
    for _ in range(7):
        await asyncio.sleep(100)
        assert keeper.hear("second")
    assert keeper.leave("second")
    assert keeper.beat(holder)


@virtual
async def test_a_keeper_that_starts_anew_does_not_end_with_a_driver_it_does_not_know(head: Head) -> None:
    """There may be others, who have not said so yet; nor with the first one that enters again, and leaves."""
    keeper = head.keeper()
    assert not keeper.hear("first")
    assert not keeper.leave("first")
    keeper.enter("second")
    assert not keeper.leave("second")
    await asyncio.sleep(SILENT_SECONDS)
    keeper.enter("third")
    assert keeper.leave("third")
    keeper = head.keeper(anew=True)
    keeper.enter("new")
    assert not keeper.leave("new")
    await asyncio.sleep(SILENT_SECONDS)
    keeper.enter("new")
    assert keeper.leave("new")


@virtual
async def test_counts_outlive_the_keeper(head: Head) -> None:
    """What was leased counts, used or not: after a restart less of a limit can be used, never more."""
    wanted = target(daily=20)
    leased = await sliced(head.keeper(), "1", wanted)
    assert len(leased.permits) == 13
    keeper = head.keeper()
    again = await sliced(keeper, "1", wanted)
    assert len(again.permits) == 7
    assert isinstance(await keeper.lease(keeper.begin("2"), wanted), Closure)


@virtual
async def test_a_slice_ends_at_midnight(head: Head) -> None:
    """Calls count on the Beijing day on which they leave."""
    keeper, wanted = head.keeper(), target(10)
    holder = keeper.begin("1")
    await asyncio.sleep(12 * 3600 - 0.03)
    for _ in range(4):
        leased = await keeper.lease(holder, wanted)
        assert isinstance(leased, Slice)
        days = {key.day for key in leased.keys}
        assert days == {"2026-11-23" if leased.permits[0].at < 1000 + 12 * 3600 else "2026-11-24"}
        assert len(days) == 1
        await asyncio.sleep(max(0.0, leased.permits[-1].at - now()))
    assert head.quota.counted(leased.keys[0]) <= 10


@virtual
async def test_unused_permits_give_back_their_counts(head: Head) -> None:
    """A node that has no more work hands back what is left of its slice."""
    keeper, wanted = head.keeper(), target(100)
    node = RemoteKeeper(Direct(keeper, now), keeper.begin("1"), now)
    await node.prepare([wanted])
    lease = await node.lease(wanted, 1)
    assert not isinstance(lease, Closure)
    key = node.charge(wanted, lease.permits)[0]
    assert not isinstance(key, Closure)
    assert head.quota.counted(key) == 25
    await node.close()
    assert head.quota.counted(key) == 1


@virtual
async def test_a_fenced_node_learns_of_it(head: Head) -> None:
    """By its next lease, and by its next sign of life."""
    keeper, wanted = head.keeper(), target(4)
    node = RemoteKeeper(Direct(keeper, now), keeper.begin("1"), now)
    await node.prepare([wanted])
    await node.lease(wanted, 1)
    keeper.begin("1")
    with pytest.raises(ShardLost):
        await node.beating()
    with pytest.raises(ShardLost):
        await node.lease(wanted, 1)


@given(
    st.floats(-1e6, 1e6),
    st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 20)), min_size=1, max_size=20),
)
def test_clocks_are_mapped_by_the_shortest_round_trip(skew: float, trips: list[tuple[float, float, float]]) -> None:
    """Whatever the way there and back take, the error is half of the shortest of the last minute."""
    clock, time, seen = ClockMap(), 1000.0, list[tuple[float, float]]()
    for there, back, pause in trips:
        clock.add(Sample(time, time + there + back, time + there + skew))
        seen.append((time + there + back, there + back))
        shortest = min(trip for at, trip in seen if at >= time + there + back - 60.0)
        assert abs(clock.offset - skew) <= shortest / 2 + 1e-6
        time += there + back + pause


Node = tuple[float, float, float]
"""Seconds between two leases beyond the last permit's time, share of permits unused, share of ends not reported."""


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([1, 2.5, 7, 50, 333]),
    st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.3]), st.floats(0, 0.9), st.floats(0, 1)), min_size=1, max_size=5),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_no_second_holds_more_than_the_rate(
    tmp_path: Path, qps: float, nodes: list[Node], seed: int, restarted: bool
) -> None:
    """For any pattern of leases, ends that nobody reports, unused permits, and a restart of the keeper."""
    rng, left, holders = random.Random(seed), list[float](), dict[str, Holder]()

    async def node(keepers: list[ClusterKeeper], shard: str, habits: Node) -> None:
        pause, unused, unheard = habits
        wanted, events = target(qps), list[Event]()
        holder = holders[shard] = keepers[-1].begin(shard)
        while True:
            leased = await keepers[-1].lease(holder, wanted, events)
            assert isinstance(leased, Slice)
            events = list(ends(leased.permits, unused, unheard))
            await asyncio.sleep(max(0.0, leased.permits[-1].at - now()) + pause * rng.random())

    def ends(permits: Sequence[Permit], unused: float, unheard: float) -> Iterator[Event]:
        for number, at in permits:
            if rng.random() < unused:
                yield Unused(number)
                continue
            left.append(at)
            if rng.random() >= unheard:
                yield Answered(number, at, at + 0.1)

    async def play() -> None:
        with ExitStack() as stack:
            head = Head(folder, stack)
            keepers = [head.keeper()]
            tasks = [asyncio.ensure_future(node(keepers, str(n), habits)) for n, habits in enumerate(nodes)]
            for _ in range(2):
                await asyncio.wait(tasks, timeout=3.0, return_when=asyncio.FIRST_EXCEPTION)
                if restarted:
                    keepers.append(head.keeper())
                    keepers[-1].silent(list(holders.values()))
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(outcome, asyncio.CancelledError)

    folder = tmp_path / f"{seed} {len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    run(play())
    allowed = -(-qps // 1)
    assert busiest_second(sorted(left)) <= allowed
    seconds = [int(at) for at in left]
    assert max((seconds.count(second) for second in set(seconds)), default=0) <= allowed
