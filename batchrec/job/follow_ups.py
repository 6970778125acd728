"""Follow-up steps: which steps the labels of an answer ask for."""

from collections.abc import Mapping, Sequence

from ..values import Label, Row
from .spec import Job, When

Conditions = Sequence[tuple[When, int]]
"""Conditions on labels, each with the number of the step that is then called for."""


def follow_ups(job: Job, steps: Mapping[str, int]) -> dict[int, Conditions]:
    """By a step's number: the steps that may follow it. `steps` are the journal's numbers by name."""
    following: dict[int, list[tuple[When, int]]] = {}
    for step in job.recognize:
        if step.when is not None:
            following.setdefault(steps[step.when.step], []).append((step.when, steps[step.name]))
    return dict(following)


def triggered(conditions: Conditions, labels: Sequence[Label]) -> tuple[int, ...]:
    """The numbers of the steps that these labels ask for."""
    return tuple(number for when, number in conditions if when.matches(labels))


def labels_of(row: Row) -> list[Label]:
    """The labels of a stored row, as far as a condition looks at them."""
    return [Label(label.get("name"), label.get("score"), label.get("root")) for label in row["labels"]]
