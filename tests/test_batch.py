"""Micro-batching: items of one turn of the event loop are handled at once; threads take several."""

import asyncio
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from batchrec.concurrency import Batcher, TurnLimiter, mapped


class Work:
    """Doubles numbers, and remembers how they came; a negative one is a fault."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.undone: list[int] = []
        self.batch: Batcher[int, int] = Batcher(self, self.undone.append)

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.groups.append(list(numbers))
        if min(numbers) < 0:
            raise ValueError("negative")
        return [2 * number for number in numbers]


@pytest.fixture
def work() -> Work:
    """A batch and what was made of it."""
    return Work()


async def test_all_that_come_at_once_are_one_group(work: Work) -> None:
    """Each gets its own result."""
    assert await asyncio.gather(*map(work.batch.do, range(5))) == [0, 2, 4, 6, 8]
    assert await work.batch.do(7) == 14
    assert work.groups == [[0, 1, 2, 3, 4], [7]]


async def test_who_comes_a_turn_later_is_waited_for(work: Work) -> None:
    """Callers that pass a door one after the other are one group too; later ones are not waited for."""

    async def later(number: int) -> int:
        for _ in range(number):
            await asyncio.sleep(0)
        return await work.batch.do(number)

    assert await asyncio.gather(*map(later, (0, 1, 2, 9))) == [0, 2, 4, 18]
    assert work.groups == [[0, 1, 2], [9]]


async def test_a_fault_is_told_to_each(work: Work) -> None:
    """And the next group is worked on as if nothing had been."""
    outcomes = await asyncio.gather(*map(work.batch.do, (1, -1, 2)), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["negative"] * 3
    assert await work.batch.do(3) == 6


async def test_whoever_is_cancelled_before_is_left_out(work: Work) -> None:
    """Nothing is done for it, and nothing undone."""
    first, second = asyncio.ensure_future(work.batch.do(1)), asyncio.ensure_future(work.batch.do(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 4
    assert (work.groups, work.undone, first.cancelled()) == ([[2]], [], True)


async def test_whoever_is_cancelled_after_is_undone(work: Work) -> None:
    """Its result was there, and nobody took it."""

    def cancelling(numbers: Sequence[int]) -> list[int]:
        asyncio.get_running_loop().call_soon(task.cancel)  # before the task hears of its result
        return [5]

    batch = Batcher(cancelling, work.undone.append)
    task = asyncio.ensure_future(batch.do(1))
    await asyncio.wait([task])
    assert (task.cancelled(), work.undone) == (True, [5])


async def test_so_many_go_on_in_a_turn_and_the_others_in_order() -> None:
    """Two in each turn of the loop."""
    turns, seen = TurnLimiter(2), []

    async def one(name: str) -> None:
        await turns.take()
        seen.append(name)

    async with asyncio.TaskGroup() as group:
        for name in "abcde":
            group.create_task(one(name))
        lengths = []
        while len(seen) < 5:
            lengths.append(len(seen))
            await asyncio.sleep(0)
    assert seen == list("abcde")
    assert max(after - before for before, after in itertools.pairwise([*lengths, 5])) == 2


async def test_who_is_cancelled_takes_nobody_elses_turn() -> None:
    """Those behind go on."""
    turns = TurnLimiter(1)
    tasks = [asyncio.create_task(turns.take()) for _ in range(3)]
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [False, False, False]
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [task.cancelled() for task in tasks] == [False, True, False]


def test_work_of_threads_comes_in_order() -> None:
    """Several items a thread; what one of them raises is raised when its turn comes."""
    with ThreadPoolExecutor(3) as pool:
        assert list(mapped(pool, str, range(100))) == [str(number) for number in range(100)]
        assert list(mapped(pool, str, [])) == []
        with pytest.raises(ZeroDivisionError):
            list(mapped(pool, lambda number: 1 // number, range(100)))
