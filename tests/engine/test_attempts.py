"""Caller and Workers: attempts, deferral, closures and stops, by a real gate in virtual time."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchrec.engine.lane import Postponed
from batchrec.engine.workers import Workers
from batchrec.errors import CredentialsRefused, OutputFailed, ServiceUnavailable
from batchrec.values import Answer, Task
from tests.support.virtual_time import virtual

from .parts import RESET, Parts, ready, refusal

TASK, OTHER = Task(1, 1, "0000.png", 0, 10), Task(2, 1, "0001.png", 1, 10)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """A step, and a service that is told what to say by `script`."""
    with Parts(tmp_path) as made:
        made.take(b"x")
        yield made


@virtual
async def test_an_answer_at_once(parts):
    """One call, one attempt, and the worker is bound until the result is recorded."""
    async with asyncio.TaskGroup() as parts.workers.group:
        answer, attempts = await parts.caller().ask(parts.gate(), parts.steps[1], TASK, ready(TASK))
    assert isinstance(answer, Answer)
    assert (attempts, parts.tally.calls, parts.tally.retries) == (1, 1, 0)
    assert parts.service.bodies == [b"0000.png"]


@virtual
async def test_transient_failures_take_attempts(parts):
    """After as many failures as attempts the last failure is the image's; each wait is within its ceiling."""
    gate = parts.gate()
    gate.breaker.on_answer()  # the service works for others
    parts.service.script.extend([RESET] * 9)
    loop = asyncio.get_running_loop()
    began = loop.time()
    failure, attempts = await parts.caller().ask(gate, parts.steps[1], TASK, ready(TASK))
    assert (failure, attempts, parts.tally.calls, parts.tally.retries) == (RESET, 3, 3, 2)
    waits = loop.time() - began - 3 * parts.service.seconds
    assert 0 < waits <= 0.5 + 1.0 + 2.0 + 0.1


@virtual
async def test_an_answer_after_a_failure(parts):
    """The attempts are counted, the failed one included."""
    gate = parts.gate()
    gate.breaker.on_answer()
    parts.service.script.append(RESET)
    answer, attempts = await parts.caller().ask(gate, parts.steps[1], TASK, ready(TASK))
    assert (isinstance(answer, Answer), attempts, parts.tally.retries) == (True, 2, 1)


@virtual
async def test_a_throttled_call_is_no_attempt(parts):
    """Ten calls refused with 18 cost the image nothing but time."""
    parts.service.script.extend([refusal(18)] * 10)
    answer, attempts = await parts.caller().ask(parts.gate(), parts.steps[1], TASK, ready(TASK))
    assert (isinstance(answer, Answer), attempts) == (True, 1)
    assert (parts.tally.calls, parts.tally.throttled, parts.tally.retries) == (11, 10, 0)


@virtual
async def test_the_fault_of_an_image_is_final(parts):
    """216201 says that the image is none: no second call."""
    parts.service.script.append(refusal(216201))
    failure, attempts = await parts.caller().ask(parts.gate(), parts.steps[1], TASK, ready(TASK))
    assert (failure.code, attempts, parts.tally.calls) == (216201, 1, 1)


# -- deferral


@virtual
async def test_an_image_is_deferred_while_the_service_is_down(parts):
    """A failure before the first answer says nothing of the image: it is deferred, and keeps its attempts."""
    gate, caller = parts.gate(), parts.caller()
    parts.service.script.extend([RESET] * 5)
    for _ in range(5):
        assert await caller.ask(gate, parts.steps[1], TASK, ready(TASK)) is Postponed.DEFERRED
    answer, attempts = await caller.ask(gate, parts.steps[1], TASK, ready(TASK))
    assert (isinstance(answer, Answer), attempts, parts.tally.calls) == (True, 1, 6)


@virtual
async def test_failures_count_once_others_are_answered(parts):
    """An image that failed while others were answered has spent that attempt; its last failure is kept."""
    gate, caller = parts.gate(), parts.caller()
    parts.service.script.append(RESET)
    assert await caller.ask(gate, parts.steps[1], TASK, ready(TASK)) is Postponed.DEFERRED
    await caller.ask(gate, parts.steps[1], OTHER, ready(OTHER))
    parts.service.script.extend([RESET] * 3)
    failure, attempts = await caller.ask(gate, parts.steps[1], TASK, ready(TASK))
    assert (failure, attempts, parts.tally.calls) == (RESET, 3, 4)


