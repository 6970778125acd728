"""The pace: the whole rate and hardly more, small cuts, recovery, pauses. All in virtual time."""

import asyncio
import math
import random
from itertools import pairwise

import pytest
from virtual_time import run, virtual

from batchrec.emulator.counters import busiest_second
from batchrec.pacing import Pacer

SECONDS = 30
RATES = [2, 10, 50, 200, 500]


def a_pacer(rate: float) -> Pacer:
    return Pacer(rate, asyncio.get_running_loop().time)


async def departures(pacer: Pacer, seconds: float) -> list[float]:
    """When calls leave that are always ready."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    times = []
    while True:
        await pacer.turn()
        if loop.time() >= end:
            return times
        times.append(loop.time())


def busiest_calendar_second(times: list[float]) -> int:
    """The most calls in a calendar second, wherever the calendar's seconds may begin."""
    phases = (phase / 10 for phase in range(10))
    return max(
        sum(1 for time in times if second <= time - phase < second + 1)
        for phase in phases
        for second in {math.floor(time - phase) for time in times[::100]}
    )


def allowed_over(rate: float) -> int:
    """The bucket's depth, and the call that lands a hair inside the second."""
    return math.ceil(1 + rate / 50)


@pytest.mark.parametrize("rate", RATES)
def test_whole_rate_is_used_and_hardly_more(rate: int) -> None:
    """At least 99 % of the rate, and no more calls over it in any second than the bucket is deep."""

    async def leave() -> list[float]:
        return await departures(a_pacer(rate), SECONDS)

    times = run(leave())
    assert len(times) >= 0.99 * rate * SECONDS
    assert busiest_second(times) <= rate + allowed_over(rate)
    assert busiest_calendar_second(times) <= rate + allowed_over(rate)


@pytest.mark.parametrize("rate", RATES)
def test_late_wake_ups_cost_nothing(rate: int) -> None:
    """A timer that is up to 4 ms late loses no rate: the bucket makes up for it."""
    rng = random.Random(rate)

    async def leave() -> list[float]:
        return await departures(a_pacer(rate), SECONDS)

    times = run(leave(), late=lambda: rng.uniform(0, 0.004))
    assert len(times) >= 0.99 * rate * SECONDS
    assert busiest_second(times) <= rate + allowed_over(rate)


@pytest.mark.parametrize("rate", [0.1, 0.5, 3.7])
def test_rates_that_are_no_whole_numbers(rate: float) -> None:
    """Any positive rate is kept, slower than one a second too."""

    async def leave() -> list[float]:
        return await departures(a_pacer(rate), 200)

    assert len(run(leave())) == pytest.approx(200 * rate, abs=1)


@virtual
async def test_idle_time_is_not_saved_up() -> None:
    """After a long idle time no more leave at once than the bucket holds."""
    pacer = a_pacer(10)
    await pacer.turn()
    await asyncio.sleep(3600)
    times = await departures(pacer, 5)
    assert busiest_second(times) <= 12


@pytest.mark.parametrize("rate", RATES)
def test_cut_rate_is_the_rate(rate: int) -> None:
    """After a cut so many calls leave as `rate` says, not more."""

    async def leave() -> tuple[float, int]:
        pacer = a_pacer(rate)
        loop = asyncio.get_running_loop()
        for _ in range(7):
            pacer.refused(loop.time())
            await asyncio.sleep(0.001)
        await departures(pacer, 1)
        before = pacer.rate
        times = await departures(pacer, 20)
        return (before + pacer.rate) / 2 * 20, len(times)

    expected, left = run(leave())
    assert left == pytest.approx(expected, rel=0.03, abs=1.5)


@virtual
async def test_refusals_of_one_round_trip_are_one_cut() -> None:
    """Fifty calls that were under way together cut the rate once, by a twentieth."""
    pacer = a_pacer(100)
    sent = asyncio.get_running_loop().time()
    await asyncio.sleep(0.2)
    for _ in range(50):
        pacer.refused(sent)
    assert pacer.rate == pytest.approx(95)


@virtual
async def test_refusal_of_a_later_call_is_another_cut() -> None:
    """What is sent after a cut and refused all the same cuts again."""
    pacer = a_pacer(100)
    loop = asyncio.get_running_loop()
    for _ in range(2):
        pacer.answered(loop.time())
        pacer.refused(loop.time())
        await asyncio.sleep(0.001)
    assert pacer.rate == pytest.approx(100 * 0.95**2, rel=1e-3)


