"""Recording: what rows look like, and how outcomes become groups that are committed whole."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from batchrec.api.services import SERVICES
from batchrec.engine.recorder import GROUP_MOST, Recorded, Recorder
from batchrec.engine.rows import Asked, Outcome, answered, copied, failed
from batchrec.errors import OutputFailed
from batchrec.journal import Journal, Known, StepRecord
from batchrec.outputs import OUTPUTS
from batchrec.outputs.files import ResultFiles
from batchrec.values import Answer, Box, Failure, InputEntry, Kind, Label, Prepared, Task

from .parts import lead_to

KEYS = (
    *("image", "sha256", "step", "service", "model", "labels", "response", "attempts", "latency_ms", "repaired"),
    *("same_as", "reused", "answered_at", "tiles"),
)
TASK = Task(1, 1, "photos/a.jpg", 1, 10)
SHA = bytes(range(32))
AT = "2026-01-02T03:04:05.678Z"


def outcome_of(service: str, *labels: Label, sent: Prepared = Prepared(b""), **reply: Any) -> Outcome:  # noqa: B008
    asked = Asked("step", SERVICES[service], "fruit" if SERVICES[service].custom else None)
    return answered(asked, TASK, SHA, sent, Answer({"log_id": 2**63} | reply, labels, 12.3456), 2, AT)


# -- rows


def test_row(tmp_path):
    """A row has the contract's keys and no others, the reply untouched."""
    outcome = outcome_of("easydl_classification", Label("apple", 0.9), sent=Prepared(b"", ("shrunk",)), results=[1])
    assert tuple(outcome.row) == KEYS
    assert outcome.row == {
        "image": "photos/a.jpg",
        "sha256": SHA.hex(),
        "step": "step",
        "service": "easydl_classification",
        "model": "fruit",
        "labels": [{"name": "apple", "score": 0.9}],
        "response": {"log_id": 2**63, "results": [1]},
        "attempts": 2,
        "latency_ms": 12.346,
        "repaired": ["shrunk"],
        "same_as": None,
        "reused": None,
        "answered_at": AT,
        "tiles": None,
    }


@pytest.mark.parametrize(
    ("service", "keys"),
    [
        ("advanced_general", {"name", "score", "root"}),
        ("dish", {"name", "score", "calorie"}),
        ("car", {"name", "score", "year", "box"}),
        ("logo", {"name", "score", "box"}),
        ("animal", {"name", "score"}),
        ("object_detect", {"name", "score", "box"}),
        ("landmark", {"name", "score"}),
        ("easydl_detection", {"name", "score", "box"}),
    ],
)
def test_keys_of_labels(service, keys):
    """A label has the keys that its service knows; a box only where there is one."""
    (label,) = outcome_of(service, Label("x")).row["labels"]
    assert set(label) == keys
    assert [value for key, value in label.items() if key != "name"] == [None] * (len(keys) - 1)


def test_boxes_are_of_the_picture_as_displayed():
    """The box in a shrunk picture is scaled to whole pixels; in a picture sent as it is, it is untouched."""
    label = Label("x", 0.5, box=Box(10.4, 20, 30, 41))
    as_it_is, shrunk = (
        outcome_of("logo", label, sent=sent).row["labels"][0]["box"]
        for sent in (Prepared(b""), Prepared(b"", ("shrunk",), 2.0, 1.5))
    )
    assert as_it_is == {"left": 10.4, "top": 20, "width": 30, "height": 41}
    assert shrunk == {"left": 21, "top": 30, "width": 60, "height": 62}


@pytest.mark.parametrize(
    ("image", "same_as", "expected"),
    [("a", None, "a"), ("b", "a", "a"), ("a", "copy", "a")],
    ids=["of the first", "of a copy", "back to the first"],
)
def test_copy(image, same_as, expected):
    """A copy costs nothing, and names the image whose answer it is, which is never itself."""
    row = outcome_of("dish", Label("x", 0.5)).row | {"image": image, "same_as": same_as}
    outcome = copied(Task(2, 1, "copy", 2, 10), SHA, Known(1, 3), row)
    changed = {"image": "copy", "same_as": expected, "attempts": 0}
    assert outcome.row == row | changed
    assert tuple(outcome.row) == KEYS
    del row["tiles"]
    assert tuple(copied(Task(2, 1, "copy", 2, 10), SHA, Known(1, 3), row).row) == KEYS  # of an earlier version
    assert (outcome.finished.leader, outcome.finished.attempts) == (1, 0)


def test_followed_by():
    """An outcome remembers which steps its answer asks for."""
    outcome = outcome_of("dish")
    assert outcome.followed_by((2, 3)).finished.follow == (2, 3)
    assert outcome.followed_by(()) is outcome


# -- groups


