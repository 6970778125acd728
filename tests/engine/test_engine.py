"""Engine: whole runs over real files, journal and gates, in virtual time."""

import asyncio
import random
from dataclasses import replace

import pytest

from batchrec.engine.lane import PREPARING
from batchrec.errors import CredentialsRefused, OutputFailed
from batchrec.exact_json import loads
from batchrec.job.spec import When
from tests.support.virtual_time import virtual

from .parts import RESET, a_step, answer, lead_to, open_parts, picture, refusal


@virtual
async def test_every_image_has_a_row_and_identical_bytes_are_sent_once(tmp_path):
    """Ten images of three contents, one of them text: two calls, seven rows handed on, three failures."""
    async with open_parts(tmp_path) as parts:
        lines: list[bytes] = []
        kinds = [picture(1), picture(2, "RGBA"), b"text"]
        parts.take(*(kinds[number % 3] for number in range(10)))
        engine = parts.engine(lambda backlog, made: [parts.lane(parts.gate(), backlog)], lines.extend)
        await engine.run()
        rows = [loads(line) for line in lines]
        assert (len(rows), engine.tally.answered, engine.tally.failed, engine.tally.calls) == (7, 7, 3, 2)
        assert sum(row["same_as"] is None for row in rows) == 2
        assert (tmp_path / "results.jsonl").read_bytes() == b"".join(lines)
        assert not parts.journal.queue.unfinished([1], 2**62)


@virtual
async def test_a_result_asks_for_the_next_step(tmp_path):
    """Every image that shows a cup is sent at the second step too, on another lane."""
    async with open_parts(tmp_path) as parts:
        parts.take(*(picture(number) for number in range(5)), names=("first", "second"))
        parts.steps[1] = a_step("first", follow=((When(step="first", label="cup"), 2),))
        engine = parts.engine(
            lambda backlog, _: [parts.lane(parts.gate(name=str(step)), backlog, step) for step in (1, 2)]
        )
        await engine.run()
        assert (engine.tally.answered, engine.tally.added, engine.tally.calls) == (10, 5, 10)


@virtual
async def test_a_closed_service_ends_the_run_with_images_left(tmp_path):
    """Five images, three calls a day: three are answered; the copies of the others stay listed too."""
    async with open_parts(tmp_path) as parts:
        parts.take(*(picture(number) for number in range(5)), picture(4))
        engine = parts.engine(lambda backlog, _: [parts.lane(parts.gate(daily=3), backlog)])
        await engine.run()
        assert (engine.tally.answered, engine.tally.failed, engine.error) == (3, 0, None)
        assert parts.journal.reader.counts().open == 3


@virtual
async def test_refused_credentials_end_the_run(tmp_path):
    """The error is the run's; the image stays open."""
    async with open_parts(tmp_path, [refusal(14)]) as parts:
        parts.take(picture(1))
        engine = parts.engine(lambda backlog, _: [parts.lane(parts.gate(), backlog)])
        await engine.run()
        assert isinstance(engine.error, CredentialsRefused)
        assert parts.journal.reader.counts().open == 1


@virtual
async def test_a_full_disk_ends_the_run(tmp_path):
    """A recorder that cannot write makes `run` raise, and no task is left behind."""
    async with open_parts(tmp_path) as parts:
        parts.take(*(picture(number) for number in range(3)))
        engine = parts.engine(lambda backlog, _: [parts.lane(parts.gate(), backlog)])
        lead_to(parts.files, "results.jsonl", "/dev/full")
        with pytest.raises(OutputFailed):
            await engine.run()
        assert len(asyncio.all_tasks()) == 1


@virtual
async def test_an_engine_hires_while_answers_are_slow(tmp_path):
    """Two workers become as many as a slow service needs, so that calls leave at the rate all the same."""
    async with open_parts(tmp_path) as parts:
        parts.take(*(picture(number) for number in range(120)))
        parts.service.seconds = 2.0
        engine = parts.engine(lambda backlog, _: [parts.lane(parts.gate(qps=20), backlog, workers=2)])
        await engine.run()
        assert engine.tally.answered == 120
        assert 20 <= parts.service.most_in_flight <= 20 * 2 + PREPARING


@virtual
async def test_a_bad_hour_costs_calls_and_backoffs_but_no_rate(tmp_path):
    """A fault share of 60 %: the run takes as long as its calls and the backoffs of one image."""
    chance = random.Random(1)
    script = [refusal(282000) if chance.random() < 0.6 else answer() for _ in range(1000)]
    async with open_parts(tmp_path, script) as parts:
        parts.take(*(picture(number) for number in range(200)))
        parts.steps = {number: replace(step, attempts=5) for number, step in parts.steps.items()}
        engine = parts.engine(lambda backlog, _: [parts.lane(parts.gate(qps=50), backlog, workers=200)])
        began = asyncio.get_running_loop().time()
        await engine.run()
        seconds = asyncio.get_running_loop().time() - began
        assert engine.error is None
        assert engine.tally.answered > 180
        assert seconds < engine.tally.calls / 50 + 8  # the most that four backoffs of one image take


@virtual
async def test_a_stopped_engine_leaves_the_rest_on_the_list(tmp_path):
    """Calls that have left before `stop` are recorded; no other leaves, and no waiting image is finished."""
    async with open_parts(tmp_path) as parts:
        parts.take(*(picture(number) for number in range(50)))
        parts.service.seconds = 1.0
        engine = parts.engine(lambda backlog, _: [parts.lane(parts.gate(qps=10), backlog, workers=8)])
        running = asyncio.create_task(engine.run())
        await asyncio.sleep(0.55)
        sent = len(parts.service.bodies)
        engine.stop()
        await running
        assert 1 <= sent == len(parts.service.bodies) == engine.tally.answered == engine.tally.calls
        assert parts.journal.queue.unfinished([1], 2**62)


@virtual
async def test_a_failing_service_takes_no_attempts_of_waiting_images(tmp_path):
    """Ten failures of the service, then answers: six images are answered, in three attempts each."""
    async with open_parts(tmp_path, [RESET] * 10) as parts:
        parts.take(*(picture(number) for number in range(6)))
        engine = parts.engine(lambda backlog, _: [parts.lane(parts.gate(), backlog)])
        await engine.run()
        assert (engine.tally.answered, engine.tally.failed, engine.error) == (6, 0, None)
        assert engine.tally.calls == 16
