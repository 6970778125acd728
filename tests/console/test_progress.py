"""The progress that a person sees: the words of a line, the measured rate, and the times of lines."""

import asyncio
import os
import sys
from dataclasses import replace

import pytest

from batchrec.console import progress
from batchrec.console.progress import Meter, Rates, Service, Snapshot, StepProgress, chosen, line, live_lines, shown
from batchrec.console.text import duration, say
from batchrec.redact import visible
from batchrec.values import ServiceState

OPEN = Service("advanced_general", ServiceState(), 10.0)
GENERAL = StepProgress("advanced_general", 1500, 3000, 3000, 1498, 1500, 0, OPEN)
ANIMAL = StepProgress("animal", 279, 552, 990, 279, 279, 0, Service("animal", ServiceState(), 10.0))
HALF = Snapshot((GENERAL,), failed=2, now=1_800_000_000.0)
BOTH = replace(HALF, steps=(GENERAL, ANIMAL), last=("家居/家居_0815.jpg", "沙发 0.87"))
FULL = Rates(15.0, {"advanced_general": 9.8, "animal": 9.9}, {"advanced_general": 9.8, "animal": 9.9})


def at(state: ServiceState = OPEN.state, *, retrying: int = 0, rate: float = 9.8, **service: float) -> str:
    """The plain line of a run whose service is in this state."""
    step = replace(GENERAL, retrying=retrying, service=replace(OPEN, state=state, **service))
    rates = {"advanced_general": rate}
    return line(replace(HALF, steps=(step,)), Rates(15.0, rates, rates))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (59 * 60, "59 min"),
        (3 * 3600 + 20 * 60, "3 h 20 min"),
        (2 * 86400 + 4 * 3600, "2 days 4 h"),
    ],
)
def test_durations_as_a_person_says_them(seconds, expected):
    """Two units at most, the smaller one left out where it does not matter."""
    assert duration(seconds) == expected


def test_a_line_says_how_far_how_fast_and_how_long() -> None:
    """Each step, its rate beside the limit of its service, failures, time left, the last result."""
    assert line(HALF, FULL) == "advanced_general 1,500/3,000, 9.8 calls/s (limit 10) · 2 failed · 3 min left"
    assert line(BOTH, FULL) == (
        "advanced_general 1,500/3,000, 9.8 calls/s (limit 10) · animal 279/552 (of about 990), 9.9 calls/s (limit 10) "
        "· 2 failed · 3 min left · last: 沙发 0.87 家居/家居_0815.jpg"
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (at(ServiceState("probing", 12.3, 282000, 60.0)), "probing since 12 s: 282000 (gives up at 60 s)"),
        (at(ServiceState("throttled", 4.0, 18, 60.0)), "throttled since 4 s: 18 (gives up at 60 s)"),
        (at(ServiceState("forbidden", code=6)), "not permitted: error code 6"),
        (at(ServiceState("exhausted", code=19)), "quota exhausted: error code 19"),
        (at(ServiceState("first")), "waiting for the first result"),
        (at(retrying=14, rate=2.0), "retrying 14"),
        (at(rate=2.0, in_flight=32, round_trip=8.0), "waiting for 32 replies"),
        (at(rate=2.0), "reading and preparing images"),
        (at(limit=7.5, lowered_from=10.0), "throttled: 7.5 of 10 calls/s"),
    ],
)
def test_a_word_for_each_state_below_the_full_rate(said: str, expected: str) -> None:
    """The line says why calls leave more slowly than they may; at the full rate it says nothing."""
    assert f", {expected} · " in said
    assert at() == line(HALF, FULL)


def test_an_exhausted_quota_says_when_it_goes_on() -> None:
    """Beijing time, and how far off it is; a run that waits for it says so."""
    closed = ServiceState("exhausted", code=17, until=HALF.now + 6 * 3600 + 25 * 60, waits=True)
    assert "quota exhausted, goes on 22:25 Beijing (" in at(closed)
    assert "in 6 h 25 min)" in at(closed)
    assert "quota exhausted until 22:25 Beijing (" in at(closed._replace(waits=False))


