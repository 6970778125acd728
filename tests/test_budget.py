"""Bytes that are lent out: never more than there are, in order, and all of them come back."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrec.concurrency import MemoryBudget
from tests.support.virtual_time import run


async def test_whoever_asks_for_more_than_is_left_waits() -> None:
    """And those who come later wait behind, however little they ask for."""
    budget, order = MemoryBudget(100), []

    async def hold(name: str, size: int) -> None:
        await budget.take(size)
        order.append(name)

    await hold("first", 60)
    tasks = [asyncio.ensure_future(hold(*wanted)) for wanted in (("large", 50), ("small", 10))]
    await asyncio.sleep(0)
    assert order == ["first"]
    budget.give(60)
    await asyncio.gather(*tasks)
    assert order == ["first", "large", "small"]


async def test_more_than_there_is() -> None:
    """It is had alone: all that there is, once everything is back."""
    budget = MemoryBudget(100)
    held = await budget.take(1)
    task = asyncio.ensure_future(budget.take(1000))
    await asyncio.sleep(0)
    assert not task.done()
    budget.give(held)
    assert await task == 100


@pytest.mark.parametrize("served", [False, True])
async def test_whoever_is_cancelled_takes_nothing(served: bool) -> None:
    """Nobody waits behind one who has gone, whether or not it had been served just before."""
    budget = MemoryBudget(100)
    await budget.take(100)
    gone, next_one = asyncio.ensure_future(budget.take(80)), asyncio.ensure_future(budget.take(90))
    await asyncio.sleep(0)
    if served:
        budget.give(100)
    gone.cancel()
    if not served:
        budget.give(100)
    assert await next_one == 90


@given(st.integers(0, 2**32))
def test_never_more_than_there_are(seed: int) -> None:
    """For any order of coming, going and giving up; and in the end all of them are back."""
    rng = random.Random(seed)

    async def play() -> None:
        budget, held = MemoryBudget(50), 0

        async def one() -> None:
            nonlocal held
            await asyncio.sleep(rng.random())
            size = await budget.take(rng.randint(0, 60))
            held += size
            assert held <= 50
            try:
                await asyncio.sleep(rng.random())
            finally:
                held -= size
                budget.give(size)

        tasks = [asyncio.ensure_future(one()) for _ in range(30)]
        for task in rng.sample(tasks, 10):
            await asyncio.sleep(rng.random() / 5)
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert await budget.take(50) == 50

    run(play())
