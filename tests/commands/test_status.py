"""How far a job is, as its journal says it."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from batchrec.commands.status import StepStatus, status
from batchrec.errors import JobError
from batchrec.journal import CALLING_SINCE, Finished, Journal, StepRecord
from batchrec.times import iso_utc
from batchrec.values import Failure, InputEntry, Kind

NOW = 1_800_000_000.0


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Six images at one step: three answered, the last of them two minutes ago, one failed, two left."""
    with closing(Journal(tmp_path)) as journal:
        list(journal.opening.take_inputs(InputEntry(f"{name}.jpg", 0, 0, 10, 1) for name in "abcdef"))
        step = journal.opening.take_steps([StepRecord("things", "advanced_general", "x", "")])["things"]
        journal.queue.fill([step])
        a, b, c, d = journal.queue.claim([step], 100, 4)
        late = [Finished(task, sha256(task.key), 1, iso_utc(NOW - 30), start=at) for at, task in enumerate((a, b))]
        failed = Finished(d, sha256(d.key), 1, iso_utc(NOW - 30), failure=Failure(Kind.IMAGE, "torn", "ends early"))
        journal.answers.commit([*late, Finished(c, sha256(a.key), 1, iso_utc(NOW - 120), leader=a.image), failed], {})
        journal.put_note(CALLING_SINCE, iso_utc(NOW - 3600))
        yield tmp_path


def test_while_a_run_goes_on(directory: Path) -> None:
    """Counts of all and of each step, and the rate of the last minute; nothing of how an earlier run ended."""
    (directory / "summary.json").write_text('{"stopped_by": "daily_limit", "resume_at": "2026-11-24T00:00:00+08:00"}')
    seen = status(directory, running=True, now=lambda: NOW)
    assert (seen.images, seen.answered, seen.failed, seen.left) == (6, 3, 1, 2)
    assert (seen.rate, seen.seconds_left, seen.done_share) == (0.05, 40.0, 0.6667)
    assert (seen.stopped_by, seen.resume_at) == (None, None)
    assert seen.steps == [StepStatus("things", 3, 1, 2)]


@pytest.mark.parametrize(
    ("age", "rate", "seconds_left"), [(50.0, 0.06, 33.3), (20.0, 0.0, None), (-60.0, 0.0, None), (None, 0.0, None)]
)
def test_first_minute_of_a_run(directory: Path, age: float | None, rate: float, seconds_left: float | None) -> None:
    """Three were finished 30 s ago: the rate is over the age of the run, without results of the run before."""
    with closing(Journal(directory)) as journal:
        journal.put_note(CALLING_SINCE, None if age is None else iso_utc(NOW - age))
    seen = status(directory, running=True, now=lambda: NOW)
    assert (seen.rate, seen.seconds_left) == (rate, seconds_left)


def test_between_runs(directory: Path) -> None:
    """No rate, and what the last run said at its end; images, results and failures as on the screen."""
    summary = {"stopped_by": "daily_limit", "resume_at": "2026-11-24T00:00:00+08:00", "calls": 5, "seconds": 1.5}
    (directory / "summary.json").write_text(json.dumps(summary))
    seen = status(directory, running=False, now=lambda: NOW)
    assert (seen.rate, seen.seconds_left) == (0.0, None)
    assert (seen.images_done, seen.images_failed, seen.images_remaining, seen.results) == (3, 1, 2, 3)
    assert (seen.calls, seen.seconds, seen.failures_by_code) == (5, 1.5, {"torn": 1})
    assert (seen.stopped_by, seen.resume_at) == ("daily_limit", "2026-11-24T00:00:00+08:00")


@pytest.mark.parametrize("summary", [None, b"", b"[1]", b"{"], ids=["missing", "empty", "a list", "torn"])
def test_without_a_summary(directory: Path, summary: bytes | None) -> None:
    """The journal is enough."""
    if summary is not None:
        (directory / "summary.json").write_bytes(summary)
    seen = status(directory, running=False, now=lambda: NOW)
    assert (seen.answered, seen.stopped_by) == (3, None)


def test_writes_nothing(directory: Path) -> None:
    """Not a byte, though the journal has a log beside it."""
    before = {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix != ".db-shm"}
    status(directory, running=True, now=lambda: NOW)
    assert {name: (directory / name).read_bytes() for name in before} == before
    assert orjson.dumps(sorted(before)) == b'["journal.db","journal.db-wal"]'


def test_folder_of_no_job(tmp_path: Path) -> None:
    """It is named, with what was expected."""
    with pytest.raises(JobError, match=r"holds no journal.db; expected the output directory of a job"):
        status(tmp_path, running=False)
