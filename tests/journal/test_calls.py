"""Counts of calls: what a kill leaves unknown, and the bound that a power cut cannot take."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from batchrec.journal import Journal
from batchrec.values import Failure, Kind

from .parts import CHARGE, EVERYTHING, FIRST, finished, found


def test_sent_and_settled(journal):
    """Recovery reports the calls that were sent, less those that came back with or without an answer."""
    a, b, c, d = journal.queue.claim([1], EVERYTHING, 4)
    journal.calls.sent([CHARGE] * 6)
    journal.calls.settled(CHARGE, counted=True)
    copy = finished(a, leader=b.image)._replace(attempts=0)
    given_up = finished(d, failure=Failure(Kind.TRANSIENT, 282000, ""))
    journal.answers.commit([finished(b), finished(c), copy, given_up], {})
    assert journal.opening.recover() == 3
    assert journal.opening.recover() == 3
    journal.conclude("{}")
    assert journal.opening.recover() == 0


def test_calls_are_kept_by_what_they_were_counted_on(journal):
    """Calls of a day that the service may have counted: all that left, less those that it did not count."""
    a, b = journal.queue.claim([1], EVERYTHING, 2)
    tomorrow = CHARGE._replace(day="2026-11-24")
    journal.calls.sent([CHARGE])
    journal.calls.sent([CHARGE])
    journal.calls.settled(CHARGE, counted=False)
    journal.calls.sent([tomorrow])
    journal.answers.commit([finished(a), finished(b)], {})
    assert journal.reader.calls() == [(CHARGE, 1), (tomorrow, 1)]


@pytest.fixture
def powered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    """A journal with 400 images; `power_cut` gives what of it is on the disk, as of the last sync."""
    (tmp_path / "before").mkdir()

    def synced(handle: int) -> None:
        shutil.rmtree(tmp_path / "after", ignore_errors=True)
        shutil.copytree(tmp_path / "before", tmp_path / "after")

    monkeypatch.setattr("batchrec.journal.database.sync_file", synced)
    journal = Journal(tmp_path / "before", boot="before")
    journal.opening.take_steps([FIRST])
    list(journal.opening.take_inputs(found(*(f"{number:03}" for number in range(400)))))
    journal.queue.fill([1])
    journal.opening.recover()
    journal.sync()
    yield journal
    journal.close()


def power_cut(tmp_path: Path) -> Journal:
    """The journal as the next boot of the machine finds it."""
    return Journal(tmp_path / "after", boot="after")


@pytest.mark.parametrize("calls", [0, 1, 100, 128, 129, 300])
def test_notes_that_a_power_cut_took(powered, tmp_path, calls):
    """For any number of calls without an answer an upper bound is told, once, and never fewer."""
    for _ in range(calls):
        powered.calls.sent([CHARGE])
    journal = power_cut(tmp_path)
    assert calls <= journal.opening.recover() <= 3 * calls + 8
    journal.conclude("{}")
    assert journal.opening.recover() == 0
    journal.close()


def test_a_calm_group_after_a_busy_one_leaves_the_bound_where_it_was(powered, tmp_path):
    """Calls leave up to the bound of the last sync, so no commit may lower the one on the disk."""
    busy = powered.queue.claim([1], EVERYTHING, 100)
    for _ in busy:
        powered.calls.sent([CHARGE])
    powered.answers.commit([finished(task) for task in busy], {})
    powered.sync()
    powered.answers.commit([], {})
    for _ in range(150):
        powered.calls.sent([CHARGE])
    journal = power_cut(tmp_path)
    assert journal.opening.recover() >= 150
    journal.close()


def test_an_opening_without_a_call_leaves_nothing_in_doubt(tmp_path):
    """A run that ends before its first call, and then another boot: no call was lost."""
    for boot in ("one", "two", "three"):
        with closing(Journal(tmp_path, boot=boot)) as journal:
            assert journal.opening.recover() == 0


def test_answers_are_not_in_doubt_after_a_power_cut(powered, tmp_path):
    """A group that was committed and synced is not told again; what left after it is bounded."""
    tasks = powered.queue.claim([1], EVERYTHING, 100)
    for _ in tasks:
        powered.calls.sent([CHARGE])
    powered.answers.commit([finished(task) for task in tasks], {})
    powered.sync()
    for _ in range(50):
        powered.calls.sent([CHARGE])
    journal = power_cut(tmp_path)
    assert 50 <= journal.opening.recover() <= 200
    journal.close()


def test_orderly_end_leaves_nothing_in_doubt(powered, tmp_path):
    """After a run that came to its end, a new boot of the machine finds no call of unknown outcome."""
    (task,) = powered.queue.claim([1], EVERYTHING, 1)
    powered.calls.sent([CHARGE])
    powered.answers.commit([finished(task)], {})
    powered.conclude("")
    powered.sync()
    journal = power_cut(tmp_path)
    assert journal.opening.recover() == 0
    journal.close()


def test_notes_beside_commits(journal):
    """Calls counted in one thread and commits from another do not disturb each other, and none is lost."""
    a, *_ = journal.queue.claim([1], EVERYTHING, 4)

    def commit() -> None:
        for _ in range(50):
            journal.answers.commit([finished(a)], {})
            journal.sync()

    thread = threading.Thread(target=commit)
    thread.start()
    for _ in range(200):
        journal.calls.sent([CHARGE])
    thread.join()
    assert journal.opening.recover() == 150
