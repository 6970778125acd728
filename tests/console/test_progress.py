"""The progress that a person sees: the words of a line, the measured rate, and the times of lines."""

import asyncio
import os
import sys
from dataclasses import replace

import pytest

from batchrec.console import progress
from batchrec.console.progress import Meter, Snapshot, chosen, line, shown
from batchrec.console.text import duration, say
from batchrec.redact import visible

HALF = Snapshot(done=1500, total=3000, failed=2, answered=1498, allowed=10.0)


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


def test_a_line_says_how_far_how_fast_and_how_long():
    """Done of all, the rate beside the allowed one, failures, time left."""
    assert line(HALF, 9.8) == "1,500 of 3,000 done, 9.8 answers/s (allowed 10.0), 2 failed, 3 min left"


def test_the_uplink_as_the_limit() -> None:
    """If bodies wait for the uplink, the line says so, with the link's rate in bits."""
    limited = replace(HALF, uplink=3_750_000.0)
    assert line(limited, 9.8).endswith(", 3 min left, limited by the uplink (30.0 Mbit/s)")
    advised = line(replace(limited, shrunk=11.94), 9.8)
    assert advised.endswith("(30.0 Mbit/s), about 11.9 images/s with input.max_side = 1024")
    assert "max_side" not in line(replace(HALF, shrunk=11.94), 9.8)


def test_without_a_rate_the_time_left_is_unknown():
    """Nothing answered yet: no division, no promise."""
    assert line(HALF, 0.0).endswith("unknown left")


def test_the_meter_measures_the_last_quarter_minute():
    """Answers per second over a window that moves along."""
    time = [0.0]
    meter = Meter(lambda: time[0])
    assert meter.rate(0) == 0.0
    time[0] = 10.0
    assert meter.rate(100) == 10.0
    time[0] = 20.0
    assert meter.rate(100) == 0.0


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

    async with asyncio.timeout(5), shown("plain", snapshot):
        while seen < 4:  # noqa: ASYNC110 - the display signals nothing
            await asyncio.sleep(0.001)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3
    assert all(text.startswith("1,500 of 3,000 done") for text in lines)


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
