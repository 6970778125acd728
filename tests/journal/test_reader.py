"""The state of a job, read from its journal."""

from batchrec.journal import Counts, StepCounts, reading
from batchrec.values import Failure, Kind

from .parts import EVERYTHING, finished, found


def test_counts(journal):
    """Images, copies, answers, failures, and what is left to ask."""
    a, b, c, _ = journal.queue.claim([1], EVERYTHING, 4)
    journal.answers.commit(
        [finished(a, "same"), finished(b, "same"), finished(c, failure=Failure(Kind.IMAGE, "torn", ""))], {}
    )
    assert journal.reader.counts() == Counts(images=4, duplicates=1, answered=2, failed=1, open=5)


def test_counts_by_step(journal):
    """Each step by its number: answered, failed, remaining."""
    a, b, *_ = journal.queue.claim([1], EVERYTHING, 4)
    journal.answers.commit([finished(a), finished(b, failure=Failure(Kind.IMAGE, "torn", ""))], {})
    assert journal.reader.by_step() == {1: StepCounts(1, 1, 2), 2: StepCounts(0, 0, 4)}


def test_failures_in_input_order(journal):
    """Failures of inputs that are gone are left out, and come back with them."""
    torn = Failure(Kind.IMAGE, "torn", "")
    journal.answers.commit([finished(task, failure=torn) for task in reversed(journal.queue.claim([1], 3, 9))], {})
    assert [failure["image"] for failure in journal.reader.failures()] == ["a", "b", "c"]
    list(journal.opening.take_inputs(found("c", "a")))
    assert [failure["image"] for failure in journal.reader.failures()] == ["a", "c"]


def test_a_reader_sees_one_moment(journal, tmp_path):
    """A reader during a run's commits sees the journal as it was when the reader began."""
    with reading(tmp_path) as reader:
        before = reader.counts()
        journal.answers.commit([finished(task) for task in journal.queue.claim([1], EVERYTHING, 4)], {})
        assert reader.counts() == before
        assert list(reader.answers()) == []
    with reading(tmp_path) as reader:
        assert reader.counts().answered == 4
