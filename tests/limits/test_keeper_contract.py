"""The contract of a `Keeper`, the same for every implementation and any gate, in virtual time."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from batchrec.cluster.keeper import ClusterKeeper
from batchrec.emulator.counters import busiest_second
from batchrec.interfaces import Keeper
from batchrec.limits.availability import Policy
from batchrec.limits.gate import Gate, GateClosed, open_gate
from batchrec.limits.keeper import LocalKeeper
from batchrec.limits.quota import Quota
from batchrec.limits.shared_rate import SharedRates
from batchrec.times import Clock
from batchrec.values import (
    Answered,
    Busy,
    Caps,
    Closure,
    Failure,
    Kind,
    Permit,
    QuotaKey,
    Reopened,
    Target,
    Throttled,
    Unused,
    UsedUp,
)
from tests.cluster.parts import InProcess
from tests.support.gates import NoAccount, NoLedger, unix
from tests.support.virtual_time import virtual

from .keepers import RemoteKeeper

Make = Callable[[], Keeper]


@pytest.fixture(params=["local", "remote", "cluster"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """One keeper's state; each call opens another process's view of it."""
    with ExitStack() as stack:
        remote: list[RemoteKeeper] = []

        def local() -> Keeper:
            rates, quota = SharedRates(tmp_path), Quota(tmp_path, unix)
            stack.callback(rates.close)
            stack.callback(quota._db.close)
            return LocalKeeper(rates, quota, a_clock().time)

        def shared() -> Keeper:
            if not remote:
                remote.append(RemoteKeeper(a_clock()))
            return remote[0]

        @cache
        def core() -> ClusterKeeper:
            rates, quota = SharedRates(None), Quota(tmp_path, unix)
            stack.callback(rates.close)
            stack.callback(quota._db.close)
            return ClusterKeeper(rates, quota, a_clock(), silence=0.0)

        shards = count()

        def cluster() -> Keeper:
            return InProcess(core(), str(next(shards)), a_clock().time)

        yield {"local": local, "remote": shared, "cluster": cluster}[request.param]


def a_clock() -> Clock:
    return Clock(lambda: asyncio.get_running_loop().time(), unix, random.Random(1))


TEN = Caps(10)


def target(caps: Caps = TEN, service: str = "dish") -> Target:
    return Target("me", service, caps)


def opened(make: Make, wanted: Target) -> Keeper:
    """Another process's keeper, which the limits of `wanted` have been registered with."""
    keeper = make()
    keeper.open(wanted)
    return keeper


async def leased(keeper: Keeper, wanted: Target, most: int = 1) -> Sequence[Permit]:
    lease = await keeper.lease(wanted, most)
    assert not isinstance(lease, Closure)
    assert 1 <= len(lease.permits) <= most
    return lease.permits


@virtual
async def test_a_lease_keeps_to_the_rate(make: Make) -> None:
    """Single permits and slices of twenty: numbers never repeat, and no second holds more than the rate."""
    for rate, most in ((10, 1), (500, 20)):
        wanted = target(Caps(rate), str(rate))
        keeper = opened(make, wanted)
        time, permits = asyncio.get_running_loop().time, list[Permit]()
        end = time() + 5
        while time() < end:
            permits += (slice_ := await leased(keeper, wanted, most))
            await asyncio.sleep(max(0.0, slice_[-1].at - time()))
            keeper.report(wanted, [Answered(each.number, each.at, each.at + 0.02) for each in slice_])
        assert len({permit.number for permit in permits}) == len(permits) >= 4.7 * rate
        assert busiest_second([permit.at for permit in permits]) <= rate + 1 + rate / 100


@virtual
async def test_a_refusal_holds_for_every_process_at_once(make: Make) -> None:
    """Reported by one, it slows the next lease of another."""
    wanted = target(Caps(100))
    one, other = opened(make, wanted), opened(make, wanted)
    permit = (await leased(one, wanted))[0]
    now = asyncio.get_running_loop().time()
    one.report(wanted, [Throttled(permit.number, permit.at, now)])
    lease = await other.lease(wanted, 1)
    assert not isinstance(lease, Closure)
    assert lease.allowance.rate == pytest.approx(99.5, abs=0.1)
    assert one.report(wanted, ()).rate == pytest.approx(99.5, abs=0.1)


