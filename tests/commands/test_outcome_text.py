"""The lines of the end of a run on a narrow screen."""

from pathlib import Path

import pytest

from batchrec.commands.outcome import Outcome, Sample
from batchrec.commands.outcome_text import outcome_lines


@pytest.mark.parametrize(("cells", "line"), [(60, "a.png  餐桌和椅子 1.00"), (18, "a.png  餐桌… 1.00")])
def test_a_label_that_is_too_wide_keeps_its_score(cells: int, line: str) -> None:
    """The name is cut: a score cut to `1.…` says nothing."""
    row = {"labels": [{"name": "餐桌和椅子", "score": 1.0}], "step": "things", "response": {}}
    outcome = Outcome(1, 1, 0, 0, 1, samples=(Sample("a.png", (row,)),))
    assert line in [text.plain for text in outcome_lines(outcome, None, Path("results"), None, cells)]


@pytest.mark.parametrize(
    ("cells", "line"),
    [(60, "a.png  餐桌 1.00 · more: 椅子 0.50"), (28, "a.png  餐桌 1.00 · more: 椅…"), (18, "a.png  餐桌 1.00")],
)
def test_a_narrow_screen_drops_later_steps_first(cells: int, line: str) -> None:
    """The first step's label and score stay whole as long as there is room for them."""
    rows = tuple(
        {"labels": [{"name": name, "score": score}], "step": step, "response": {}}
        for step, name, score in (("things", "餐桌", 1.0), ("more", "椅子", 0.5))
    )
    outcome = Outcome(1, 1, 0, 0, 2, samples=(Sample("a.png", rows),))
    assert line in [text.plain for text in outcome_lines(outcome, None, Path("results"), None, cells)]
