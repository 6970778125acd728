"""Reads that fail in a row: a folder that is gone ends the run, single files do not."""

import pytest

from batchrec.engine.reads import Reads
from batchrec.errors import InputsGone
from batchrec.values import Failure, Kind, Task

GONE = Failure(Kind.READ, "unreadable", "no such file", counted=False)
NO_IMAGE = Failure(Kind.IMAGE, "unreadable", "is a folder", counted=False)


def a_task(number: int = 0, size: int = 10, before: str | None = None) -> Task:
    return Task(number, 1, f"photos/{number}.jpg", number, size, failed_before=before)


def fail(reads: Reads, count: int) -> None:
    for number in range(count):
        reads.note(a_task(number), GONE)


def test_twenty_in_a_row_end_the_run():
    """The message says what is gone, and that the results are saved; the nineteenth says nothing yet."""
    reads = Reads(lambda key: f"{key} is lost")
    fail(reads, 19)
    with pytest.raises(InputsGone, match=r"photos/7\.jpg is lost; what was recognized is saved"):
        reads.note(a_task(7), GONE)


@pytest.mark.parametrize("between", [b"bytes", NO_IMAGE])
def test_one_that_is_read_begins_anew(between):
    """Bytes, or an entry that the disk says is no file: the disk is there."""
    reads = Reads(str)
    for _ in range(5):
        fail(reads, 19)
        reads.note(a_task(), between)


def test_faults_of_the_files_themselves_end_nothing():
    """If nothing else is gone, the run goes on after any number of such failures."""
    fail(Reads(lambda key: ""), 100)


@pytest.mark.parametrize("task", [a_task(size=-1), a_task(before="no such file")])
def test_what_was_known_before_ends_nothing(task):
    """Manifest rows without a file and inputs unreadable in an earlier run do not end the run."""
    reads = Reads(str)
    for _ in range(100):
        reads.note(task, GONE)
