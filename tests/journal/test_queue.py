"""Lists of the steps: claims in input order, parked copies, retries, and what a kill gives back."""

import hashlib

from batchrec.journal import Journal, StepRecord
from batchrec.values import Failure, Kind

from .parts import EVERYTHING, FIRST, SECOND, digest, finished, found


def test_claims_in_input_order(journal):
    """With any number of steps, images come in the order of the inputs, and nothing comes twice."""
    claimed = [(task.key, task.step) for _ in range(5) for task in journal.queue.claim([1, 2], EVERYTHING, 2)]
    assert claimed == [(key, step) for key in "abcd" for step in (1, 2)]


def test_claims_up_to_the_horizon(journal):
    """Inputs beyond the horizon are not touched."""
    assert [task.key for task in journal.queue.claim([2], 2, 100)] == ["a", "b"]
    assert journal.queue.claim([2], 2, 100) == []
    assert journal.queue.unfinished([2], 2)
    assert not journal.queue.unfinished([2], 2, unclaimed=True)
    assert not journal.queue.unfinished([], EVERYTHING)


def test_parked_copies(journal):
    """A copy that is set aside comes back when its leader is finished, and after a kill without that."""
    a, b, *_ = journal.queue.claim([1], EVERYTHING, 4)
    sha256 = hashlib.sha256(b"same").digest()
    journal.queue.park(b, sha256, a.image)
    journal.queue.unpark(2, a.image)
    assert journal.queue.claim([1], EVERYTHING, 4) == []
    journal.queue.unpark(1, a.image)
    (again,) = journal.queue.claim([1], EVERYTHING, 4)
    assert (again.key, again.sha256) == ("b", sha256)
    journal.queue.park(again, sha256, a.image)
    journal.opening.recover()
    assert [task.key for task in journal.queue.claim([1], EVERYTHING, 4)] == list("abcd")


def test_claims_do_not_sort_whole_lists(journal):
    """A claim of two steps reads as many rows as it takes, not all that are pending."""
    count = 20_000
    list(journal.opening.take_inputs(found(*(f"{number:06d}" for number in range(count)))))
    journal.queue.fill([1, 2])
    turns = 0

    def turn() -> int:
        nonlocal turns
        turns += 1
        return 0

    journal.database.connection.set_progress_handler(turn, 1000)
    tasks = journal.queue.claim([1, 2], EVERYTHING, 16)
    journal.database.connection.set_progress_handler(None, 0)
    assert [task.position for task in tasks] == [1 + number // 2 for number in range(16)]
    assert turns < 10


def keys(journal: Journal, step: int) -> list[str]:
    """Everything that is pending at a step, claimed."""
    return [task.key for task in journal.queue.claim([step], EVERYTHING, 100)]


def test_follow_up_lists_an_image_once(journal):
    """An image comes on the list of a step by its key, and not again once it is there or finished."""
    third = StepRecord("third", "dish", "", "when")
    number = journal.opening.take_steps([FIRST, SECOND, third])["third"]
    for _ in range(2):
        journal.queue.follow_up("b", [number])
    (task,) = journal.queue.claim([number], EVERYTHING, 9)
    journal.answers.commit([finished(task)], {})
    journal.queue.follow_up("b", [number])
    assert (task.key, keys(journal, number)) == ("b", [])


def test_retry_of_some_kinds(journal):
    """Failures of the kinds that are named come back, the others and the answers stay."""
    a, b, c, d = journal.queue.claim([1], EVERYTHING, 4)
    torn, busy = (Failure(kind, "no", "") for kind in (Kind.IMAGE, Kind.TRANSIENT))
    group = [finished(a, failure=torn), finished(b, failure=busy), finished(c, failure=busy), finished(d)]
    journal.answers.commit(group, {})
    assert journal.queue.retry([1, 2], ["transient"]) == 2
    assert keys(journal, 1) == ["b", "c"]
    assert journal.queue.retry([1, 2], None) == 1
    assert keys(journal, 1) == ["a"]


def test_one_copy_takes_over(journal):
    """After a leader gives up, its first copy comes back to lead, and the others wait on."""
    a, b, c, _ = journal.queue.claim([1], EVERYTHING, 4)
    assert journal.queue.hand_over(1, a.image) is None
    for copy in (c, b):
        journal.queue.park(copy, digest("same"), a.image)
    assert journal.queue.hand_over(1, a.image) == b.image
    assert keys(journal, 1) == ["b"]
    journal.queue.unpark(1, a.image)
    assert keys(journal, 1) == ["c"]


def test_horizon_counts_images_and_not_steps(journal):
    """A limit of two images is the position of the second that remains at any step."""
    (a,) = journal.queue.claim([1], 1, 9)
    journal.answers.commit([finished(a)], {})
    assert journal.queue.horizon([1, 2], None) == EVERYTHING
    assert journal.queue.horizon([1, 2], 2) == 2
    assert journal.queue.horizon([1], 2) == 3
    assert journal.queue.horizon([1, 2], 0) == 0


def test_a_step_was_answered(journal):
    """A failure is no answer, and an answer of another step is none of this one."""
    a, b, *_ = journal.queue.claim([1], EVERYTHING, 4)
    journal.answers.commit([finished(a, failure=Failure(Kind.IMAGE, "torn", ""))], {})
    assert not journal.queue.answered([1, 2])
    journal.answers.commit([finished(b)], {})
    assert (journal.queue.answered([1]), journal.queue.answered([2])) == (True, False)


def test_a_digest_that_was_seen_is_kept(journal):
    """The content of a file is noted once, also without a call: the first digest stays."""
    a, *_ = journal.queue.claim([1], EVERYTHING, 4)
    journal.queue.saw(a, digest("first"))
    journal.queue.saw(a, digest("second"))
    assert dict(journal.reader.inputs()) == {"a": digest("first")}
