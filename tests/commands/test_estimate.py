"""Estimate of calls, days, time and money: tables of arithmetic, without files or clocks."""

from dataclasses import replace
from datetime import datetime

import pytest

from batchrec.commands.estimate import (
    CallLimit,
    CallRange,
    LaneLimits,
    StepWork,
    UplinkPlan,
    UplinkRate,
    call_ranges,
    days_of,
    end_of,
    estimate,
)
from batchrec.periods import DAILY, TOTAL

DAY = 86_400
NOON = datetime.fromisoformat("2026-03-01T12:00:00+08:00").timestamp()


def work(step="dish", lane="dish", **values):
    """Work of a step of the service `dish`."""
    return StepWork(step, "dish", None, lane, **values)


@pytest.mark.parametrize(
    ("listed", "finished", "sure", "expected"),
    [
        (0, 0, 0, CallRange(50, 0, 100)),  # no result yet: half of them is assumed
        (20, 80, 5, CallRange(30, 5, 105)),  # a quarter so far, and five that are listed already
        (1, 3, 0, CallRange(34, 0, 100)),  # rounded up
        (90, 30, 0, CallRange(100, 0, 100)),  # never more than all
    ],
)
def test_following_step_is_expected_at_the_share_so_far(listed, finished, sure, expected):
    """Results that are still to come are expected to trigger a step as often as those that came."""
    first = work("first", sure=100, finished=finished)
    after = work("after", after="first", sure=sure, listed=listed)
    assert call_ranges([first, after]) == {"first": CallRange(100, 100, 100), "after": expected}


def test_ranges_add_up_along_a_chain():
    """The third of three steps can be asked as often as the second, which can be asked as often as the first."""
    works = [
        work("a", sure=10, finished=10),
        work("b", after="a", listed=5, finished=4, sure=1),
        work("c", after="b", listed=2),
    ]
    assert call_ranges(works) == {"a": CallRange(10, 10, 10), "b": CallRange(6, 1, 11), "c": CallRange(3, 0, 11)}


@pytest.mark.parametrize(
    ("calls", "daily", "left", "expected"),
    [
        (0, 500, 500, (0, 0)),
        (7, None, None, (1, 7)),
        (500, 500, 500, (1, 500)),
        (501, 500, 500, (2, 1)),
        (1000, 500, 500, (2, 500)),
        (1001, 500, 500, (3, 1)),
        (1, 500, 0, (2, 1)),  # the quota of today is used up
        (501, 500, 1, (2, 500)),
    ],
)
def test_days_and_the_calls_of_the_last_one(calls, daily, left, expected):
    """Today comes first; the last day has what the days before have not taken."""
    counted = () if daily is None else (CallLimit(DAILY, daily, left),)
    assert days_of(calls, LaneLimits(1.0, counted)) == expected


MONTHLY = replace(DAILY, name="monthly", first_day=lambda day: day[:8] + "01")
"""A limit by month."""


@pytest.mark.parametrize(
    ("calls", "counted", "expected"),
    [
        (5, (CallLimit(MONTHLY, 10, 3),), (3, 2)),  # three today, two on 1 March
        (25, (CallLimit(MONTHLY, 10, 3),), (64, 2)),  # 1 March, 1 April, 1 May
        (10, (CallLimit(DAILY, 4, 4), CallLimit(MONTHLY, 6, 6)), (3, 4)),  # 4 + 2, and 4 on 1 March
        (10, (CallLimit(DAILY, 4, 0), CallLimit(TOTAL, 90, 90)), (4, 2)),
        (1, (CallLimit(DAILY, 4, 0), CallLimit(DAILY, 3, 0)), (2, 1)),
    ],
)
def test_days_under_several_limits(calls, counted, expected):
    """On each day the limit that leaves least holds; 27 February is today."""
    assert days_of(calls, LaneLimits(1.0, counted, "2026-02-27")) == expected


def test_calls_beyond_the_total_are_told():
    """A pack of 8 calls, at 5 a day: the run ends on the second day, and four calls are beyond the pack."""
    limits = LaneLimits(1.0, (CallLimit(DAILY, 5, 5), CallLimit(TOTAL, 100, 8)), "2026-03-01")
    found = estimate([work(sure=12)], {"dish": limits}, NOON)
    assert (found.calls, found.beyond_limits, found.days) == (12, 4, 2)
    assert found.finish_at == "2026-03-02T00:00:03+08:00"
    used_up = LaneLimits(1.0, (CallLimit(TOTAL, 100, 0),), "2026-03-01")
    found = estimate([work(sure=12)], {"dish": used_up}, NOON)
    assert (found.calls, found.beyond_limits, found.days) == (12, 12, 0)


