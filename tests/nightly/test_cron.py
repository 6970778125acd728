"""Cron expressions: refusals, and conversion between zones, checked against every minute of days and by systemd."""

import subprocess
from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrec.errors import JobError
from batchrec.nightly.cron import calendar_of, lines_in, parse

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
BEIJING = "Asia/Shanghai"
ZONES = ("UTC", BEIJING, "Asia/Kathmandu", "America/Phoenix")
"""Zones without clock changes, one of them 45 minutes off."""


def machine(name: str) -> tuple[str, ZoneInfo]:
    """A machine in a zone."""
    return name, ZoneInfo(name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("@daily", "@daily"),
        ("0 10 0 * * *", "6 fields"),
        ("10 0 * *", "4 fields"),
        ("0 0 L * *", "L, W and #"),
        ("0 0 15W * *", "L, W and #"),
        ("0 0 * * 5L", "L, W and #"),
        ("0 0 * * 1#2", "L, W and #"),
        ("0 24 * * *", "never comes: hour"),
        ("0 0 31 2 *", "never comes"),
        ("0 0 */2 * 1", "disagree"),
    ],
)
def test_schedules_that_cannot_be_expressed_are_refused(text: str, reason: str) -> None:
    """The reason names the expression and the part that no cron has."""
    with pytest.raises(JobError, match=reason) as told:
        parse(text, BEIJING)
    assert repr(text) in str(told.value)


@pytest.mark.parametrize("text", ["0 0 * JUL *", "0 12 * * MON-WED", "0 12 * * fri", "0 0 * * 7"])
def test_names_of_months_and_weekdays_are_taken(text: str) -> None:
    """A letter L or W within a name is no sign of its own."""
    assert parse(text, BEIJING).text == text


def test_the_usual_schedule_is_one_line() -> None:
    """00:10 in Beijing is 16:10 of the day before in UTC."""
    assert lines_in(parse("10 0 * * *", BEIJING), machine("UTC"), NOW) == ["10 16 * * *"]
    assert lines_in(parse("10 0 * * 1-5", BEIJING), machine("UTC"), NOW) == ["10 16 * * 0,1,2,3,4"]


@pytest.mark.parametrize("text", ["0 0 1 * *", "0 0 * 1 *", "0 0 1 * 1"])
def test_days_that_would_shift_are_refused(text: str) -> None:
    """The first of a month in Beijing is the last of another in UTC, which no line says."""
    with pytest.raises(JobError, match="--systemd"):
        lines_in(parse(text, BEIJING), machine("UTC"), NOW)
    assert lines_in(parse(text, BEIJING), machine(BEIJING), NOW)


def test_zones_with_other_clock_changes_are_refused() -> None:
    """A fixed conversion would be an hour off for half of the year; the machine's own zone needs none."""
    with pytest.raises(JobError, match="Europe/Berlin"):
        lines_in(parse("0 2 * * *", "Europe/Berlin"), machine("UTC"), NOW)
    assert lines_in(parse("0 2 * * *", "Europe/Berlin"), machine("Europe/Berlin"), NOW) == ["0 2 * * *"]


fields = st.tuples(
    st.sampled_from(["*", "0", "10", "*/17", "5,40", "50-59"]),
    st.sampled_from(["*", "0", "23", "*/7", "1,22", "8-18"]),
    st.just("*"),
    st.just("*"),
    st.sampled_from(["*", "0", "7", "1-5", "6"]),
)


@settings(max_examples=40, deadline=None)
@given(fields=fields, zone=st.sampled_from(ZONES), here=st.sampled_from(ZONES))
def test_converted_lines_run_at_the_same_minutes(fields: tuple[str, ...], zone: str, here: str) -> None:
    """Over eight days, the lines in the machine's zone run exactly when the schedule says."""
    cron = parse(" ".join(fields), zone)
    end = NOW + timedelta(days=8)

    def minutes(text: str, name: str) -> set[datetime]:
        found = set()
        for run in CronSim(text, NOW.astimezone(ZoneInfo(name))):
            if run.astimezone(UTC) > end:
                return found
            found.add(run.astimezone(UTC))
        return found

    lines = lines_in(cron, machine(here), NOW)
    assert set().union(*(minutes(line, here) for line in lines)) == minutes(cron.text, zone)


def test_calendars_are_those_of_systemd() -> None:
    """systemd takes each, and elapses at the moments that cronsim says."""
    for text, zone in product(("10 0 * * *", "*/20 8-18 * * 1-5", "0 3 1,15 * *", "5 4 * 2 *"), (BEIJING, "UTC")):
        cron = parse(text, zone)
        command = ["systemd-analyze", "calendar", "--iterations=3", "--base-time=2026-11-29 12:00:00 UTC"]
        said = subprocess.run(
            [*command, calendar_of(cron)],
            capture_output=True,
            text=True,
            check=True,
            env={"TZ": "UTC", "PATH": "/usr/bin:/bin"},
        ).stdout
        elapsed = [
            line.partition(": ")[2].strip() for line in said.splitlines() if "elapse:" in line or "Iter. #" in line
        ]
        expected = [run.astimezone(UTC).strftime("%a %Y-%m-%d %H:%M:%S UTC") for run in cron.runs(NOW, 3)]
        assert elapsed == expected


def test_a_day_and_a_weekday_are_refused_for_systemd() -> None:
    """cron runs on either, systemd on days that are both."""
    with pytest.raises(JobError, match="either for cron"):
        calendar_of(parse("0 0 1 * 1", BEIJING))
