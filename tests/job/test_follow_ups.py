"""Which steps the labels of an answer ask for."""

import pytest

from batchrec.job.follow_ups import follow_ups, labels_of, triggered
from batchrec.job.loading import build_job
from batchrec.values import Label

NUMBERS = {"general": 10, "food": 20, "fruit": 30, "calories": 40}
STEPS = [
    {"step": "general", "service": "advanced_general"},
    {"step": "food", "service": "dish", "when": {"step": "general", "label": "食|菜", "min_score": 0.3}},
    {"step": "fruit", "service": "ingredient", "when": {"step": "general", "label": "^fruit"}},
    {"step": "calories", "service": "dish", "when": {"step": "food"}, "options": {"top_num": 1}},
]


@pytest.fixture
def conditions():
    job = build_job({"input": {"paths": ["a"]}, "recognize": STEPS}, "/jobs/x.toml")
    return follow_ups(job, NUMBERS)


def test_follow_ups(conditions):
    """By the number of the step that decides: the steps that may follow, in the order of the file."""
    assert {before: [number for _, number in following] for before, following in conditions.items()} == {
        10: [20, 30],
        20: [40],
    }


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([], ()),
        ([Label("家常菜", 0.3)], (20,)),
        ([Label("家常菜", 0.29)], ()),
        ([Label("tree", 0.9), Label("plate", 0.4, root="美食-其他")], (20,)),
        ([Label("菜", 0.1), Label("tree", 0.9)], ()),
        ([Label("菜", None)], ()),
        ([Label("a fruit", 0.9)], ()),
        ([Label("fruit", 0.0), Label("菜", 1.0)], (20, 30)),
        ([Label(None)], ()),
    ],
)
def test_asked(conditions, labels, expected):
    """The expression is searched in name and root; the score is that of the label it is found in."""
    assert triggered(conditions[10], labels) == expected


@pytest.mark.parametrize(("labels", "expected"), [([], ()), ([Label(None)], (40,)), ([Label("x", 0.1)], (40,))])
def test_any_label(conditions, labels, expected):
    """Without an expression any label will do, but an answer that saw nothing asks for nothing."""
    assert triggered(conditions[20], labels) == expected


def test_labels_of_a_stored_row():
    """A condition sees in a stored row what it saw in the answer."""
    row = {"labels": [{"name": "x", "score": 0.5, "root": "y"}, {"name": None, "box": {}}]}
    assert labels_of(row) == [Label("x", 0.5, "y"), Label(None)]
