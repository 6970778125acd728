"""Filters that `show` and `export` share."""

import pytest

from batchrec.errors import JobError
from batchrec.journal.selection import Selection


def row(*labels, step="animal"):
    """A row with labels of (name, score, root)."""
    return {"step": step, "labels": [dict(zip(("name", "score", "root"), label, strict=False)) for label in labels]}


CAT = row(("猫", 0.9, "动物-猫科"), ("狗", 0.2, "动物-犬科"))
SUBJECT = row((None, None, None))
EMPTY = row()


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(), [True, True, True]),
        (Selection(step="animal"), [True, True, True]),
        (Selection(step="dish"), [False, False, False]),
        (Selection(label="猫"), [True, False, False]),
        (Selection(label="犬科"), [True, False, False]),
        (Selection(label="犬科", top=1), [False, False, False]),
        (Selection(label="犬科", min_score=0.3), [False, False, False]),
        (Selection(min_score=0.9), [True, False, False]),
        (Selection(max_score=0.2), [True, False, False]),
        (Selection(max_score=0.1), [False, False, False]),
        (Selection(not_label="狗"), [False, True, True]),
        (Selection(failed=True), [False, False, False]),
    ],
)
def test_rows_that_match(selection, wanted):
    """One label has to meet all conditions."""
    assert [selection.matches(each) for each in (CAT, SUBJECT, EMPTY)] == wanted


def test_labels_that_match():
    """Of a row, the labels that meet the conditions."""
    assert [label["name"] for label in Selection(top=1).labels(CAT)] == ["猫"]
    assert [label["name"] for label in Selection(max_score=0.5).labels(CAT)] == ["狗"]


def test_failures_that_match():
    """By step; a condition on labels leaves failures out."""
    failure = {"step": "animal"}
    assert Selection(failed=True, step="animal").matches_failure(failure)
    assert not Selection(step="dish").matches_failure(failure)
    assert not Selection(label="猫").matches_failure(failure)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"label": "("}, "--label: '\\(' is no regular expression"),
        ({"not_label": "["}, "--not-label: "),
        ({"min_score": 2}, "--min-score: is 2; expected a score from 0 to 1"),
        ({"max_score": -0.1}, "--max-score: "),
        ({"top": 0}, "--top: is 0"),
        ({"failed": True, "label": "x"}, "--failed: failures have no labels"),
    ],
)
def test_2_wrong_filters(wrong, message):
    """Each is named with what is expected."""
    with pytest.raises(JobError, match=message):
        Selection(**wrong)


def test_2_unknown_step():
    """The message lists the steps of the job."""
    with pytest.raises(JobError, match=r"--step: the job has no step 'x'; expected one of: animal, dish"):
        Selection(step="x").check_steps(("animal", "dish"))
