"""All days: what a free or bought pack is counted by."""

from ..language import mark
from .period import Period

TOTAL = Period(
    name="total",
    code=19,
    first_day=None,
    end=lambda _: None,
    meaning="Calls per service in all: what a free or bought pack holds. A step's own wins.",
    example=10000,
    stopped_by="total_limit",
    reason=mark("quota exhausted: buy or claim more, then run `batchrec quota open`"),
    heading=mark("total"),
    heading_left=mark("remaining"),
)