@pytest.mark.parametrize(
    ("calls", "rate", "days", "last", "expected"),
    [
        (0, None, 0, 0, NOON),
        (10, None, 1, 10, None),
        (10, 2.0, 1, 10, NOON + 5),
        (501, 1.0, 2, 1, NOON + DAY / 2 + 1),  # midnight in Beijing, and one second
        (1001, 1.0, 3, 1, NOON + 1.5 * DAY + 1),
        (90_000, 1.0, 2, 1, NOON + 90_000),  # the rate takes longer than the quota
    ],
)
def test_end_lies_on_the_last_day(calls, rate, days, last, expected):
    """Days begin at 00:00 Beijing; the rate is never exceeded."""
    assert end_of(calls, rate, days, last, NOON) == expected


def test_steps_of_one_lane_share_its_time():
    """Two steps of one service take turns at its rate; the job ends when its slowest service does."""
    works = [
        work("one", "dish", sure=30, price=2.0),
        work("two", "dish", sure=10),
        work("model", "easydl/x", sure=8, price=100.0),
    ]
    found = estimate(
        works, {"dish": LaneLimits(2.0), "easydl/x": LaneLimits(8.0, (CallLimit(DAILY, 5, 5),), "2026-03-01")}, NOON
    )
    assert [(step.step, step.calls, step.seconds, step.days, step.yuan) for step in found.steps] == [
        ("one", 30, 20.0, 1, 0.06),
        ("two", 10, 20.0, 1, None),
        ("model", 8, 1.0, 2, 0.8),
    ]
    assert (found.calls, found.seconds, found.days, found.yuan) == (48, 20.0, 2, 0.86)
    assert found.finish_at == "2026-03-02T00:00:00+08:00"


def test_unknown_rate_leaves_the_time_open():
    """`auto` that was never tried: calls are known, seconds and the end are not."""
    found = estimate([work(sure=3)], {"dish": LaneLimits(None)}, NOON)
    assert (found.calls, found.seconds, found.finish_at, found.yuan, found.days) == (3, None, None, None, 1)
    idle = estimate([work()], {"dish": LaneLimits(None)}, NOON)
    assert (idle.calls, idle.seconds, idle.days) == (0, 0.0, 0)
    assert idle.finish_at is not None


LIMITS = {"dish": LaneLimits(10.0)}
PHOTOGRAPHS = work(sure=60, sent=60 * 3_750_000, sent_shrunk=60 * 312_500)


def test_the_uplink_limits():
    """Sixty bodies at one a second, ten calls a second allowed: a minute, or 5 s with `max_side`."""
    found = estimate([PHOTOGRAPHS], LIMITS, NOON, UplinkRate(3_750_000.0, NOON, shrinkable=True))
    assert (found.bytes, found.seconds, found.limited_by) == (225_000_000, 6.0, "uplink")
    assert found.uplink == UplinkPlan(30.0, "2026-03-01T04:00:00.000+00:00", 60.0, 5.0)
    assert found.finish_at == "2026-03-01T12:01:00+08:00"


@pytest.mark.parametrize(
    ("link", "limited_by"), [(None, None), (UplinkRate(1e9, NOON), "rate"), (UplinkRate(1e6, NOON), "uplink")]
)
def test_the_limit_is_told_as_far_as_it_is_known(link, limited_by):
    """Nothing is said without a measurement, and `max_side` is no advice where it is set."""
    found = estimate([PHOTOGRAPHS], LIMITS, NOON, link)
    assert found.limited_by == limited_by
    assert found.uplink is None or found.uplink.seconds_shrunk is None


def test_bytes_of_calls_that_are_expected():
    """A following step sends what the sure calls send on average."""
    works = [work("first", sure=10, sent=1000, finished=10), work("after", after="first", listed=5)]
    assert estimate(works, LIMITS, NOON).bytes == 1500


def test_free_calls_cost_nothing():
    """They go to the first steps of their service; a range for a following step, whose share is assumed."""
    works = [
        work("first", sure=100, price=2.0, free=120),
        work("after", after="first", price=2.0, free=120),
    ]
    found = estimate(works, {"dish": LaneLimits(10.0)}, NOON)
    first, after = found.steps
    assert (first.yuan, first.yuan_min, first.yuan_max, first.share) == (0.0, 0.0, 0.0, None)
    assert (after.calls, after.yuan, after.yuan_min, after.yuan_max) == (50, 0.06, 0.0, 0.16)
    assert (after.share, after.share_assumed) == (0.5, True)
    assert (found.yuan, found.yuan_min, found.yuan_max) == (0.06, 0.0, 0.16)
