"""The clock of commands under test: every test has one day in Beijing, and a test may choose the hour."""

from collections import Counter
from datetime import datetime

import pytest
from harness import Place, shift_to_noon

from batchrec.times import BEIJING, beijing_day

NIGHT = datetime(2026, 11, 23, 23, 59, 30, tzinfo=BEIJING)


def at(place: Place, moment: datetime) -> None:
    """Let commands that start from here on begin at that time."""
    place.set_clock(moment.timestamp())


def days(place: Place) -> Counter[str]:
    """Results by the day in Beijing on which they were given."""
    return Counter(beijing_day(datetime.fromisoformat(row["answered_at"]).timestamp()) for row in place.rows())


@pytest.mark.parametrize("time", ["00:00:00", "00:00:01", "12:00:00", "23:59:30", "23:59:59"])
def test_a_test_begins_at_noon_whatever_the_machine_says(time: str) -> None:
    """Half a day from either midnight, on the machine's own day in Beijing."""
    machine = datetime.fromisoformat(f"2026-11-23T{time}+08:00").timestamp()
    assert datetime.fromtimestamp(machine + shift_to_noon(machine), BEIJING).isoformat() == "2026-11-23T12:00:00+08:00"


def test_two_commands_of_a_test_have_one_day(place: Place) -> None:
    """Shifted as every test is on a machine where it is 23:59:30, both see the machine's day, and its noon."""
    place.pictures(3)
    place.job(limits={"daily": 3})
    machine = NIGHT.timestamp()
    place.set_clock(machine + shift_to_noon(machine))
    assert place.run().code == 0
    assert {row["answered_at"][:16] for row in place.rows()} <= {"2026-11-23T04:00", "2026-11-23T04:01"}
    assert place.counted() == 3


def test_a_command_has_the_hour_that_a_test_sets(place: Place) -> None:
    """At 23:59:30 in Beijing a run counts for the day that ends, and half a minute later the day's count is empty."""
    place.pictures(3)
    place.job(limits={"daily": 3})
    at(place, NIGHT)
    assert place.run().code == 0
    assert (days(place), place.counted()) == ({"2026-11-23": 3}, 3)
    at(place, NIGHT.replace(day=24, hour=0, minute=0, second=0))
    assert place.counted() == 0


def test_on_daily_limit_wait_goes_on_after_midnight(place: Place) -> None:
    """With "wait" a run that finds the day used up, three seconds before midnight, calls on the next day."""
    place.pictures(3)
    place.job(limits={"daily": 3, "on_daily_limit": "wait"})
    at(place, NIGHT)
    assert place.run().code == 0
    place.pictures(2, start=3)
    at(place, NIGHT.replace(second=57))
    assert place.run().code == 0
    assert days(place) == {"2026-11-23": 3, "2026-11-24": 2}
    assert place.counted() == 2
