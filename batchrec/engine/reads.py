"""Reads of inputs that fail in a row: where their folder or its disk is gone, the run ends."""

from collections.abc import Callable

from ..errors import InputsGone
from ..language import _
from ..values import Failure, Kind, Task

_MOST_IN_A_ROW = 20
"""Reads that fail with none between that succeeds, before the folder is looked at."""


class Reads:
    """Outcomes of reads, in order.

    `loss` describes what is gone, for the key of an input that cannot be read; empty where nothing else is.

    Inputs that were missing when they were listed do not count, nor those that an earlier run told of: a run goes past
    them.
    """

    def __init__(self, loss: Callable[[str], str]) -> None:
        self._loss = loss
        self._failed = 0

    def note(self, task: Task, outcome: bytes | Failure) -> None:
        """Take the outcome of a read in. Raises InputsGone where the inputs have gone."""
        if not isinstance(outcome, Failure) or outcome.kind is not Kind.READ:
            self._failed = 0
            return
        if task.size < 0 or outcome.message == task.failed_before:
            return
        self._failed += 1
        if self._failed < _MOST_IN_A_ROW:
            return
        if loss := self._loss(task.key):
            raise InputsGone(_("{loss}; what was recognized is saved: run again when it is back").format(loss=loss))
        self._failed = 0
