"""The survey of images that remain, which `plan` makes in a copy of the journal."""

import sqlite3
from contextlib import closing

from .parts import digest, finished


def test_images_that_remain(journal):
    """Each image that remains at any step comes once; one that is finished at all steps does not."""
    group = journal.queue.claim([1, 2], 1, 9)
    journal.answers.commit([finished(task) for task in group], {})
    assert journal.survey.begin_looking() == 3
    assert sorted(pending.key for pending in journal.survey.pending()) == ["b", "c", "d"]


def test_verdicts_by_step(journal):
    """Verdicts come for the images that remain at a step and for others that are named, if readable."""
    (a,) = journal.queue.claim([1], 1, 9)
    journal.answers.commit([finished(a)], {})
    journal.survey.begin_looking()
    numbers = {pending.key: pending.number for pending in journal.survey.pending()}
    seen = [(numbers[key], digest(key), [key, "ok"]) for key in "abc"]
    journal.survey.looked_at([*seen, (numbers["d"], None, [])])
    assert {words[0] for _, _, words, _ in journal.survey.looked(1)} == {"b", "c"}
    assert {words[0] for _, _, words, _ in journal.survey.looked(1, [numbers["a"]])} == {"a", "b", "c"}
    assert {words[0] for _, _, words, _ in journal.survey.looked(2)} == {"a", "b", "c"}
    assert dict(journal.reader.inputs()) == {key: digest(key) for key in "abc"}


def test_contents_that_repeat(journal):
    """A content is the first of its kind once a step."""
    journal.survey.begin_looking()
    asked = [(1, "x"), (1, "y"), (1, "x"), (2, "x"), (2, "x")]
    firsts = [journal.survey.first_of_its_kind(step, digest(content)) for step, content in asked]
    assert firsts == [True, True, False, True, False]


def test_nothing_of_it_is_stored(journal, tmp_path):
    """Verdicts live in temporary tables: another connection sees none, and the file keeps its schema."""
    journal.survey.begin_looking()
    journal.survey.looked_at([(1, None, ["word"])])
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables.isdisjoint({"looked", "kinds"})
