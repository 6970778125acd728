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
    assert {each.words[0] for each in journal.survey.contents(1)} == {"b", "c"}
    assert {each.words[0] for each in journal.survey.contents(1, [numbers["a"]])} == {"a", "b", "c"}
    assert {each.words[0] for each in journal.survey.contents(2)} == {"a", "b", "c"}


def test_contents_that_repeat(journal):
    """Copies are one content with the number of its images, finished at a step if another image of it is."""
    (a,) = journal.queue.claim([1], 1, 9)
    journal.answers.commit([finished(a, "x")], {})
    journal.survey.begin_looking()
    numbers = {pending.key: pending.number for pending in journal.survey.pending()}
    seen = {"a": "x", "b": "x", "c": "y", "d": "x"}
    journal.survey.looked_at([(numbers[key], digest(content), [""]) for key, content in seen.items()])
    x, y = digest("x"), digest("y")
    first = {each.sha256: (each.image, each.copies, each.finished) for each in journal.survey.contents(1)}
    assert first == {x: (min(numbers["b"], numbers["d"]), 2, True), y: (numbers["c"], 1, False)}
    second = {each.sha256: (each.copies, each.finished) for each in journal.survey.contents(2)}
    assert second == {x: (3, False), y: (1, False)}


def test_duplicates_are_counted_by_journal_and_survey(journal):
    """A digest of the journal counts, even if it was not looked at; one that was not readable does not."""
    (a,) = journal.queue.claim([1], 1, 9)
    journal.answers.commit([finished(a, "x")], {})
    journal.survey.begin_looking()
    numbers = {pending.key: pending.number for pending in journal.survey.pending()}
    journal.survey.looked_at([(numbers["b"], digest("x"), [""]), (numbers["c"], None, []), (numbers["d"], None, [])])
    assert journal.survey.duplicates() == 1
    assert dict(journal.reader.inputs()) == {"a": digest("x")}


def test_nothing_of_it_is_stored(journal, tmp_path):
    """Verdicts live in temporary tables: another connection sees none, and the file keeps its schema."""
    journal.survey.begin_looking()
    journal.survey.looked_at([(1, None, ["word"])])
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert "looked" not in tables
