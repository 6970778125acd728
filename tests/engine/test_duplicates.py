"""Duplicates: who is sent of identical bytes, who shares what, and what the result cache is given."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrec.engine.duplicates import Duplicates
from batchrec.engine.lane import Postponed
from batchrec.engine.recorder import placed
from batchrec.engine.rows import Outcome, answered, failed
from batchrec.exact_json import loads
from batchrec.job.spec import When
from batchrec.state.answer_cache import AnswerCache
from batchrec.values import Answer, Failure, Kind, Label, Prepared, Task
from benchmarks.gates import NOON

from .parts import EVERYTHING, RESET, Parts, a_step, open_parts

AT = "2026-11-23T04:00:00.000Z"
SHA, OTHER = bytes(range(32)), bytes(range(1, 33))
TORN = Failure(Kind.IMAGE, "torn", "the picture ends early", counted=False)
CUP = Label("cup", 0.9, root="things")


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """Four images."""
    with Parts(tmp_path) as made:
        made.take(*[b"x"] * 4, names=("first", "second"))
        yield made


def claim(parts: Parts) -> list[Task]:
    """The images on the list, whose variant is known."""
    return [task._replace(variant="") for task in parts.journal.queue.claim([1], EVERYTHING, 100)]


def listed(parts: Parts) -> list[int]:
    """The images on the list, which are taken off it."""
    return [task.image for task in claim(parts)]


def result_of(parts: Parts, task: Task, sha256: bytes = SHA) -> Outcome:
    """The service saw a cup."""
    answer = Answer({"log_id": 1}, (CUP,), 1.0)
    return answered(parts.steps[1].asked, task, sha256, Prepared(b""), answer, 1, AT)


async def commit(parts: Parts, duplicates: Duplicates, *outcomes: Outcome) -> None:
    """Record outcomes as the recorder does."""
    written = [(outcome.finished, outcome.row and parts.files.encode(outcome.row)) for outcome in outcomes]
    lines = await parts.files.append([texts for _, texts in written if texts])
    group = placed(written, lines)
    parts.journal.answers.commit([finished for finished, _ in group], parts.files.places)
    duplicates.remember(group)
    for finished, _ in group:
        duplicates.settle(finished)


async def test_copies_wait_for_their_leader_and_share_its_result(tmp_path):
    """The first image with these bytes leads; the others are parked and then get its row, without a call."""
    async with open_parts(tmp_path) as parts:
        parts.take(*[b"x"] * 3)
        duplicates = parts.duplicates()
        leader, *copies = claim(parts)
        assert duplicates.find(leader, SHA) is None
        duplicates.lead(leader, SHA)
        assert duplicates.find(leader, SHA) is None  # its own lead is no reason to wait
        assert [duplicates.find(copy, SHA) for copy in copies] == [Postponed.PARKED] * 2
        assert listed(parts) == []
        await commit(parts, duplicates, result_of(parts, leader))
        again = claim(parts)
        assert [task.image for task in again] == [2, 3]
        for task in again:
            outcome = duplicates.find(task, SHA)
            assert isinstance(outcome, Outcome)
            assert (outcome.row["same_as"], outcome.row["image"], outcome.row["attempts"]) == (leader.key, task.key, 0)


async def test_a_failure_of_the_bytes_is_shared(tmp_path):
    """A torn leader's copies fail alike, without a call."""
    async with open_parts(tmp_path) as parts:
        parts.take(*[b"x"] * 2)
        duplicates = parts.duplicates()
        leader, copy = claim(parts)
        duplicates.lead(leader, SHA)
        duplicates.find(copy, SHA)
        await commit(parts, duplicates, failed(leader, SHA, TORN, 0, AT))
        (copy,) = claim(parts)
        outcome = duplicates.find(copy, SHA)
        assert (outcome.row, outcome.finished.failure.code, outcome.finished.attempts) == (None, "torn", 0)


async def test_after_a_failure_of_the_service_the_next_copy_leads(tmp_path):
    """The connection was lost for the leader: one copy is sent in its place, and the others wait for that one."""
    async with open_parts(tmp_path) as parts:
        parts.take(*[b"x"] * 4)
        duplicates = parts.duplicates()
        leader, *copies = claim(parts)
        duplicates.lead(leader, SHA)
        for copy in copies:
            duplicates.find(copy, SHA)
        await commit(parts, duplicates, failed(leader, SHA, RESET, 3, AT))
        (heir,) = claim(parts)
        assert heir.image == 2
        assert duplicates.find(heir, SHA) is None
        duplicates.lead(heir, SHA)
        await commit(parts, duplicates, result_of(parts, heir))
        assert listed(parts) == [3, 4]


@pytest.mark.parametrize("shared", [True, False])
def test_a_leader_that_is_not_sent_resigns(parts, shared):
    """Where nobody can be sent all copies are listed again; where only this image cannot, the next one leads."""
    duplicates = parts.duplicates()
    leader, *copies = claim(parts)
    duplicates.lead(leader, SHA)
    for copy in copies:
        duplicates.find(copy, SHA)
    duplicates.resign(leader, shared=shared)
    assert listed(parts) == ([2, 3, 4] if shared else [2])
    assert (duplicates.find(copies[1], SHA) is Postponed.PARKED) is not shared