@virtual
async def test_quick_refusals_while_answers_take_their_time() -> None:
    """A refusal comes back at once; those that leave before an answer could be back belong to the same round trip."""
    pacer = a_pacer(200)
    loop = asyncio.get_running_loop()
    for _ in range(100):
        pacer.answered(loop.time() - 0.1)
    for _ in range(4):
        pacer.refused(loop.time())
        await asyncio.sleep(0.005)
    assert pacer.rate == pytest.approx(190, rel=1e-3)


@virtual
async def test_never_under_a_third() -> None:
    """However often the service refuses, a third of the set rate stays."""
    pacer = a_pacer(9)
    loop = asyncio.get_running_loop()
    for _ in range(100):
        pacer.refused(loop.time())
        await asyncio.sleep(0.001)
    assert pacer.rate == pytest.approx(3, rel=1e-3)
    pacer.refused(loop.time())
    assert pacer.slowest


@virtual
async def test_rate_recovers_by_itself() -> None:
    """Half a percent a second, up to the set rate and no further."""
    pacer = a_pacer(10)
    pacer.refused(asyncio.get_running_loop().time())
    assert pacer.rate == pytest.approx(9.5)
    await departures(pacer, 4)
    assert pacer.rate == pytest.approx(9.7, abs=0.02)
    await departures(pacer, 60)
    assert pacer.rate == 10.0


@virtual
async def test_busy_cluster_pauses_everybody() -> None:
    """A quarter of a second, then doubled each time in vain up to 8 s; an answer makes it short again."""
    pacer = a_pacer(1000)
    loop = asyncio.get_running_loop()
    waits = []
    for _ in range(8):
        await pacer.turn()
        sent = loop.time()
        pacer.hold(sent)
        pacer.hold(sent)
        await pacer.turn()
        waits.append(round(loop.time() - sent, 2))
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    pacer.answered(loop.time())
    await pacer.turn()
    sent = loop.time()
    pacer.hold(sent)
    await pacer.turn()
    assert loop.time() - sent == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("rate", [2, 50, 200])
def test_no_burst_after_a_pause(rate: int) -> None:
    """When a pause ends the calls leave one after the other, evenly."""

    async def leave() -> list[float]:
        pacer = a_pacer(rate)
        await departures(pacer, 2)
        pacer.hold(asyncio.get_running_loop().time())
        return await departures(pacer, 3)

    times = run(leave())
    assert busiest_second(times) <= rate + 1
    assert min(later - earlier for earlier, later in pairwise(times[1:])) >= 0.9 / rate


@pytest.mark.parametrize("window", ["fixed", "sliding"])
@pytest.mark.parametrize("rate", [10, 50, 200])
def test_strict_service_answers_nearly_all_of_its_rate(rate: int, window: str) -> None:
    """Against a service that counts every second to the call, refusals cost under a tenth of what it allows."""
    answered, refused = run(_against(rate, window))
    assert answered >= 0.9 * rate * SECONDS
    assert refused <= 0.05 * rate * SECONDS


async def _against(rate: int, window: str) -> tuple[int, int]:
    """Answers and refusals of a service 50 ms away; a refused call takes no place."""
    loop = asyncio.get_running_loop()
    pacer = a_pacer(rate)
    let_through: list[float] = []
    refused = 0
    service = _fixed if window == "fixed" else _sliding

    def reply(sent: float) -> None:
        nonlocal refused
        if service(let_through, sent, rate):
            let_through.append(sent)
            loop.call_later(0.05, pacer.answered)
        else:
            refused += 1
            loop.call_later(0.05, pacer.refused, sent)

    end = loop.time() + SECONDS
    while loop.time() < end:
        await pacer.turn()
        reply(loop.time())
    await asyncio.sleep(1)
    return len(let_through), refused


def _fixed(let_through: list[float], now: float, rate: int) -> bool:
    return len(let_through) < rate or math.floor(let_through[-rate]) < math.floor(now)


def _sliding(let_through: list[float], now: float, rate: int) -> bool:
    return len(let_through) < rate or now - let_through[-rate] >= 1.0


async def _stuck() -> None:
    await asyncio.Event().wait()


def test_virtual_time_names_a_deadlock() -> None:
    """A test that waits for what never comes fails, and does not hang."""
    with pytest.raises(RuntimeError, match="deadlock"):
        run(_stuck())


@virtual
async def test_virtual_clock_jumps() -> None:
    """A day passes in no time."""
    loop = asyncio.get_running_loop()
    before = loop.time()
    await asyncio.sleep(86_400)
    assert loop.time() - before == pytest.approx(86_400)
