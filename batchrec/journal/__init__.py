"""The journal of an output directory: what is finished and what remains, in one SQLite file.

`Journal` is a run's; `reading` lets others look into it, also while a run goes on.
"""

from .answers import Finished, Known
from .journal import Journal
from .opening import Changed, StepRecord
from .reader import ActiveStep, AnswerPlace, Counts, Reader, StepCounts, copy_journal, reading
from .schema import CALLING_SINCE, JOB_FILE
from .survey import Pending
from .treatments import Item

__all__ = [
    "CALLING_SINCE",
    "JOB_FILE",
    "ActiveStep",
    "AnswerPlace",
    "Changed",
    "Counts",
    "Finished",
    "Item",
    "Journal",
    "Known",
    "Pending",
    "Reader",
    "StepCounts",
    "StepRecord",
    "copy_journal",
    "reading",
]
