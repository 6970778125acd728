"""The log of a run: what comes again is told once a minute, with its count."""

import logging

from batchrec.console.log import Repetitions


def told(moments: list[tuple[float, str]], level: int = logging.WARNING) -> list[str]:
    """Lines that are let through, of those that come at these seconds."""
    clock = [0.0]
    repetitions, found = Repetitions(lambda: clock[0]), []
    for clock[0], text in moments:
        record = logging.makeLogRecord({"levelno": level, "msg": "%s", "args": (text,)})
        if repetitions.filter(record):
            found.append(f"{clock[0]:g} s: {record.getMessage()}")
    return found


def test_an_outage_is_told_once_a_minute_with_its_count() -> None:
    """A try every 10 s for three minutes is four lines; counts are of the time since the line before."""
    tries = [(float(second), "cannot be reached") for second in range(0, 181, 10)]
    assert told(tries) == [
        "0 s: cannot be reached",
        "60 s: cannot be reached (6 times in 60 s)",
        "120 s: cannot be reached (6 times in 60 s)",
        "180 s: cannot be reached (6 times in 60 s)",
    ]


def test_other_warnings_and_lines_that_warn_of_nothing_are_told() -> None:
    """Each text has a minute of its own; INFO is never held back."""
    assert told([(0.0, "a"), (1.0, "b"), (2.0, "a")]) == ["0 s: a", "1 s: b"]
    assert told([(0.0, "a"), (1.0, "a")], logging.INFO) == ["0 s: a", "1 s: a"]
