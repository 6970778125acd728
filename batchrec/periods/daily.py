"""The Beijing day: what an account's free quota is counted by."""

from ..language import mark
from ..times import end_of_day
from .period import Period

DAILY = Period(
    name="daily",
    code=17,
    first_day=lambda day: day,
    end=end_of_day,
    meaning="Calls per service and Beijing day, counted by account across jobs and runs. A step's own wins.",
    example=500,
    stopped_by="daily_limit",
    reason=mark("quota exhausted for today"),
    heading=mark("today"),
    heading_left=mark("remaining today"),
    waited_for=True,
)