# -- the end of a service


@pytest.mark.parametrize("code", [17, 19, 6])
@virtual
async def test_no_further_call_where_the_service_is_closed(parts, code):
    """A used-up quota or a missing permission closes the service for this run; the image stays pending."""
    parts.service.script.append(refusal(code))
    gate, caller = parts.gate(), parts.caller()
    for task in (TASK, OTHER):
        assert await caller.ask(gate, parts.steps[1], task, ready(task)) is Postponed.CLOSED
    assert parts.tally.calls == 1


@virtual
async def test_refused_credentials_stop_the_workers(parts):
    """14 ends the run with its error; the image stays open."""
    parts.service.script.append(refusal(14))
    assert await parts.caller().ask(parts.gate(), parts.steps[1], TASK, ready(TASK)) is Postponed.CLOSED
    assert (parts.workers.stopping, type(parts.workers.error)) == (True, CredentialsRefused)


@virtual
async def test_what_ends_the_run_leaves_the_call_its_result(parts):
    """A service that was down for the whole of `patience` stops the workers, and the image makes way."""
    parts.service.script.extend([RESET] * 1000)
    gate, caller = parts.gate(patience=5), parts.caller()
    while not parts.workers.stopping:
        result = await caller.ask(gate, parts.steps[1], TASK, ready(TASK))
    assert result is Postponed.CLOSED
    assert isinstance(parts.workers.error, ServiceUnavailable)


# -- stopping


async def ask_in_a_worker(parts: Parts) -> asyncio.Task[object]:
    """A worker that has begun to ask for an image."""
    results: list[object] = []

    async def work() -> None:
        results.append(await parts.caller().ask(parts.gate(), parts.steps[1], TASK, ready(TASK)))

    async def watch() -> object:
        async with asyncio.TaskGroup() as parts.workers.group:
            parts.workers.hire(work())
            await parts.workers.all_done()
        return results[0] if results else "cancelled"

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.05)
    return watching


@virtual
async def test_a_call_that_has_left_is_waited_for(parts):
    """The answer of a call that was paid for comes back though the run stops."""
    watching = await ask_in_a_worker(parts)
    parts.workers.stop()
    answer, attempts = await watching
    assert (isinstance(answer, Answer), attempts) == (True, 1)


@virtual
async def test_a_failed_call_is_not_repeated_while_the_run_stops(parts):
    """A call that fails after `stop` is the last one of its image in this run."""
    parts.service.script.append(refusal(18))
    watching = await ask_in_a_worker(parts)
    parts.workers.stop()
    assert await watching is Postponed.CLOSED
    assert parts.tally.calls == 1


@virtual
async def test_a_backoff_ends_with_the_run(parts):
    """A worker that waits to try again has no call under way, and is cancelled at once."""
    gate = parts.gate()
    gate.breaker.on_answer()
    parts.gate = lambda: gate
    parts.service.script.extend([RESET] * 3)
    parts.service.seconds = 0.0
    loop = asyncio.get_running_loop()
    watching = await ask_in_a_worker(parts)
    began = loop.time()
    parts.workers.stop()
    assert await watching == "cancelled"
    assert loop.time() - began < 0.01


@virtual
async def test_the_gravest_error_is_kept(parts):
    """Of several errors that stop a run the one that ranks first by exit code is told, in any order."""
    disk, down = OutputFailed("disk"), ServiceUnavailable("down")
    for errors in ([disk, down], [down, disk]):
        workers = Workers()
        for error in (*errors, None):
            workers.stop(error)
        assert str(workers.error) == "disk"


@virtual
async def test_nothing_leaves_after_a_stop(parts):
    """An image that comes to the caller after `stop` is not sent."""
    parts.workers.stop()
    assert await parts.caller().ask(parts.gate(), parts.steps[1], TASK, ready(TASK)) is Postponed.CLOSED
    assert parts.service.bodies == []
