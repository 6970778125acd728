"""Group commits, finished contents, and the places of rows."""

import hashlib

import pytest

from batchrec.errors import OutputFailed
from batchrec.values import Failure, Kind

from .parts import EVERYTHING, digest, finished, found


def test_known_content(journal):
    """A content's answer is known by step; a failure only where it is the image's own fault."""
    torn = Failure(Kind.IMAGE, "torn", "the picture ends early")
    a, b, c, d = journal.queue.claim([1], EVERYTHING, 4)
    journal.answers.commit(
        [
            finished(a, "one", start=100, length=20),
            finished(b, "two", failure=torn),
            finished(c, "three", failure=Failure(Kind.TRANSIENT, 282000, "internal error")),
        ],
        {},
    )
    journal.queue.park(d, hashlib.sha256(b"four").digest(), a.image)
    known = {
        name: journal.answers.finished_content(1, hashlib.sha256(name.encode()).digest())
        for name in ("one", "two", "three", "four")
    }
    assert (known["one"].image, known["one"].start, known["one"].length) == (a.image, 100, 20)
    assert known["two"].failure == torn
    assert (known["three"], known["four"]) == (None, None)
    assert journal.answers.finished_content(2, hashlib.sha256(b"one").digest()) is None


def test_copies_of_one_failure(journal):
    """The result of a content that thousands of files have is found without passing over all of them."""
    torn = Failure(Kind.IMAGE, "torn", "")
    list(journal.opening.take_inputs(found(*(f"{number:06d}" for number in range(5000)))))
    journal.queue.fill([1])
    journal.answers.commit([finished(t, "same", failure=torn) for t in journal.queue.claim([1], EVERYTHING, 5000)], {})
    turns = []
    journal.database.connection.set_progress_handler(lambda: turns.append(1), 1000)
    known = journal.answers.finished_content(1, hashlib.sha256(b"same").digest())
    journal.database.connection.set_progress_handler(None, 0)
    assert known.failure == torn
    assert len(turns) < 2


def test_outputs_and_notes(journal):
    """A commit replaces the lengths of the files it names; a note of None is none."""
    journal.answers.commit([], {"results.jsonl": (10, 1), "results.csv": (5, 2)})
    journal.answers.put_outputs({"results.jsonl": (20, 3)}, drop=["results.csv"], swap="results.jsonl")
    assert journal.reader.outputs() == {"results.jsonl": (20, 3)}
    assert journal.note("swap") == "results.jsonl"
    journal.put_note("swap", None)
    assert journal.note("swap") is None


def test_a_group_is_whole_or_nothing(journal):
    """A group that cannot be committed leaves nothing: no answer, no follow-up, no length of a file."""
    a, b, *_ = journal.queue.claim([1], EVERYTHING, 4)
    broken = finished(b)._replace(attempts={})
    with pytest.raises(OutputFailed):
        journal.answers.commit([finished(a, follow=(2,)), broken], {"results.jsonl": (10, 1)})
    assert (journal.reader.counts().answered, journal.reader.outputs()) == (0, {})
    journal.answers.commit([finished(a)], {"results.jsonl": (10, 1)})
    assert (journal.reader.counts().answered, journal.reader.outputs()) == (1, {"results.jsonl": (10, 1)})


def row(key: str, content: str, at: str = "now") -> dict[str, str]:
    """The parts of a row that a rewrite reads."""
    return {"image": key, "step": "first", "answered_at": at, "sha256": digest(content).hex()}


def test_rewriting_keeps_each_answer_once(journal):
    """The first row of each noted answer is kept; answers without a row are forgotten."""
    a, b, c, _ = journal.queue.claim([1], EVERYTHING, 4)
    group = [finished(task, start=100 * task.image, length=9) for task in (a, b, c)]
    journal.answers.commit(group, {"results.jsonl": (400, 1), "results.csv": (5, 2)})
    journal.answers.begin_rewrite()
    rows = [row("a", "a"), row("a", "a"), row("a", "another"), row("b", "b", "before"), row("b", "b"), row("x", "x")]
    assert [journal.answers.keep(each, start, 7) for start, each in enumerate(rows)] == [1, 0, 0, 0, 1, 0]
    assert journal.answers.end_rewrite({"results.jsonl": (14, 3)}, "results.jsonl") == 1
    places = [(place.image, place.start, place.length) for place in journal.reader.answers()]
    assert places == [("a", 0, 7), ("b", 4, 7)]
    assert (journal.reader.outputs(), journal.note("swap")) == ({"results.jsonl": (14, 3)}, "results.jsonl")
    journal.queue.fill([1])
    assert [task.key for task in journal.queue.claim([1], EVERYTHING, 9)] == ["c"]


def test_the_digest_of_the_bytes_that_were_sent_wins(journal):
    """A digest of the listing makes way for that of the first answer, which stays."""
    a, *_ = journal.queue.claim([1], EVERYTHING, 4)
    (again,) = journal.queue.claim([2], 1, 9)
    journal.queue.saw(a, digest("listed"))
    journal.answers.commit([finished(a, "sent")], {})
    journal.answers.commit([finished(again, "replaced")], {})
    assert dict(journal.reader.inputs()) == {"a": digest("sent")}