class Desk:
    """A journal with a thousand images and more, its files, and what was committed."""

    def __init__(self, directory: Path, images: int = 2 * GROUP_MOST) -> None:
        self.directory = directory
        self.journal = Journal(directory)
        self.journal.opening.take_steps([StepRecord("step", "dish", "", "")])
        list(self.journal.opening.take_inputs(InputEntry(f"{number:05d}", 0, 0, 10, 1) for number in range(images)))
        self.journal.queue.fill([1])
        self.tasks = [task._replace(variant="") for task in self.journal.queue.claim([1], 2**62, images)]
        places = {"results.jsonl": (0, 0), "results.csv": (0, 0)}
        self.files = ResultFiles(directory, list(OUTPUTS.values()), places)
        self.groups: list[int] = []
        self.recorder = Recorder(self.journal, self.files)

    def committed(self, group: Sequence[Recorded]) -> None:
        self.groups.append(len(group))

    def outcome(self, number: int) -> Outcome:
        task = self.tasks[number]
        answer = Answer({"log_id": number}, (Label("x", 0.5),), 1.0)
        return answered(Asked("step", SERVICES["dish"], None), task, SHA, Prepared(b""), answer, 1, AT)

    def rows(self) -> list[int]:
        lines = (self.directory / "results.jsonl").read_bytes().splitlines()
        return [json.loads(line)["response"]["log_id"] for line in lines]

    def whole(self) -> bool:
        """Files and journal agree to the byte."""
        lengths = {name: (self.directory / name).stat().st_size for name in ("results.jsonl", "results.csv")}
        noted = {name: length for name, (length, _) in self.journal.reader.outputs().items()}
        return lengths == noted and len(self.rows()) == self.journal.reader.counts().answered


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.journal.close()


async def test_what_comes_together_is_committed_together(desk):
    """Outcomes share a group; rows stand where the journal says."""
    async with desk.files:
        run = asyncio.create_task(desk.recorder.run(desk.committed))
        for number in range(5):
            await desk.recorder.add(desk.outcome(number))
        await desk.recorder.add(failed(desk.tasks[5], SHA, Failure(Kind.IMAGE, "torn", "damaged"), 0, AT))
        desk.recorder.close()
        await run
        known = desk.journal.answers.finished_content(1, SHA)
        assert desk.files.read(known.start, known.length)["response"]["log_id"] == 0
    assert (desk.groups, desk.rows(), desk.whole()) == ([6], [0, 1, 2, 3, 4], True)
    assert desk.journal.reader.counts().failed == 1


async def test_a_group_waits_no_longer_than_promised(desk):
    """An answer without company gets into the file while the run goes on, though its group never fills."""
    async with desk.files:
        run = asyncio.create_task(desk.recorder.run(desk.committed))
        for number in range(2):
            await desk.recorder.add(desk.outcome(number))
            async with asyncio.timeout(60):
                while len(desk.groups) <= number:  # noqa: ASYNC110 - a plain list signals nothing
                    await asyncio.sleep(0.005)
        assert (desk.groups, desk.rows()) == ([1, 1], [0, 1])
        desk.recorder.close()
        await run


async def test_backpressure(desk):
    """Callers that find a group full wait for the commit; nothing is lost or reordered."""
    count = GROUP_MOST + 300
    async with desk.files:
        adding = asyncio.create_task(add_all(desk, count))
        done, _ = await asyncio.wait([adding], timeout=0.05)
        assert done == set()
        run = asyncio.create_task(desk.recorder.run(desk.committed))
        await adding
        desk.recorder.close()
        await run
    assert (sum(desk.groups), max(desk.groups), desk.rows()) == (count, GROUP_MOST, list(range(count)))
    assert desk.whole()


async def add_all(desk: Desk, count: int) -> None:
    for number in range(count):
        await desk.recorder.add(desk.outcome(number))


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 20, 50])
async def test_cancelled(desk, turns):
    """Cancelled at any moment, also amid a commit: all outcomes handed over are committed, and none half."""
    async with desk.files:
        run = asyncio.create_task(desk.recorder.run(desk.committed))
        await asyncio.sleep(0)
        await add_all(desk, 10)
        desk.recorder._flush_now.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert (desk.rows(), sum(desk.groups), desk.whole()) == (list(range(10)), 10, True)


async def test_nothing_to_commit(desk):
    """A run in which nothing is answered ends, and leaves empty files."""
    async with desk.files:
        run = asyncio.create_task(desk.recorder.run(desk.committed))
        await asyncio.sleep(0)
        desk.recorder.close()
        await run
    assert (desk.groups, desk.rows()) == ([], [])


@pytest.mark.parametrize("name", ["results.jsonl", "results.csv"])
async def test_full_disk(desk, name):
    """A file that takes no more ends the run with its reason; the journal notes nothing of that group."""
    async with desk.files:
        lead_to(desk.files, name, "/dev/full")
        run = asyncio.create_task(desk.recorder.run(desk.committed))
        await desk.recorder.add(desk.outcome(0))
        desk.recorder.close()
        with pytest.raises(OutputFailed, match="cannot be written: No space left"):
            await run
    assert (desk.groups, desk.journal.reader.outputs(), desk.journal.reader.counts().answered) == ([], {}, 0)


async def test_file_that_cannot_be_synced(desk):
    """Answers that cannot be brought to the disk are not noted as finished."""
    async with desk.files:
        lead_to(desk.files, "results.jsonl", "/dev/null")
        run = asyncio.create_task(desk.recorder.run(desk.committed))
        await desk.recorder.add(desk.outcome(0))
        desk.recorder.close()
        with pytest.raises(OutputFailed, match="cannot be written: Invalid argument"):
            await run
    assert (desk.groups, desk.journal.reader.outputs(), desk.journal.reader.counts().answered) == ([], {}, 0)
