"""Opening of a journal: identity, steps and inputs."""

from collections.abc import Iterator

import pytest

from batchrec.errors import JobError
from batchrec.journal import Journal, StepRecord
from batchrec.values import Failure, InputEntry, Kind

from .parts import CHARGE, EVERYTHING, FIRST, SECOND, digest, finished, found


def test_identity_is_claimed_whole(tmp_path):
    """A directory that is refused for one word does not take another one over."""
    journal = Journal(tmp_path)
    journal.opening.claim_identity({"name": "mine"})
    with pytest.raises(JobError):
        journal.opening.claim_identity({"endpoint": "embedded", "name": "yours"})
    assert journal.note("endpoint") is None
    journal.close()


def test_failed_listing_changes_nothing(journal):
    """A source that ends in an error leaves the inputs as they were."""

    def broken() -> Iterator[InputEntry]:
        yield from found("x")
        raise JobError("no such manifest")

    with pytest.raises(JobError):
        journal.opening.take_inputs(broken())
    assert [task.key for task in journal.queue.claim([1], EVERYTHING, 9)] == list("abcd")


def test_a_key_twice_is_one_image(journal):
    """The first source that names an image gives its place."""
    entries = [InputEntry("d", 0, 0, 10, 1), InputEntry("a", 1, 0, 10, 1), InputEntry("d", 2, 0, 10, 1)]
    assert list(journal.opening.take_inputs(entries)) == []
    journal.queue.fill([1])
    assert [task.key for task in journal.queue.claim([1], EVERYTHING, 9)] == ["d", "a"]


def test_changes_beyond_one_batch(tmp_path):
    """Each changed file is told once, however many there are."""
    keys = [f"{number:05d}" for number in range(2500)]
    journal = Journal(tmp_path)
    assert list(journal.opening.take_inputs(found(*keys))) == []
    told = []
    for change in journal.opening.take_inputs(found(*keys, size=11)):
        journal.opening.touch(change, same=True)
        told.append(change.found.key)
    assert told == keys
    assert list(journal.opening.take_inputs(found(*keys, size=11))) == []
    journal.close()


OTHERWISE = StepRecord("first", "dish", "with other options", "")


def test_steps_whose_condition_is_to_be_evaluated(journal):
    """New steps and those with another condition are noted until their conditions have been evaluated."""
    assert journal.opening.to_evaluate() == {1, 2}
    journal.opening.evaluated()
    assert journal.opening.to_evaluate() == set()
    journal.opening.take_steps([FIRST, SECOND])
    assert journal.opening.to_evaluate() == set()
    journal.opening.take_steps([FIRST, StepRecord("second", "dish", "asked otherwise", "when")])
    assert journal.opening.to_evaluate() == {2}
    journal.opening.take_steps([FIRST, SECOND], evaluate_all=True)
    assert journal.opening.to_evaluate() == {1, 2}


def test_another_fingerprint_drops_what_is_finished(journal):
    """Results to be replaced are named before; failures go, and rows stay until there are new ones."""
    a, b, *_ = journal.queue.claim([1], EVERYTHING, 4)
    journal.answers.commit([finished(a), finished(b, failure=Failure(Kind.IMAGE, "torn", ""))], {})
    assert journal.reader.outdated([FIRST, SECOND]) == {}
    assert journal.reader.outdated([OTHERWISE, SECOND]) == {"first": 2}
    assert journal.reader.counts().answered == 1
    journal.opening.take_steps([OTHERWISE, SECOND])
    counts = journal.reader.counts()
    assert (counts.answered, counts.superseded, counts.failed) == (1, 1, 0)
    assert [(place.image, place.superseded) for place in journal.reader.answers()] == [("a", True)]
    assert not journal.answers.outlived()
    journal.queue.fill([1])
    again, *_ = journal.queue.claim([1], EVERYTHING, 1)
    journal.answers.commit([finished(again)._replace(at="later", start=20, length=9)], {})
    assert journal.answers.outlived()
    counts = journal.reader.counts()
    assert (counts.answered, counts.superseded) == (1, 0)


def test_another_condition_sets_failures_aside(journal):
    """A failure does not count while the new condition has not asked for its image; then it counts again."""
    a, *_ = journal.queue.claim([1], EVERYTHING, 4)
    journal.answers.commit([finished(a, failure=Failure(Kind.IMAGE, "torn", ""))], {})
    journal.opening.take_steps([StepRecord("first", "dish", "asked so", "when"), SECOND])
    assert journal.reader.counts().failed == 0
    journal.queue.follow_up("a", [1])
    assert journal.reader.counts().failed == 1


def test_another_content_forgets(journal):
    """A file that was only touched keeps its answer; one with other bytes is to be called for again."""
    journal.answers.commit([finished(task) for task in journal.queue.claim([1], EVERYTHING, 2)], {})
    changes = {change.found.key: change for change in journal.opening.take_inputs(found(*"abcd", size=11))}
    assert {key: change.sha256 for key, change in changes.items()} == {
        "a": digest("a"),
        "b": digest("b"),
        "c": None,
        "d": None,
    }
    assert journal.opening.touch(changes["a"], same=True) == 0
    assert journal.opening.touch(changes["b"], same=False) == 1
    assert [(place.image, place.superseded) for place in journal.reader.answers()] == [("a", False), ("b", True)]


def test_digests_that_are_not_known(journal):
    """Inputs without a digest are given in batches, and left out once one is noted."""
    ((first, *_), *others) = next(journal.opening.undigested())
    assert len(others) == 3
    journal.opening.note_digests({first: digest("a")})
    assert [key for batch in journal.opening.undigested() for _, key, *_ in batch] == ["b", "c", "d"]


def test_recovery_puts_back_what_was_claimed(journal):
    """Items claimed by a killed run are pending again, finished ones stay."""
    a, b, c, _ = journal.queue.claim([1], EVERYTHING, 4)
    journal.calls.sent([CHARGE] * 2)
    journal.queue.park(c, digest("same"), b.image)
    journal.answers.commit([finished(a)], {})
    assert journal.opening.recover() == 1
    assert [task.key for task in journal.queue.claim([1], EVERYTHING, 9)] == ["b", "c", "d"]
