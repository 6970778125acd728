"""What is finished, and what is to be done: one SQLite file per output directory.

`Journal` is a run's; `reading` lets others look into it, also while a run goes on.
"""

from .journal import Journal
from .reader import ActiveStep, AnswerPlace, Reader, copy_journal, reading
from .schema import Changed, Counts, Finished, Known, Pending, StepCounts, StepRecord

__all__ = [
    "ActiveStep",
    "AnswerPlace",
    "Changed",
    "Counts",
    "Finished",
    "Journal",
    "Known",
    "Pending",
    "Reader",
    "StepCounts",
    "StepRecord",
    "copy_journal",
    "reading",
]
