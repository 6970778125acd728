"""Period over which calls are counted: its first day, its end, and its words."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Period:
    """A period over which the calls of a service are counted. Days are Beijing days, as YYYY-MM-DD.

    `name` is the key of the limit in a job file; `meaning` and `example` go into its schema. `code` is the service's
    error code for a quota that is used up, or a word of batchrec where the service has none.

    `first_day` gives the first day of the period that a day belongs to, None: one period holds all days. `end` gives
    the Unix time at which that period ends, None: only a person ends it. `waited_for`: `limits.on_daily_limit` holds.

    `stopped_by` is the word of summary.json, `reason` its sentence; `heading` and `heading_left` are columns of
    `batchrec quota`. The last three are marked for translation.
    """

    name: str
    code: int | str
    first_day: Callable[[str], str] | None
    end: Callable[[str], float | None]
    meaning: str
    example: int
    stopped_by: str
    reason: str
    heading: str
    heading_left: str
    waited_for: bool = False