@pytest.mark.parametrize("cells", [100, 60, 36, 24])
def test_counts_stand_on_the_narrowest_terminal(cells: int) -> None:
    """The counts of each step are whole at any width, and no line is wider than the terminal."""
    lines = live_lines(BOTH, FULL, cells)
    assert max(each.cell_len for each in lines) <= cells
    text = "\n".join(each.plain for each in lines)
    assert "1,500/3,000" in text
    assert "279/552" in text
    assert "2 failed" in text


def test_the_uplink_as_the_limit() -> None:
    """If bodies wait for the uplink, the line says so, with the link's rate in bits."""
    limited = replace(HALF, uplink=3_750_000.0)
    assert line(limited, FULL).endswith(" · 3 min left · limited by the uplink (30.0 Mbit/s)")
    advised = line(replace(limited, shrunk=11.94), FULL)
    assert advised.endswith("(30.0 Mbit/s) · about 11.9 images/s with input.max_side = 1024")
    assert "max_side" not in line(replace(HALF, shrunk=11.94), FULL)


def test_without_a_rate_the_time_left_is_unknown() -> None:
    """Nothing finished yet: no division, no promise."""
    nothing = Rates(0.0, {"advanced_general": 0.0}, {"advanced_general": 0.0})
    assert line(HALF, nothing).endswith("time left unknown")


def test_the_meter_measures_the_last_quarter_minute() -> None:
    """Calls and finished images per second over a window that moves along."""
    time = [0.0]
    meter = Meter(lambda: time[0])
    assert meter.rates((replace(GENERAL, calls=0, finished=0),)).calls == {"advanced_general": 0.0}
    later = replace(GENERAL, calls=100, finished=50)
    time[0] = 10.0
    assert meter.rates((later,)) == Rates(10.0, {"advanced_general": 10.0}, {"advanced_general": 5.0})
    time[0] = 20.0
    assert meter.rates((later,)).calls == {"advanced_general": 0.0}


@pytest.mark.parametrize(("terminal", "expected"), [(True, "rich"), (False, "plain")])
def test_auto_is_what_fits(monkeypatch, terminal, expected):
    """A live display on a terminal, plain lines elsewhere; what was asked for is kept to."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert chosen("auto") == expected
    assert chosen("none") == "none"


async def test_plain_lines_come_by_the_clock_and_at_the_end(monkeypatch, capsys):
    """One line per period, and a last one when the block ends."""
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.01)
    seen = 0

    def snapshot():
        nonlocal seen
        seen += 1
        return HALF

    async with asyncio.timeout(60), shown("plain", snapshot):
        while seen < 4:  # noqa: ASYNC110 - the display signals nothing
            await asyncio.sleep(0.001)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3
    assert [text for text in lines if not text.startswith("advanced_general 1,500/3,000")] == []


async def test_a_short_run_has_its_line_too(capsys):
    """Even after the shortest run the end is told; with "none", nothing is."""
    async with shown("plain", lambda: HALF):
        pass
    assert len(capsys.readouterr().err.splitlines()) == 1
    async with shown("none", lambda: HALF):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("家居/cat.jpg\tand more", "家居/cat.jpg\tand more"),
        ("a\nb\vc\fd\u2028e\u2029f", r"a\x0ab\x0bc\x0cd\u2028e\u2029f"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b[2J\x9b31m", r"\x1b[2J\x9b31m"),
        ("100 of 100\rdone\x08", r"100 of 100\x0ddone\x08"),
        ("\0\x7f\x85", r"\x00\x7f\x85"),
        ("a\u202egpj.exe\u2066", r"a\u202egpj.exe\u2066"),
    ],
)
def test_nothing_said_steers_a_terminal(capsys, text, expected):
    """Line ends, control and bidirectional characters are spelled out; tabs and all else stay."""
    assert visible(text) == expected
    say(text, "and more")
    assert capsys.readouterr().err == f"{expected}\nand more\n"


def test_saying_something_to_nobody(monkeypatch):
    """No standard error, or one whose reader is gone: no exception, then or later."""
    monkeypatch.setattr(sys, "stderr", None)
    say("nobody hears this")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        say("nor this")
        say("nor that")
        assert not gone.closed
