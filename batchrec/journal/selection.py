"""Selection of rows by step, label and score: the filters that `show` and `export` share.

A label meets the conditions where it is among the first `top`, its name or root holds `label`, and its score lies
between `min_score` and `max_score`. A row matches where one of its labels does, and none of them holds `not_label`.
"""

import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..console.foreign import expression_fault
from ..errors import JobError
from ..language import _
from ..values import Row

_MOST_CHARACTERS = 200
"""Characters of a name or root that are searched, as for a step's `when`: services' labels have some 20."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Filters of rows; None: no condition.

    `label` and `not_label` are regular expressions. `failed`: failures instead of results. A label without a score
    meets no condition on scores. Raises JobError for an expression that is none, and for numbers out of range.
    """

    step: str | None = None
    label: str | None = None
    not_label: str | None = None
    min_score: float | None = None
    max_score: float | None = None
    top: int | None = None
    failed: bool = False
    conditional: bool = field(init=False, repr=False, compare=False, default=False)
    """Whether a row without labels may be left out for that reason."""
    _label: re.Pattern[str] | None = field(init=False, repr=False, compare=False, default=None)
    _not_label: re.Pattern[str] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        conditions = (self.label, self.min_score, self.max_score)
        object.__setattr__(self, "conditional", any(wanted is not None for wanted in conditions))
        object.__setattr__(self, "_label", _compiled("--label", self.label))
        object.__setattr__(self, "_not_label", _compiled("--not-label", self.not_label))
        for option, score in (("--min-score", self.min_score), ("--max-score", self.max_score)):
            if score is not None and not 0 <= score <= 1:
                raise JobError(
                    _("{option}: is {score}; expected a score from 0 to 1").format(option=option, score=score)
                )
        if self.top is not None and self.top < 1:
            raise JobError(_("--top: is {top}; expected 1 or more labels").format(top=self.top))
        if self.failed and self.conditional:
            raise JobError(_("--failed: failures have no labels; leave out the filters of labels and scores"))

    @property
    def restrictive(self) -> bool:
        """Whether anything but the step is asked for."""
        return self.conditional or self.not_label is not None

    def check_steps(self, steps: Collection[str]) -> None:
        """Raise JobError where the selected step is none of a job's."""
        if self.step is not None and self.step not in steps:
            raise JobError(
                _("--step: the job has no step {step!r}; expected one of: {steps}").format(
                    step=self.step, steps=", ".join(steps)
                )
            )

    def matches(self, row: Row) -> bool:
        """Whether a result is selected: its step, and the conditions on its labels."""
        if self.failed or (self.step is not None and row["step"] != self.step):
            return False
        if self._not_label is not None and any(map(self.barred, row["labels"])):
            return False
        return not self.conditional or next(self.labels(row), None) is not None

    def matches_failure(self, failure: Mapping[str, Any]) -> bool:
        """Whether a failure is selected. Conditions on labels leave all failures out."""
        return not self.conditional and self.step in (None, failure["step"])

    def labels(self, row: Row) -> Iterator[dict[str, Any]]:
        """The labels of a row that meet the conditions, best first."""
        if not self.conditional:
            yield from row["labels"][: self.top]
            return
        for label in row["labels"][: self.top]:
            score = label.get("score")
            if self.min_score is not None and (score is None or score < self.min_score):
                continue
            if self.max_score is not None and (score is None or score > self.max_score):
                continue
            if self.named(label):
                yield label

    def named(self, label: Mapping[str, Any]) -> bool:
        """Whether the name or root of a label holds `label`; true where that is None."""
        return self._label is None or _holds(self._label, label)

    def barred(self, label: Mapping[str, Any]) -> bool:
        """Whether the name or root of a label holds `not_label`; false where that is None."""
        return self._not_label is not None and _holds(self._not_label, label)


def _holds(pattern: re.Pattern[str], label: Mapping[str, Any]) -> bool:
    texts = (label.get("name"), label.get("root"))
    return any(isinstance(text, str) and pattern.search(text[:_MOST_CHARACTERS]) for text in texts)


def _compiled(option: str, pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        with warnings.catch_warnings():
            # "[[" works as it reads; Python only announces that it may mean more one day.
            warnings.simplefilter("ignore")
            return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as exc:
        raise JobError(
            _("{option}: {pattern!r} is no regular expression: {problem}").format(
                option=option, pattern=pattern, problem=expression_fault(exc)
            )
        ) from None
