"""The end of a run: its exit code if several would hold."""

from itertools import combinations, permutations
from signal import SIGINT, SIGTERM
from typing import Any

import pytest

from batchrec.engine.exit_status import ExitStatus, RunFacts, exit_status
from batchrec.errors import CredentialsRefused, InputsGone, JobError, OutputFailed, ResultsDamaged, ServiceUnavailable
from batchrec.periods import DAILY, TOTAL
from batchrec.values import Closure

MIDNIGHT = 1_767_369_600.0
"""2026-01-03, 00:00 in Beijing."""

REASONS: list[tuple[dict[str, Any], ExitStatus]] = [
    ({"empty": True}, ExitStatus(66, "no_image")),
    ({"error": OutputFailed("disk full")}, ExitStatus(74, "output")),
    ({"error": InputsGone("the folder is gone")}, ExitStatus(74, "inputs")),
    ({"error": CredentialsRefused("no such key")}, ExitStatus(77, "credentials")),
    ({"forbidden": True}, ExitStatus(77, "permission")),
    ({"error": ServiceUnavailable("no route")}, ExitStatus(69, "service")),
    ({"closures": (Closure(DAILY.code, MIDNIGHT),)}, ExitStatus(75, "daily_limit", "2026-01-03T00:00:00+08:00")),
    ({"signal": SIGINT}, ExitStatus(130, "SIGINT")),
    ({"failed": 3}, ExitStatus(1)),
    ({}, ExitStatus(0)),
]
"""Facts, and how a run ends by them alone, in the contract's order."""


@pytest.mark.parametrize(("facts", "expected"), REASONS)
def test_one_reason(facts, expected):
    """Each reason has its exit code and its word."""
    assert exit_status(RunFacts(**facts)) == expected


PAIRS = [(first, second) for first, second in combinations(REASONS, 2) if first[0].keys() != second[0].keys()]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_reasons(first, second):
    """Of any two the earlier one in the contract's list decides."""
    assert exit_status(RunFacts(**(second[0] | first[0]))) == first[1]


def test_all_reasons():
    """With everything at once it is the missing image."""
    facts: dict[str, Any] = {}
    for more, _ in reversed(REASONS):
        facts |= more
    assert exit_status(RunFacts(**facts)) == ExitStatus(66, "no_image")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"signal": SIGTERM}, ExitStatus(143, "SIGTERM")),
        ({"error": ResultsDamaged("short")}, ExitStatus(74, "output")),
        ({"error": JobError("a key nobody foresaw")}, ExitStatus(2, "error")),
    ],
)
def test_kinds_of_reasons(facts, expected):
    """A signal has its own code; whatever error ended a run, it is never a success."""
    assert exit_status(RunFacts(**facts)) == expected


@pytest.mark.parametrize(
    "closures",
    list(
        permutations([Closure(TOTAL.code, None), Closure(DAILY.code, MIDNIGHT + 86400), Closure(DAILY.code, MIDNIGHT)])
    ),
)
def test_several_limits(closures):
    """It is worth running again when the first of them opens."""
    assert exit_status(RunFacts(closures=closures)) == ExitStatus(75, "daily_limit", "2026-01-03T00:00:00+08:00")


def test_total_limit():
    """A pack that is used up has no time at which to run again."""
    assert exit_status(RunFacts(closures=(Closure(TOTAL.code, None),))) == ExitStatus(75, "total_limit", None)
