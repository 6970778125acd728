"""Backlog and Lane: the order of images, the end of a run, and the number of workers, in virtual time."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchrec.engine.lane import MOST_WORKERS, PREPARING, Lane
from batchrec.journal import Finished
from batchrec.values import Task
from tests.support.virtual_time import virtual

from .parts import Parts, open_parts, picture, turns

AT = "2026-11-23T04:00:00.000Z"


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """Six images, of which nothing is known."""
    with Parts(tmp_path) as made:
        made.take(*(picture(number) for number in range(6)))
        yield made


def down(lane: Lane) -> None:
    """Nothing was answered yet, and a call has failed: the service is down."""
    lane.gate.breaker.failed("image", 0.0, suspect=False)
    assert lane.gate.breaker.down


async def images(lane: Lane, count: int) -> list[int]:
    """The numbers of the next images of a lane."""
    tasks = [await lane.next() for _ in range(count)]
    return [task.image for task in tasks if task is not None]


@virtual
async def test_images_come_in_input_order_and_then_none(parts):
    """A lane gives every image once, in input order; None when all are finished."""
    backlog = parts.backlog()
    lane = parts.lane(parts.gate(), backlog)
    assert await images(lane, 6) == [1, 2, 3, 4, 5, 6]
    backlog.finished(6)
    assert await lane.next() is None


@virtual
async def test_a_lane_ends_only_when_no_image_is_in_hand(parts):
    """Workers wait while one image is in hand, and all of them end with it."""
    backlog = parts.backlog()
    lane = parts.lane(parts.gate(), backlog)
    await images(lane, 6)
    idle = [asyncio.create_task(lane.next()) for _ in range(3)]
    backlog.finished(5)
    await turns()
    assert not any(task.done() for task in idle)
    backlog.finished(1)
    await turns()
    assert [task.result() for task in idle] == [None] * 3


@virtual
async def test_a_lane_waits_for_what_another_lane_lists(tmp_path):
    """The lane of a follow-up step gets the image that the result of the first step puts on its list."""
    async with open_parts(tmp_path) as parts:
        parts.take(picture(1), names=("first", "second"))
        backlog = parts.backlog()
        first, second = (parts.lane(parts.gate(name=name), backlog, step) for name, step in (("a", 1), ("b", 2)))
        follow_up = asyncio.create_task(second.next())
        task = await first.next()
        await turns()
        assert not follow_up.done()
        parts.journal.answers.commit([Finished(task, bytes(32), 1, AT, follow=(2,))], {"results.jsonl": (0, 0)})
        backlog.finished(1)
        assert (await follow_up).image == task.image


@virtual
async def test_a_deferred_image_waits_behind_fresh_ones_while_the_service_is_down(parts):
    """While the service is down a deferred image comes last; once it works, first."""
    lane = parts.lane(parts.gate(), parts.backlog())
    down(lane)
    (first,) = [await lane.next()]
    lane.defer(first)
    assert await images(lane, 2) == [2, 3]
    lane.gate.breaker.on_answer()
    assert await images(lane, 2) == [1, 4]


@virtual
async def test_while_the_service_is_down_the_deferred_ones_go_on_when_no_other_is_left(parts):
    """A lane of nothing but deferred images still has a probe."""
    lane = parts.lane(parts.gate(), parts.backlog())
    down(lane)
    for _ in range(6):
        lane.defer(await lane.next())
    assert await images(lane, 6) == [1, 2, 3, 4, 5, 6]


@virtual
async def test_an_image_set_aside_comes_when_a_decoder_is_free(parts):
    """Without a free decoder the others go on; with one the image is next, and no worker waited for it."""
    free = set[int]()
    lane = parts.lane(parts.gate(), parts.backlog(), has_decoder=lambda task: task.image in free)
    lane.set_aside(await lane.next())
    lane.set_aside(await lane.next())
    assert await images(lane, 1) == [3]
    free.update((1, 2))
    assert await images(lane, 3) == [1, 2, 4]


@virtual
async def test_many_images_set_aside_hold_the_list_up(tmp_path):
    """With 1,000 images set aside a lane takes no more from the list, until a decoder is free."""
    free = False
    with Parts(tmp_path) as parts:
        parts.take(*[b"x"] * 1001)
        backlog = parts.backlog()
        lane = parts.lane(parts.gate(), backlog, has_decoder=lambda task: free)
        for _ in range(1000):
            lane.set_aside(await lane.next())
        waiting = asyncio.create_task(lane.next())
        await turns()
        assert not waiting.done()
        free = True
        backlog.wake()
        assert (await waiting).image == 1


@pytest.mark.parametrize(
    ("rate", "seconds", "needed"),
    [(100, 0.0, 0), (100, 1.0, 100), (1000, 0.05, 50), (1000, 10.0, MOST_WORKERS)],
)
@virtual
async def test_workers_are_as_many_as_the_rate_needs(parts, rate, seconds, needed):
    """Rate x round trip calls are in flight at the full rate (Little's law), 8 images being prepared."""
    gate = parts.gate(qps=rate)
    gate.limiter.round_trip = seconds
    wanted = min(needed + PREPARING, MOST_WORKERS)
    assert parts.lane(gate, parts.backlog(), workers=wanted - 1).understaffed
    assert not parts.lane(gate, parts.backlog(), workers=wanted).understaffed


def test_a_task_is_what_the_journal_lists(parts):
    """The backlog hands out the journal's tasks as they are."""
    (first, *_) = parts.backlog().claim([1])
    assert isinstance(first, Task)
    assert (first.key, first.step) == ("0000.png", 1)