@virtual
async def test_a_busy_cluster_pauses_every_process(make: Make) -> None:
    """Code 4, reported by one: nobody is given a permit for a quarter of a second."""
    wanted = target(Caps(100))
    one, other = opened(make, wanted), opened(make, wanted)
    permit = (await leased(one, wanted))[0]
    now = asyncio.get_running_loop().time()
    one.report(wanted, [Busy(permit.number, now, now)])
    assert (await leased(other, wanted))[0].at >= now + 0.24


@virtual
async def test_an_unused_permit_frees_its_place(make: Make) -> None:
    """Without it the next permit of a slow service comes a second later."""
    wanted = target(Caps(1))
    keeper = opened(make, wanted)
    permit = (await leased(keeper, wanted))[0]
    keeper.report(wanted, [Unused(permit.number)])
    assert (await leased(keeper, wanted))[0].at <= permit.at + 1.0


@virtual
async def test_services_are_apart(make: Make) -> None:
    """Rate and closures hold for one service of one account."""
    keeper, dish, logo = make(), target(Caps(1)), target(Caps(1), "logo")
    keeper.open(dish)
    keeper.report(dish, [UsedUp(19, "2026-11-23")])
    begun = asyncio.get_running_loop().time()
    assert keeper.open(logo)[1] is None
    await leased(keeper, dish)
    await leased(keeper, logo)
    assert asyncio.get_running_loop().time() - begun < 0.1


@pytest.mark.parametrize("code", [17, 19])
@virtual
async def test_a_closure_is_told_to_the_next_run(make: Make, code: int) -> None:
    """Until a probe has got through."""
    keeper, wanted = make(), target()
    assert keeper.open(wanted)[1] is None
    day = keeper.charge(wanted, await leased(keeper, wanted))[0]
    assert isinstance(day, QuotaKey)
    keeper.report(wanted, [UsedUp(code, day.day)])
    closure = make().open(wanted)[1]
    assert closure is not None
    assert closure.code == code
    keeper.report(wanted, [Reopened()])
    assert make().open(wanted)[1] is None


def a_gate(keeper: Keeper, wanted: Target, *, wait: bool = False) -> Gate:
    clock = a_clock()
    return open_gate(wanted, NoAccount(), keeper, NoLedger(), asyncio.Semaphore(64), Policy(60, wait), clock)


@pytest.mark.parametrize("caps", [Caps.of(100, daily=30), Caps.of(100, total=30)])
@pytest.mark.parametrize("processes", [1, 3])
@virtual
async def test_a_limit_is_used_to_the_call_through_gates(make: Make, caps: Caps, processes: int) -> None:
    """Refused calls give their places back: of several processes together, all of the limit is answered."""
    answered, rng = 0, random.Random(1)

    async def work(gate: Gate) -> None:
        nonlocal answered
        while True:
            try:
                ticket = await gate.enter()
            except GateClosed:
                return
            refused = rng.random() < 0.2
            await asyncio.sleep(0.1)
            gate.settle(ticket, "image", Failure(Kind.THROTTLED, 18, "") if refused else None)
            answered += not refused

    gates = [a_gate(make(), target(caps)) for _ in range(processes)]
    await asyncio.gather(*(work(gate) for gate in gates for _ in range(6)))
    assert answered <= 30
    # Where one process has ended before another's refused call gave its place back, that place stays free.
    assert answered >= 30 - (processes - 1) * 3
    assert processes > 1 or answered == 30


@virtual
async def test_a_gate_goes_on_after_midnight(make: Make) -> None:
    """With a daily limit and `wait`, counted on the new day."""
    gate = a_gate(make(), target(Caps.of(10, daily=3)), wait=True)
    days = []
    for _ in range(5):
        ticket = await gate.enter()
        gate.settle(ticket, "image", None)
        days.append(ticket.charge.day)
    assert days == ["2026-11-23"] * 3 + ["2026-11-24"] * 2