def test_a_leader_resigns_unless_its_bytes_are_those_it_leads(parts):
    """A file that holds other bytes by now leads no copies of the old ones; one that does not change keeps its lead."""
    duplicates = parts.duplicates()
    leader, copy, *_ = claim(parts)
    duplicates.lead(leader, SHA)
    duplicates.find(copy, SHA)
    duplicates.resign(leader, shared=False, unless=SHA)
    assert listed(parts) == []
    duplicates.resign(leader, shared=False, unless=OTHER)
    assert listed(parts) == [copy.image]


def test_one_who_leads_nothing_may_resign(parts):
    """A copy's end ends nobody's lead."""
    duplicates = parts.duplicates()
    leader, copy, *_ = claim(parts)
    duplicates.lead(leader, SHA)
    duplicates.lead(copy, SHA)  # the bytes have a leader
    duplicates.resign(copy, shared=True)
    assert duplicates.find(copy, SHA) is Postponed.PARKED


def test_steps_do_not_share(parts):
    """The same bytes lead at each step of their own."""
    duplicates = parts.duplicates()
    task = claim(parts)[0]
    duplicates.lead(task, SHA)
    assert duplicates.find(task._replace(step=2, image=2), SHA) is None


def test_bytes_that_are_not_sent_are_noted(parts):
    """The next run knows them without reading the file."""
    (task, *_) = claim(parts)
    parts.duplicates().note(task, SHA)
    parts.journal.opening.recover()
    assert claim(parts)[0].sha256 == SHA


async def test_a_later_job_reuses_what_the_service_answered(tmp_path):
    """An answer goes into the result cache, a copy does not; it is taken where the step reuses, and follow-ups stay."""
    with open_cache(tmp_path) as cache:
        cache_key = cache.cache_key("first", personal=False)
        async with open_parts(tmp_path) as parts:
            parts.take(*[b"x"] * 2, names=("first", "second"))
            parts.steps[1] = a_step("first", cache_key=cache_key)
            first, second = claim(parts)
            copy = result_of(parts, second, OTHER)
            copy = copy._replace(finished=copy.finished._replace(attempts=0))
            await commit(parts, parts.duplicates(cache), result_of(parts, first), copy)
    with open_cache(tmp_path) as cache, Parts(tmp_path) as later:
        follow = ((When(step="first", label="cup"), 2),)
        later.steps[1] = a_step("first", follow=follow, cache_key=cache_key, reuse=True)
        duplicates = later.duplicates(cache)
        outcome = duplicates.cached(second, SHA)
        assert (outcome.row["image"], outcome.row["reused"], outcome.finished.attempts) == (second.key, AT, 0)
        assert outcome.finished.follow == (2,)
        assert duplicates.cached(second, OTHER) is None
        later.steps[1] = a_step("first", cache_key=cache_key, reuse=False)
        assert duplicates.cached(second, SHA) is None


def open_cache(folder: Path) -> AbstractContextManager[AnswerCache]:
    """The result cache of a folder."""
    return closing(AnswerCache(folder, "http://service", "me", lambda: NOON))


@settings(max_examples=15, deadline=None)
@given(
    contents=st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    endings=st.lists(st.sampled_from(["answered", "torn", "reset"]), max_size=40),
)
def test_every_image_has_an_outcome_and_no_bytes_are_answered_twice(contents, endings):
    """Whatever becomes of the calls: each image is finished once, and bytes are not sent after they have a result."""
    asyncio.run(_all_finish(contents, endings))


async def _all_finish(contents: list[str], endings: list[str]) -> None:
    with TemporaryDirectory() as folder:
        async with open_parts(Path(folder)) as parts:
            parts.take(*[b"x"] * len(contents))
            duplicates, done, settled = parts.duplicates(), Counter[int](), Counter[str]()
            while tasks := claim(parts):
                outcomes = list[Outcome]()
                for task in tasks:
                    content = contents[task.image - 1]
                    sha256 = content.encode() * 32
                    found = duplicates.find(task, sha256)
                    if found is Postponed.PARKED:
                        continue
                    if found is None:
                        duplicates.lead(task, sha256)
                        ending = endings.pop() if endings else "answered"
                        settled[content] += ending != "reset"
                        failure = {"torn": TORN, "reset": RESET}.get(ending)
                        found = failed(task, sha256, failure, 1, AT) if failure else result_of(parts, task, sha256)
                    outcomes.append(found)
                await commit(parts, duplicates, *outcomes)
                done.update(outcome.finished.task.image for outcome in outcomes)
            assert done == Counter(range(1, len(contents) + 1))
            assert max(settled.values(), default=0) <= 1
            rows = [loads(line) for line in (Path(folder) / "results.jsonl").read_bytes().splitlines()]
            pairs = [(int(row["same_as"][:4]), int(row["image"][:4])) for row in rows if row["same_as"]]
            assert all(contents[first] == contents[copy] for first, copy in pairs)
